"""Layers that give their input another shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import functions
from gpunet.arguments import check_data_format, integer, positive_integer
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.roles import Flat, Role

__all__ = ["Flatten", "Permute", "RepeatVector", "Reshape"]


class Reshape(Layer):
    """Give each sample another shape.

    Arguments:
        target_shape: of one sample; one size may be -1, for whatever is left.
    """

    def __init__(self, target_shape: tuple[int, ...], **options: Any) -> None:
        super().__init__(**options)
        sizes = target_shape if isinstance(target_shape, list | tuple) else (target_shape,)
        self.target_shape = tuple(sizes)
        if sizes.count(-1) > 1 or any(
            not isinstance(s, int | np.integer) or (s < 1 and s != -1) for s in sizes
        ):
            raise ValueError(
                "Reshape: target_shape must hold positive integers and at most one -1, "
                f"received {target_shape}."
            )

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # an impossible shape is told here

    def call(self, x: Any) -> Any:
        return functions.reshape(x, (x.shape[0], *self._sizes(x.shape[1:])))

    def _sizes(self, sample_shape: Shape) -> Shape:
        if None in sample_shape:
            return tuple(None if size == -1 else size for size in self.target_shape)
        size = math.prod(s for s in sample_shape if s is not None)
        known = math.prod(s for s in self.target_shape if s != -1)
        if size % known or (size != known and -1 not in self.target_shape):
            raise ValueError(
                f"Reshape cannot make samples of shape {self.target_shape} from samples of shape "
                f"{tuple(sample_shape)}, which have {size} elements."
            )
        return tuple(size // known if s == -1 else s for s in self.target_shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self._sizes(input_shape[1:]))


class Flatten(Layer):
    """Make each sample one row: (batch, height, width, channels) to (batch, features)."""

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = check_data_format(data_format, "Flatten")

    def check_input(self, shape: Shape) -> None:
        if not shape:
            raise ValueError("Flatten expects inputs of shape (batch, ...), received one number.")

    def call(self, x: Any) -> Any:
        if self.data_format == "channels_first" and x.ndim > 2:
            # As in Keras, the features come out in the order of channels_last.
            x = functions.transpose(x, (0, *range(2, x.ndim), 1))
        return functions.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = input_shape[1:]
        if None in sizes:
            return (input_shape[0], None)
        return (input_shape[0], math.prod(size for size in sizes if size is not None))

    def fusion_role(self) -> Role | None:
        return Flat() if self.data_format == "channels_last" else None


class Permute(Layer):
    """Change the order of the axes after the batch.

    Arguments:
        dims: the axes of the input in their new order, counted from 1.
        options: those of every `Layer`.

    >>> Permute((2, 1)).compute_output_shape((None, 10, 64))
    (None, 64, 10)
    """

    def __init__(self, dims: Any, **options: Any) -> None:
        super().__init__(**options)
        given = dims if isinstance(dims, list | tuple) else (dims,)
        self.dims = tuple(integer(axis, "dims", "Permute") for axis in given)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                f"Permute: dims must contain each of 1 to {len(self.dims)} once, received {dims}."
            )

    def check_input(self, shape: Shape) -> None:
        if len(shape) != len(self.dims) + 1:
            raise ValueError(
                f"Permute with dims={self.dims} expects inputs of {len(self.dims) + 1} dimensions, "
                f"the batch counted, received {len(shape)}: {tuple(shape)}."
            )

    def call(self, x: Any) -> Any:
        return functions.transpose(x, (0, *self.dims))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self.check_input(input_shape)
        return (input_shape[0], *(input_shape[axis] for axis in self.dims))


class RepeatVector(Layer):
    """Repeat each sample as the steps of a sequence: (batch, features) to (batch, n, features).

    Arguments:
        n: how many times.
        options: those of every `Layer`.

    >>> RepeatVector(3).compute_output_shape((None, 32))
    (None, 3, 32)
    """

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = positive_integer(n, "n", "RepeatVector")

    def check_input(self, shape: Shape) -> None:
        if len(shape) != 2:
            raise ValueError(
                f"RepeatVector expects inputs of shape (batch, features), received {len(shape)} "
                f"dimensions: {tuple(shape)}."
            )

    def call(self, x: Any) -> Any:
        return functions.broadcast_to(functions.expand_dims(x, 1), (x.shape[0], self.n, x.shape[1]))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self.check_input(input_shape)
        return (input_shape[0], self.n, input_shape[1])
