"""Layers around a function: any, and the one that returns its input."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gpunet import symbolic
from gpunet.layers.layer import Layer
from gpunet.layers.roles import Pass, Role

__all__ = ["Identity", "Lambda"]


class Identity(Layer):
    """The input itself, of any structure.

    >>> Identity()([[1.0, 2.0]]).numpy()
    array([[1., 2.]], dtype=float32)
    """

    supports_masking = True

    def call(self, x: Any) -> Any:
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def fusion_role(self) -> Role | None:
        return Pass()


class Lambda(Layer):
    """A function as a layer; it computes with operators and `gpunet.functions`.

    Arguments:
        function: of the input; it is also given ``training`` and ``mask`` where it takes them.
        output_shape: of one sample, or a function of the input's shape; by default found by calls
            on zeros.
        mask: the mask of the output, or a function of (inputs, mask) that returns it.
        arguments: a dictionary of further keywords for the function.
        options: those of every `Layer`.

    >>> Lambda(lambda x, power: x**power, arguments={"power": 2})([[3.0]]).numpy()
    array([[9.]], dtype=float32)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not callable(function):
            raise TypeError(f"Lambda expects a function, received {function!r}.")
        if not isinstance(arguments, dict | None):
            raise TypeError(f"Lambda expects arguments as a dictionary, received {arguments!r}.")
        self.function, self.mask, self.arguments = function, mask, dict(arguments or {})
        self.sample_shape = output_shape
        self.supports_masking = mask is not None
        self._takes = [name for name in ("training", "mask") if name in _parameters(function)]

    def call(self, x: Any, mask: Any = None, training: bool = False) -> Any:
        given = {"training": training, "mask": mask}
        return self.function(x, **self.arguments, **{name: given[name] for name in self._takes})

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask of the output."""
        return self.mask(inputs, previous_mask) if callable(self.mask) else self.mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self.sample_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self.sample_shape):
            return self.sample_shape(input_shape)
        batch = symbolic.flatten(input_shape)[0]
        return _with_batch(self.sample_shape, batch)

    def output_symbols(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.sample_shape is None:
            return symbolic.infer(self.dry_call, args, kwargs)
        return super().output_symbols(args, kwargs)


def _with_batch(shape: Any, batch: int | None) -> Any:
    """Return the shape of one sample, or each of several, with the batch size before it."""
    if isinstance(shape, dict):
        return {key: _with_batch(item, batch) for key, item in shape.items()}
    if isinstance(shape, list) and any(isinstance(item, list | tuple) for item in shape):
        return [_with_batch(item, batch) for item in shape]
    return (batch, *shape)


def _parameters(function: Callable[..., Any]) -> Any:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # functions written in C may not tell
        return {}
