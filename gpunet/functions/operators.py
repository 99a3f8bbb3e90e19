"""The operators and array methods of `Tensor`, and NumPy's functions on tensors.

A NumPy function that has a gradient here is replaced by ours. Any other computes with the values of
its tensors, or raises `TypeError` where that would lose a gradient (see `Tensor`).
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from gpunet.autograd import Tensor
from gpunet.functions import activation, elementwise, linear, reduction, shaping
from gpunet.symbolic import Symbol

__all__: list[str] = []

# NumPy's name of a ufunc -> ours. `array + tensor` and `np.exp(tensor)` both come this way.
_UFUNCS: dict[str, Any] = {
    name: getattr(elementwise, name)
    for name in elementwise.__all__
    if name not in ("clip", "rescale", "where")
} | {"matmul": linear.matmul, "tanh": activation.tanh}

# NumPy functions that are no ufuncs, likewise.
_FUNCTIONS: dict[str, Any] = {
    name: getattr(module, name)
    for module in (reduction, shaping)
    for name in module.__all__
    if name != "getitem"
} | {
    "amax": reduction.max,
    "amin": reduction.min,
    "clip": elementwise.clip,
    "where": elementwise.where,
}
# Their results do not change with the values, or only in steps.
_WITHOUT_GRADIENT = {
    "equal", "greater", "greater_equal", "less", "less_equal", "ndim", "not_equal", "shape", "size",
}  # fmt: skip


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if method == "__call__" and not kwargs and ufunc.__name__ in _UFUNCS:
        return _UFUNCS[ufunc.__name__](*inputs)
    return _on_values(getattr(ufunc, method), ufunc.__name__, inputs, kwargs)


def _array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    name = function.__name__
    if name in _FUNCTIONS and function is getattr(np, name, None):
        try:
            inspect.signature(_FUNCTIONS[name]).bind(*args, **kwargs)
        except TypeError:  # an option of NumPy's that ours does not have
            return _on_values(function, name, args, kwargs)
        return _FUNCTIONS[name](*args, **kwargs)
    return _on_values(function, name, args, kwargs)


def _on_values(function: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what a NumPy function makes of the values of tensors."""

    def value(x: Any) -> Any:
        if isinstance(x, Tensor):
            if name not in _WITHOUT_GRADIENT and x.is_differentiated():
                raise TypeError(
                    f"numpy.{name} with these arguments has no gradient in gpunet, received a "
                    "Tensor: use a function of gpunet.functions, or tensor.numpy() for the value "
                    "alone."
                )
            return x.value
        if isinstance(x, list | tuple) and type(x) in (list, tuple):
            return type(x)(map(value, x))
        return x

    return function(*map(value, args), **{key: value(x) for key, x in kwargs.items()})


def _reshape(self: Tensor, *shape: Any) -> Tensor:
    return shaping.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Tensor, *axes: Any) -> Tensor:
    if not axes or axes[0] is None:
        return shaping.transpose(self)
    return shaping.transpose(self, axes[0] if isinstance(axes[0], tuple) else axes)


_METHODS: dict[str, Any] = {
    "__add__": elementwise.add,
    "__radd__": lambda self, other: elementwise.add(other, self),
    "__sub__": elementwise.subtract,
    "__rsub__": lambda self, other: elementwise.subtract(other, self),
    "__mul__": elementwise.multiply,
    "__rmul__": lambda self, other: elementwise.multiply(other, self),
    "__truediv__": elementwise.divide,
    "__rtruediv__": lambda self, other: elementwise.divide(other, self),
    "__pow__": elementwise.power,
    "__rpow__": lambda self, other: elementwise.power(other, self),
    "__matmul__": linear.matmul,
    "__rmatmul__": lambda self, other: linear.matmul(other, self),
    "__neg__": elementwise.negative,
    "__abs__": elementwise.absolute,
    "__getitem__": shaping.getitem,
    "__array_function__": _array_function,
    "__array_ufunc__": _array_ufunc,
    "T": property(shaping.transpose),
    "sum": reduction.sum,
    "mean": reduction.mean,
    "max": reduction.max,
    "min": reduction.min,
    "reshape": _reshape,
    "astype": shaping.astype,
    "transpose": _transpose,
}

for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
    if _name != "__array_function__":
        setattr(Symbol, _name, _method)
