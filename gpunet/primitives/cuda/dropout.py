"""Dropout, with the same masks as the reference twin."""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.launch import Kernel

__all__ = ["dropout_backward", "dropout_forward"]

Array = Any

_DROPOUT = Kernel("dropout.cu", "dropout")

_BLOCK = 128  # a thread has 8 elements: smaller blocks spread a small batch wider
_ELEMENTS = 8  # of a thread, as many as a block of random numbers has


def dropout_forward(x: Array, key: Array, threshold: int, scale: float) -> Array:
    """Return x * scale where the element's bits are at least `threshold`, else 0."""
    x, key = launch.contiguous(x), launch.contiguous(key)
    y = launch.empty(x.shape, x.dtype)
    grid = launch.blocks_for(launch.ceil_div(x.size, _ELEMENTS), _BLOCK)
    types, vector = {"T": x.dtype}, launch.vector_width(x, y)
    _DROPOUT(grid, _BLOCK, x.size, threshold, scale, key, x, y, types=types, VECTOR=vector)
    return y


dropout_backward = dropout_forward  # which keeps the same elements
