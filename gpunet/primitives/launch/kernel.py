"""Finds, compiles, checks and launches the kernels of kernels/*.cu.

A `Kernel` reads its own signature in its source: that is what its arguments are checked against
and cast to, because CuPy's launch checks nothing, passes Python numbers in types of its own and
ignores strides. What a launch then needs of a GPU goes through one seam, the `Executor`: the CUDA
twins never ask for CuPy themselves, so the tests can run the same launches on the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from gpunet import backend
from gpunet.primitives.checks import is_number
from gpunet.primitives.launch.cupy import CupyExecutor

__all__ = [
    "Build",
    "Executor",
    "Kernel",
    "Launch",
    "Parameter",
    "accumulator",
    "address",
    "blocks_for",
    "ceil_div",
    "compute_capability",
    "constant",
    "contiguous",
    "current_executor",
    "empty",
    "full_source",
    "kernel_names",
    "multiprocessors",
    "use_executor",
    "vector_width",
]

Array = Any
Size = int | tuple[int, ...]

_MOST_BLOCKS = (2**31 - 1, 65_535, 65_535)  # of a grid, along its three axes
_VECTOR_BYTES = 16  # the most that a thread reads or writes at once

_NUMPY_TYPES = {"int": "int32", "float": "float32", "double": "float64", "bool": "bool"}
_KERNEL = re.compile(r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(')
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


class Build(NamedTuple):
    """A source compiled for one set of macros."""

    source: str  # the file's name, such as "activation.cu"
    macros: tuple[tuple[str, str], ...]

    @property
    def options(self) -> tuple[str, ...]:
        """What the compiler is given."""
        return tuple(f"-D{name}={value}" for name, value in self.macros)

    @property
    def text(self) -> str:
        """What is compiled: the source with its headers."""
        return full_source(self.source)


class Parameter(NamedTuple):
    """A parameter of a kernel as its source declares it."""

    name: str
    type: str  # without const and *, such as "T" or "int"
    is_array: bool
    is_written: bool  # an array that is not const


class Launch(NamedTuple):
    """A kernel, what it is compiled for, and what it is launched with."""

    kernel: Kernel
    build: Build
    grid: tuple[int, ...]  # blocks, along up to 3 axes
    block: tuple[int, ...]  # threads of a block, likewise
    arguments: tuple[Any, ...]  # arrays, NumPy scalars, and None for an array that is not there


class Executor(Protocol):
    """What launches need of a GPU. CuPy's is in `cupy_executor`; the tests have one on the CPU."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a new array with any contents."""

    def contiguous(self, array: Array) -> Array:
        """Return the array, or a contiguous copy of it."""

    def constant(self, data: bytes) -> Array:
        """Return the numbers of int64 that are in `data` as an array, made once."""

    def address(self, array: Array) -> int:
        """Return where the array's memory begins."""

    def multiprocessors(self) -> int:
        """Return how many multiprocessors the current device has."""

    def compute_capability(self) -> tuple[int, int] | None:
        """Return that of the current device, such as (9, 0); None where there is no device."""

    def check_array(self, what: str, array: Array) -> None:
        """Raise unless kernels on the current device can reach the array."""

    def compile(self, kernel: Kernel, build: Build) -> bool:
        """Compile a kernel before its first launch; return False if it was compiled before."""

    def run(self, launch: Launch) -> None:
        """Run a kernel, or put it in the current stream."""


_on_gpu = CupyExecutor()
# Of a thread's own: what one thread records, another still runs.
_executor: ContextVar[Executor] = ContextVar("executor", default=_on_gpu)


def current_executor() -> Executor:
    """Return where launches of this thread go."""
    return _executor.get()


@contextmanager
def use_executor(executor: Executor) -> Iterator[None]:
    """Let all launches of this thread go to `executor` inside the block."""
    token = _executor.set(executor)
    try:
        yield
    finally:
        _executor.reset(token)


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return a new array with any contents where launches go."""
    return _executor.get().empty(shape, dtype)


def contiguous(array: Array) -> Array:
    """Return an array that kernels can read: itself, or a contiguous copy of a view."""
    return array if array.flags.c_contiguous else _executor.get().contiguous(array)


def constant(data: bytes) -> Array:
    """Return the numbers of int64 that are in `data` as an array where launches go, made once."""
    return _executor.get().constant(data)


def address(array: Array) -> int:
    """Return where the array's memory begins."""
    return _executor.get().address(array)


def multiprocessors() -> int:
    """Return how many multiprocessors the current device has."""
    return _executor.get().multiprocessors()


def compute_capability() -> tuple[int, int] | None:
    """Return that of the current device, such as (9, 0); None where no GPU can be used."""
    return _executor.get().compute_capability()


def ceil_div(count: int, size: int) -> int:
    """Return how many parts of `size` hold `count`."""
    return -(-count // size)


def blocks_for(count: int, block: int = 256) -> int:
    """Return a grid for `count` threads that loop on: as large as can run at once, at most.

    >>> blocks_for(0), blocks_for(1000)
    (0, 4)
    """
    blocks = ceil_div(count, block)
    # A multiprocessor runs up to 2048 threads; twice that evens the load out.
    return blocks if blocks <= 8 else min(blocks, multiprocessors() * 2 * ceil_div(2048, block))


def vector_width(*arrays: Array) -> int:
    """Return how many elements make 16 bytes if all arrays begin on such a boundary, else 1."""
    if any(address(array) % _VECTOR_BYTES for array in arrays):
        return 1
    return _VECTOR_BYTES // max(array.dtype.itemsize for array in arrays)


@cache
def full_source(source: str) -> str:
    """Return the text of a kernel source with its headers put in, each once.

    CuPy's cache knows a kernel by this text, so that a changed header is compiled anew. ``#line``
    lets the compiler speak of the files as they are in kernels/.
    """
    done: set[str] = set()

    def text_of(name: str) -> str:
        done.add(name)
        lines = [f'#line 1 "{name}"']
        for number, line in enumerate(backend.kernel_source(name).splitlines(), start=1):
            include = _INCLUDE.match(line)
            if include and include[1] not in done:
                lines += [text_of(include[1]), f'#line {number + 1} "{name}"']
            else:
                lines.append("" if include or line == "#pragma once" else line)
        return "\n".join(lines)

    return text_of(source) + "\n"


@cache
def kernel_names(source: str) -> tuple[str, ...]:
    """Return the names of the kernels in a source.

    >>> kernel_names("activation.cu")
    ('activation_forward', 'activation_backward')
    """
    return tuple(_KERNEL.findall(backend.kernel_source(source)))


def accumulator(dtype: Any) -> np.dtype[Any]:
    """Return the type that elements of `dtype` are accumulated in: float64 or float32."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


class Kernel:
    """A kernel of kernels/, called with a grid, a block and its arguments.

    Arguments:
        source: the file's name, such as ``"activation.cu"``.
        name: the kernel's name in it.
    """

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name
        self._builds: dict[Any, tuple[Build, dict[str, np.dtype[Any]]]] = {}

    def __repr__(self) -> str:
        return f"Kernel({self.source!r}, {self.name!r})"

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the source declares."""
        text = backend.kernel_source(self.source)
        for found in _KERNEL.finditer(text):
            if found[1] == self.name:
                declared = text[found.end() : text.index(")", found.end())]
                return tuple(_parameter(part) for part in declared.split(","))
        known = ", ".join(kernel_names(self.source))
        raise ValueError(f"kernels/{self.source} has no kernel {self.name!r}; it has: {known}.")

    def __call__(
        self, grid: Size, block: Size, *arguments: Any, types: Mapping[str, Any], **macros: Any
    ) -> None:
        """Check and cast the arguments, and launch.

        Arguments:
            grid, block: blocks of the grid and threads of a block, along up to 3 axes.
            arguments: arrays, Python numbers, and None for an array that is not there.
            types: the element types that the source leaves open, such as ``{"T": x.dtype}``; its
                A, what is accumulated in, follows from T.
            macros: what else the source is compiled for, such as ``VECTOR=4``.

        Raises:
            TypeError, ValueError: an argument is not what the source declares.
            OverflowError: a number does not fit its C type.
        """
        build, dtypes = self._build(types, macros)
        if len(arguments) != len(self.parameters):
            raise TypeError(
                f"Kernel {self.name} takes {len(self.parameters)} arguments, "
                f"received {len(arguments)}."
            )
        cast = tuple(
            _array(self.name, parameter, dtypes[parameter.type], value)
            if parameter.is_array
            else _scalar(self.name, parameter, dtypes[parameter.type], value)
            for parameter, value in zip(self.parameters, arguments, strict=True)
        )
        grid, block = (size if isinstance(size, tuple) else (size,) for size in (grid, block))
        if min(grid) > 0:  # no block, nothing to do; CUDA refuses an empty grid
            _check_grid(self.name, grid)
            _executor.get().run(Launch(self, build, grid, block, cast))

    def _build(
        self, types: Mapping[str, Any], macros: Mapping[str, Any]
    ) -> tuple[Build, dict[str, np.dtype[Any]]]:
        key = (tuple(types.items()), tuple(macros.items()))
        if key not in self._builds:
            dtypes = {name: np.dtype(dtype) for name, dtype in types.items()}
            if "T" in dtypes:
                dtypes["A"] = accumulator(dtypes["T"])
            named = {name: dtype.name for name, dtype in dtypes.items()} | dict(macros)
            build = Build(self.source, tuple((name, str(value)) for name, value in named.items()))
            for parameter in self.parameters:
                if parameter.type not in dtypes:
                    known = _NUMPY_TYPES.get(parameter.type, parameter.type)
                    dtypes[parameter.type] = np.dtype(known)
            self._builds[key] = build, dtypes
        return self._builds[key]


def _check_grid(kernel: str, grid: tuple[int, ...]) -> None:
    for axis, (blocks, most) in enumerate(zip(grid, _MOST_BLOCKS, strict=False)):
        if blocks > most:
            raise OverflowError(
                f"kernel {kernel}: expected at most {most:,} blocks along axis {axis} of the grid, "
                f"which is CUDA's limit, received {blocks:,}: use smaller arrays or fewer groups."
            )


def _parameter(declaration: str) -> Parameter:
    words = declaration.replace("*", " * ").replace("__restrict__", "").split()
    is_array, is_const = "*" in words, "const" in words
    (kind,) = (word for word in words[:-1] if word not in ("*", "const"))
    return Parameter(words[-1], kind, is_array, is_array and not is_const)


def _array(kernel: str, parameter: Parameter, dtype: np.dtype[Any], array: Any) -> Any:
    if array is None:
        return None
    what = f"kernel {kernel}, argument {parameter.name!r}"
    _executor.get().check_array(what, array)
    if array.dtype != dtype:
        raise TypeError(
            f"{what}: expected an array of {dtype}, received {array.dtype}: convert it with astype."
        )
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{what}: expected a contiguous array, received a view of shape {array.shape} with "
            f"strides {array.strides}, which kernels do not read: "
            "copy it, such as by cupy.ascontiguousarray."
        )
    return array


def _scalar(kernel: str, parameter: Parameter, dtype: np.dtype[Any], value: Any) -> Any:
    if is_number(value):
        if dtype.kind == "f":
            return dtype.type(value)
        limits = np.iinfo(dtype)
        if limits.min <= value <= limits.max and value == int(value):
            return dtype.type(value)
        raise OverflowError(
            f"kernel {kernel}, argument {parameter.name!r}: expected a whole number of {dtype}, "
            f"{limits.min} to {limits.max}, received {value}: use smaller arrays or batches."
        )
    raise TypeError(
        f"kernel {kernel}, argument {parameter.name!r}: expected a number, received {value!r}."
    )
