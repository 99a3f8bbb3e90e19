"""Numbers that are changed in place: learning rates, step counts, the states of metrics."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from gpunet.backend import asarray, to_numpy

__all__ = ["Assignable", "Variable"]

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


class Assignable:
    """The methods by which a weight is changed in place; its array is `value`."""

    __slots__ = ()
    value: Any
    name: str

    def assign(self, value: Any) -> None:
        """Write an array of the weight's shape into it, cast to its dtype.

        Raises:
            ValueError: another shape; nothing is changed.
            TypeError: something else than real numbers; nothing is changed.

        >>> from gpunet import Parameter
        >>> weight = Parameter(np.zeros(2), name="scale")
        >>> weight.assign([1, 2])
        >>> weight.numpy()
        array([1., 2.])
        """
        self.value[...] = self._operand(value, "assign", broadcast=False)

    def assign_add(self, value: Any) -> None:
        """Add a number, or an array that broadcasts to the weight's shape; see `assign`.

        >>> from gpunet import Parameter
        >>> weight = Parameter(np.ones(2), name="scale")
        >>> weight.assign_add(0.5)
        >>> weight.numpy()
        array([1.5, 1.5])
        """
        self.value[...] += self._operand(value, "assign_add")

    def assign_sub(self, value: Any) -> None:
        """Subtract a number, or an array that broadcasts to the weight's shape; see `assign`.

        >>> from gpunet import Parameter
        >>> weight = Parameter(np.ones(2), name="scale")
        >>> weight.assign_sub([0.5, 0.25])
        >>> weight.numpy()
        array([0.5 , 0.75])
        """
        self.value[...] -= self._operand(value, "assign_sub")

    def _operand(self, value: Any, method: str, broadcast: bool = True) -> Array:
        """Return a checked array of the weight's dtype, where the weight is."""
        where, shape, array = f"{method} of weight {self.name!r}", self.value.shape, _array(value)
        try:
            array = array if hasattr(array, "dtype") else np.asarray(array)
        except ValueError:  # rows of several lengths
            array = np.asarray(None)
        if array.dtype.kind not in "fiub":
            raise TypeError(
                f"{where} expects numbers of shape {shape}, received {type(value).__name__} of "
                f"dtype {array.dtype}. Nothing was changed."
            )
        if array.shape != shape and not (broadcast and _broadcasts(array.shape, shape)):
            expected = "an array that broadcasts to" if broadcast else "an array of"
            raise ValueError(
                f"{where} expects {expected} shape {shape}, received shape {array.shape}. Nothing "
                "was changed."
            )
        return asarray(array, dtype=self.value.dtype, like=self.value)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    pairs = zip(shape[::-1], to[::-1], strict=False)
    return len(shape) <= len(to) and all(size in (1, whole) for size, whole in pairs)


def _array(x: Any) -> Any:
    """Return the array in a variable or a tensor; else `x` itself."""
    return getattr(x, "value", x)
