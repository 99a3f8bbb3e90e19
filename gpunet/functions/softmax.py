"""Softmax, its logarithm, and the cross-entropy of a softmax with labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, Result, Tensor, differentiable, on_symbols
from gpunet.functions.activation import with_logits

__all__ = ["log_softmax", "softmax", "softmax_cross_entropy"]

Axis = int | tuple[int, ...]


@on_symbols
def softmax(x: Any, axis: Axis = -1) -> Tensor:
    """Return exp(x) divided by its sum over `axis`, so that the result sums to 1 there.

    Arguments:
        x: any shape of at least one axis.
        axis: one axis, or several. If it is the last one, the result's `logits` is `x`, from which
            losses compute.

    Raises:
        ValueError: `x` has no such axis, or it is empty.

    >>> softmax([[0.0, 0.0], [0.0, 0.0]], axis=(0, 1)).numpy()
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    y: Tensor = _softmax(x, axis=axis)
    if axis in (-1, y.ndim - 1):
        return with_logits("softmax", y, x)
    return y


@differentiable
def _softmax(x: Array, *, axis: Axis) -> Result:
    join, restore, axis = _one_axis(x.shape, axis)
    y = primitives.softmax_forward(join(x), axis=axis)
    return restore(y), lambda output_grad: restore(
        primitives.softmax_backward(join(output_grad), y, axis=axis)
    )


@differentiable
def log_softmax(x: Array, axis: Axis = -1) -> Result:
    """Return the logarithm of softmax(x), exact also where softmax(x) rounds to 0.

    Arguments and errors are those of `softmax`.

    >>> log_softmax([0.0, 0.0]).numpy().round(4)
    array([-0.6931, -0.6931])
    """
    join, restore, axis = _one_axis(x.shape, axis)
    y = primitives.log_softmax_forward(join(x), axis=axis)
    return restore(y), lambda output_grad: restore(
        primitives.log_softmax_backward(join(output_grad), y, axis=axis)
    )


Move = Callable[[Array], Array]


def _one_axis(shape: tuple[int, ...], axis: Axis) -> tuple[Move, Move, int]:
    """Return how to join several axes to one, how to undo it, and which axis is the joined one."""
    if not isinstance(axis, tuple | list):
        return (lambda x: x), (lambda y: y), int(axis)
    ndim = len(shape)
    axes = [a % ndim for a in axis if -ndim <= a < ndim]
    if len(set(axes)) < max(1, len(axis)):
        raise ValueError(
            f"softmax: expected different axes of an array of shape {shape}, received axis={axis}."
        )
    others = [a for a in range(ndim) if a not in axes]
    order = [*others, *axes]
    moved = [shape[a] for a in order]
    back = sorted(range(ndim), key=order.__getitem__)
    joined = (*moved[: len(others)], math.prod(moved[len(others) :]))
    return (
        lambda x: x.transpose(order).reshape(joined),
        lambda y: y.reshape(moved).transpose(back),
        -1,
    )


@differentiable
def softmax_cross_entropy(logits: Array, labels: Array) -> Result:
    """Return each sample's cross-entropy of softmax(logits) with its labels, (batch,).

    Arguments:
        logits: (batch, classes).
        labels: integers (batch,), or probabilities (batch, classes), which have no gradient.

    Raises:
        TypeError, ValueError: the labels are of neither form, or out of range.

    >>> import numpy as np
    >>> softmax_cross_entropy([[0.0, 0.0]], np.array([1])).numpy().round(4)
    array([0.6931])
    """
    losses, probabilities = primitives.softmax_cross_entropy_forward(logits, labels)
    return losses, lambda output_grad: (
        primitives.softmax_cross_entropy_backward(output_grad, probabilities, labels),
    )
