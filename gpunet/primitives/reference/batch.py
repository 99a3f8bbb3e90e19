"""Samples of a batch, gathered from all data, and rescaled."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.reference.blocks import Array
from gpunet.primitives.reference.memory import empty

__all__ = ["gather_batch", "rescale_forward"]


def gather_batch(data: Array, rows: Array, dtype: np.dtype[Any], scale: float) -> Array:
    """Return data[rows] in `dtype`, times `scale`."""
    # As unsigned numbers, those below 0 are the largest.
    if rows.size and rows.view(np.uint64).max() >= len(data):
        raise IndexError(
            f"gather_batch: expected rows from 0 to {len(data) - 1}, received some from "
            f"{rows.min()} to {rows.max()}: take them from range({len(data)})."
        )
    batch = _rows_of(data, rows).astype(dtype, copy=False)
    if scale != 1:
        batch *= scale
    return batch


def _rows_of(data: Array, rows: Array) -> Array:
    """Return data[rows], for rows that exist."""
    if rows.size and data.flags.c_contiguous and data.flags.aligned:  # else `take` copies all data
        out = empty((*rows.shape, *data.shape[1:]), data.dtype)
        # Half the time of data[rows]; with mode="raise" the result would be copied once more.
        return data.take(rows, axis=0, out=out, mode="clip")
    return data[rows]


def rescale_forward(x: Array, scale: float, offset: float, dtype: np.dtype[Any]) -> Array:
    """Return x * scale + offset in `dtype`."""
    # NumPy converts what it multiplies in blocks of its own, which stay in cache.
    y = np.multiply(x, dtype.type(scale), out=empty(x.shape, dtype), dtype=dtype, casting="unsafe")
    y += dtype.type(offset)
    return y
