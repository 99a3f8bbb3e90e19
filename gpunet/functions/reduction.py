"""Reductions over axes, as NumPy has them."""

from __future__ import annotations

import math
from typing import Any

from gpunet.autograd import Array, Result, Tensor, differentiable, on_symbols
from gpunet.backend import get_array_module
from gpunet.functions.elementwise import square, subtract

__all__ = ["max", "mean", "min", "sum", "var"]

Axis = int | tuple[int, ...] | None


def _with_ones(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """`shape` with one at the reduced axes: the shape that broadcasts against it."""
    ndim = len(shape)
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = {a % ndim for a in axes}
    return tuple(1 if a in reduced else size for a, size in enumerate(shape))


@differentiable
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """Return the sum of the elements over `axis`, an integer or several (all by default)."""
    xp, shape, with_ones = get_array_module(x), x.shape, _with_ones(x.shape, axis)
    return x.sum(axis=axis, keepdims=keepdims), lambda output_grad: xp.broadcast_to(
        output_grad.reshape(with_ones), shape
    )


@differentiable
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """Return the mean of the elements over `axis`, an integer or several (all by default)."""
    xp, shape, with_ones = get_array_module(x), x.shape, _with_ones(x.shape, axis)
    count = math.prod(size for size, kept in zip(shape, with_ones, strict=True) if size != kept)
    return x.mean(
        axis=axis, keepdims=keepdims
    ), lambda output_grad: xp.broadcast_to(output_grad.reshape(with_ones), shape) / count


@on_symbols
def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the variance of the elements over `axis` (divided by their number, as in NumPy)."""
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


def _extreme(x: Array, y: Array, axis: Axis, keepdims: bool) -> Result:
    """The largest or smallest elements `y`; equal ones share the gradient."""
    with_ones = _with_ones(x.shape, axis)

    def backward(output_grad: Array) -> Array:
        chosen = x == y
        shares = chosen / chosen.sum(axis=axis, keepdims=True, dtype=x.dtype)
        return output_grad.reshape(with_ones) * shares.astype(x.dtype, copy=False)

    return y if keepdims else y.squeeze(axis), backward


@differentiable
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """Return the largest element over `axis`; equal ones share the gradient."""
    return _extreme(x, x.max(axis=axis, keepdims=True), axis, keepdims)


@differentiable
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Result:
    """Return the smallest element over `axis`; equal ones share the gradient."""
    return _extreme(x, x.min(axis=axis, keepdims=True), axis, keepdims)
