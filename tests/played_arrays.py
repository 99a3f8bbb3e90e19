"""Arrays as CuPy 14 has them, as strict, over NumPy's: the part of `played_cupy` that is arrays.

They hold NumPy's arrays in memory of their own, which NumPy gets only by `get`. What differs from
NumPy is told where it is played, as CuPy's sources have it: cupy/_core/core.pyx,
_routines_indexing.pyx, _routines_manipulation.pyx and _kernel.pyx.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import played_gpu
from played_gpu import Device

__all__ = ["PLAYED", "memory_of", "ndarray"]

# The functions of the module; each does what NumPy's of its name does. A test compares the names
# with those of the installed CuPy: what CuPy does not have must not be here.
_UFUNCS = [
    "absolute", "add", "bitwise_and", "bitwise_or", "bitwise_xor", "cos", "divide", "equal",
    "exp", "floor_divide", "greater", "greater_equal", "invert", "isfinite", "isnan",
    "left_shift", "less", "less_equal", "log", "logical_and", "logical_not", "logical_or",
    "maximum", "minimum", "multiply", "negative", "not_equal", "power", "remainder",
    "right_shift", "sign", "sin", "sqrt", "square", "subtract", "tanh", "true_divide",
]  # fmt: skip
_OTHERS = [
    "all", "any", "argmax", "argmin", "argsort", "argwhere", "broadcast_to", "clip",
    "concatenate", "cumsum", "diff", "expand_dims", "flatnonzero", "matmul", "max", "mean",
    "min", "moveaxis", "ndim", "nonzero", "pad", "prod", "ravel", "repeat", "reshape",
    "searchsorted", "shape", "size", "split", "squeeze", "stack", "sum", "take",
    "take_along_axis", "transpose", "unique", "var", "where",
]  # fmt: skip
_SCALARS = (bool, int, float, complex, np.generic)


def memory_of(array: ndarray) -> np.ndarray:
    """Return the memory of an array, as a kernel sees it."""
    return array._value


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


class ndarray:
    """cupy.ndarray: nothing goes between it and NumPy's by itself."""

    __slots__ = ("__weakref__", "_device", "_value", "base")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    # There is no __index__: range(x) and [...][x] fail even for whole numbers.

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        self._own(played_gpu.now().allocate(shape, dtype))

    def _own(self, value: np.ndarray, base: ndarray | None = None) -> ndarray:
        self._value, self.base, self._device = value, base, played_gpu.now().device
        return self

    # What it is

    shape = property(lambda self: self._value.shape)
    strides = property(lambda self: self._value.strides)
    dtype = property(lambda self: self._value.dtype)
    ndim = property(lambda self: self._value.ndim)
    size = property(lambda self: self._value.size)
    nbytes = property(lambda self: self._value.nbytes)
    itemsize = property(lambda self: self._value.itemsize)
    T = property(lambda self: self if self.ndim < 2 else _view(self._value.T, self))
    data = property(
        lambda self: SimpleNamespace(ptr=self._value.ctypes.data, device_id=self._device)
    )
    device = property(lambda self: Device(self._device))

    @property
    def flags(self) -> Any:
        flags = self._value.flags
        return SimpleNamespace(
            c_contiguous=flags.c_contiguous,
            f_contiguous=flags.f_contiguous,
            owndata=self.base is None,
        )

    # To the host, and only when asked

    def get(self, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
        played_gpu.now().reads += 1
        if out is None:
            return self._value.copy(order)
        out[...] = self._value
        return out

    def __array__(self, *arguments: Any, **keywords: Any) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous.")
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, specification: str) -> str:
        return format(self.get(), specification)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return len(self._value)

    def __iter__(self) -> Iterator[ndarray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # NumPy's protocols

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        function = _UFUNCTIONS.get(ufunc.__name__)
        if method != "__call__" or function is None:
            return NotImplemented
        if "out" in options:
            (options["out"],) = options["out"]
        for x in inputs:
            if not isinstance(x, (ndarray, np.ndarray, *_SCALARS)):
                return NotImplemented  # such as a Tensor, whose turn it then is
        if ufunc.__name__ in _COMPARISONS:
            inputs = tuple(
                x.item() if isinstance(x, np.ndarray) and not x.ndim else x for x in inputs
            )
        return function(*inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        ours = getattr(sys.modules["cupy"], function.__name__, None)
        if ours is None or any(kind not in (ndarray, np.ndarray) for kind in types):
            return NotImplemented
        return ours(*args, **kwargs)

    # Indexing

    def __getitem__(self, index: Any) -> ndarray:
        # Lists and NumPy arrays of integers are copied to the GPU; an index of an element gives
        # an array of no dimensions, and a view.
        index = _index(index, self)
        return _view(_numpy_array(self._value[index]), self)

    def __setitem__(self, index: Any, value: Any) -> None:
        index = _index(index, self)
        if isinstance(value, ndarray) or not _is_basic(index):
            self._value[index] = value if isinstance(value, np.ndarray) else _taken(value)
        else:  # CuPy fills what the index names: it takes numbers, and no NumPy array
            parts = _as_tuple(index)
            dots = () if any(part is ... for part in parts) else (...,)
            _view(self._value[(*parts, *dots)], self).fill(value)

    def fill(self, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if not isinstance(value, (ndarray, np.ndarray, *_SCALARS)):
            raise TypeError(f"Unsupported type {type(value)}")
        self._value.fill(_taken(value) if isinstance(value, ndarray) else value)

    # Copies and views

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: Any = True
    ) -> ndarray:
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        if not copy and self.dtype == dtype:
            return self
        return _new(self._value.astype(dtype, order=order), order)

    def copy(self, order: str = "C") -> ndarray:
        return _new(self._value, order)

    def view(self, dtype: Any = None) -> ndarray:
        return _view(self._value if dtype is None else self._value.view(dtype), self)

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        return _view(self._value.reshape(*shape, order=order), self)

    def transpose(self, *axes: Any) -> ndarray:
        return _view(self._value.transpose(*axes), self)

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return _view(self._value.swapaxes(axis1, axis2), self)

    def squeeze(self, axis: Any = None) -> ndarray:
        return _view(self._value.squeeze(axis), self)

    def ravel(self, order: str = "C") -> ndarray:
        return _view(self._value.ravel(order), self)

    def flatten(self) -> ndarray:
        return self.copy().reshape(-1)


ndarray.__module__ = "cupy"


def _numpy_array(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def _new(value: np.ndarray, order: str = "C") -> ndarray:
    """Return an array in memory of its own; elementwise results are always contiguous."""
    own = played_gpu.now().allocate(value.shape, value.dtype)
    if order == "K" and not value.flags.c_contiguous and value.flags.f_contiguous:
        own = own.reshape(value.shape[::-1]).T
    own[...] = value
    return ndarray.__new__(ndarray)._own(own)


def _view(value: np.ndarray, of: ndarray) -> ndarray:
    """Return `value` as a view of `of` if it is one; the base of a view of a view is the root."""
    if not np.may_share_memory(value, of._value) and value.size:
        return _new(value)
    base = of if of.base is None else of.base
    view = ndarray.__new__(ndarray)._own(value, base)
    view._device = of._device
    return view


def _taken(value: Any) -> Any:
    """Return what a kernel of CuPy would get: NumPy arrays it refuses."""
    if isinstance(value, ndarray):
        if value._device != played_gpu.now().device:
            raise ValueError(
                f"The device where the array resides ({value._device}) is different from the "
                f"current device ({played_gpu.now().device}). Peer access is unavailable."
            )
        return value._value
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(_taken(item) for item in value)
    return value


def _result(value: Any, *sources: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_result(item, *sources) for item in value)
    if not isinstance(value, np.ndarray | np.generic):
        return value
    for source in sources:
        if isinstance(source, ndarray):
            if value is source._value:
                return source
            if np.may_share_memory(value, source._value):
                return _view(_numpy_array(value), source)
    return _new(_numpy_array(value))


def _as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _is_basic(index: Any) -> bool:
    return not any(isinstance(part, np.ndarray | list) for part in _as_tuple(index))


def _index(index: Any, array: ndarray) -> Any:
    """Return an index for NumPy; integers in arrays wrap around where they are out of range."""
    parts = []
    for part in _as_tuple(index):
        if isinstance(part, ndarray):
            part = _taken(part)
        elif isinstance(part, list):
            part = np.asarray(part, None if part else np.int32)
        if isinstance(part, np.ndarray) and part.dtype.kind not in "biu":
            raise IndexError("arrays used as indices must be of integer or boolean type.")
        parts.append(part)
    if sum(isinstance(part, np.ndarray) and part.dtype.kind == "b" for part in parts) > 1:
        raise NotImplementedError("CuPy takes one mask in an index")
    axis = 0
    for position, part in enumerate(parts):
        if part is ...:
            break  # what comes after it is not wrapped around here
        if isinstance(part, np.ndarray) and part.dtype.kind != "b" and array.shape[axis]:
            parts[position] = part % array.shape[axis]
        axis += part.ndim if str(getattr(part, "dtype", "")) == "bool" else part is not None
    return tuple(parts) if isinstance(index, tuple) else parts[0]


def _played(name: str) -> Callable[..., Any]:
    """Return the module's function of a name: NumPy's, between arrays of the GPU."""
    function = getattr(np, name)

    def call(*arguments: Any, **options: Any) -> Any:
        if name in _NEED_AN_ARRAY and not isinstance(arguments[0], ndarray):
            # CuPy asks its first argument for a method, or checks its type.
            raise TypeError(f"{name} expects cupy.ndarray, received {type(arguments[0])}")
        with np.errstate(all="ignore"):  # the GPU does not warn
            value = function(
                *_taken(list(arguments)), **{key: _taken(item) for key, item in options.items()}
            )
        flat = [x for a in arguments for x in (a if isinstance(a, list | tuple) else [a])]
        return _result(value, *flat, *options.values())

    call.__name__ = name
    return call


_NEED_AN_ARRAY = {
    "argwhere", "broadcast_to", "clip", "expand_dims", "pad", "split", "take_along_axis", "where",
}  # fmt: skip
_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
PLAYED = {name: _played(name) for name in (*_UFUNCS, *_OTHERS)}
_UFUNCTIONS = {name: PLAYED[name] for name in (*_UFUNCS, "matmul")}


def _operator(ufunc: str, *, reflected: bool = False) -> Callable[[Any, Any], Any]:
    def operate(self: ndarray, other: Any) -> Any:
        if not isinstance(other, ndarray):
            if getattr(other, "__array_ufunc__", ()) is None:
                return NotImplemented
            # By way of NumPy: for others' __array_ufunc__, such as that of Tensor.
            return getattr(np, ufunc)(*((other, self) if reflected else (self, other)))
        return _UFUNCTIONS[ufunc](self, other)

    return operate


def _in_place(ufunc: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: _UFUNCTIONS[ufunc](self, other, out=self)


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
        given = {key: _taken(value) for key, value in given.items()}
        return _result(getattr(_taken(self), name)(**given, **fixed))

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
    setattr(ndarray, f"__{_name}__", lambda self, _ufunc=_ufunc: _UFUNCTIONS[_ufunc](self))
