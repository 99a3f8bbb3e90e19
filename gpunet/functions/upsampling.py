"""Enlarged arrays, by repetition or by interpolation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from gpunet.autograd import Array, Result, Tensor, differentiable, on_symbols
from gpunet.backend import get_array_module
from gpunet.functions import resizing
from gpunet.functions.resizing import resample

__all__ = ["upsample"]

INTERPOLATIONS = tuple(name for name in resizing.INTERPOLATIONS if name != "area")


@on_symbols
def upsample(x: Any, factors: Sequence[int], interpolation: str = "nearest") -> Tensor:
    """Return `x` with each axis made larger by an integer factor.

    Arguments:
        x: any shape.
        factors: one for each axis, at least 1.
        interpolation: 'nearest' repeats elements; 'bilinear', 'bicubic', 'lanczos3' and 'lanczos5'
            interpolate, as `resample` does.

    >>> upsample([0.0, 1.0], (2,), "bilinear").numpy()
    array([0.  , 0.25, 0.75, 1.  ])
    """
    if interpolation == "nearest":
        return _repeat(x, factors=tuple(factors))
    x = x if isinstance(x, Tensor) else Tensor(x)
    for axis, factor in enumerate(factors):
        x = resample(x, axis, x.shape[axis] * factor, interpolation)
    return x


@differentiable
def _repeat(x: Array, *, factors: tuple[int, ...]) -> Result:
    before, xp = x.shape, get_array_module(x)
    apart = tuple(itertools.chain.from_iterable(zip(before, factors, strict=True)))
    ones = tuple(itertools.chain.from_iterable((size, 1) for size in before))
    after = tuple(size * factor for size, factor in zip(before, factors, strict=True))
    y = xp.broadcast_to(x.reshape(ones), apart).reshape(after)
    copies = tuple(range(1, 2 * x.ndim, 2))
    return y, lambda output_grad: output_grad.reshape(apart).sum(axis=copies)
