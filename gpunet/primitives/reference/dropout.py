"""Dropout, by the random bits of a key."""

from __future__ import annotations

import numpy as np

from gpunet import random
from gpunet.primitives.reference.blocks import Array, in_chunks, keep_where

__all__ = ["dropout_backward", "dropout_forward"]


def dropout_forward(x: Array, key: Array, threshold: int, scale: float) -> Array:
    """Return x * scale where the element's bits are at least `threshold`, else 0."""
    bits = random.bits(key, x.size).reshape(x.shape)
    return in_chunks(_dropout, x, bits, threshold=np.uint32(threshold), scale=scale)


dropout_backward = dropout_forward  # which keeps the same elements


def _dropout(x: Array, bits: Array, out: Array, threshold: np.uint32, scale: float) -> None:
    keep_where(bits >= threshold, x * scale, out)
