"""The base of layers that multiply by a kernel."""

from __future__ import annotations

from typing import Any

from gpunet import activations, regularizers
from gpunet.arguments import boolean
from gpunet.layers.layer import Layer

__all__ = ["ProductLayer", "refuse_unsupported"]


class ProductLayer(Layer):
    """A layer of a kernel, perhaps a bias, and an activation.

    Arguments:
        activation: a name of `gpunet.activations`, a function, or None.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: names or instances of `gpunet.initializers`.
        kernel_regularizer, bias_regularizer: names or instances of `gpunet.regularizers`,
            functions, or None.
        options: those of every `Layer`.
    """

    def __init__(
        self,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        bias_initializer: Any,
        *,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.activation = activations.get(activation)
        self.use_bias = boolean(use_bias, "use_bias", type(self).__name__)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def add_kernel(
        self, shape: tuple[int, ...], outputs: int | None = None, name: str = "kernel"
    ) -> None:
        """Make the kernel, and the bias if there is one, of `outputs` elements.

        By default these are as many as there are along the last axis of the kernel.
        """
        self.kernel = self.add_weight(
            shape, self.kernel_initializer, name=name, regularizer=self.kernel_regularizer
        )
        self.bias = None
        if self.use_bias:
            size = shape[-1] if outputs is None else outputs
            self.bias = self.add_weight(
                (size,), self.bias_initializer, name="bias", regularizer=self.bias_regularizer
            )


def refuse_unsupported(where: str, **given: Any) -> None:
    """Raise `ValueError` for the first of Keras' arguments that is given and not supported.

    >>> refuse_unsupported("Dense", lora_rank=4)
    Traceback (most recent call last):
    ValueError: Dense: lora_rank=4 is not supported, only None: leave it out.
    """
    for argument, value in given.items():
        if value is not None and value is not False:
            raise ValueError(
                f"{where}: {argument}={value!r} is not supported, only None: leave it out."
            )
