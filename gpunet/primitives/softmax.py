"""Softmax, its logarithm, and the cross-entropy of a softmax with labels."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.checks import (
    are_class_numbers,
    check_same_dtype,
    check_same_shape,
    check_shape,
)
from gpunet.primitives.shapes import split_axis
from gpunet.primitives.twins import twins_of

__all__ = [
    "log_softmax_backward",
    "log_softmax_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
]

Array = Any


def softmax_forward(x: Array, *, axis: int = -1) -> Array:
    """Return exp(x) divided by its sum over `axis`.

    Raises:
        TypeError: `x` is no array of floating-point numbers.
        ValueError: `x` has no such axis.

    >>> import numpy as np
    >>> softmax_forward(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    return _twins("softmax", x, axis).softmax_forward(x, axis)


def softmax_backward(output_grad: Array, y: Array, *, axis: int = -1) -> Array:
    """Return the gradient of the input of softmax.

    Arguments:
        output_grad: gradient of the output.
        y: the output, of the same shape.
        axis: as in `softmax_forward`.

    Raises:
        TypeError, ValueError: types or shapes do not fit.
    """
    twins = _twins("softmax_grad", output_grad, axis, y)
    return twins.softmax_backward(output_grad, y, axis)


def log_softmax_forward(x: Array, *, axis: int = -1) -> Array:
    """Return the logarithm of softmax(x), exact also where softmax(x) rounds to 0.

    Raises:
        TypeError, ValueError: as in `softmax_forward`.
    """
    return _twins("log_softmax", x, axis).log_softmax_forward(x, axis)


def log_softmax_backward(output_grad: Array, y: Array, *, axis: int = -1) -> Array:
    """Return the gradient of the input of log_softmax; arguments as in `softmax_backward`."""
    twins = _twins("log_softmax_grad", output_grad, axis, y)
    return twins.log_softmax_backward(output_grad, y, axis)


def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each sample's cross-entropy (batch,), and softmax(logits) (batch, classes).

    The loss is -sum(labels * log(softmax(logits))) over the classes, through the logarithm of a
    sum of exponentials, so that it stays finite where a probability rounds to 0. On a GPU a class
    number out of range makes the loss NaN: an error would have to read the labels back.

    Arguments:
        logits: (batch, classes).
        labels: integers (batch,) in [0, classes), or probabilities (batch, classes).

    Raises:
        TypeError, ValueError: the labels are of neither form, or out of range.

    >>> import numpy as np
    >>> losses, probabilities = softmax_cross_entropy_forward(np.zeros((1, 2)), np.array([0]))
    >>> losses.round(4), probabilities
    (array([0.6931]), array([[0.5, 0.5]]))
    """
    twins = twins_of("softmax_cross_entropy", logits, labels)
    are_class_numbers(logits.shape, labels)
    return twins.softmax_cross_entropy_forward(logits, labels)


def softmax_cross_entropy_backward(
    output_grad: Array, probabilities: Array, labels: Array
) -> Array:
    """Return the gradient of the logits: (probabilities - labels) * output_grad.

    Arguments:
        output_grad: gradient of each sample's loss, (batch,).
        probabilities: the second result of `softmax_cross_entropy_forward`, (batch, classes).
        labels: as there.

    Raises:
        TypeError, ValueError: the labels are of neither form, or shapes do not fit.
    """
    where = "softmax_cross_entropy"
    twins = twins_of(where, output_grad, probabilities, labels)
    are_class_numbers(probabilities.shape, labels)
    check_shape(where, "output_grad", output_grad.shape, probabilities.shape[:1])
    check_same_dtype(where, probabilities, output_grad=output_grad)
    return twins.softmax_cross_entropy_backward(output_grad, probabilities, labels)


def _twins(where: str, first: Array, axis: int, y: Array | None = None) -> Any:
    """Return the twins for the arrays, which have such an axis, one shape and one type."""
    twins = twins_of(where, first, y)
    split_axis(first.shape, axis, where)
    if y is not None:
        check_same_shape(where, first, y)
        check_same_dtype(where, first, y=y)
    return twins
