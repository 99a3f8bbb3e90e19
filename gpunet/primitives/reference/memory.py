"""A pool of memory for large arrays: freed memory is reused.

The system hands out fresh memory page by page, at a cost that can exceed that of the arithmetic,
and each training step needs the same sizes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["empty"]

_LEAST = 1 << 17  # bytes; the C library keeps smaller pieces itself
_MOST_KEPT = 1 << 26  # bytes that may lie unused
_ALIGNMENT = 64  # bytes of a cache line, and of the widest vector instructions

# Pieces that no array lies in, by id, the longest unused first. Each step of `_take` and of
# `_Lease.__del__` is one operation on the dict, so that threads and garbage collection may cut in.
_unused: dict[int, NDArray[np.uint8]] = {}


class _Lease:
    """The base of an array made by `empty`: returns the memory to the pool when it is freed.

    Views keep the array they were made from, so the memory is free when the last one is gone.
    """

    def __init__(self, memory: NDArray[np.uint8], shape: tuple[int, ...], typestr: str) -> None:
        self.memory, self.unused = memory, _unused
        start = memory.__array_interface__["data"][0]
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": typestr,
            "data": (-(-start // _ALIGNMENT) * _ALIGNMENT, False),
        }

    def __del__(self) -> None:
        unused = self.unused
        if self.memory.nbytes > _MOST_KEPT:
            return
        unused[id(self.memory)] = self.memory
        pieces = list(unused.items())
        kept = sum(memory.nbytes for _, memory in pieces)
        for key, memory in pieces:
            if kept <= _MOST_KEPT:
                break
            unused.pop(key, None)
            kept -= memory.nbytes


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array with any contents, as `np.empty`, in memory used before if there is some.

    Arguments:
        shape: of the array.
        dtype: the element type.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_take(size + _ALIGNMENT), shape, dtype.str))


def _take(size: int) -> NDArray[np.uint8]:
    """Return a piece of at least `size` bytes, and not much more."""
    for key, memory in reversed(list(_unused.items())):  # the last used may still be in cache
        if size <= memory.nbytes <= size + size // 4:
            found = _unused.pop(key, None)
            if found is not None:
                return found
    return np.empty(size, np.uint8)
