"""Numbers that are changed in place: learning rates, step counts, the states of metrics."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gpunet.backend import asarray, get_array_module, to_numpy

__all__ = ["Variable"]

Array: TypeAlias = Any  # a NumPy or CuPy array

_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


class Variable:
    """An array with Keras' methods of a variable; arithmetic gives plain arrays.

    Arguments:
        value: the array, which `assign` writes into.
        name: the variable's name.

    >>> rate = Variable(np.array(0.5), "rate")
    >>> rate.assign(0.25)
    >>> float(rate), float(2 * rate)
    (0.25, 0.5)
    """

    __array_priority__ = 1000  # NumPy and CuPy leave array * variable to the variable

    def __init__(self, value: Array, name: str = "variable") -> None:
        self._value, self.name = value, name

    @property
    def value(self) -> Array:
        """The array itself."""
        return self._value

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.value.dtype

    @property
    def size(self) -> int:
        return self.value.size

    def assign(self, value: Any) -> None:
        """Write a number, or an array that broadcasts to the shape, into the array."""
        self.value[...] = asarray(_array(value), like=self.value)

    def assign_add(self, value: Any) -> None:
        """Add to the array."""
        self.value[...] += _array(value)

    def assign_sub(self, value: Any) -> None:
        """Subtract from the array."""
        self.value[...] -= _array(value)

    def numpy(self) -> np.ndarray:
        """Return a copy as a NumPy array."""
        return to_numpy(self.value).copy()

    def item(self) -> Any:
        """Return the only element as a Python number."""
        return self.value.item()

    def __getitem__(self, index: Any) -> Array:
        return (self.value if self.shape else self.value.reshape(1))[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(to_numpy(self.value), dtype=dtype, copy=copy)

    def __cupy_get_ndarray__(self) -> Array:
        return get_array_module(self.value).asarray(self.value)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __neg__(self) -> Array:
        return -self.value

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {to_numpy(self.value)}>"

    __hash__ = object.__hash__


def _array(x: Any) -> Any:
    """Return the array in a variable or a tensor; else `x` itself."""
    return getattr(x, "value", x)


def _operators(function: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    def forward(self: Variable, other: Any) -> Array:
        return function(self.value, _array(other))

    def reflected(self: Variable, other: Any) -> Array:
        return function(_array(other), self.value)

    return forward, reflected


for _name in _BINARY:
    _forward, _reflected = _operators(getattr(operator, _name))
    setattr(Variable, f"__{_name}__", _forward)
    setattr(Variable, f"__r{_name}__", _reflected)
for _name in _COMPARISONS:
    setattr(Variable, f"__{_name}__", _operators(getattr(operator, _name))[0])
