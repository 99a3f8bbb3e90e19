"""Arrays as the kernels take them, and the memory that each thread works in."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.fast.threads import thread_count
from gpunet.primitives.reference.memory import empty

__all__ = ["flat", "scratch", "scratch_ints"]

Array = Any


def flat(array: Array) -> Array:
    """Return an array as one contiguous row: itself, or a copy if it is a view or unaligned."""
    array = np.ascontiguousarray(array).reshape(-1)
    return array if array.flags.aligned else array.copy()


def scratch(size: int) -> Array:
    """Return `size` floats of memory for each thread, of any contents, in one array."""
    return empty((thread_count() * size,), np.float32)


def scratch_ints(size: int) -> Array:
    """Return `size` int64 of memory for each thread, of any contents, in one array."""
    return empty((thread_count() * size,), np.int64)
