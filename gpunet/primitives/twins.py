"""Which implementations run: `reference` or `fast` for NumPy arrays, `cuda` for CuPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunet.backend import get_array_module
from gpunet.primitives import cuda, selection

__all__ = ["twins_for", "use_twins"]

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
