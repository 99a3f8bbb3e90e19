"""What a model is fed, gathered and rescaled by CUDA kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives.checks import check_gather, check_rescale
from gpunet.primitives.launch import kernel as launcher
from gpunet.primitives.launch.kernel import Kernel

__all__ = ["gather_batch", "gather_pair", "rescale_forward"]

Array = Any

_COPY = Kernel("batch.cu", "gather_copy")
_CONVERT = Kernel("batch.cu", "gather_convert")
_PAIR = Kernel("batch.cu", "gather_pair")
_RESCALE = Kernel("batch.cu", "rescale")

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
        data = _as_numbers(data)
        types = {"T": result, "D": data.dtype}
        _CONVERT(grid, block, *shape, scale, data, rows, batch, types=types, VECTOR=vector)
    return batch


def gather_pair(x: Array, y: Array, rows: Array, first: Array, count: int) -> tuple[Array, Array]:
    """Return copies of the same rows of two arrays, by one launch.

    Arguments:
        x, y: contiguous, with one row a sample.
        rows: int64 (samples,), which rows there are to choose from, in their order.
        first: int64 (1,), the first of `rows` that is chosen; read on the device.
        count: how many are chosen.
    """
    batch_x = launcher.empty((count, *x.shape[1:]), x.dtype)
    batch_y = launcher.empty((count, *y.shape[1:]), y.dtype)
    sizes = [math.prod(array.shape[1:]) for array in (x, y)]
    vectors = [
        math.gcd(launcher.vector_width(data, batch), size)
        for data, batch, size in zip((x, y), (batch_x, batch_y), sizes, strict=True)
    ]
    longest = max(
        launcher.ceil_div(size, vector) for size, vector in zip(sizes, vectors, strict=True)
    )
    (blocks, parts), block = _launch_size(count, longest)
    word_x, word_y = (np.dtype(f"u{array.dtype.itemsize}") for array in (x, y))
    _PAIR(
        (blocks, parts, 2),
        block,
        len(x),
        count,
        *sizes,
        first,
        rows,
        x.view(word_x),
        y.view(word_y),
        batch_x.view(word_x),
        batch_y.view(word_y),
        types={"T": word_x, "D": word_y},
        VECTOR=vectors[0],
        VECTOR_Y=vectors[1],
    )
    return batch_x, batch_y


def rescale_forward(x: Array, *, scale: float, offset: float = 0.0, dtype: Any = None) -> Array:
    """Return x * scale + offset: `x` is converted to `dtype`, and each result rounded in it.

    The bits are NumPy's, but for float32 numbers below 1.2e-38. Of 16-bit types only the sum is
    rounded.
    """
    result = check_rescale(x, scale, offset, dtype)
    y = launcher.empty(x.shape, result)
    x = _as_numbers(launcher.contiguous(x))
    vector = launcher.vector_width(x, y)
    grid = launcher.blocks_for(launcher.ceil_div(y.size, vector), _BLOCK)
    types = {"T": result, "D": x.dtype}
    _RESCALE(grid, _BLOCK, y.size, scale, offset, x, y, types=types, VECTOR=vector)
    return y


def _as_numbers(array: Array) -> Array:
    """Return an array that a kernel can convert: bools as bytes of 0 and 1."""
    return array.view("u1") if array.dtype.kind == "b" else array


def _launch_size(count: int, vectors: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a grid and a block: threads side by side have one sample, as far as it reaches."""
    along = min(_BLOCK, 1 << max(0, vectors - 1).bit_length())
    parts = min(_MOST_PARTS, launcher.ceil_div(vectors, along))
    return (launcher.ceil_div(count, _BLOCK // along), parts), (along, _BLOCK // along)
