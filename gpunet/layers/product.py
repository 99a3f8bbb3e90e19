"""The base of layers that multiply by a kernel."""

from __future__ import annotations

from typing import Any

from gpunet import activations, regularizers
from gpunet.arguments import boolean, refuse_unsupported
from gpunet.layers.layer import Layer

__all__ = ["ProductLayer"]


class ProductLayer(Layer):
    """A layer of a kernel, perhaps a bias, and an activation.

    Arguments:
        activation: a name of `gpunet.activations`, a function, or None.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: names or instances of `gpunet.initializers`.
        kernel_regularizer, bias_regularizer: names or instances of `gpunet.regularizers`,
            functions, or None.
        activity_regularizer: of the output, as in `Layer`.
        kernel_constraint, bias_constraint: None; constraints are not there yet.
        options: those of every `Layer`.
    """

    def __init__(
        self,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        kernel_constraint: None,
        bias_constraint: None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.activation = activations.get(activation)
        self.use_bias = boolean(use_bias, "use_bias", type(self).__name__)
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        refuse_unsupported(
            type(self).__name__,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
        )

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
