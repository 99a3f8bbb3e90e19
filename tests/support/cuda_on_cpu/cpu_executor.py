"""An executor that runs launches on the CPU, from kernels compiled by g++ with the shim.

Arrays are copied into memory whose end (or start) is the edge of pages that cannot be touched, so
that a kernel that reads or writes outside of them faults; a few bytes left between hold canaries.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.primitives.launch import Build, Kernel, Launch, full_source

from . import libraries
from .libraries import CompileError, compiler

__all__ = ["ORDERS", "CompileError", "CpuExecutor", "KernelError", "compiler"]

# The orders in which threads and blocks take turns: forward, reverse, and one at random.
ORDERS = {"forward": 0, "reverse": 1, "shuffled": 20_260_101}

_POISON = 0xFF
# Beside the arrays; what is read from there differs between orders, and so do the results.
_CANARIES = {"forward": 0xA5, "reverse": 0xFF, "shuffled": 0xFF}
_PAGE = mmap.PAGESIZE
_GUARD = 1 << 24  # bytes that cannot be touched on each side; they take no memory
_ALIGNMENT = 16  # that of the widest loads

_libc = ctypes.CDLL(None, use_errno=True)
_one_launch = threading.Lock()  # the runtime has one set of threads and one shared memory


class KernelError(Exception):
    """A kernel did what it must not: the message says what, and which thread did."""


class CpuExecutor:
    """Runs kernels on NumPy arrays, in one order of threads and blocks.

    Arguments:
        order: a key of `ORDERS`. Forward and shuffled put the arrays' ends at the edge of their
            pages, reverse their starts.
        multiprocessors: how many the device seems to have.
        patches: for a source's name, a function of its text, to try what a mistake in it does.
    """

    def __init__(
        self,
        order: str = "forward",
        multiprocessors: int = 4,
        patches: Mapping[str, Any] | None = None,
    ) -> None:
        self.order, self._multiprocessors = order, multiprocessors
        self.patches = dict(patches or {})
        self.launches: list[Launch] = []

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return a new array full of NaN."""
        array = np.empty(shape, dtype)
        array.reshape(-1).view(np.uint8)[...] = _POISON
        return array

    def contiguous(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array)

    def constant(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.int64)

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def multiprocessors(self) -> int:
        return self._multiprocessors

    def compute_capability(self) -> tuple[int, int]:
        return 9, 0

    def check_array(self, what: str, array: Any) -> None:
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{what}: expected a NumPy array, received {type(array).__name__}.")

    def run(self, launch: Launch) -> None:
        """Run a launch to its end.

        Raises:
            KernelError: a thread did what it must not.
        """
        self.launches.append(launch)
        kernel, build, grid, block, arguments = launch
        library = self.library(build)
        most = ctypes.c_int.in_dll(library, f"most_threads_{kernel.name}").value
        if math.prod(block) > most:
            raise KernelError(f"{kernel.name}: {block} threads, its __launch_bounds__ say {most}")
        arrays = [
            _GuardedCopy(value, self.order) if parameter.is_array and value is not None else None
            for parameter, value in zip(kernel.parameters, arguments, strict=True)
        ]
        values = [
            ctypes.c_void_p(guarded.address if guarded else None)
            if parameter.is_array
            else (ctypes.c_char * value.itemsize).from_buffer_copy(value.tobytes())
            for parameter, value, guarded in zip(kernel.parameters, arguments, arrays, strict=True)
        ]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        with _one_launch:
            message = libraries.runtime().shim_launch(
                ctypes.cast(getattr(library, f"run_{kernel.name}"), ctypes.c_void_p),
                pointers,
                (ctypes.c_uint * 3)(*grid, *(1,) * (3 - len(grid))),
                (ctypes.c_uint * 3)(*block, *(1,) * (3 - len(block))),
                ctypes.c_ulonglong(ORDERS[self.order]),
            )
        if message:
            raise KernelError(f"{kernel.name} {dict(build.macros)}: {message.decode()}")
        for parameter, value, guarded in zip(kernel.parameters, arguments, arrays, strict=True):
            if guarded is not None:
                guarded.finish(f"{kernel.name}, {parameter.name}", value, parameter.is_written)

    def compile(self, kernel: Kernel, build: Build) -> bool:
        """Compile a kernel; return False if it was compiled before."""
        return libraries.library(build, self._text(build.source))[1]

    def library(self, build: Build) -> ctypes.CDLL:
        """Return the library of a build, compiled if it was not before.

        Raises:
            CompileError: it does not compile.
        """
        return libraries.library(build, self._text(build.source))[0]

    def _text(self, source: str) -> str:
        text = full_source(source)
        for name, patch in self.patches.items():
            if f'#line 1 "{name}"' in text:
                text = patch(text)
        return text


class _GuardedCopy:
    """A copy of an array between pages that cannot be touched, on a like boundary."""

    def __init__(self, array: np.ndarray, order: str) -> None:
        offset = array.ctypes.data % _ALIGNMENT
        room = -(-(array.nbytes + offset) // _PAGE) * _PAGE or _PAGE
        self.memory = mmap.mmap(-1, room + 2 * _GUARD, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = np.frombuffer(self.memory, np.uint8)
        base = whole.ctypes.data
        first = offset
        if order != "reverse":
            first += (room - array.nbytes - offset) // _ALIGNMENT * _ALIGNMENT
        self.address = base + _GUARD + first
        self.canary = _CANARIES[order]
        self.inside = whole[_GUARD : _GUARD + room]
        self.range = slice(first, first + array.nbytes)
        self.inside[...] = self.canary
        self.inside[self.range] = array.reshape(-1).view(np.uint8)
        for edge in (base, base + _GUARD + room):
            _protect(edge, _GUARD)

    def finish(self, what: str, array: np.ndarray, is_written: bool) -> None:
        """Copy the result back, check that the rest is as it was, and free the memory."""
        result = self.inside[self.range].copy()
        self.inside[self.range] = self.canary
        intact = bool((self.inside == self.canary).all())
        del self.inside
        self.memory.close()
        if not intact:
            raise KernelError(f"{what}: bytes beside the array were written")
        flat = array.reshape(-1).view(np.uint8)
        if is_written:
            flat[...] = result
        elif not np.array_equal(flat, result):
            raise KernelError(f"{what}: an argument declared const was written")


def _protect(address: int, size: int) -> None:
    """Let no access to these pages succeed."""
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), 0):
        raise OSError(ctypes.get_errno(), "mprotect")
