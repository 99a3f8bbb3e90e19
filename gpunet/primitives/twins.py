"""The twins in use: `reference` or `fast` for NumPy arrays, `cuda` for CuPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunet.backend import get_array_module
from gpunet.primitives import cuda, selection

__all__ = ["twins_for", "twins_of", "use_twins"]

_ALWAYS_FLOATS = frozenset(map(np.dtype, ("float32", "float64")))
_numpy_twins: ContextVar[Any] = ContextVar("numpy_twins", default=None)


def twins_for(*arrays: Any) -> Any:
    """Return the module whose functions compute on these arrays.

    Arguments:
        arrays: those of one call; None and numbers are passed over.

    Raises:
        TypeError: NumPy and CuPy arrays are mixed.

    >>> twins_for(np.zeros(3), None) is selection.numpy_twins().module
    True
    """
    if get_array_module(*arrays) is np:
        return _numpy_twins.get() or selection.numpy_twins().module
    return cuda


def twins_of(where: str, first: Any, *others: Any, any_numbers: bool = False) -> Any:
    """Return the twins for the arrays of the primitive `where`; check the type of the first.

    Arguments:
        where: the primitive, named in errors.
        first: an array of floating-point numbers.
        others: further arrays, or None.
        any_numbers: whether integers and bools are allowed too.

    Raises:
        TypeError: `first` is no array of a type that the twins take, or NumPy and CuPy are mixed.
    """
    twins = twins_for(first, *others)
    is_array = isinstance(first, (np.ndarray, np.generic))
    if not is_array and not isinstance(first, get_array_module(first).ndarray):
        raise TypeError(
            f"{where}: expected an array as its first argument, received {type(first).__name__}: "
            "make one with gpunet.backend.asarray(x, dtype='float32')."
        )
    if first.dtype in _ALWAYS_FLOATS:  # most often; a type's name takes longer to find
        return twins
    if first.dtype.name in twins.FLOATS or (any_numbers and first.dtype.kind in "biuf"):
        return twins
    raise TypeError(
        f"{where}: expected an array of {' or '.join(twins.FLOATS)} as its first argument, "
        f"received {first.dtype}: convert it with x.astype('float32')."
    )


@contextmanager
def use_twins(twins: Any) -> Iterator[None]:
    """Run primitives on NumPy arrays by other twins inside the block, in this thread.

    Arguments:
        twins: a module, or an object with its functions and its `FLOATS`.

    >>> from gpunet.primitives import reference
    >>> with use_twins(reference):
    ...     twins_for(np.zeros(3)) is reference
    True
    """
    token = _numpy_twins.set(twins)
    try:
        yield
    finally:
        _numpy_twins.reset(token)
