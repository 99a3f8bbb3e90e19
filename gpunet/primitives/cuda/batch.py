"""Samples of a batch, gathered and rescaled by CUDA kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.primitives import launch
from gpunet.primitives.launch import Kernel

__all__ = ["gather_batch", "gather_batches", "rescale_forward"]

Array = Any

_COPY = Kernel("batch.cu", "gather_copy")
_CONVERT = Kernel("batch.cu", "gather_convert")
_BATCHES = Kernel("gather.cu", "gather_batches")
_RESCALE = Kernel("batch.cu", "rescale")

_BLOCK = 256
_MOST_ARRAYS = 8  # of one launch
_MOST_PARTS = 65_535  # the longest second axis of a grid


def gather_batch(data: Array, rows: Array, dtype: np.dtype[Any], scale: float) -> Array:
    """Return data[rows] in `dtype`, times `scale`.

    A row that does not exist is never read: its sample is NaN; in integers -1, the largest number
    of an unsigned type, or True.
    """
    batch = launch.empty((*rows.shape, *data.shape[1:]), dtype)
    data, rows = launch.contiguous(data), launch.contiguous(rows)
    size = math.prod(data.shape[1:])
    vector = math.gcd(launch.vector_width(data, batch), size)
    grid, block = _launch_size(rows.size, launch.ceil_div(size, max(1, vector)))
    shape = (len(data), rows.size, size)
    if dtype == data.dtype and scale == 1:
        word = np.dtype(f"u{dtype.itemsize}")
        # All ones are NaN in every floating-point type, and -1; but a bool is only 0 or 1.
        missing = 1 if dtype.kind == "b" else np.iinfo(word).max
        arrays = (data.view(word), rows, batch.view(word))
        _COPY(grid, block, *shape, missing, *arrays, types={"T": word, "D": word}, VECTOR=vector)
    else:
        data = _as_numbers(data)
        types = {"T": dtype, "D": data.dtype}
        _CONVERT(grid, block, *shape, scale, data, rows, batch, types=types, VECTOR=vector)
    return batch


def gather_batches(
    arrays: Sequence[Array], order: Array, position: Array, size: int
) -> tuple[Array, ...]:
    """Return copies of the same rows of several arrays, such as inputs and targets.

    One launch gathers from up to 8 arrays. A row that does not exist is never read: all its bits
    are 1, which is NaN or -1.

    Arguments:
        arrays: contiguous, of as many samples each, of any types.
        order: int64 (samples,), the rows to choose from.
        position: int64 (1,), where the chosen rows begin in `order`; read on the device.
        size: how many rows are chosen.
    """
    batches = tuple([launch.empty((size, *array.shape[1:]), array.dtype) for array in arrays])
    pairs = list(zip(arrays, batches, strict=True))
    for first in range(0, len(pairs), _MOST_ARRAYS):
        _gather(pairs[first : first + _MOST_ARRAYS], order, position, size)
    return batches


def _gather(pairs: list[tuple[Array, Array]], order: Array, position: Array, size: int) -> None:
    """Gather all data of `pairs` into their batches, by one launch."""
    samples = len(pairs[0][0])
    arguments: list[Any] = []
    longest = 0
    for data, batch in pairs:
        count = math.prod(data.shape[1:]) * data.itemsize
        aligned = launch.vector_width(data.view("u1"), batch.view("u1"))
        width = math.gcd(aligned if aligned > 1 else data.itemsize, count)
        arguments += [count, width, data.view("u1"), batch.view("u1")]
        longest = max(longest, launch.ceil_div(count, max(1, width)))
    (blocks, parts), block = _launch_size(size, longest)
    arguments += [0, 1, None, None] * (_MOST_ARRAYS - len(pairs))
    _BATCHES(
        (blocks, parts, len(pairs)), block, samples, size, position, order, *arguments, types={}
    )


def rescale_forward(x: Array, scale: float, offset: float, dtype: np.dtype[Any]) -> Array:
    """Return x * scale + offset in `dtype`.

    The bits are NumPy's, but for float32 numbers below 1.2e-38. Of 16-bit types only the sum is
    rounded.
    """
    y = launch.empty(x.shape, dtype)
    x = _as_numbers(launch.contiguous(x))
    vector = launch.vector_width(x, y)
    grid = launch.blocks_for(launch.ceil_div(y.size, vector), _BLOCK)
    types = {"T": dtype, "D": x.dtype}
    _RESCALE(grid, _BLOCK, y.size, scale, offset, x, y, types=types, VECTOR=vector)
    return y


def _as_numbers(array: Array) -> Array:
    """Return an array that a kernel can convert: bools as bytes of 0 and 1."""
    return array.view("u1") if array.dtype.kind == "b" else array


def _launch_size(count: int, vectors: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a grid and a block: threads side by side have one sample, as far as it reaches."""
    along = min(_BLOCK, 1 << max(0, vectors - 1).bit_length())
    parts = min(_MOST_PARTS, launch.ceil_div(vectors, along))
    return (launch.ceil_div(count, _BLOCK // along), parts), (along, _BLOCK // along)
