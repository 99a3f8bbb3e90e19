"""Kernels as functions: checks arguments, casts them, and launches.

CuPy's launch checks nothing, passes Python numbers in types of its own, and ignores strides. So a
`Kernel` reads its signature in its source, and checks and casts its arguments by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.arguments import is_number
from gpunet.primitives.launch.executor import accumulator, current_executor
from gpunet.primitives.launch.source import Build, KernelSource, Launch, Parameter

__all__ = ["Kernel"]

Size = int | tuple[int, ...]

_MOST_BLOCKS = (2**31 - 1, 65_535, 65_535)  # of a grid, along its three axes

_NUMPY_TYPES = {"int": "int32", "float": "float32", "double": "float64", "bool": "bool"}


class Kernel(KernelSource):
    """A kernel of kernels/, called with a grid, a block and its arguments.

    Arguments:
        source: the file's name, such as ``"activation.cu"``.
        name: the kernel's name in it.
    """

    def __init__(self, source: str, name: str) -> None:
        super().__init__(source, name)
        self._builds: dict[Any, tuple[Build, dict[str, np.dtype[Any]]]] = {}

    def __call__(
        self, grid: Size, block: Size, *arguments: Any, types: Mapping[str, Any], **macros: Any
    ) -> None:
        """Check and cast the arguments, and launch.

        Arguments:
            grid, block: blocks of the grid and threads of a block, along up to 3 axes.
            arguments: arrays, Python numbers, and None for an array that is not there.
            types: the element types that the source leaves open, such as ``{"T": x.dtype}``; the
                type of sums, A, follows from T.
            macros: further macros of the source, such as ``VECTOR=4``.

        Raises:
            TypeError, ValueError: an argument does not match the source.
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
            current_executor().run(Launch(self, build, grid, block, cast))

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


def _array(kernel: str, parameter: Parameter, dtype: np.dtype[Any], array: Any) -> Any:
    if array is None:
        return None
    what = f"kernel {kernel}, argument {parameter.name!r}"
    current_executor().check_array(what, array)
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
    if dtype.kind == "b" and isinstance(value, bool | np.bool_):
        return dtype.type(value)
    if is_number(value) and dtype.kind != "b":
        if dtype.kind == "f":
            return dtype.type(value)
        limits = np.iinfo(dtype)
        if limits.min <= value <= limits.max and value == int(value):
            return dtype.type(value)
        raise OverflowError(
            f"kernel {kernel}, argument {parameter.name!r}: expected a whole number of {dtype}, "
            f"{limits.min} to {limits.max}, received {value}: use smaller arrays or batches."
        )
    expected = "True or False" if dtype.kind == "b" else "a number"
    raise TypeError(
        f"kernel {kernel}, argument {parameter.name!r}: expected {expected}, received {value!r}."
    )
