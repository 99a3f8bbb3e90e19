"""Launches on the GPU, through CuPy: memory, compilation, and the errors of both."""

from __future__ import annotations

import importlib
import math
import re
import threading
from typing import Any

import numpy as np

from gpunet.backend import probe_gpu
from gpunet.primitives.launch.source import (
    Build,
    KernelSource,
    Launch,
    is_added,
    source_label,
    source_text,
)

__all__ = ["CupyExecutor", "DeviceMemoryError", "KernelCompileError", "memory_state"]

_NO_ARRAY = np.uint64(0)  # the null pointer, of the size of any other


class KernelCompileError(RuntimeError):
    """A kernel of gpunet does not compile here; the message has file, line and options."""


class DeviceMemoryError(MemoryError):
    """The GPU has no memory left for an array; the message says what was asked and what is held."""


def _new_lock() -> Any:
    try:
        return importlib.import_module("fastrlock.rlock").FastRLock()
    except ImportError:
        return threading.RLock()


class CupyExecutor:
    """The `Executor` of a GPU; CuPy is imported when first needed."""

    def __init__(self) -> None:
        self._lock = _new_lock()
        self._cupy: Any = None
        self._modules: dict[tuple[int, Build], Any] = {}
        self._functions: dict[tuple[int, Build, str], Any] = {}
        self._multiprocessors: dict[int, int] = {}
        self._capabilities: dict[int, tuple[int, int]] = {}
        self._constants: dict[tuple[int, bytes], Any] = {}  # kept: captured steps read them

    @property
    def cupy(self) -> Any:
        """CuPy, imported when first needed."""
        if self._cupy is None:
            self._cupy = importlib.import_module("cupy")
        return self._cupy

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return a new array on the current device.

        Raises:
            DeviceMemoryError: there is no memory for it.
        """
        try:
            return self.cupy.empty(shape, dtype)
        except MemoryError:  # CuPy's is a kind of it
            size = _mib(math.prod(shape) * np.dtype(dtype).itemsize)
            asked = f"{size} for an array {np.dtype(dtype)}{shape}"
            raise DeviceMemoryError(f"Out of GPU memory: {asked}. {memory_state()}") from None

    def contiguous(self, array: Any) -> Any:
        """Return the array, or a contiguous copy of it."""
        if array.flags.c_contiguous:
            return array
        copy = self.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def constant(self, data: bytes) -> Any:
        """Return `data`, numbers of int64, as an array on the device, copied there once."""
        key = (self._device(), data)
        if key not in self._constants:
            self._constants[key] = self.cupy.asarray(np.frombuffer(data, np.int64))
        return self._constants[key]

    def address(self, array: Any) -> int:
        """Return where the array's memory begins."""
        return array.data.ptr

    def multiprocessors(self) -> int:
        """Return how many multiprocessors the current device has."""
        device = self._device()
        if device not in self._multiprocessors:
            attributes = self.cupy.cuda.Device(device).attributes
            self._multiprocessors[device] = attributes["MultiProcessorCount"]
        return self._multiprocessors[device]

    def compute_capability(self) -> tuple[int, int] | None:
        """Return the current device's compute capability, such as (9, 0); None without a GPU."""
        if not probe_gpu().usable:
            return None
        device = self._device()
        if device not in self._capabilities:
            digits = self.cupy.cuda.Device(device).compute_capability  # such as "90" or "120"
            self._capabilities[device] = int(digits[:-1]), int(digits[-1])
        return self._capabilities[device]

    def check_array(self, what: str, array: Any) -> None:
        """Raise `TypeError` or `ValueError` unless the array is on the current device."""
        if not isinstance(array, self.cupy.ndarray):
            raise TypeError(
                f"{what}: expected a CuPy array, received {type(array).__name__}: "
                "copy it to the GPU with cupy.asarray."
            )
        current = self._device()
        if array.device.id != current:
            raise ValueError(
                f"{what}: expected an array on the current device {current}, received one on "
                f"device {array.device.id}: work within `with cupy.cuda.Device({array.device.id}):`"
                ", or copy the array to the current device with cupy.array(x)."
            )

    def run(self, launch: Launch) -> None:
        """Put the launch in the current stream."""
        kernel, build, grid, block, arguments = launch
        function = self._functions.get((self._device(), build, kernel.name))
        if function is None:
            function = self._compiled(kernel, build)
        function(grid, block, tuple([_NO_ARRAY if a is None else a for a in arguments]))

    def compile(self, kernel: KernelSource, build: Build) -> bool:
        """Compile a kernel for the current device; return False if it was compiled before.

        Raises:
            KernelCompileError: it does not compile.
        """
        if (self._device(), build, kernel.name) in self._functions:
            return False
        self._compiled(kernel, build)
        return True

    def _compiled(self, kernel: KernelSource, build: Build) -> Any:
        """Return the kernel as a function on the current device, compiled once for each build."""
        device = self._device()
        with self._lock:
            module = self._modules.get((device, build))
            try:
                if module is None:
                    module = self.cupy.RawModule(
                        code=build.text, options=("-std=c++17", *build.options)
                    )
                function = module.get_function(kernel.name)  # compiles here
            except self.cupy.cuda.compiler.CompileException as error:
                options = getattr(error, "options", build.options)  # CuPy's, with the architecture
                message = _compile_message(kernel, options, str(error))
                raise KernelCompileError(message) from error
            self._modules[device, build] = module
            self._functions[device, build, kernel.name] = function
            return function

    def _device(self) -> int:
        return self.cupy.cuda.runtime.getDevice()


def memory_state() -> str:
    """Return who holds how much of the current device's memory, for messages."""
    cupy = importlib.import_module("cupy")
    pool = cupy.get_default_memory_pool()
    free, total = cupy.cuda.runtime.memGetInfo()
    return (
        f"CuPy's pool holds {_mib(pool.total_bytes())}, {_mib(pool.used_bytes())} of it in use; "
        f"the device has {_mib(free)} free of {_mib(total)}. nvidia-smi lists what other processes "
        "hold."
    )


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _compile_message(kernel: KernelSource, options: tuple[str, ...], log: str) -> str:
    first = re.search(r"(\w+\.cuh?)\((\d+)\): (.*error.*)", log)
    place = f"{source_label(first[1])}, line {first[2]}: {first[3]}" if first else log.strip()
    fix = "install the CuPy that matches the driver, with its compiler (python -m gpunet doctor)"
    if first and is_added(first[1]):
        number = int(first[2])
        place += f"\n    {''.join(source_text(first[1]).splitlines()[number - 1 : number]).strip()}"
        fix = f"correct line {number}"
    return (
        f"Kernel {kernel.name} does not compile: {place}\n"
        f"Options: {' '.join(options)}\n{log.strip() if first else ''}\n"
        f"GPU: {probe_gpu().reason} Fix: {fix}, or set GPUNET_BACKEND=numpy to stay on the CPU."
    )
