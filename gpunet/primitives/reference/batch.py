"""What a model is fed: the samples of a batch, gathered from all of the data, and rescaled."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.checks import check_gather, check_rescale
from gpunet.primitives.reference.blocks import Array
from gpunet.primitives.reference.memory import empty

__all__ = ["gather_batch", "rescale_forward"]


def gather_batch(data: Array, rows: Array, *, dtype: Any = None, scale: float = 1.0) -> Array:
    """Return data[rows], copied as it is, or as floating-point numbers of `dtype` times `scale`.

    Arguments:
        data: (samples, ...), of any type of numbers, or bool.
        rows: int64 (batch,), from 0 to below the number of samples.
        dtype: None to keep that of `data`, or a floating-point type.
        scale: what floating-point results are multiplied by.

    Raises:
        TypeError, ValueError: the arguments do not fit each other.
        IndexError: a row is not there. A kernel on the GPU cannot raise: it makes such a sample
            NaN, or where the result is of integers -1, the largest number of an unsigned type, or
            True.

    >>> import numpy as np
    >>> images = np.array([[0, 6], [3, 255]], np.uint8)
    >>> gather_batch(images, np.array([1, 0]), dtype="float32", scale=0.5)
    array([[  1.5, 127.5],
           [  0. ,   3. ]], dtype=float32)
    """
    result = check_gather(data, rows, dtype, scale)
    # As unsigned numbers, those below 0 are the largest.
    if rows.size and rows.view(np.uint64).max() >= len(data):
        raise IndexError(
            f"gather_batch: expected rows from 0 to {len(data) - 1}, received some from "
            f"{rows.min()} to {rows.max()}: take them from range({len(data)})."
        )
    batch = _rows_of(data, rows).astype(result, copy=False)
    if scale != 1:
        batch *= scale
    return batch


def _rows_of(data: Array, rows: Array) -> Array:
    """Return data[rows], for rows that are there."""
    if rows.size and data.flags.c_contiguous and data.flags.aligned:  # else `take` copies all data
        out = empty((*rows.shape, *data.shape[1:]), data.dtype)
        # Half the time of data[rows]; with mode="raise" the result would be copied once more.
        return data.take(rows, axis=0, out=out, mode="clip")
    return data[rows]


def rescale_forward(x: Array, *, scale: float, offset: float = 0.0, dtype: Any = None) -> Array:
    """Return x * scale + offset: `x` is converted to `dtype`, and each result rounded in it.

    Arguments:
        x: of any shape and any type of numbers, or bool.
        scale, offset: finite numbers.
        dtype: a floating-point type; None for that of `x`.

    Raises:
        TypeError, ValueError: the arguments are not such.

    >>> rescale_forward(np.array([0, 255], np.uint8), scale=1 / 127.5, offset=-1, dtype="float32")
    array([-1.,  1.], dtype=float32)
    """
    result = check_rescale(x, scale, offset, dtype)
    # NumPy converts what it multiplies in blocks of its own, which stay in cache.
    y = np.multiply(
        x, result.type(scale), out=empty(x.shape, result), dtype=result, casting="unsafe"
    )
    y += result.type(offset)
    return y
