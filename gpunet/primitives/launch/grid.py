"""Sizes of grids and of vectors."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.launch.executor import address, multiprocessors

__all__ = ["blocks_for", "ceil_div", "vector_width"]

Array = Any

_VECTOR_BYTES = 16  # the most that a thread reads or writes at once


def ceil_div(count: int, size: int) -> int:
    """Return how many parts of `size` hold `count`."""
    return -(-count // size)


def blocks_for(count: int, block: int = 256) -> int:
    """Return a grid for `count` threads that loop on: as large as can run at once, at most.

    >>> blocks_for(0), blocks_for(1000)
    (0, 4)
    """
    blocks = ceil_div(count, block)
    # A multiprocessor runs up to 2048 threads; twice that evens the load out.
    return blocks if blocks <= 8 else min(blocks, multiprocessors() * 2 * ceil_div(2048, block))


def vector_width(*arrays: Array) -> int:
    """Return how many elements make 16 bytes if all arrays begin on such a boundary, else 1."""
    if any(address(array) % _VECTOR_BYTES for array in arrays):
        return 1
    return _VECTOR_BYTES // max(array.dtype.itemsize for array in arrays)
