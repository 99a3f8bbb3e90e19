"""Arrays as the kernels take them, and the memory that each thread works in."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from gpunet.primitives.fast.threads import thread_count

__all__ = [
    "NO_BYTES",
    "NO_FLOATS",
    "NO_INTS",
    "aligned",
    "flat",
    "scratch",
    "scratch_ints",
    "workspace",
]

_MOST_KEPT = 1 << 25  # bytes of a workspace that stay allocated
_LINE = 64  # bytes of a cache line: a vector that lies in two takes twice as long

Array = Any

# Where a kernel takes an array that is not there.
NO_FLOATS, NO_BYTES = np.empty(0, np.float32), np.empty(0, np.uint8)
NO_INTS = np.empty(0, np.int64)


def flat(array: Array) -> Array:
    """Return an array as one contiguous row: itself, or a copy if it is a view or unaligned."""
    array = np.ascontiguousarray(array).reshape(-1)
    return array if array.flags.aligned else array.copy()


class _Workspaces(threading.local):
    """Memory of each of the program's threads, by what it is for."""

    def __init__(self) -> None:
        self.of: dict[str, Array] = {}


_workspaces = _Workspaces()


def workspace(purpose: str, size: int, dtype: Any = np.float32) -> Array:
    """Return memory of any contents, reused by the next call for the same purpose.

    Arguments:
        purpose: a name for the memory; two in use at a time need two names.
        size: elements.
        dtype: their type.
    """
    found = _workspaces.of.get(purpose)
    if found is None or found.size < size or found.dtype != dtype:
        found = aligned(size, dtype)
        if found.nbytes <= _MOST_KEPT:
            _workspaces.of[purpose] = found
    return found[:size]


def aligned(size: int, dtype: Any = np.float32) -> Array:
    """Return new memory of any contents that begins with a cache line."""
    dtype = np.dtype(dtype)
    memory = np.empty(size * dtype.itemsize + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size * dtype.itemsize].view(dtype)


def scratch(size: int) -> Array:
    """Return `size` floats of memory for each of the threads that run kernels, in one array."""
    return workspace("scratch", thread_count() * size)


def scratch_ints(size: int) -> Array:
    """Return `size` int64 of memory for each of the threads that run kernels, in one array."""
    return workspace("lists", thread_count() * size, np.int64)
