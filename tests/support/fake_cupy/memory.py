"""Memory as CuPy 14 gives it out: pools that use freed memory again, and pinned memory of the host.

As in cupy/cuda/memory.pyx and pinned_memory.pyx, but for blocks that are split and joined there: a
block is used again for its own size, on the stream that it was first allocated on.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tests.support.fake_cupy.gpu import Gpu, OutOfMemoryError, now
from tests.support.fake_cupy.timeline import Access, FakeError

__all__ = [
    "Chunk",
    "Memory",
    "MemoryPointer",
    "MemoryPool",
    "PinnedMemoryPointer",
    "PinnedMemoryPool",
    "alloc",
    "alloc_pinned_memory",
    "get_default_memory_pool",
    "get_default_pinned_memory_pool",
    "pinned",
    "set_allocator",
    "set_pinned_memory_allocator",
    "using_allocator",
    "watch",
]

_ALIGNMENT = 512
_POISON = 0xFF  # floating-point numbers become NaN by it


def _rounded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _aligned(size: int) -> np.ndarray:
    block = np.empty(size + _ALIGNMENT, np.uint8)
    start = -block.ctypes.data % _ALIGNMENT
    return block[start : start + size]


class Chunk:
    """A block of the device's memory, whoever has it.

    Attributes:
        place: the device and the stream it was first allocated on, and its size.
        allocations: how often it was given out.
        in_use: whether it is now.
        released: whether the device has it back.
        written, read: the last work that did, the latter for each stream.
    """

    def __init__(self, gpu: Gpu, place: tuple[int, int, int], pool: MemoryPool | None) -> None:
        self.gpu, self.place, self.bytes = gpu, place, _aligned(place[-1])
        self.pool = (lambda: None) if pool is None else weakref.ref(pool)
        self.allocations, self.in_use, self.released = 0, False, False
        self.written: Access | None = None
        self.read: dict[int, Access] = {}

    @property
    def size(self) -> int:
        return self.place[-1]


class Memory:
    """cupy.cuda.BaseMemory: `size` bytes of a chunk that is in use for as long as this is."""

    def __init__(self, chunk: Chunk, size: int) -> None:
        chunk.bytes.fill(_POISON)
        chunk.allocations, chunk.in_use = chunk.allocations + 1, True
        chunk.gpu.used += size
        self.chunk, self.ptr, self.size = chunk, chunk.bytes.ctypes.data, size
        if chunk.gpu.capture is not None:
            chunk.gpu.capture.allocated(chunk)

    def __del__(self) -> None:
        chunk = self.chunk
        chunk.in_use = False
        chunk.gpu.used -= self.size
        pool = chunk.pool()
        if pool is None:
            chunk.released = True
        else:
            pool._free[chunk.place].append(chunk)


class MemoryPointer:
    """cupy.cuda.MemoryPointer."""

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem, self.ptr, self.device_id = mem, mem.ptr + offset, mem.chunk.place[0]

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an array of NumPy that begins here."""
        start = self.ptr - self.mem.ptr
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return self.mem.chunk.bytes[start : start + size].view(dtype).reshape(shape)


def _place(size: int) -> tuple[int, int, int]:
    """Return where memory of a size comes from, if there is room for it.

    What pools hold that nobody uses takes no room: CuPy gives it back before it runs out.
    """
    gpu = now()
    if gpu.used + size > gpu.memory:
        raise OutOfMemoryError(
            f"Out of memory allocating {size:,} bytes (allocated so far: {gpu.used:,} bytes)."
        )
    return gpu.device, gpu.stream, _rounded(size)


class MemoryPool:
    """cupy.cuda.MemoryPool: what is freed is given out again, first what was freed last."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, int, int], list[Chunk]] = defaultdict(list)
        self._chunks: weakref.WeakSet[Chunk] = weakref.WeakSet()

    def malloc(self, size: int) -> MemoryPointer:
        if self is now().pool:
            _refuse_while_capturing("the default memory pool")
        place = _place(size)
        free = self._free[place]
        chunk = free.pop() if free else Chunk(now(), place, self)
        self._chunks.add(chunk)
        return MemoryPointer(Memory(chunk, size), 0)

    def free_all_blocks(self, stream: Any = None) -> None:
        for place, chunks in self._free.items():
            if stream is None or place[1] == stream.ptr:
                while chunks:
                    chunks.pop().released = True

    def n_free_blocks(self) -> int:
        return sum(map(len, self._free.values()))

    def free_bytes(self) -> int:
        return sum(chunk.size for chunks in self._free.values() for chunk in chunks)

    def used_bytes(self) -> int:
        return sum(chunk.size for chunk in list(self._chunks) if chunk.in_use)

    def total_bytes(self) -> int:
        return self.used_bytes() + self.free_bytes()

    def __del__(self) -> None:
        self.free_all_blocks()


def get_default_memory_pool() -> MemoryPool:
    if now().pool is None:
        now().pool = MemoryPool()
    return now().pool


def _refuse_while_capturing(what: str) -> None:
    if now().capture is not None:
        raise FakeError(
            f"memory is allocated from {what} while a stream is capturing; the graph would go on "
            "using it when it has been freed: capture within cupy.cuda.using_allocator("
            "pool.malloc), with a pool that lives as long as the graph."
        )


def _malloc(size: int) -> MemoryPointer:
    """Allocate from no pool."""
    _refuse_while_capturing("no pool")
    return MemoryPointer(Memory(Chunk(now(), _place(size), None), size), 0)


def alloc(size: int) -> MemoryPointer:
    """cupy.cuda.alloc."""
    gpu = now()
    return (gpu.of_thread.allocator or gpu.allocator or get_default_memory_pool().malloc)(size)


def set_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> None:
    if now().of_thread.allocator is not None:
        raise ValueError("set_allocator is called within using_allocator")
    now().allocator = allocator or _malloc


@contextmanager
def using_allocator(allocator: Callable[[int], MemoryPointer] | None = None) -> Iterator[None]:
    of_thread = now().of_thread
    before, of_thread.allocator = of_thread.allocator, allocator or _malloc
    try:
        yield
    finally:
        of_thread.allocator = before


# Memory of the host that the device can copy from and to by itself


class PinnedMemoryPointer:
    """cupy.cuda.PinnedMemoryPointer: a buffer of bytes, which ctypes can be for any Python."""

    ptr = property(ctypes.addressof)

    @staticmethod
    def to(block: np.ndarray) -> Any:
        kind = type("PinnedMemoryPointer", (PinnedMemoryPointer, ctypes.c_byte * len(block)), {})
        pointer = kind.from_buffer(block)
        pointer._block = block
        return pointer


class PinnedMemoryPool:
    """cupy.cuda.PinnedMemoryPool: freed memory is given out again, whoever still copies from it."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = defaultdict(list)

    def malloc(self, size: int) -> PinnedMemoryPointer:
        size = _rounded(size)
        block = self._free[size].pop() if self._free[size] else _aligned(size)
        pointer = _pinned[block.ctypes.data] = PinnedMemoryPointer.to(block)
        weakref.finalize(pointer, self._free[size].append, block).atexit = False
        return pointer

    def free_all_blocks(self) -> None:
        self._free.clear()

    def n_free_blocks(self) -> int:
        return sum(map(len, self._free.values()))


_pinned: weakref.WeakValueDictionary[int, PinnedMemoryPointer] = weakref.WeakValueDictionary()
_pinned_pool = PinnedMemoryPool()
_pinned_allocator = _pinned_pool.malloc


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    return _pinned_allocator(size)


def set_pinned_memory_allocator(allocator: Callable[[int], PinnedMemoryPointer]) -> None:
    global _pinned_allocator
    _pinned_allocator = allocator


def get_default_pinned_memory_pool() -> PinnedMemoryPool:
    return _pinned_pool


def pinned(array: np.ndarray) -> np.ndarray | None:
    """Return an array of the host if it lies in pinned memory, without keeping that in use."""
    first = array.ctypes.data
    for start, pointer in list(_pinned.items()):
        if array.flags.c_contiguous and 0 <= first - start <= len(pointer) - array.nbytes:
            block = pointer._block[first - start :][: array.nbytes]
            return block.view(array.dtype).reshape(array.shape)
    return None


def watch(host: np.ndarray, stream: int) -> Callable[[], None]:
    """Return what raises if pinned memory is no longer what it was when its copy was asked for."""
    asked = host.tobytes()

    def check() -> None:
        if asked != host.tobytes():
            raise FakeError(
                f"race: pinned memory was written that stream {stream} may still have been copying "
                "from: let the host wait for an event that is recorded after the copy."
            )

    return check
