"""Sums over the rows of a matrix, in a fixed order, as the kernels of kernels/reduction.cu."""

from __future__ import annotations

import math
from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.launch import Kernel

__all__ = ["bias_backward", "sum_rows", "sum_windows"]

Array = Any

_SUM_ROWS = Kernel("reduction.cu", "sum_rows")
_SUM_WINDOWS = Kernel("reduction.cu", "sum_windows")

_COLUMNS, _WARPS = 32, 8  # of a block
_LEAST_ROWS = 16 * _WARPS  # of a chunk, so that its start and end do not outweigh the sum


def bias_backward(output_grad: Array) -> Array:
    """Return the sum of `output_grad` (..., channels) over all axes but the last, (channels,)."""
    channels = output_grad.shape[-1]
    shape = (math.prod(output_grad.shape[:-1]), channels)
    rows = launch.contiguous(output_grad).reshape(shape)
    total = launch.empty((channels,), output_grad.dtype)
    chunks = _chunks(rows.shape[0], channels)
    if chunks > 1:
        parts = launch.empty((chunks, channels), launch.accumulator(output_grad.dtype))
        sum_rows(rows, parts)
        rows = parts
    sum_rows(rows, total.reshape(1, channels))
    return total


def sum_rows(
    x: Array, y: Array, bias: Array | None = None, activation: Activation | None = None
) -> None:
    """Write the sums over chunks of the rows of `x` to `y`.

    Arguments:
        x: (rows, columns).
        y: (chunks, columns), changed.
        bias: added to each sum, repeated along the columns; with one chunk only.
        activation: applied to each sum; with one chunk only.
    """
    (rows, columns), chunks = x.shape, y.shape[0]
    if columns == 0:
        return
    grid, bias_size = (launch.ceil_div(columns, _COLUMNS), chunks), 1 if bias is None else bias.size
    _SUM_ROWS(
        grid, (_COLUMNS, _WARPS), rows, columns, launch.ceil_div(rows, chunks), bias_size, x, bias,
        y, types={"T": y.dtype, "S": x.dtype}, ACTIVATION=activation_macro(activation),
    )  # fmt: skip


def sum_windows(
    parts: Array, y: Array, indices: Array, bias: Array | None, activation: Activation | None
) -> None:
    """Write the largest of each window's 4 sums to `y`, and which it is to `indices`.

    Arguments:
        parts: (splits, ...) of each sum, those of a window after those of the one before.
        y, indices: (..., columns), changed.
        bias: (columns,), added to each sum, or None.
        activation: applied to the largest.
    """
    _SUM_WINDOWS(
        launch.blocks_for(y.size), 256, y.size, y.shape[-1], parts.shape[0], parts, bias, y,
        indices, types={"T": y.dtype, "S": parts.dtype}, ACTIVATION=activation_macro(activation),
    )  # fmt: skip


def _chunks(rows: int, columns: int) -> int:
    """Return into how many chunks to divide the rows, so that the blocks fill the device."""
    across = max(1, launch.ceil_div(columns, _COLUMNS))
    wanted = launch.ceil_div(4 * launch.multiprocessors(), across)
    return max(1, min(wanted, rows // _LEAST_ROWS))
