"""The functions of the fake CuPy and the methods of its arrays that do what NumPy's do."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.support.fake_cupy import gpu as fake_gpu
from tests.support.fake_cupy.arrays import UFUNCTIONS, carry_out, ndarray, store, taken
from tests.support.fake_cupy.gpu import refuse

__all__ = ["FAKED"]

# The functions of the module; each does what NumPy's of its name does. A test compares the names
# with those of the installed CuPy: what CuPy does not have must not be here.
_UFUNCS = [
    "absolute", "add", "bitwise_and", "bitwise_or", "bitwise_xor", "cos", "divide", "equal",
    "exp", "expm1", "floor_divide", "greater", "greater_equal", "invert", "isfinite", "isnan",
    "left_shift", "less", "less_equal", "log", "logical_and", "logical_not", "logical_or",
    "maximum", "minimum", "multiply", "negative", "not_equal", "power", "remainder",
    "right_shift", "sign", "sin", "sqrt", "square", "subtract", "tanh", "true_divide",
]  # fmt: skip
_OTHERS = [
    "all", "any", "argmax", "argmin", "argsort", "argwhere", "bincount", "broadcast_to", "clip",
    "concatenate", "cumsum", "diff", "expand_dims", "flatnonzero", "matmul", "max", "mean",
    "min", "moveaxis", "ndim", "nonzero", "pad", "prod", "ravel", "repeat", "reshape",
    "searchsorted", "shape", "sinc", "size", "sort", "split", "squeeze", "stack", "sum", "take",
    "take_along_axis", "transpose", "unique", "var", "where",
]  # fmt: skip
_NEED_AN_ARRAY = {
    "argwhere", "broadcast_to", "clip", "expand_dims", "pad", "split", "take_along_axis", "where",
}  # fmt: skip
# The host waits for the device.
_WAIT = {"argsort", "argwhere", "bincount", "flatnonzero", "nonzero", "sort", "unique"}
_MOST_COPIES = 8  # that concatenate launches; for more arrays it copies their addresses to the GPU


def _fake(name: str) -> Callable[..., Any]:
    """Return the module's function of a name: NumPy's, between arrays of the GPU."""
    function = partial(np.take, mode="wrap") if name == "take" else getattr(np, name)

    def call(*arguments: Any, out: ndarray | None = None, **options: Any) -> Any:
        if name in _NEED_AN_ARRAY and not isinstance(arguments[0], ndarray):
            # CuPy asks its first argument for a method, or checks its type.
            raise TypeError(f"{name} expects cupy.ndarray, received {type(arguments[0])}")
        if isinstance(function, np.ufunc) and len(arguments) > function.nin:
            *arguments, out = arguments
        _check_capture(name, arguments)
        compute = partial(
            _quietly,
            function,
            *taken(list(arguments)),
            **{key: taken(value) for key, value in options.items()},
        )
        return _into(out, name, compute, [*arguments, *options.values()])

    call.__name__ = name
    return call


def _quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with np.errstate(all="ignore"):  # the GPU does not warn
        return function(*arguments, **options)


def _into(out: ndarray | None, name: str, compute: Callable[..., Any], sources: list[Any]) -> Any:
    """Return what `compute` gives, in `out` where that is an array."""
    if out is None:
        return carry_out(name, compute, sources)
    taken(out)  # refuses what is not of the GPU
    store(name, lambda target: compute(out=target), out, sources)
    return out


def _check_capture(name: str, arguments: Any) -> None:
    """Refuse what CuPy does not do while the current stream is capturing."""
    capture = fake_gpu.now().capture
    if capture is None:
        return
    if name == "matmul":  # CuPy refuses before it calls the library: the capture goes on
        raise NotImplementedError("cuBLAS is not called while a stream is capturing")
    joins = name in ("concatenate", "stack")
    if (
        name in _WAIT
        or (name == "where" and len(arguments) == 1)
        or (name == "repeat" and not isinstance(arguments[1], int))
        or (joins and len(arguments[0]) > _MOST_COPIES)
    ):
        refuse(capture)


FAKED = {name: _fake(name) for name in (*_UFUNCS, *_OTHERS)}
UFUNCTIONS.update({name: FAKED[name] for name in (*_UFUNCS, "matmul")})


def _operator(ufunc: str, *, reflected: bool = False) -> Callable[[Any, Any], Any]:
    def operate(self: ndarray, other: Any) -> Any:
        if not isinstance(other, ndarray):
            if getattr(other, "__array_ufunc__", ()) is None:
                return NotImplemented
            # By way of NumPy: for others' __array_ufunc__, such as that of Tensor.
            return getattr(np, ufunc)(*((other, self) if reflected else (self, other)))
        return UFUNCTIONS[ufunc](self, other)

    return operate


def _in_place(ufunc: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: UFUNCTIONS[ufunc](self, other, out=self)


def _method(name: str, parameters: str, **fixed: Any) -> Callable[..., Any]:
    """Return a method that takes the parameters CuPy's has, and gives arrays, never scalars."""
    signature = inspect.Signature(
        [
            inspect.Parameter(word, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for word in ("self", *parameters.split())
        ]
    )

    def method(self: ndarray, *arguments: Any, **options: Any) -> Any:
        given = signature.bind_partial(self, *arguments, **options).arguments
        given.pop("self")
        out = given.pop("out", None)
        _check_capture(name, [self])
        values = {key: taken(value) for key, value in given.items()}
        compute = partial(_quietly, getattr(taken(self), name), **values, **fixed)
        return _into(out, name, compute, [self, *given.values()])

    return method


for _name in ("sum", "mean", "prod"):
    setattr(ndarray, _name, _method(_name, "axis dtype out keepdims"))
for _name in ("max", "min", "all", "any", "argmax"):
    setattr(ndarray, _name, _method(_name, "axis out keepdims"))
ndarray.cumsum = _method("cumsum", "axis dtype out")
ndarray.round = _method("round", "decimals out")
ndarray.take = _method("take", "indices axis out", mode="wrap")
ndarray.argsort = _method("argsort", "axis", kind="stable")
_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "pow": "power",
    "floordiv": "floor_divide", "mod": "remainder", "matmul": "matmul", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
for _name, _ufunc in _OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
    setattr(ndarray, f"__r{_name}__", _operator(_ufunc, reflected=True))
    if _name != "matmul":
        setattr(ndarray, f"__i{_name}__", _in_place(_ufunc))
for _name, _ufunc in {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater",
    "ge": "greater_equal",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{_name}__", lambda self, _ufunc=_ufunc: UFUNCTIONS[_ufunc](self))
