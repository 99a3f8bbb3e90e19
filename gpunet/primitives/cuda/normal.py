"""Normally distributed numbers, from the same bits as the reference twin's."""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.launch import Kernel

__all__ = ["normal_like"]

Array = Any

_NORMAL = Kernel("normal.cu", "normal")

_BLOCK = 128
_ELEMENTS = 8  # of a thread, as many as a block of random numbers has


def normal_like(x: Array, key: Array) -> Array:
    """Return standard normal numbers in the shape and type of `x`."""
    y, key = launch.empty(x.shape, x.dtype), launch.contiguous(key)
    grid = launch.blocks_for(launch.ceil_div(x.size, _ELEMENTS), _BLOCK)
    _NORMAL(grid, _BLOCK, x.size, key, y, types={"T": x.dtype})
    return y
