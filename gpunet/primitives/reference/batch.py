"""The samples of a batch, gathered from all of the data."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.checks import check_gather
from gpunet.primitives.reference.blocks import Array

__all__ = ["gather_batch"]


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
    if rows.size and (rows.min() < 0 or rows.max() >= len(data)):
        raise IndexError(
            f"gather_batch: expected rows from 0 to {len(data) - 1}, received some from "
            f"{rows.min()} to {rows.max()}: take them from range({len(data)})."
        )
    batch = data[rows].astype(result, copy=False)
    if scale != 1:
        batch *= scale
    return batch
