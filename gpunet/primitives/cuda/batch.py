"""The samples of a batch, gathered by CUDA kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives import launcher
from gpunet.primitives.checks import check_gather
from gpunet.primitives.launcher import Kernel

__all__ = ["gather_batch"]

Array = Any

_COPY = Kernel("batch.cu", "gather_copy")
_CONVERT = Kernel("batch.cu", "gather_convert")

_BLOCK = 256
_MOST_PARTS = 65_535  # the longest second axis of a grid


def gather_batch(data: Array, rows: Array, *, dtype: Any = None, scale: float = 1.0) -> Array:
    """Return data[rows], copied as it is, or as floating-point numbers of `dtype` times `scale`.

    A row that is not there is never read: its sample is NaN; where the result is of integers it
    is -1, the largest number of an unsigned type, or True.
    """
    result = check_gather(data, rows, dtype, scale)
    batch = launcher.empty((*rows.shape, *data.shape[1:]), result)
    data, rows = launcher.contiguous(data), launcher.contiguous(rows)
    size = math.prod(data.shape[1:])
    vector = math.gcd(launcher.vector_width(data, batch), size)
    grid, block = _launch_size(rows.size, launcher.ceil_div(size, max(1, vector)))
    shape = (len(data), rows.size, size)
    if result == data.dtype and scale == 1:
        word = np.dtype(f"u{result.itemsize}")
        # All ones are NaN in every floating-point type, and -1; but a bool is only 0 or 1.
        missing = 1 if result.kind == "b" else np.iinfo(word).max
        arrays = (data.view(word), rows, batch.view(word))
        _COPY(grid, block, *shape, missing, *arrays, types={"T": word, "D": word}, VECTOR=vector)
    else:
        data = data.view("u1") if data.dtype.kind == "b" else data
        types = {"T": result, "D": data.dtype}
        _CONVERT(grid, block, *shape, scale, data, rows, batch, types=types, VECTOR=vector)
    return batch


def _launch_size(count: int, vectors: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a grid and a block: threads side by side have one sample, as far as it reaches."""
    along = min(_BLOCK, 1 << max(0, vectors - 1).bit_length())
    parts = min(_MOST_PARTS, launcher.ceil_div(vectors, along))
    return (launcher.ceil_div(count, _BLOCK // along), parts), (along, _BLOCK // along)
