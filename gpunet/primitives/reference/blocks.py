"""Work in blocks that stay in cache, so that no temporary array is as large as the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpunet.primitives.checks import check_same_shape
from gpunet.primitives.reference.memory import empty

__all__ = ["BLOCK_BYTES", "Array", "blocks_of", "in_chunks", "inside", "keep_where", "per_block"]

Array = NDArray[Any]

BLOCK_BYTES = 1 << 21  # about the level-2 caches of two cores; smaller blocks cost more calls
_CHUNK = 1 << 16  # elements; large enough for the cost of a NumPy call not to count


def per_block(count: int, bytes_each: int) -> int:
    """Return how many of `count` things make up a block of about `BLOCK_BYTES`, at least 1.

    The blocks are of one size but for the last, which may be smaller.
    """
    blocks = -(-count * bytes_each // BLOCK_BYTES)
    return max(1, -(-count // max(1, blocks)))


def blocks_of(count: int, size: int) -> Iterator[slice]:
    """Yield slices of `size` that divide range(count); the last may be smaller."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def in_chunks(formula: Callable[..., Any], first: Array, *others: Array, **options: Any) -> Array:
    """Return an array like `first`, made by calling `formula` on one chunk after another.

    Arguments:
        formula: called as ``formula(first, *others, out=..., **options)`` with flat chunks.
        first: any shape; the result has its shape and type.
        others: arrays of the same shape.
        options: passed on.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(formula.__name__.strip("_"), first, *others)
    result = empty(first.shape, first.dtype)
    flat = [array.reshape(-1) for array in (first, *others, result)]
    for start in range(0, result.size, _CHUNK):
        *chunks, out = (array[start : start + _CHUNK] for array in flat)
        formula(*chunks, out=out, **options)
    return result


def inside(first: int, stride: int, count: int, size: int) -> tuple[slice, slice]:
    """Return which of `count` places lie in range(size), and a slice of those places.

    Place k is first + k * stride.
    """
    start = max(0, -(first // stride))  # the first k with first + k * stride >= 0
    stop = max(start, min(count, (size - 1 - first) // stride + 1))
    return slice(start, stop), slice(first + start * stride, first + stop * stride, stride)


def keep_where(mask: Array, values: Array, out: Array) -> None:
    """Write `values` to `out` where `mask` is true, else 0.

    The bits are multiplied, as integers: an infinite value times 0 would be NaN, and `np.where`
    is many times slower where the mask is hard to foretell.
    """
    bits = f"i{values.dtype.itemsize}"
    np.multiply(values.view(bits), mask, out=out.view(bits))
