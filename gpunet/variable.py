"""Numbers that are changed in place: learning rates, step counts, the states of metrics."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from gpunet.backend import asarray, to_numpy

__all__ = ["Variable"]

Array: TypeAlias = Any  # a NumPy or CuPy array


class Variable(NDArrayOperatorsMixin):
    """An array with Keras' methods of a variable; arithmetic gives plain arrays.

    Arguments:
        value: the array, which `assign` writes into.
        name: the variable's name.

    >>> rate = Variable(np.array(0.5), "rate")
    >>> rate.assign(0.25)
    >>> float(rate), float(2 * rate)
    (0.25, 0.5)
    """

    def __init__(self, value: Array, name: str = "variable") -> None:
        self._value, self.name = value, name

    @property
    def value(self) -> Array:
        """The array itself."""
        return self._value

    shape: Any = property(operator.attrgetter("value.shape"))
    dtype: Any = property(operator.attrgetter("value.dtype"))
    size: Any = property(operator.attrgetter("value.size"))

    def assign(self, value: Any) -> None:
        """Write a number, or an array that broadcasts to the shape, into the array."""
        self.value[...] = asarray(_array(value), like=self.value)

    def assign_add(self, value: Any) -> None:
        """Add to the array."""
        self.value[...] += asarray(_array(value), like=self.value)

    def assign_sub(self, value: Any) -> None:
        """Subtract from the array."""
        self.value[...] -= asarray(_array(value), like=self.value)

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

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        """Compute with the arrays: what NumPy, CuPy and the operators call."""
        values = [x.value if isinstance(x, Variable) else x for x in inputs]
        if out is None:
            return getattr(ufunc, method)(*values, **options)
        (target,) = out
        if not isinstance(target, Variable):
            return getattr(ufunc, method)(*values, out=out, **options)
        target.assign(getattr(ufunc, method)(*values, **options))
        return target

    def __cupy_get_ndarray__(self) -> Array:
        return self.value  # what CuPy's kernels read

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {to_numpy(self.value)}>"

    __hash__ = object.__hash__


def _array(x: Any) -> Any:
    """Return the array in a variable or a tensor; else `x` itself."""
    return getattr(x, "value", x)
