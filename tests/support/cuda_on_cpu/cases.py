"""What the CUDA twins are tried with: the same cases on the CPU, on a GPU, and to list the builds.

A case calls one primitive. Its arguments are made anew from a seed, in float64; floating-point
arrays are then rounded to the element type under test, and the reference twin gets the rounded
numbers, again in float64: what differs is then the twin's own error.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.primitives import Network, reference
from gpunet.primitives.network_operations import Operation
from gpunet.primitives.precision import use_precision
from tests.support.doors import Doors

Array = np.ndarray[Any, np.dtype[Any]]
Arguments = tuple[list[Any], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One call of a primitive.

    Attributes:
        primitive: its name; or that of what has no twin, see `function`.
        label: what tells the case from the others of its primitive.
        make: makes its positional and keyword arguments.
        terms: how many products the longest sum adds up, for the tolerance.
        in_place: positions of arguments that are changed.
        dtypes: the element types it is tried in.
        function, oracle: for what launches a kernel and is no primitive: itself, and what gives the
            same by NumPy.
        precision: that of the products.
        factors: positions of the arguments that are rounded to it before they are multiplied.
    """

    primitive: str
    label: str
    make: Callable[[np.random.Generator], Arguments]
    terms: int = 1
    in_place: tuple[int, ...] = ()
    dtypes: tuple[str, ...] = ("float32", "float64")
    function: Callable[..., Any] | None = None
    oracle: Callable[..., Any] | None = None
    precision: str = "fp32"
    factors: tuple[int, ...] = ()

    def function_of(self, twins: Any) -> Callable[..., Any]:
        """Return the function to call for these twins."""
        if self.function is None or self.oracle is None:
            return getattr(Doors(twins), self.primitive)
        return self.oracle if twins is reference else self.function

    def __str__(self) -> str:
        return f"{self.primitive}-{self.label}"


def all_cases() -> list[Case]:
    """Return the cases of all families, each in a file of its own, cases_<family>.py."""
    files = sorted(Path(__file__).parent.glob("cases_*.py"))
    modules = [importlib.import_module(f"{__package__}.{file.stem}") for file in files]
    return [case for module in modules for case in module.CASES]


def dtype_named(name: str) -> np.dtype[Any]:
    """Return an element type; bfloat16 is ml_dtypes'."""
    if name == "bfloat16":
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return np.dtype(name)


def arguments_of(case: Case, dtype: str) -> Arguments:
    """Return the arguments of a case, their floating-point arrays rounded to `dtype`."""
    args, options = case.make(np.random.default_rng(0))
    cast = partial(_cast, dtype=dtype_named(dtype))
    return each_array(cast, args), each_array(cast, options)


def each_array(change: Callable[[Array], Any], value: Any) -> Any:
    """Return `value` with `change` made to each array in it, also in containers."""
    if isinstance(value, dict):
        return {name: each_array(change, item) for name, item in value.items()}
    if hasattr(value, "_fields"):  # a NamedTuple, such as a stage
        return type(value)(*[each_array(change, item) for item in value])
    if isinstance(value, list | tuple):
        return type(value)(each_array(change, item) for item in value)
    if isinstance(value, Network):
        return Network(each_array(change, list(value.operations)))
    if isinstance(value, Operation):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **each_array(change, parts))
    return change(value) if isinstance(value, np.ndarray) else value


def _cast(value: Any, dtype: np.dtype[Any]) -> Any:
    is_floating = isinstance(value, np.ndarray) and value.dtype.name in (
        "float64", "float32", "float16", "bfloat16",
    )  # fmt: skip
    return laid_out_like(value, dtype) if is_floating else value


def laid_out_like(array: Array, dtype: Any = None) -> Array:
    """Return a copy that lies in memory as `array` does, which a copy of NumPy's does not.

    It has the strides, in elements, and begins as many elements past a boundary of 16 bytes.
    """
    dtype = array.dtype if dtype is None else np.dtype(dtype)
    if not array.size:
        return array.astype(dtype)
    steps = [stride // array.itemsize for stride in array.strides]
    reaches = [(size - 1) * step for size, step in zip(array.shape, steps, strict=True)]
    before = -sum(min(0, reach) for reach in reaches)  # elements in front of the first
    count = before + 1 + sum(max(0, reach) for reach in reaches)
    past = (array.ctypes.data - before * array.itemsize) % 16 // array.itemsize
    memory = np.empty(16 + (past + count) * dtype.itemsize, np.uint8)
    start = -memory.ctypes.data % 16 + past * dtype.itemsize
    elements = memory[start : start + count * dtype.itemsize].view(dtype)
    strides = [step * dtype.itemsize for step in steps]
    copy = np.lib.stride_tricks.as_strided(elements[before:], array.shape, strides)
    copy[...] = array
    return copy


def call(
    twins: Any, case: Case, args: list[Any], options: dict[str, Any], convert: Any = None
) -> list[Any]:
    """Return all that a twin gives back: its results and the arguments it changed.

    Arguments:
        twins: a module of twins.
        case: what is called.
        args, options: its arguments, which stay as they are.
        convert: makes an array of the kind that the twins take; `laid_out_like` by default.
    """
    convert = convert or laid_out_like
    args, options = each_array(convert, args), each_array(convert, options)
    with use_precision(case.precision):
        result = case.function_of(twins)(*args, **options)
    return [*_arrays_in(result), *(args[i] for i in case.in_place)]


def _arrays_in(result: Any) -> list[Any]:
    """Return the arrays of a result in turn, also those in containers; None is passed over."""
    if isinstance(result, list | tuple):
        return [array for item in result for array in _arrays_in(item)]
    return [] if result is None else [result]


def expected_of(case: Case, args: list[Any], options: dict[str, Any]) -> list[Array]:
    """Return what the reference twin gives for the same numbers in float64.

    Factors are rounded before: their products are then exact in float32, and sums differ by the
    rounding of sums alone. Relu's gradient, 1 or 0, lets a factor be rounded before it is applied.
    """
    cast = partial(_cast, dtype=np.dtype("float64"))
    args, options = each_array(cast, args), each_array(cast, options)
    if case.precision != "fp32":
        args = [
            rounded(arg, case.precision) if i in case.factors else arg for i, arg in enumerate(args)
        ]
    return call(reference, case, args, options)


def rounded(array: Array, precision: str) -> Array:
    """Return the nearest numbers of 11 bits, ties away from 0, or for bf16 of 8 bits, to even."""
    mantissa, exponent = np.frexp(array)
    if precision == "tf32":
        whole = np.copysign(np.floor(np.abs(mantissa) * 2**11 + 0.5), mantissa)
        return np.ldexp(whole, exponent - 11)
    return np.ldexp(np.rint(mantissa * 2**8), exponent - 8)


def assert_close(case: Case, found: list[Array], expected: list[Array], dtype: str) -> None:
    """Compare with the oracle.

    A sum of n products, each rounded, is off by about sqrt(n) roundings of its largest parts; the
    functions of CUDA and of the C library add a few of their own. Numbers of 16 bits are rounded
    once more, when they are stored.
    """
    eps = {"float64": 2**-52, "float32": 2**-23, "float16": 2**-10, "bfloat16": 2**-7}[dtype]
    computed = min(eps, 2**-23)
    assert len(found) == len(expected)
    for ours, oracle in zip(found, expected, strict=True):
        assert ours.shape == oracle.shape
        if ours.dtype.kind in "iub":
            np.testing.assert_array_equal(ours, oracle)
            continue
        assert ours.dtype.name == dtype
        ours, oracle = ours.astype(np.float64), oracle.astype(np.float64)
        scale = np.abs(oracle[np.isfinite(oracle)]).max(initial=0.0)
        rounding = computed * (8 + 4 * case.terms**0.5) * scale
        np.testing.assert_allclose(ours, oracle, rtol=eps + 8 * computed, atol=rounding)
