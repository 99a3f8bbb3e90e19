"""Arithmetic of large arrays."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.twins import twins_for

__all__ = ["add"]

Array = Any


def add(x: Array, y: Array) -> Array:
    """Return ``x + y``, such as a residual sum or the sum of two gradients.

    Arguments:
        x, y: arrays or numbers of any types whose shapes broadcast.

    Raises:
        TypeError: NumPy and CuPy arrays are mixed.
        ValueError: the shapes do not broadcast.

    >>> import numpy as np
    >>> add(np.ones(2, "float32"), np.ones(2, "float32"))
    array([2., 2.], dtype=float32)
    """
    return twins_for(x, y).add(x, y)
