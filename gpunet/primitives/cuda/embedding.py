"""The gradient of an embedding as a CUDA kernel, kernels/embedding.cu."""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.launch import Kernel

__all__ = ["embedding_backward"]

Array = Any

_BACKWARD = Kernel("embedding.cu", "embedding_backward")

_WARP, _WARPS = 32, 4  # lanes to a warp, warps to a block
_MOST_ROWS = 32  # of the table that a warp looks for at once
_MOST_PARTS = 65_535  # the longest second axis of a grid


def embedding_backward(output_grad: Array, indices: Array, rows: int) -> Array:
    """Return the sums of the gradients (count, features) of each row of the table."""
    count, features = output_grad.shape
    table_grad = launch.empty((rows, features), output_grad.dtype)
    window = _rows_of_warp(rows)
    blocks = launch.ceil_div(launch.ceil_div(rows, window), _WARPS)
    parts = min(_MOST_PARTS, launch.ceil_div(features, _WARP))
    _BACKWARD(
        (blocks, parts),
        _WARP * _WARPS,
        count,
        features,
        rows,
        launch.contiguous(output_grad),
        launch.contiguous(indices),
        table_grad,
        types={"T": output_grad.dtype},
        WINDOW=window,
    )
    return table_grad


def _rows_of_warp(rows: int) -> int:
    """Return how many rows a warp adds up: more where there are enough warps for the device."""
    window, warps = 1, launch.multiprocessors() * 2 * _WARPS
    while window < _MOST_ROWS and rows > warps * window:
        window *= 2
    return window
