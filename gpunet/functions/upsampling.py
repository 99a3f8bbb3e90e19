"""Enlarged arrays, by repetition or by interpolation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from gpunet.autograd import Array, Result, Tensor, differentiable, on_symbols
from gpunet.backend import get_array_module
from gpunet.functions.linear import matmul
from gpunet.functions.shaping import transpose

__all__ = ["upsample"]


def _linear(distance: Array, xp: Any) -> Array:
    return xp.maximum(1 - distance, 0)


def _cubic(distance: Array, xp: Any) -> Array:
    # Keys, "Cubic convolution interpolation for digital image processing", 1981, a = -1/2.
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return xp.where(distance <= 1, near, xp.where(distance < 2, far, 0))


def _lanczos(radius: int) -> Callable[[Array, Any], Array]:
    return lambda distance, xp: xp.where(
        distance < radius, xp.sinc(distance) * xp.sinc(distance / radius), 0
    )


# By the distance of an input's center from an output's, in inputs.
_WEIGHTS: dict[str, Callable[[Array, Any], Array]] = {
    "bilinear": _linear,
    "bicubic": _cubic,
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
}
INTERPOLATIONS = ("nearest", *_WEIGHTS)


@on_symbols
def upsample(x: Any, factors: Sequence[int], interpolation: str = "nearest") -> Tensor:
    """Return `x` with each axis made larger by an integer factor.

    Elements count as areas, whose centers are interpolated between; at the ends, the weights of the
    elements that are there are scaled to sum to 1. These are TensorFlow's and JAX' values; Keras on
    PyTorch has others for 'bicubic'.

    Arguments:
        x: any shape.
        factors: one for each axis, at least 1.
        interpolation: 'nearest' repeats elements, 'bilinear', 'bicubic' (Keys, 1981), 'lanczos3'
            and 'lanczos5' interpolate.

    >>> upsample([0.0, 1.0], (2,), "bilinear").numpy()
    array([0.  , 0.25, 0.75, 1.  ])
    """
    if interpolation == "nearest":
        return _repeat(x, factors=tuple(factors))
    x = x if isinstance(x, Tensor) else Tensor(x)
    for axis, factor in enumerate(factors):
        if factor > 1:
            weights = _matrix(x, axis, factor, _WEIGHTS[interpolation])
            order = list(range(x.ndim))
            order[axis], order[-1] = order[-1], order[axis]
            moved = transpose(x, tuple(order)) if x.ndim > 1 else x.reshape(1, -1)
            y = matmul(moved, weights)
            x = transpose(y, tuple(order)) if x.ndim > 1 else y.reshape(-1)
    return x


def _matrix(x: Tensor, axis: int, factor: int, weigh: Callable[[Array, Any], Array]) -> Array:
    """Return the weight of each input in each output, (inputs, outputs)."""
    xp, size = get_array_module(x.value), x.shape[axis]
    places = (xp.arange(size * factor) + 0.5) / factor - 0.5  # of the outputs, among the inputs
    weights = weigh(abs(places - xp.arange(size)[:, None]), xp)
    return (weights / weights.sum(axis=0)).astype(x.dtype)


@differentiable
def _repeat(x: Array, *, factors: tuple[int, ...]) -> Result:
    before, xp = x.shape, get_array_module(x)
    apart = tuple(itertools.chain.from_iterable(zip(before, factors, strict=True)))
    ones = tuple(itertools.chain.from_iterable((size, 1) for size in before))
    after = tuple(size * factor for size, factor in zip(before, factors, strict=True))
    y = xp.broadcast_to(x.reshape(ones), apart).reshape(after)
    copies = tuple(range(1, 2 * x.ndim, 2))
    return y, lambda output_grad: output_grad.reshape(apart).sum(axis=copies)
