"""Indexing and changes of shape."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from gpunet.autograd import Array, Result, Tensor, differentiable
from gpunet.backend import get_array_module
from gpunet.functions.broadcasting import unbroadcast

__all__ = [
    "astype", "broadcast_to", "concatenate", "expand_dims", "getitem", "pad", "reshape", "squeeze",
    "stack", "transpose", "unstack",
]  # fmt: skip


@differentiable
def reshape(x: Array, shape: int | tuple[int, ...]) -> Result:
    """Return `x` in another shape; one size may be -1."""
    before = x.shape
    return x.reshape(shape), lambda output_grad: output_grad.reshape(before)


@differentiable
def astype(x: Array, dtype: Any) -> Result:
    """Return `x` with another element type; the tape gives its gradient x's own."""
    return x.astype(dtype), lambda output_grad: output_grad


@differentiable
def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Result:
    """Return `x` with axes of size 1 put in at `axis` of the result."""
    before, xp = x.shape, get_array_module(x)
    return xp.expand_dims(x, axis), lambda output_grad: output_grad.reshape(before)


@differentiable
def squeeze(x: Array, axis: int | tuple[int, ...] | None = None) -> Result:
    """Return `x` without its axes of size 1, or without those named."""
    before = x.shape
    return x.squeeze(axis), lambda output_grad: output_grad.reshape(before)


@differentiable
def transpose(x: Array, axes: tuple[int, ...] | None = None) -> Result:
    """Return `x` with its axes in the order `axes` (reversed by default)."""
    order = tuple(range(x.ndim))[::-1] if axes is None else tuple(a % x.ndim for a in axes)
    back = tuple(sorted(range(x.ndim), key=order.__getitem__))
    return x.transpose(order), lambda output_grad: output_grad.transpose(back)


@differentiable
def broadcast_to(x: Array, shape: tuple[int, ...]) -> Result:
    """Return `x` repeated by the rules of broadcasting to `shape`."""
    before, xp = x.shape, get_array_module(x)
    return xp.broadcast_to(x, shape), lambda output_grad: unbroadcast(output_grad, before)


@differentiable
def pad(x: Array, pad_width: Sequence[tuple[int, int]]) -> Result:
    """Return `x` with zeros around it: ``(before, after)`` elements for each axis."""
    inside = tuple(
        slice(before, before + size) for (before, _), size in zip(pad_width, x.shape, strict=True)
    )
    padded = get_array_module(x).pad(x, pad_width)
    return padded, lambda output_grad: output_grad[inside]


@differentiable
def getitem(x: Array, index: Any) -> Result:
    """Return ``x[index]``, with slices, integers, masks or integer arrays as in NumPy."""
    shape, dtype, xp = x.shape, x.dtype, get_array_module(x)

    def backward(output_grad: Array) -> Array:
        if not _is_basic(index) and xp is not np:
            return _added_up(shape, index, output_grad, xp)
        input_grad = xp.zeros(shape, dtype)
        if _is_basic(index):
            input_grad[index] = output_grad
        else:  # an integer array may name an element twice: its gradients add up
            np.add.at(input_grad, index, output_grad)
        return input_grad

    return x[index], backward


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or isinstance(part, int | slice) for part in parts)


def _added_up(shape: tuple[int, ...], index: Any, values: Array, xp: ModuleType) -> Array:
    """Return zeros of `shape` to which `values` are added at ``[index]``, in a fixed order.

    ``xp.add.at`` would add by atomics on a GPU, in any order. Here, values are sorted by their
    place, and those of one place added in pairs, pairs of pairs, and so on: in
    log2(number of values) passes. The host reads nothing, unless for how many a mask chooses.
    """
    parts = index if isinstance(index, tuple) else (index,)
    # Integer arrays choose whole rows of the axes that they leave out.
    are_integers = all(hasattr(x, "dtype") and x.ndim and x.dtype.kind in "iu" for x in parts)
    axes = len(parts) if are_integers else len(shape)
    row = math.prod(shape[axes:])
    place = xp.arange(math.prod(shape[:axes])).reshape(shape[:axes])[index].reshape(-1)
    if place.size == 0:
        return xp.zeros(shape, values.dtype)
    order = xp.argsort(place, kind="stable")
    place, values = place[order], values.reshape(place.size, row)[order]  # (values, row)
    first = xp.searchsorted(place, place)  # where those of the same place begin
    rank = xp.arange(place.size) - first
    step = 1
    while step < place.size:
        takes = (rank[:-step] % (2 * step) == 0) & (place[:-step] == place[step:])
        values[:-step] += xp.where(takes[:, None], values[step:], 0)
        step *= 2
    result = xp.zeros((math.prod(shape[:axes]), row), values.dtype)
    result[place] = values[first]  # for one place several times, and each time the same
    return result.reshape(shape)


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Return the arrays joined along an existing axis."""
    return _concatenate(*arrays, axis=axis)


@differentiable
def _concatenate(*arrays: Array, axis: int) -> Result:
    xp = get_array_module(*arrays)
    ends = list(itertools.accumulate(array.shape[axis] for array in arrays))
    return xp.concatenate(arrays, axis=axis), lambda output_grad: tuple(
        xp.split(output_grad, ends[:-1], axis=axis)
    )


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Return the arrays, all of one shape, joined along a new axis."""
    return concatenate([expand_dims(array, axis) for array in arrays], axis)


def unstack(x: Any, axis: int = 0) -> list[Tensor]:
    """Return the parts of a tensor along an axis, without it; the inverse of `stack`.

    Halves of halves are taken, so that the gradients add up in log2(size) passes.

    >>> [part.numpy() for part in unstack([[1.0, 2.0], [3.0, 4.0]], axis=1)]
    [array([1., 3.]), array([2., 4.])]
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    before = (slice(None),) * (axis % x.ndim)
    size = x.shape[axis]
    if size <= 1:
        return [getitem(x, (*before, 0))] if size else []
    halves = slice(size // 2), slice(size // 2, None)
    return [part for half in halves for part in unstack(getitem(x, (*before, half)), axis)]
