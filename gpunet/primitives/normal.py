"""Normally distributed numbers, by random bits that depend on a key alone."""

from __future__ import annotations

from typing import Any

from gpunet import random
from gpunet.primitives.twins import twins_of

__all__ = ["normal_like"]

Array = Any


def normal_like(x: Array, key: Array) -> Array:
    """Return numbers of the standard normal distribution, of the shape and type of `x`.

    32-bit numbers 2 i and 2 i + 1 of `key` make elements 2 i and 2 i + 1, by Box and Muller's
    formula with 24 bits of each: at most 5.77, the same on every device up to rounding.

    Arguments:
        x: any shape; its elements do not count.
        key: uint64 (2,), from `gpunet.random.next_key`.

    Raises:
        TypeError: `key` is no key.

    >>> import numpy as np
    >>> normal_like(np.zeros(2), np.array([0, 0], dtype=np.uint64)).round(4)
    array([2.5854, 0.1879])
    """
    twins = twins_of("normal_like", x, key)
    random.check_key(key)
    return twins.normal_like(x, key)
