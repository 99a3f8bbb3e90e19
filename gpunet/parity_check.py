"""Comparison of a custom kernel with its NumPy function, as a check of one call and as a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet import random
from gpunet.autograd import Array
from gpunet.backend import GpuUnavailableError, probe_gpu, to_numpy
from gpunet.functions.gradients import check_gradients
from gpunet.primitives import cuda, use_twins
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch.cupy import CupyExecutor

__all__ = ["check", "make_test"]

Arguments = dict[str, Any]

# Of drawn arrays: one element, more than a block, no multiple of a warp, none.
_SHAPES = ((1,), (1000,), (7, 33), (0, 4))


def check(kernel: Any, arguments: Arguments, rtol: float | None, atol: float | None) -> None:
    """Raise `AssertionError` if a kernel and its NumPy function disagree, or a gradient is wrong.

    Compared are:

    - the shape and dtype of both results;
    - the kernel's numbers with the function's in float64;
    - the kernel's bits in two runs, with different numbers in the result's memory before;
    - the gradient with central differences, in float64, where there is one; if it is a custom
      kernel, also its own two results.

    Arguments:
        kernel: a `CustomKernel`.
        arguments: NumPy or CuPy arrays and settings, by name.
        rtol, atol: allowed difference, relative to an element and absolute. By default that of a
            sum over as many rounded terms as the largest array has for an element of the result.

    Raises:
        AssertionError: they disagree; the message says where, and gives both values.
        GpuUnavailableError: there is no device to run the kernel on; all that needs none was
            checked before.
    """
    on_host = {name: _to_host(value) for name, value in arguments.items()}
    kernel.compute(on_host)  # raises where shape or dtype is not the kernel's
    _check_gradient(kernel, on_host)
    expected = np.asarray(kernel.function(**{n: _in_float64(a) for n, a in on_host.items()}))
    first, second = (_run(kernel, on_host, poison) for poison in (True, False))
    differs = np.atleast_1d(_bits(first) != _bits(second))
    if differs.any():
        place = _place(differs)
        raise AssertionError(
            f"{kernel.name}: two runs of the kernel differ at {list(place)}: "
            f"{np.atleast_1d(first)[place]} and {np.atleast_1d(second)[place]}. The element is not "
            "written, or threads read what others write."
        )
    _compare(kernel.name, first, expected, on_host, rtol, atol)
    _check_gradient_kernel(kernel, on_host, first, rtol, atol)


def make_test(
    kernel: Any, cases: Sequence[Any], rtol: float | None, atol: float | None
) -> Callable[[], None]:
    """Return a test for pytest that calls `check` for several calls of a kernel.

    Where there is no GPU, it checks what needs none and is then skipped, with the reason.

    Arguments:
        kernel: a `CustomKernel`.
        cases: the arguments of each call: an array, a tuple of arguments, or a dict of them by
            name. By default drawn numbers from -2 to 2, for a kernel that works element by element
            on floating-point numbers.
        rtol, atol: as in `check`.

    Raises:
        ValueError: no case is given and none can be drawn.
    """
    bound = [kernel.bind(*_call(case)) for case in cases] or _drawn(kernel)

    def test() -> None:
        unavailable: GpuUnavailableError | None = None
        for number, arguments in enumerate(bound):
            try:
                check(kernel, arguments, rtol, atol)
            except GpuUnavailableError as error:
                unavailable = error
            except AssertionError as error:
                raise AssertionError(f"case {number} ({_described(arguments)}): {error}") from None
        if unavailable is not None:
            from unittest import SkipTest  # takes long to import

            raise SkipTest(str(unavailable))

    test.__name__ = test.__qualname__ = f"test_{kernel.name}"
    test.__doc__ = f"Compare the kernel {kernel.name} with its NumPy function."
    return test


def _call(case: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(case, dict):
        return (), case
    return (tuple(case) if isinstance(case, tuple | list) else (case,)), {}


def _drawn(kernel: Any) -> list[Arguments]:
    """Return arguments of drawn arrays in several shapes and dtypes."""
    required = [p.name for p in kernel.signature.parameters.values() if p.default is p.empty]
    declared = [kernel.declared_dtype(name) for name in kernel.array_names]
    are_floats = all(dtype is None or dtype.kind == "f" for dtype in declared)
    if not kernel.is_elementwise or set(required) - set(kernel.array_names) or not are_floats:
        raise ValueError(
            f"{kernel.name}.test() expects cases, the arguments of calls to compare: it draws "
            "them only for kernels that take arrays of floating-point numbers of one shape."
        )
    generator = random.Generator(0)
    return [
        kernel.bind(
            (),
            {
                name: generator.uniform(shape, -2.0, 2.0, dtype=dtype or open_dtype)
                for name, dtype in zip(kernel.array_names, declared, strict=True)
                if name in required
            },
        )
        for open_dtype in (("float32", "float64") if None in declared else ("float32",))
        for shape in _SHAPES
    ]


def _run(kernel: Any, arguments: Arguments, poison: bool) -> np.ndarray:
    """Return the kernel's result on the device, written over NaN or over zeros."""
    is_gpu = isinstance(launcher.current_executor(), CupyExecutor)
    if is_gpu and not probe_gpu().usable:
        probe = probe_gpu()
        raise GpuUnavailableError(f"{kernel.name}.check()", probe.reason, probe.fix)
    if is_gpu:
        import cupy

        arguments = {
            name: cupy.asarray(value) if isinstance(value, np.ndarray) else value
            for name, value in arguments.items()
        }
    with use_twins(cuda):
        result = kernel.empty(arguments)
        if result.size:
            unlikely = np.nan if result.dtype.kind == "f" else 1
            result.fill(unlikely if poison else 0)
        return to_numpy(kernel.launch(arguments, result))


def _check_gradient(kernel: Any, arguments: Arguments) -> None:
    """Compare the gradient with central differences where all arrays can be float64."""
    arrays = {name: arguments[name] for name in kernel.array_names}
    floats = [a for a in arrays.values() if a is not None and a.dtype.kind == "f"]
    is_open = all(
        kernel.declared_dtype(name) is None
        for name, array in arrays.items()
        if array is not None and array.dtype.kind == "f"
    )
    has_elements = all(a is None or a.size for a in arrays.values())
    if kernel.gradient_function is None or not floats or not is_open or not has_elements:
        return
    given = {name: a for name, a in arrays.items() if a is not None}
    others = {name: value for name, value in arguments.items() if name not in given}

    def call(*values: Any) -> Any:
        return kernel(**dict(zip(given, values, strict=True)), **others)

    try:
        check_gradients(call, *given.values())
    except AssertionError as error:
        raise AssertionError(f"{kernel.name}: {error}") from None


def _check_gradient_kernel(
    kernel: Any, arguments: Arguments, output: Array, rtol: float | None, atol: float | None
) -> None:
    """Compare both results of a gradient that is a custom kernel."""
    gradient = kernel.gradient_function
    if not isinstance(gradient, type(kernel)):
        return
    grad = random.Generator(1).uniform(output.shape, -1.0, 1.0, dtype="float64")
    known = arguments | {"output": output, "output_grad": grad.astype(output.dtype)}
    taken = {name: known[name] for name in gradient.signature.parameters if name in known}
    check(gradient, gradient.bind((), taken), rtol, atol)


def _to_host(value: Any) -> Any:
    return to_numpy(value) if hasattr(value, "dtype") and hasattr(value, "shape") else value


def _in_float64(value: Any) -> Any:
    is_floating = isinstance(value, np.ndarray) and value.dtype.kind not in "biu"
    return value.astype(np.float64) if is_floating else value


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").reshape(array.shape)


def _compare(
    name: str,
    found: np.ndarray,
    expected: np.ndarray,
    arguments: Arguments,
    rtol: float | None,
    atol: float | None,
) -> None:
    """Compare the kernel's result with the function's in float64.

    A sum of n rounded terms is off by about sqrt(n) roundings of its largest; functions of CUDA's
    library add a few of their own. n is the largest array's size for one element of the result.
    """
    if found.dtype.kind in "biu":
        allowed: Any = np.zeros(found.shape)
    else:
        sizes = [a.size for a in arguments.values() if isinstance(a, np.ndarray)]
        terms = max(sizes) / max(found.size, 1)
        rounding = float(np.finfo(found.dtype).eps)
        scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
        relative = 16 * rounding if rtol is None else rtol
        absolute = rounding * (8 + 4 * terms**0.5) * scale if atol is None else atol
        allowed = absolute + relative * np.abs(expected)
    found = found.astype(expected.dtype) if expected.dtype.kind == "f" else found
    with np.errstate(invalid="ignore"):
        close = np.abs(found - expected) <= allowed if found.dtype.kind != "b" else False
    wrong = np.atleast_1d(
        ~(close | (found == expected) | ((found != found) & (expected != expected)))
    )
    if wrong.any():
        place = _place(wrong)
        ours, theirs, most = (np.atleast_1d(a)[place] for a in (found, expected, allowed))
        raise AssertionError(
            f"{name}: the kernel and the NumPy function differ at {list(place)}: the kernel gives "
            f"{ours}, NumPy gives {theirs}, allowed difference {most:.3g}; {wrong.sum()} of "
            f"{wrong.size} elements differ."
        )


def _place(wrong: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(wrong)[0])


def _described(arguments: Arguments) -> str:
    return ", ".join(
        f"{name}: {value.dtype}{value.shape}" if hasattr(value, "shape") else f"{name}: {value!r}"
        for name, value in arguments.items()
    )
