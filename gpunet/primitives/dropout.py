"""Dropout, by random bits that depend on a key alone."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.checks import check_dropout
from gpunet.primitives.twins import twins_of

__all__ = ["dropout_backward", "dropout_forward"]

Array = Any


def dropout_forward(x: Array, key: Array, *, rate: float) -> Array:
    """Return `x` with a share `rate` of its elements set to 0, the others divided by 1 - rate.

    Element i passes if 32-bit number i of `key` is at least rate * 2**32.

    Arguments:
        x: any shape.
        key: uint64 (2,), from `gpunet.random.next_key`.
        rate: from 0 to 1, which leaves nothing.

    Raises:
        TypeError: `key` is no key.
        ValueError: `rate` is out of range.

    >>> import numpy as np
    >>> key = np.array([0, 0], dtype=np.uint64)
    >>> dropout_forward(np.ones(4), key, rate=0.5)
    array([0., 0., 2., 0.])
    """
    twins = twins_of("dropout_forward", x, key)
    return twins.dropout_forward(x, key, *check_dropout(key, rate))


def dropout_backward(output_grad: Array, key: Array, *, rate: float) -> Array:
    """Return the gradient of the input of dropout: the same elements pass, scaled the same.

    Arguments and errors are those of `dropout_forward`.

    >>> import numpy as np
    >>> key = np.array([0, 0], dtype=np.uint64)
    >>> dropout_backward(np.full(4, 3.0), key, rate=0.5)
    array([0., 0., 6., 0.])
    """
    twins = twins_of("dropout_backward", output_grad, key)
    return twins.dropout_backward(output_grad, key, *check_dropout(key, rate))
