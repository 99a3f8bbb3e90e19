"""Layers that prepare data."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import functions
from gpunet.arguments import is_number, plain
from gpunet.layers.layer import Layer, Shape

__all__ = ["Rescaling"]


class Rescaling(Layer):
    """Return ``x * scale + offset``, such as images of bytes as numbers from 0 to 1.

    As a model's first layer it takes integers as they are, and converts and scales them batch by
    batch: a data set of bytes needs a quarter of the memory that float32 takes.

    Arguments:
        scale, offset: numbers.
        options: those of every `Layer`; `dtype` is that of the result for integers.

    >>> Rescaling(1 / 127.5, offset=-1)(np.array([[0, 255]], "uint8")).value
    array([[-1.,  1.]], dtype=float32)
    """

    supports_masking = True

    def __init__(self, scale: float, offset: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale = _number(scale, "scale", self.dtype)
        self.offset = _number(offset, "offset", self.dtype)

    def takes_integers(self) -> bool:
        return True

    def call(self, x: Any) -> Any:
        dtype = None if x.dtype.kind == "f" else self.dtype
        return functions.rescale(x, scale=self.scale, offset=self.offset, dtype=dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def _number(value: Any, argument: str, dtype: np.dtype) -> float:
    """Return `value` if it is one number that is finite as a `dtype`, else raise `ValueError`."""
    found, limit = plain(value), float(np.finfo(dtype).max)
    if is_number(found) and -limit <= found <= limit:
        return float(found)
    raise ValueError(
        f"Rescaling: {argument} must be one finite number within the range of {dtype}, received "
        f"{value!r}: for example Rescaling(1 / 255) makes bytes numbers from 0 to 1."
    )
