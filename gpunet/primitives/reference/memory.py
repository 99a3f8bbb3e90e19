"""A pool of memory for large arrays: freed memory is reused.

The system hands out fresh memory page by page, at a cost that can exceed that of the arithmetic,
and each training step needs the same sizes.
"""

from __future__ import annotations

import functools
import math
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["empty", "kept_bytes"]

_LEAST = 1 << 17  # bytes; the C library keeps smaller pieces itself
_MOST_KEPT = 1 << 28  # bytes that may lie unused: between two steps all of a step's do
_ALIGNMENT = 64  # bytes of a cache line, and of the widest vector instructions


class _Piece(NamedTuple):
    """Memory, the address of the first cache line in it, and how many bytes it has from there."""

    memory: NDArray[np.uint8]
    start: int
    size: int


# Pieces that no array lies in, by their size, that which was freed last at the end. Each step of
# `_take` and of `_Lease.__del__` is one operation on a dict or list, so that threads and garbage
# collection may cut in: at worst a piece is not kept.
_unused: dict[int, list[_Piece]] = {}
_freed = [0]  # bytes since excess was last looked for


class _Layout(NamedTuple):
    """Where an array may lie: pieces of these sizes, the least first, and its type as a string."""

    sizes: tuple[int, ...]
    typestr: str


class _Lease:
    """The base of an array made by `empty`: returns the memory to the pool when it is freed.

    Views keep the array they were made from, so the memory is free when the last one is gone.
    """

    __slots__ = ("__array_interface__", "piece", "unused")

    def __init__(self, layout: _Layout, shape: tuple[int, ...]) -> None:
        self.piece, self.unused = _take(layout.sizes), _unused
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": layout.typestr,
            "data": (self.piece.start, False),
        }

    def __del__(self) -> None:
        size, unused = self.piece.size, self.unused
        if size > _MOST_KEPT:
            return
        pieces = unused.pop(size, [])  # to the end: other sizes are unused for longer
        pieces.append(self.piece)
        unused[size] = pieces
        _freed[0] += size
        if _freed[0] >= _MOST_KEPT // 8:
            _freed[0] = 0
            _drop_excess(unused)


def _drop_excess(unused: dict[int, list[_Piece]]) -> None:
    """Give memory back that is more than may lie unused, from that which was so for longest."""
    excess = kept_bytes() - _MOST_KEPT
    for size in list(unused) if excess > 0 else ():
        pieces = unused.pop(size, [])
        while excess > 0 and pieces:
            excess -= size
            del pieces[0]
        if pieces:
            unused[size] = pieces


def kept_bytes() -> int:
    """Return how much memory lies unused."""
    return sum(size * len(pieces) for size, pieces in list(_unused.items()))


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array with any contents, as `np.empty`, in memory used before if there is some.

    Arguments:
        shape: of the array.
        dtype: the element type.
    """
    layout = _layout_of(shape, np.dtype(dtype))
    if layout is None:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(layout, shape))


@functools.lru_cache(maxsize=1024)
def _layout_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Layout | None:
    """Return the layout of an array, None for one that the pool does not make.

    Sizes are up to an eighth larger than needed, so that arrays of like sizes share memory; a
    piece may be somewhat larger still.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST:
        return None
    step = 1 << size.bit_length() - 4  # from a sixteenth to an eighth
    size = -(-size // step) * step
    return _Layout(tuple(range(size, size + size // 4 + 1, step)), dtype.str)


def _take(sizes: tuple[int, ...]) -> _Piece:
    """Return a piece of the first of these sizes that lies unused, else a new one."""
    for size in sizes:
        pieces = _unused.get(size)
        if pieces:
            with suppress(IndexError):  # another thread took the last one
                return pieces.pop()  # that was used last: it may still be in cache
    memory = np.empty(sizes[0] + _ALIGNMENT, np.uint8)
    start = memory.ctypes.data
    return _Piece(memory, -(-start // _ALIGNMENT) * _ALIGNMENT, sizes[0])
