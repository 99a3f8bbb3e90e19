"""Softmax, its logarithm, and the cross-entropy of a softmax with labels."""

from __future__ import annotations

import numpy as np

from gpunet.primitives.checks import are_class_numbers, check_same_shape, check_shape
from gpunet.primitives.reference.blocks import Array
from gpunet.primitives.shapes import split_axis

__all__ = [
    "log_softmax_backward",
    "log_softmax_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
]


def softmax_forward(x: Array, *, axis: int = -1) -> Array:
    """Return exp(x) divided by its sum over `axis`.

    >>> softmax_forward(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    split_axis(x.shape, axis, "softmax")
    y: Array = x - np.max(x, axis=axis, keepdims=True)  # so that exp is at most 1
    np.exp(y, out=y)
    y /= np.sum(y, axis=axis, keepdims=True)
    return y


def softmax_backward(output_grad: Array, y: Array, *, axis: int = -1) -> Array:
    """Return the gradient of the input of softmax, given that of its output `y`."""
    check_same_shape("softmax_grad", output_grad, y)
    split_axis(y.shape, axis, "softmax_grad")
    input_grad: Array = output_grad * y
    mean = np.sum(input_grad, axis=axis, keepdims=True)
    np.subtract(output_grad, mean, out=input_grad)
    input_grad *= y
    return input_grad


def log_softmax_forward(x: Array, *, axis: int = -1) -> Array:
    """Return the logarithm of softmax(x), exact also where softmax(x) rounds to 0."""
    split_axis(x.shape, axis, "log_softmax")
    y: Array = x - np.max(x, axis=axis, keepdims=True)
    y -= np.log(np.sum(np.exp(y), axis=axis, keepdims=True))
    return y


def log_softmax_backward(output_grad: Array, y: Array, *, axis: int = -1) -> Array:
    """Return the gradient of the input of log_softmax, given that of its output `y`."""
    check_same_shape("log_softmax_grad", output_grad, y)
    split_axis(y.shape, axis, "log_softmax_grad")
    input_grad: Array = np.exp(y)
    input_grad *= -np.sum(output_grad, axis=axis, keepdims=True)
    input_grad += output_grad
    return input_grad


def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each sample's cross-entropy (batch,), and softmax(logits) (batch, classes).

    The loss is -sum(labels * log(softmax(logits))) over the classes, through the logarithm of a
    sum of exponentials, so that it stays finite where a probability rounds to 0.

    Arguments:
        logits: (batch, classes).
        labels: integers (batch,) in [0, classes), or probabilities (batch, classes).

    Raises:
        TypeError, ValueError: the labels are of neither form, or out of range.

    >>> losses, probabilities = softmax_cross_entropy_forward(np.zeros((1, 2)), np.array([0]))
    >>> losses.round(4), probabilities
    (array([0.6931]), array([[0.5, 0.5]]))
    """
    sparse = are_class_numbers(logits.shape, labels)
    if sparse:
        _check_range(logits.shape[1], labels)
    probabilities: Array = logits - np.max(logits, axis=1, keepdims=True)  # not yet; at most 0
    if sparse:
        chosen = probabilities[np.arange(len(labels)), labels]
    else:
        labels = labels.astype(logits.dtype, copy=False)
        # A class of label 0 counts for nothing, even if its logit is minus infinity.
        products = np.zeros_like(probabilities)
        np.multiply(labels, probabilities, out=products, where=labels != 0)
        chosen = np.sum(products, axis=1)
    np.exp(probabilities, out=probabilities)
    sums = np.sum(probabilities, axis=1)
    probabilities /= sums[:, None]
    log_sums = np.log(sums)
    if not sparse:
        log_sums *= np.sum(labels, axis=1)
    losses: Array = log_sums - chosen
    return losses, probabilities


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
    sparse = are_class_numbers(probabilities.shape, labels)
    if sparse:
        _check_range(probabilities.shape[1], labels)
    check_shape("softmax_cross_entropy", "output_grad", output_grad.shape, probabilities.shape[:1])
    logits_grad: Array
    if sparse:
        logits_grad = probabilities * output_grad[:, None]
        logits_grad[np.arange(len(labels)), labels] -= output_grad
    else:
        labels = labels.astype(probabilities.dtype, copy=False)
        logits_grad = probabilities * np.sum(labels, axis=1, keepdims=True)  # not always 1
        logits_grad -= labels
        logits_grad *= output_grad[:, None]
    return logits_grad


def _check_range(classes: int, labels: Array) -> None:
    """Raise `ValueError` for class numbers out of range, which only reading them can tell."""
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"softmax_cross_entropy: expected class numbers in [0, {classes}), received numbers "
            f"from {labels.min()} to {labels.max()}: check the labels and the number of outputs."
        )
