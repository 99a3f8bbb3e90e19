"""The operators and array methods of `Tensor`, and NumPy's functions on tensors."""

from __future__ import annotations

from typing import Any

from gpunet.autograd import Tensor
from gpunet.functions import elementwise, network, reduction, shaping
from gpunet.symbolic import Symbol

__all__: list[str] = []

# NumPy's name of a function -> ours. `array + tensor` and `np.exp(tensor)` both come this way.
_UFUNCS: dict[str, Any] = {
    name: getattr(elementwise, name)
    for name in elementwise.__all__
    if name not in ("shape_of", "unbroadcast")
} | {"matmul": shaping.matmul, "tanh": network.tanh}

# NumPy functions that are no ufuncs, likewise.
_FUNCTIONS: dict[str, Any] = {
    name: getattr(module, name)
    for module in (reduction, shaping)
    for name in module.__all__
    if name not in ("getitem", "matmul")
} | {
    "amax": reduction.max,
    "amin": reduction.min,
    "clip": elementwise.clip,
    "where": elementwise.where,
}
_ABOUT_SHAPES = {"ndim", "shape", "size"}

_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}


def _array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if method != "__call__" or kwargs:
        return NotImplemented
    if ufunc.__name__ in _COMPARISONS:
        return ufunc(*(x.value if isinstance(x, Tensor) else x for x in inputs))
    function = _UFUNCS.get(ufunc.__name__)
    if function is None:
        raise TypeError(_no_gradient(ufunc.__name__))
    return function(*inputs)


def _array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    ours = _FUNCTIONS.get(function.__name__)
    if ours is not None:
        return ours(*args, **kwargs)
    if function.__name__ in _ABOUT_SHAPES:
        return function(args[0].value, *args[1:], **kwargs)
    raise TypeError(_no_gradient(function.__name__))


def _no_gradient(name: str) -> str:
    return (
        f"numpy.{name} has no gradient in gpunet, received a Tensor: use a function of "
        "gpunet.functions, or tensor.numpy() for the value alone."
    )


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
    "__matmul__": shaping.matmul,
    "__rmatmul__": lambda self, other: shaping.matmul(other, self),
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
