"""Normally distributed numbers, by the random bits of a key."""

from __future__ import annotations

import numpy as np

from gpunet import random
from gpunet.primitives.reference.blocks import Array

__all__ = ["normal_like"]


def normal_like(x: Array, key: Array) -> Array:
    """Return standard normal numbers in the shape and type of `x`, computed in float64."""
    bits = random.bits(key, x.size + x.size % 2) >> np.uint32(8)
    radius = np.sqrt(-2 * np.log((bits[::2] + 1.0) * 2.0**-24))
    angle = bits[1::2] * (2 * np.pi * 2.0**-24)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[: x.size].reshape(x.shape).astype(x.dtype)
