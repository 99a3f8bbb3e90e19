"""The seam between the CUDA twins and a GPU: memory and launches go through an `Executor`.

The twins never import CuPy, so tests run the same launches on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

from gpunet.primitives.launch.cupy import CupyExecutor
from gpunet.primitives.launch.source import Build, KernelSource, Launch

__all__ = [
    "Executor",
    "accumulator",
    "address",
    "compute_capability",
    "constant",
    "contiguous",
    "current_executor",
    "empty",
    "multiprocessors",
    "use_executor",
]

Array = Any


class Executor(Protocol):
    """Memory and launches on one device: `CupyExecutor`, or in tests the CPU's."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a new array with any contents."""

    def contiguous(self, array: Array) -> Array:
        """Return the array, or a contiguous copy of it."""

    def constant(self, data: bytes) -> Array:
        """Return `data`, numbers of int64, as an array, made once."""

    def address(self, array: Array) -> int:
        """Return where the array's memory begins."""

    def multiprocessors(self) -> int:
        """Return how many multiprocessors the current device has."""

    def compute_capability(self) -> tuple[int, int] | None:
        """Return the current device's, such as (9, 0); None where there is no device."""

    def check_array(self, what: str, array: Array) -> None:
        """Raise unless kernels on the current device can reach the array."""

    def compile(self, kernel: KernelSource, build: Build) -> bool:
        """Compile a kernel before its first launch; return False if it was compiled before."""

    def run(self, launch: Launch) -> None:
        """Run a kernel, or put it in the current stream."""


_on_gpu = CupyExecutor()
# Per thread: while one records launches, another still runs its own.
_executor: ContextVar[Executor] = ContextVar("executor", default=_on_gpu)


def current_executor() -> Executor:
    """Return the executor of this thread's launches."""
    return _executor.get()


@contextmanager
def use_executor(executor: Executor) -> Iterator[None]:
    """Send all launches of this thread to `executor` inside the block."""
    token = _executor.set(executor)
    try:
        yield
    finally:
        _executor.reset(token)


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return a new array with any contents, on the executor's device."""
    return _executor.get().empty(shape, dtype)


def contiguous(array: Array) -> Array:
    """Return an array that kernels can read: itself, or a contiguous copy of a view."""
    return array if array.flags.c_contiguous else _executor.get().contiguous(array)


def constant(data: bytes) -> Array:
    """Return `data`, numbers of int64, as an array on the executor's device, made once."""
    return _executor.get().constant(data)


def address(array: Array) -> int:
    """Return where the array's memory begins."""
    return _executor.get().address(array)


def multiprocessors() -> int:
    """Return how many multiprocessors the current device has."""
    return _executor.get().multiprocessors()


def compute_capability() -> tuple[int, int] | None:
    """Return the current device's compute capability, such as (9, 0); None without a GPU."""
    return _executor.get().compute_capability()


def accumulator(dtype: Any) -> np.dtype[Any]:
    """Return the type that elements of `dtype` are accumulated in: float64 or float32."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)
