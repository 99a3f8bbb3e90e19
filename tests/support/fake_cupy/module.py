"""A fake CuPy 14 for machines without a GPU, as strict as CuPy: `install` makes it `cupy`.

Its arrays are those of `fake_cupy.arrays`; the kernels of a `RawModule` run on the CPU, by the shim
of `cuda_on_cpu`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from gpunet import backend
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch import Build, Kernel, Launch
from gpunet.primitives.launch.cupy import CupyExecutor
from tests.support.cuda_on_cpu.cpu_executor import CompileError, CpuExecutor
from tests.support.fake_cupy import gpu as fake_gpu
from tests.support.fake_cupy.arrays import carry_out, memory_of, ndarray, new, store
from tests.support.fake_cupy.functions import FAKED
from tests.support.fake_cupy.gpu import CUDARuntimeError, Device, Gpu, OutOfMemoryError
from tests.support.fake_cupy.memory import (
    MemoryPointer,
    MemoryPool,
    PinnedMemoryPointer,
    PinnedMemoryPool,
    alloc,
    alloc_pinned_memory,
    get_default_memory_pool,
    get_default_pinned_memory_pool,
    set_allocator,
    set_pinned_memory_allocator,
    using_allocator,
)
from tests.support.fake_cupy.streams import (
    Event,
    Graph,
    Stream,
    get_current_stream,
    get_elapsed_time,
    perform,
)

__all__ = ["Gpu", "install"]

_DTYPES = [
    "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64",
]  # fmt: skip


_IN_CUDA = [
    Event, Graph, MemoryPointer, MemoryPool, PinnedMemoryPointer, PinnedMemoryPool, Stream, alloc,
    alloc_pinned_memory, get_current_stream, get_elapsed_time, set_allocator,
    set_pinned_memory_allocator, using_allocator,
]  # fmt: skip


class CompileException(Exception):
    """cupy.cuda.compiler.CompileException."""

    def __init__(
        self, msg: str, source: str, name: str, options: Any, backend: str = "nvrtc"
    ) -> None:
        super().__init__()
        self._msg, self.source, self.name, self.options = msg, source, name, options
        self.backend = backend

    def __str__(self) -> str:
        return self._msg


class RawModule:
    """cupy.RawModule: compiles when the first function is asked for."""

    def __init__(self, code: str | None = None, *, options: tuple[str, ...] = ()) -> None:
        assert isinstance(code, str)
        assert isinstance(options, tuple)
        self.code, self.options = code, options

    def get_function(self, name: str) -> RawKernel:
        build = Build(_source_of(self.code), _macros(self.options))
        kernel = Kernel(build.source, name)
        executor = CpuExecutor(fake_gpu.now().order)
        try:
            executor.library(build)
        except CompileError as error:
            # gcc's "x.cu:3:5: error: ..." as NVRTC has it
            log = re.sub(r"(\w+\.cuh?):(\d+):\d+: error", r"\1(\2): error", str(error))
            raise CompileException(log, self.code, "x.cu", self.options) from None
        fake_gpu.now().compiled.append((name, self.options))
        return RawKernel(executor, kernel, build)


class RawKernel:
    """cupy.RawKernel: passes pointers and scalars on, and checks nothing."""

    def __init__(self, executor: CpuExecutor, kernel: Kernel, build: Build) -> None:
        self.executor, self.kernel, self.build = executor, kernel, build

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any) -> None:
        values, reads, writes = [], [], []
        for parameter, value in zip(self.kernel.parameters, args, strict=True):
            if isinstance(value, ndarray):
                # Only its address would arrive: a view would be read as if it were contiguous.
                assert value.flags.c_contiguous, f"a view is passed as {parameter.name}"
                assert value.device.id == fake_gpu.now().device
                values.append(memory_of(value))
                (writes if parameter.is_written else reads).append(value)
            else:
                assert isinstance(value, np.generic), f"{parameter.name}: no C type for {value!r}"
                values.append(None if parameter.is_array and value == 0 else value)
        launch = Launch(self.kernel, self.build, grid, block, tuple(values))
        perform(self.kernel.name, lambda: self._run(launch), reads, writes)

    def _run(self, launch: Launch) -> None:
        self.executor.run(launch)
        self.executor.launches.clear()  # they would keep the memory


def _source_of(code: str) -> str:
    """Return the name of the file in kernels/ that the text to compile begins with, or is."""
    named = re.match(r'#line 1 "(\w+\.cu)"', code)
    if named:
        return named[1]
    files = backend.kernel_folder().glob("*.cu")
    return next(path.name for path in files if path.read_text("utf-8") == code)


def _macros(options: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(tuple(o[2:].split("=", 1)) for o in options if o.startswith("-D"))  # type: ignore[misc]


def _array(obj: Any, dtype: Any = None, copy: Any = True, order: str = "K") -> ndarray:
    if isinstance(obj, ndarray):
        if obj.device.id != fake_gpu.now().device:
            with obj.device:
                obj = obj.copy()
            obj._device = fake_gpu.now().device
        return obj.astype(dtype or obj.dtype, copy=bool(copy))
    if isinstance(obj, list | tuple) and obj and all(isinstance(x, ndarray) for x in obj):
        return FAKED["stack"](obj).astype(dtype or obj[0].dtype, copy=False)
    value = np.asarray(obj, dtype)  # an array of CuPy somewhere in it is refused here
    if value.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {value.dtype}")
    made = ndarray(value.shape, value.dtype)
    if value.ndim:
        alloc_pinned_memory(value.nbytes)  # which CuPy copies from, and keeps as long as it must
        made.set(value.copy())
    else:
        made.fill(value)
    return made


def _full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    made = ndarray(shape, np.asarray(fill_value).dtype if dtype is None else dtype)
    made.fill(fill_value)
    return made


def _empty_like(array: Any, dtype: Any = None) -> ndarray:
    if not isinstance(array, ndarray):
        raise TypeError(f"expected cupy.ndarray, received {type(array)}")
    return new(np.empty_like(memory_of(array), dtype), "K")  # keeps the order of the axes


def _full_like(array: Any, fill_value: Any, dtype: Any = None) -> ndarray:
    made = _empty_like(array, dtype)
    made.fill(fill_value)
    return made


def _zero(made: ndarray) -> ndarray:
    store("memset", lambda target: target.fill(0), made)
    return made


def _count_nonzero(array: Any, axis: Any = None) -> ndarray:
    """Count; the result is an array, where NumPy gives a Python number."""
    return FAKED["not_equal"](array, 0).sum(axis=axis, dtype=np.int64)


def _cuda() -> Any:
    gpu = fake_gpu.now()
    cuda = SimpleNamespace(
        Device=Device,
        is_available=lambda: gpu.devices > 0,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        compiler=SimpleNamespace(CompileException=CompileException),
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDevice=lambda: gpu.device,
            getDeviceCount=lambda: gpu.devices,
            memGetInfo=lambda: (gpu.memory - gpu.used, gpu.memory),
            streamCaptureModeGlobal=0,
            streamCaptureModeThreadLocal=1,
            streamCaptureModeRelaxed=2,
        ),
    )
    vars(cuda).update({thing.__name__: thing for thing in _IN_CUDA})
    return cuda


def make_module() -> Any:
    """Return the module; what CuPy does not have, or nobody has needed, it has not either."""
    cupy: Any = ModuleType("cupy")
    cupy.__version__ = "14.2.0"
    cupy.ndarray, cupy.RawModule, cupy.cuda = ndarray, RawModule, _cuda()
    cupy.get_default_memory_pool = get_default_memory_pool
    cupy.get_default_pinned_memory_pool = get_default_pinned_memory_pool
    vars(cupy).update({name: getattr(np, name) for name in _DTYPES})
    vars(cupy).update(FAKED)
    cupy.abs, cupy.divide, cupy.count_nonzero = cupy.absolute, cupy.true_divide, _count_nonzero
    cupy.array = _array
    cupy.asarray = lambda a, dtype=None, order=None: _array(a, dtype, copy=False)
    cupy.ascontiguousarray = lambda a, dtype=None: (
        a if a.flags.c_contiguous and dtype in (None, a.dtype) else a.astype(dtype or a.dtype, "C")
    )
    cupy.asnumpy = lambda a: a.get() if isinstance(a, ndarray) else np.asarray(a)
    cupy.empty, cupy.empty_like = ndarray, _empty_like
    cupy.full, cupy.full_like = _full, _full_like
    cupy.zeros = lambda shape, dtype=float: _zero(ndarray(shape, dtype))
    cupy.ones = lambda shape, dtype=float: _full(shape, 1, dtype)
    cupy.zeros_like = lambda a, dtype=None: _zero(_empty_like(a, dtype))
    cupy.ones_like = lambda a, dtype=None: _full_like(a, 1, dtype)
    cupy.arange = lambda *bounds, dtype=None: carry_out(
        "arange", partial(np.arange, *bounds, dtype=dtype), []
    )
    return cupy


@contextmanager
def install(gpu: Gpu | None = None) -> Iterator[Any]:
    """Let `import cupy` find the fake CuPy inside the block, and launches go to it.

    Arguments:
        gpu: the machine; one device by default.
    """
    before = sys.modules.get("cupy"), backend._probed, backend._choice
    fake_gpu.insert(gpu or Gpu())
    cupy = make_module()
    sys.modules["cupy"] = cupy
    backend._probed = backend._choice = None
    try:
        with launcher.use_executor(CupyExecutor()):
            yield cupy
        timeline = fake_gpu.now().timeline
        timeline.wait_on_host(timeline.everything())  # for what the program did not wait for
    finally:
        module, backend._probed, backend._choice = before
        if module is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = module
