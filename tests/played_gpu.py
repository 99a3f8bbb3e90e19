"""A machine with GPUs that is played: its memory, its devices, and what happened on it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

__all__ = ["Device", "Gpu", "OutOfMemoryError", "insert", "now"]

_ALIGNMENT = 512  # of what CuPy's memory pool gives out
_POISON = 0xFF


class Gpu:
    """What the played machine has, and what happened on it.

    Attributes:
        devices: how many there are.
        device: the number of the current one.
        memory: bytes that there are, for all devices.
        used: bytes in use.
        reads: how often the host waited for the device and read from it.
        compiled: names of kernels with the options they were compiled with.
        order: in which the threads of kernels take turns.
    """

    def __init__(self, devices: int = 1, memory: int = 1 << 30, order: str = "forward") -> None:
        self.devices, self.memory, self.order = devices, memory, order
        self.device = self.used = self.reads = 0
        self.compiled: list[tuple[str, tuple[str, ...]]] = []

    def allocate(self, shape: Any, dtype: Any) -> np.ndarray:
        """Return memory full of what is no number."""
        dtype = np.dtype(dtype)
        sizes = tuple(shape) if np.iterable(shape) else (shape,)
        count = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
        if self.used + count > self.memory:
            raise OutOfMemoryError(
                f"Out of memory allocating {count:,} bytes (allocated so far: {self.used:,} bytes)."
            )
        block = np.full(count + _ALIGNMENT, _POISON, np.uint8)
        self.used += count
        weakref.finalize(block, self._free, count)
        start = -block.ctypes.data % _ALIGNMENT
        return block[start : start + count].view(dtype).reshape(sizes)

    def _free(self, count: int) -> None:
        self.used -= count


_machine = Gpu()


def now() -> Gpu:
    """Return the machine that is played now."""
    return _machine


def insert(machine: Gpu) -> None:
    """Let `machine` be the one that is played."""
    global _machine
    _machine = machine


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


OutOfMemoryError.__module__ = "cupy.cuda.memory"


class Device:
    """cupy.cuda.Device."""

    def __init__(self, device: int | None = None) -> None:
        self.id = now().device if device is None else device
        if self.id >= now().devices:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.attributes = {"MultiProcessorCount": 4}

    def __enter__(self) -> Device:
        self._before, now().device = now().device, self.id
        return self

    def __exit__(self, *error: Any) -> None:
        now().device = self._before

    def use(self) -> None:
        now().device = self.id
