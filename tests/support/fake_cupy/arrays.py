"""Arrays as CuPy 14 has them, as strict, over NumPy's: the part of `fake_cupy` that is arrays.

They hold NumPy's arrays in memory of their own, which NumPy gets only by `get`. What differs from
NumPy is told where it is fake, as CuPy's sources have it: cupy/_core/core.pyx,
_routines_indexing.pyx, _routines_manipulation.pyx and _kernel.pyx.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.support.fake_cupy import gpu as fake_gpu
from tests.support.fake_cupy.gpu import Device, refuse
from tests.support.fake_cupy.memory import MemoryPointer, alloc, pinned, watch
from tests.support.fake_cupy.streams import Stream, get_current_stream, perform

__all__ = ["UFUNCTIONS", "carry_out", "memory_of", "ndarray", "new", "store", "taken"]

UFUNCTIONS: dict[str, Callable[..., Any]] = {}  # of the module; `fake_functions` fills it
_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_SCALARS = (bool, int, float, complex, np.generic)


def memory_of(array: ndarray) -> np.ndarray:
    """Return the memory of an array, as a kernel sees it."""
    return array._value


class ndarray:
    """cupy.ndarray: nothing goes between it and NumPy's by itself."""

    __slots__ = ("__weakref__", "_device", "_memory", "_value", "base")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    # There is no __index__: range(x) and [...][x] fail even for whole numbers.

    def __init__(self, shape: Any, dtype: Any = float, memptr: MemoryPointer | None = None) -> None:
        sizes, dtype = tuple(shape) if np.iterable(shape) else (shape,), np.dtype(dtype)
        pointer = memptr or alloc(int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize)
        self._value, self._memory = pointer.array(sizes, dtype), pointer.mem
        self.base, self._device = None, fake_gpu.now().device

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
        lambda self: MemoryPointer(self._memory, self._value.ctypes.data - self._memory.ptr)
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

    def get(
        self,
        stream: Stream | None = None,
        order: str = "C",
        out: np.ndarray | None = None,
        blocking: bool = True,
    ) -> np.ndarray:
        stream = stream or get_current_stream()
        refuse(fake_gpu.now().captures.get(stream.ptr))
        if out is not None and out.dtype != self.dtype:
            raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
        fake_gpu.now().reads += 1
        on_host = np.empty_like(self._value, order=order, subok=False) if out is None else out
        on_host.ravel("K").view(np.uint8)[...] = 0xFF  # until the host has waited for the copy
        value = self._value.copy()
        copy = partial(np.copyto, on_host, value)
        perform("get", lambda: None, [self], stream=stream, after=lambda: copy)
        if blocking:
            stream.synchronize()
        return on_host

    def set(self, arr: np.ndarray, stream: Stream | None = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not (self._value.flags.c_contiguous or self._value.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        stream = stream or get_current_stream()
        host, unchanged = pinned(arr), None
        if host is None:  # CUDA takes it into memory of its own before it returns
            host = arr
            refuse(fake_gpu.now().captures.get(stream.ptr))
        else:
            unchanged = partial(watch, host, stream.ptr)
        copied = partial(np.copyto, self._value, host)
        perform("set", copied, writes=[self], stream=stream, after=unchanged)

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
        function = UFUNCTIONS.get(ufunc.__name__)
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
        parts, shape, value = _index(index), self.shape, self._value
        return self._derived("getitem", lambda: value[_wrapped(parts, shape)], _as_tuple(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        parts, shape = _index(index), self.shape
        if isinstance(value, ndarray) or not _is_basic(parts):
            if isinstance(value, np.ndarray):
                refuse(fake_gpu.now().capture)  # it is copied to the GPU
            values = value if isinstance(value, np.ndarray) else taken(value)

            def write(target: np.ndarray) -> None:
                target[_wrapped(parts, shape)] = values

            name = "copy" if _is_basic(parts) else "setitem"
            store(name, write, self, (value, *_as_tuple(index)))
        else:  # CuPy fills what the index names: it takes numbers, and no NumPy array
            _view(self._value[parts], self).fill(value)

    def fill(self, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if not isinstance(value, (ndarray, np.ndarray, *_SCALARS)):
            raise TypeError(f"Unsupported type {type(value)}")
        number = taken(value) if isinstance(value, ndarray) else value
        store("fill", lambda target: target.fill(number), self, [value])

    # Copies and views

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: Any = True
    ) -> ndarray:
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        if not copy and self.dtype == dtype:
            return self
        return carry_out("copy", partial(self._value.astype, dtype, order), [self], order)

    def copy(self, order: str = "C") -> ndarray:
        return carry_out("copy", partial(self._value.copy, order), [self], order)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return self.copy()

    def view(self, dtype: Any = None) -> ndarray:
        return _view(self._value if dtype is None else self._value.view(dtype), self)

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        return self._derived("copy", partial(self._value.reshape, *shape, order=order))

    def transpose(self, *axes: Any) -> ndarray:
        return _view(self._value.transpose(*axes), self)

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return _view(self._value.swapaxes(axis1, axis2), self)

    def squeeze(self, axis: Any = None) -> ndarray:
        return _view(self._value.squeeze(axis), self)

    def ravel(self, order: str = "C") -> ndarray:
        return self._derived("copy", partial(self._value.ravel, order))

    def flatten(self) -> ndarray:
        return self.copy().reshape(-1)

    def _derived(
        self, name: str, compute: Callable[[], np.ndarray], sources: Iterable[Any] = ()
    ) -> ndarray:
        """Return a view where NumPy gives one, and else what `compute` gives, in a new array."""
        value = compute()
        if not value.size or np.may_share_memory(value, self._value):
            return _view(value, self)
        return carry_out(name, compute, [self, *sources])


ndarray.__module__ = "cupy"


def _numpy_array(value: Any) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def new(value: np.ndarray, order: str = "C") -> ndarray:
    """Return an array for `value` in memory of its own; it is contiguous, its contents any."""
    made = ndarray(value.shape, value.dtype)
    if order == "K" and not value.flags.c_contiguous and value.flags.f_contiguous:
        made._value = made._value.reshape(value.shape[::-1]).T
    return made


def _view(value: np.ndarray, of: ndarray) -> ndarray:
    """Return `value` as a view of `of`; the base of a view of a view is the root."""
    view = ndarray.__new__(ndarray)
    view._value, view._memory, view._device = value, of._memory, of._device
    view.base = of if of.base is None else of.base
    return view


def taken(value: Any) -> Any:
    """Return what a kernel of CuPy would get: NumPy arrays it refuses."""
    if isinstance(value, ndarray):
        if value._device != fake_gpu.now().device:
            raise ValueError(
                f"The device where the array resides ({value._device}) is different from the "
                f"current device ({fake_gpu.now().device}). Peer access is unavailable."
            )
        return value._value
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, list | tuple):
        return type(value)(taken(item) for item in value)
    return value


def _arrays(sources: Iterable[Any]) -> list[ndarray]:
    """Return the arrays of the GPU among some arguments and in the lists among them."""
    flat = (x for source in sources for x in _as_list(source))
    return [x for x in flat if isinstance(x, ndarray)]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def carry_out(
    name: str, compute: Callable[[], Any], sources: Iterable[Any], order: str = "C"
) -> Any:
    """Return what `compute` gives as arrays: views of the sources, or new ones and work for them.

    While a stream is capturing, what it gives now tells only shapes.
    """
    sources = _arrays(sources)
    given = compute()
    values = _as_list(given)
    made, written, targets = [], [], []
    for value in values:
        target = None
        if isinstance(value, np.ndarray | np.generic):
            value = _numpy_array(value)
            of = next((s for s in sources if np.may_share_memory(value, s._value)), None)
            if of is None:
                value = new(value, order)
                target = value._value
                written.append(value)
            else:
                value = _view(value, of)
        made.append(value)
        targets.append(target)
    first = [] if fake_gpu.now().capture else [values]

    def write() -> None:
        again = first.pop() if first else _as_list(compute())
        for target, value in zip(targets, again, strict=True):
            if target is not None:
                target[...] = value

    if written:
        perform(name, write, sources, written)
    return type(given)(made) if isinstance(given, tuple | list) else made[0]


def store(
    name: str, write: Callable[[np.ndarray], None], target: ndarray, sources: Iterable[Any] = ()
) -> None:
    """Let `write` change an array; while a stream is capturing, a copy first, to find errors."""
    if fake_gpu.now().capture:
        write(target._value.copy())
    perform(name, partial(write, target._value), _arrays(sources), [target])


def _as_tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _is_basic(index: Any) -> bool:
    return not any(isinstance(part, np.ndarray | list) for part in _as_tuple(index))


def _index(index: Any) -> tuple[Any, ...]:
    """Return an index for NumPy, of which `_wrapped` is still to be taken.

    While a stream is capturing, no mask is taken, as the host asks how many elements it has, and
    no list or NumPy array, which is copied to the GPU.
    """
    parts = []
    for given in _as_tuple(index):
        part = taken(given) if isinstance(given, ndarray) else given
        if isinstance(part, list):
            part = np.asarray(part, None if part else np.int32)
        if isinstance(part, np.ndarray):
            if part.dtype.kind not in "biu":
                raise IndexError("arrays used as indices must be of integer or boolean type.")
            if part.dtype.kind == "b" or not isinstance(given, ndarray):
                refuse(fake_gpu.now().capture)
        parts.append(part)
    if sum(isinstance(part, np.ndarray) and part.dtype.kind == "b" for part in parts) > 1:
        raise NotImplementedError("CuPy takes one mask in an index")
    if _is_basic(tuple(parts)) and not any(part is ... for part in parts):
        parts.append(...)  # NumPy, too, then gives a view where the index is of an element
    return tuple(parts)


def _wrapped(index: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Return an index whose integers in arrays wrap around where they are out of range."""
    parts, axis = list(index), 0
    for position, part in enumerate(parts):
        if part is ...:
            break  # what comes after it is not wrapped around here
        if isinstance(part, np.ndarray) and part.dtype.kind != "b" and shape[axis]:
            parts[position] = part % shape[axis]
        axis += part.ndim if str(getattr(part, "dtype", "")) == "bool" else part is not None
    return tuple(parts)
