"""Dropout as a CUDA kernel, with the very masks of the reference."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.checks import check_dropout
from gpunet.primitives.launch import kernel as launcher
from gpunet.primitives.launch.kernel import Kernel

__all__ = ["dropout_backward", "dropout_forward"]

Array = Any

_DROPOUT = Kernel("dropout.cu", "dropout")

_BLOCK = 128  # a thread has 8 elements: smaller blocks spread a small batch wider
_ELEMENTS = 8  # of a thread, as many as a block of random numbers has


def dropout_forward(x: Array, key: Array, *, rate: float) -> Array:
    """Return `x` with a share `rate` of its elements set to 0, the others divided by 1 - rate."""
    threshold, scale = check_dropout(key, rate)
    x, key = launcher.contiguous(x), launcher.contiguous(key)
    y = launcher.empty(x.shape, x.dtype)
    grid = launcher.blocks_for(launcher.ceil_div(x.size, _ELEMENTS), _BLOCK)
    types, vector = {"T": x.dtype}, launcher.vector_width(x, y)
    _DROPOUT(grid, _BLOCK, x.size, threshold, scale, key, x, y, types=types, VECTOR=vector)
    return y


def dropout_backward(output_grad: Array, key: Array, *, rate: float) -> Array:
    """Return the gradient of the input of dropout: the same elements kept, scaled the same."""
    return dropout_forward(output_grad, key, rate=rate)
