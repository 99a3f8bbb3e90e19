"""Numbers of the host that losses and metrics compute with on a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.autograd import Array
from gpunet.backend import asarray

__all__ = ["Constant"]


class Constant:
    """Numbers that are copied once to where they are used: a captured step copies nothing.

    Arguments:
        numbers: a list or an array.

    >>> Constant([1.0, 0.5]).like(np.zeros(3, np.float32))
    array([1. , 0.5], dtype=float32)
    """

    def __init__(self, numbers: Any) -> None:
        self.numbers = np.asarray(numbers, np.float64)
        self._copy: Any = None

    def like(self, x: Array) -> Array:
        """Return the numbers in the dtype of an array of floating-point numbers, and beside it."""
        if type(self._copy) is not type(x) or self._copy.dtype != x.dtype:
            self._copy = asarray(self.numbers.astype(x.dtype), like=x)
        return self._copy
