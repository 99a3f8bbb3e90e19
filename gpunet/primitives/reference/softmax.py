"""Softmax, its logarithm, and the cross-entropy of a softmax with labels."""

from __future__ import annotations

import numpy as np

from gpunet.primitives.reference.blocks import Array

__all__ = [
    "log_softmax_backward",
    "log_softmax_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
]


def softmax_forward(x: Array, axis: int) -> Array:
    """Return exp(x) divided by its sum over `axis`."""
    y: Array = x - np.max(x, axis=axis, keepdims=True)  # so that exp is at most 1
    np.exp(y, out=y)
    y /= np.sum(y, axis=axis, keepdims=True)
    return y


def softmax_backward(output_grad: Array, y: Array, axis: int) -> Array:
    """Return the gradient of the input of softmax."""
    input_grad: Array = output_grad * y
    mean = np.sum(input_grad, axis=axis, keepdims=True)
    np.subtract(output_grad, mean, out=input_grad)
    input_grad *= y
    return input_grad


def log_softmax_forward(x: Array, axis: int) -> Array:
    """Return the logarithm of softmax(x), exact also where softmax(x) rounds to 0."""
    y: Array = x - np.max(x, axis=axis, keepdims=True)
    y -= np.log(np.sum(np.exp(y), axis=axis, keepdims=True))
    return y


def log_softmax_backward(output_grad: Array, y: Array, axis: int) -> Array:
    """Return the gradient of the input of log_softmax."""
    input_grad: Array = np.exp(y)
    input_grad *= -np.sum(output_grad, axis=axis, keepdims=True)
    input_grad += output_grad
    return input_grad


def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each sample's cross-entropy, and softmax(logits)."""
    sparse = labels.ndim == 1
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
    """Return the gradient of the logits: (probabilities - labels) * output_grad."""
    sparse = labels.ndim == 1
    if sparse:
        _check_range(probabilities.shape[1], labels)
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
    """Raise `ValueError` for class numbers out of range, which shows only in their values."""
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"softmax_cross_entropy: expected class numbers in [0, {classes}), received numbers "
            f"from {labels.min()} to {labels.max()}: check the labels and the number of outputs."
        )
