"""Custom kernels: a NumPy function and the CUDA kernel that computes the same, as one function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

import numpy as np

from gpunet import parity_check
from gpunet.arguments import is_number
from gpunet.autograd import Array, Result, Tensor, differentiable
from gpunet.backend import get_array_module
from gpunet.custom_source import COUNT, DTYPES, add_file_or_text, check_parameters, is_open
from gpunet.primitives import cuda
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch import Kernel
from gpunet.primitives.twins import twins_for
from gpunet.symbolic import is_symbolic, record

__all__ = ["CustomKernel", "kernel"]

_SUMS = "A"  # the type that elements of type T are summed in
_MOST_THREADS = 1024


def kernel(
    source: str | PathLike[str],
    name: str | None = None,
    *,
    shape: Callable[..., Any] | None = None,
    grid: Callable[..., Any] | None = None,
    block: int = 256,
    sizes: Callable[..., Mapping[str, int]] | None = None,
    macros: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., Any]], CustomKernel]:
    r"""Pair the decorated NumPy function with a CUDA kernel that computes the same.

    The result is called like the function: NumPy arrays go to the function, CuPy arrays to the
    kernel, and an array comes back. It takes tensors and symbols too, so that it can be used in a
    layer or a model, and is differentiated if `CustomKernel.gradient` has given it a gradient.

    The kernel's own parameters say what it is given:

    - an array that is ``const``: the argument of that name, contiguous;
    - the one array that is not: the result;
    - a number: the argument of that name, what `sizes` has under the name, or if the name is
      ``count`` the number of elements of the result.

    The type ``T`` (or any capital letter but ``A``) is the dtype of the arrays declared with it,
    and ``A`` the type to sum T in, float64 for float64, else float32. ``#include "common.cuh"``
    brings ``int64`` and its like, ``thread_index()``, ``thread_count()`` and ``SHARED``; other
    headers in gpunet's kernels/ can be included likewise.

    Arguments:
        source: CUDA C++, or the path of a file of it. The kernel is declared as
            ``extern "C" __global__ void name(...)``.
        name: the kernel's name in the source, by default the function's.
        shape: returns the result's shape; by default that of the first array. `shape`, `grid` and
            `sizes` are functions of the arguments, of which each takes those that it names.
        grid: returns the number of blocks, a number or up to three; by default one thread for each
            element of the result, and fewer where they exceed what a GPU runs at once: let threads
            go on in steps of ``thread_count()``.
        block: threads of a block.
        sizes: returns further numbers for the kernel, by name.
        macros: defined for the source, such as ``{"WIDTH": 4}``.

    Raises:
        ValueError: the source has no such kernel, or its parameters and the function's do not fit.
        FileNotFoundError: there is no such file.

    Example:
        >>> import gpunet
        >>> @gpunet.kernel(r'''
        ... #include "common.cuh"
        ... extern "C" __global__ void squared_relu(const int64 count, const T* x, T* y) {
        ...     for (int64 i = thread_index(); i < count; i += thread_count()) {
        ...         const T positive = x[i] > T(0) ? x[i] : T(0);
        ...         y[i] = positive * positive;
        ...     }
        ... }
        ... ''')
        ... def squared_relu(x):
        ...     return np.maximum(x, 0) ** 2
        >>> @squared_relu.gradient
        ... def squared_relu_gradient(output_grad, x):
        ...     return output_grad * 2 * np.maximum(x, 0)
        >>> squared_relu(np.array([-1.0, 2.0, 3.0]))
        array([0., 4., 9.])
        >>> gpunet.grad(lambda x: squared_relu(x).sum())(np.array([-1.0, 2.0, 3.0]))
        array([0., 4., 6.])
        >>> test_squared_relu = squared_relu.test()  # in a file of tests: for pytest to find
    """

    def pair(function: Callable[..., Any]) -> CustomKernel:
        return CustomKernel(
            function, source, name, shape=shape, grid=grid, block=block, sizes=sizes, macros=macros
        )

    return pair


class CustomKernel:
    """A NumPy function paired with a CUDA kernel; made by `kernel`, which has the arguments."""

    def __init__(
        self,
        function: Callable[..., Any],
        source: str | PathLike[str],
        name: str | None = None,
        *,
        shape: Callable[..., Any] | None = None,
        grid: Callable[..., Any] | None = None,
        block: int = 256,
        sizes: Callable[..., Mapping[str, int]] | None = None,
        macros: Mapping[str, Any] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.name = function, name or function.__name__
        self.macros = dict(macros or {})
        self._gradient: Callable[..., Any] | None = None
        self._shape, self._grid, self._sizes = shape, grid, sizes
        self.signature = inspect.signature(function)
        self.kernel = Kernel(add_file_or_text(source, self.name), self.name)
        self._inputs, self.output = check_parameters(self.kernel, self.signature, sizes is not None)
        self.array_names = tuple(parameter.name for parameter in self._inputs)
        if not (isinstance(block, int) and 1 <= block <= _MOST_THREADS):
            raise ValueError(
                f"Kernel {self.name} expects block, the threads of a block, from 1 to "
                f"{_MOST_THREADS}, received {block!r}."
            )
        self.block = block
        for option, rule in (("shape", shape), ("grid", grid), ("sizes", sizes)):
            if rule is not None:
                self._check_names(f"{option}=", rule, ())
        self._on_tensors = differentiable(_named(self._value_and_gradient, self.name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result for the function's arguments.

        Raises:
            TypeError: the number of arguments is wrong, or an array is none or of another dtype
                than the kernel declares.
            KernelCompileError: the source does not compile; the message names the line.
        """
        if is_symbolic(args, kwargs):
            return record(self, args, kwargs)
        arguments = self.bind(args, kwargs)
        if any(isinstance(value, Tensor) for value in arguments.values()):
            arrays = [arguments.pop(name) for name in self.array_names]
            return self._on_tensors(*arrays, **arguments)
        return self.compute(arguments)

    def gradient(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give the gradient of the arrays, as a decorator; return the function.

        Arguments:
            function: takes ``output_grad``, the gradient of the result, and by their names
                arguments of the kernel and ``output``, its result. It returns the gradient of the
                only array argument, or a tuple with one entry for each (None for integers). It may
                be a custom kernel itself.

        Raises:
            ValueError: it takes what there is not.
        """
        self._check_names("gradient", function, ("output_grad", "output"))
        self._gradient = function
        return function

    def check(
        self, *args: Any, rtol: float | None = None, atol: float | None = None, **kwargs: Any
    ) -> None:
        """Compare the kernel with the NumPy function on a device; see `parity_check.check`."""
        parity_check.check(self, self.bind(args, kwargs), rtol, atol)

    def test(
        self, *cases: Any, rtol: float | None = None, atol: float | None = None
    ) -> Callable[[], None]:
        """Return a test for pytest that checks several calls; see `parity_check.make_test`."""
        return parity_check.make_test(self, cases, rtol, atol)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name, defaults included."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}{self.signature}: {error}.") from None
        bound.apply_defaults()
        return dict(bound.arguments)

    def compute(self, arguments: dict[str, Any]) -> Array:
        """Return the result for arrays: by NumPy, or by the kernel for CuPy's."""
        types = self._types(arguments)
        if twins_for(*[arguments[name] for name in self.array_names]) is cuda:
            return self.launch(arguments, self.empty(arguments))
        result = np.asarray(self.function(**arguments))
        shape, dtype = self.result_shape(arguments), types[self.output.type]
        if (result.shape, result.dtype) != (shape, dtype):
            raise ValueError(
                f"{self.name}: the NumPy function returns {result.dtype}{result.shape}, the kernel "
                f"gives {dtype}{shape}: let them agree, by shape= or by the type of "
                f"{self.output.name!r} in the source."
            )
        return result

    def empty(self, arguments: dict[str, Any]) -> Array:
        """Return an array for the result, with any contents."""
        dtype = self._types(arguments)[self.output.type]
        return launcher.empty(self.result_shape(arguments), dtype)

    def launch(self, arguments: dict[str, Any], result: Array) -> Array:
        """Launch the kernel; return `result`, which it writes."""
        types = self._types(arguments)
        numbers = {COUNT: result.size, **arguments}
        if self._sizes is not None:
            numbers |= call_by_name(self._sizes, arguments)
        values = []
        for parameter in self.kernel.parameters:
            if parameter.is_written:
                values.append(result)
            elif parameter.is_array:
                array = arguments[parameter.name]
                values.append(None if array is None else launcher.contiguous(array))
            elif parameter.name in numbers:
                values.append(numbers[parameter.name])
            else:
                raise ValueError(
                    f"Kernel {self.name} takes the number {parameter.name!r}, which sizes= does "
                    f"not return: it has {', '.join(numbers)}."
                )
        opened = {name: dtype for name, dtype in types.items() if is_open(name)}
        grid = self._blocks(arguments, result.size)
        self.kernel(grid, self.block, *values, types=opened, **self.macros)
        return result

    def result_shape(self, arguments: dict[str, Any]) -> tuple[int, ...]:
        """Return the shape of the result."""
        if self._shape is None:
            return next(arguments[n].shape for n in self.array_names if arguments[n] is not None)
        found = call_by_name(self._shape, arguments)
        shape = (found,) if is_number(found) else tuple(found)
        if not all(is_number(size) and size == int(size) >= 0 for size in shape):
            raise ValueError(f"{self.name}: expected sizes from shape=, received {found!r}.")
        return tuple(int(size) for size in shape)

    @property
    def is_elementwise(self) -> bool:
        """Whether the result has the shape of the first array."""
        return self._shape is None

    @property
    def gradient_function(self) -> Callable[..., Any] | None:
        """The function that `gradient` was given, or None."""
        return self._gradient

    def declared_dtype(self, name: str) -> np.dtype[Any] | None:
        """Return the dtype that an array argument is declared with, or None where it is open."""
        declared = next(p.type for p in self._inputs if p.name == name)
        return None if is_open(declared) else np.dtype(DTYPES[declared])

    def _blocks(self, arguments: dict[str, Any], count: int) -> Any:
        if self._grid is None:
            return launcher.blocks_for(count, self.block)
        found = call_by_name(self._grid, arguments)
        blocks = tuple(found) if isinstance(found, tuple | list) else (found,)
        if not 1 <= len(blocks) <= 3 or not all(is_number(n) and n == int(n) >= 0 for n in blocks):
            raise ValueError(
                f"{self.name}: expected one to three numbers of blocks from grid=, received "
                f"{found!r}."
            )
        return tuple(int(n) for n in blocks)

    def _types(self, arguments: dict[str, Any]) -> dict[str, np.dtype[Any]]:
        """Return the dtype of each type in the kernel's parameters; check the arrays."""
        types = {name: np.dtype(dtype) for name, dtype in DTYPES.items()}
        for parameter in self._inputs:
            array = arguments[parameter.name]
            if array is None:
                continue
            if not isinstance(array, get_array_module(array).ndarray):
                raise TypeError(
                    f"{self.name} expects an array for {parameter.name}, received "
                    f"{type(array).__name__}: make one with gpunet.backend.asarray."
                )
            if types.setdefault(parameter.type, array.dtype) != array.dtype:
                raise TypeError(
                    f"{self.name} expects {parameter.name} as {types[parameter.type]}, as the "
                    f"kernel declares it ({parameter.type}), received {array.dtype}: convert it "
                    "with astype."
                )
        if "T" in types:
            types[_SUMS] = launcher.accumulator(types["T"])
        for parameter in self.kernel.parameters:
            if parameter.type not in types:
                raise TypeError(
                    f"{self.name}: no array decides the type {parameter.type} of "
                    f"{parameter.name}: give one that the kernel declares with it."
                )
        return types

    def _value_and_gradient(self, *arrays: Array, **others: Any) -> Result:
        arguments = {**dict(zip(self.array_names, arrays, strict=True)), **others}
        output, function = self.compute(arguments), self._gradient
        known = arguments | {"output": output}
        if function is not None:  # keep what it takes, and nothing else
            known = {name: known[name] for name in _parameters(function) if name in known}

        def backward(output_grad: Array) -> Any:
            if function is None:
                raise TypeError(
                    f"{self.name} has no gradient: give it one by @{self.name}.gradient."
                )
            return function(**known, output_grad=output_grad)

        return output, backward

    def _check_names(
        self, what: str, function: Callable[..., Any], others: tuple[str, ...]
    ) -> None:
        known = (*others, *self.signature.parameters)
        for name in _parameters(function):
            if name not in known:
                raise ValueError(
                    f"{self.name}: {what} takes {name!r}; expected some of {', '.join(known)}."
                )

    def __repr__(self) -> str:
        return f"<kernel {self.name}{self.signature}>"

    def __reduce__(self) -> str:
        """Return the name by which pickle and copy find it, as for a function."""
        return self.function.__qualname__


def call_by_name(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """Return the result of a function for those of the values that it names."""
    return function(**{name: values[name] for name in _parameters(function) if name in values})


@functools.cache
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def _named(function: Callable[..., Result], name: str) -> Callable[..., Result]:
    def named(*arrays: Array, **others: Any) -> Result:
        return function(*arrays, **others)

    named.__name__ = named.__qualname__ = name
    return named
