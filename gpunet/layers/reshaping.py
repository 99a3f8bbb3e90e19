"""Layers that give their input another shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import functions
from gpunet.arguments import check_data_format
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.roles import Flat, Role

__all__ = ["Flatten", "Reshape"]


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

    def __init__(self, data_format: str = "channels_last", **options: Any) -> None:
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
