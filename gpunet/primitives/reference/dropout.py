"""Dropout, by random bits that depend on a key and on nothing else."""

from __future__ import annotations

import numpy as np

from gpunet import random
from gpunet.primitives.checks import check_dropout
from gpunet.primitives.reference.blocks import Array, in_chunks, keep_where

__all__ = ["dropout_backward", "dropout_forward"]


def dropout_forward(x: Array, key: Array, *, rate: float) -> Array:
    """Return `x` with a share `rate` of its elements set to 0, the others divided by 1 - rate.

    Element i is kept if 32-bit number i of `key` is at least rate * 2**32.

    Arguments:
        x: any shape.
        key: uint64 (2,), from `gpunet.random.next_key`.
        rate: from 0 to below 1.

    Raises:
        TypeError: `key` is no key.
        ValueError: `rate` is out of range.

    >>> key = np.array([0, 0], dtype=np.uint64)
    >>> dropout_forward(np.ones(4), key, rate=0.5)
    array([0., 0., 2., 0.])
    """
    threshold, scale = check_dropout(key, rate)
    bits = random.bits(key, x.size).reshape(x.shape)
    return in_chunks(_dropout, x, bits, threshold=np.uint32(threshold), scale=scale)


def dropout_backward(output_grad: Array, key: Array, *, rate: float) -> Array:
    """Return the gradient of the input of dropout: the same elements kept, scaled the same.

    Arguments and errors are those of `dropout_forward`.
    """
    return dropout_forward(output_grad, key, rate=rate)


def _dropout(x: Array, bits: Array, out: Array, threshold: np.uint32, scale: float) -> None:
    keep_where(bits >= threshold, x * scale, out)
