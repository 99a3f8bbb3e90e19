"""Predictions of classes and their labels: axes, logits, probabilities."""

from __future__ import annotations

import warnings
from typing import Any

from gpunet import functions
from gpunet.arguments import check_number
from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray
from gpunet.losses.formula import SMALLEST, as_pair
from gpunet.losses.targets import different_shapes, no_labels

__all__ = [
    "as_targets", "binary_entropies", "binary_pair", "check_smoothing", "class_numbers",
    "class_shares", "known_logits", "log_probabilities", "shape_with_classes_last",
    "with_classes_last", "without_classes",
]  # fmt: skip


def as_targets(y_true: Any, y_pred: Tensor, cast: bool = True) -> Any:
    """Return targets as an array, of the predictions' dtype if `cast`; a tensor as it is."""
    if isinstance(y_true, Tensor):
        return y_true if cast else y_true.value
    y_true = y_true if hasattr(y_true, "shape") else asarray(y_true, like=y_pred.value)
    return y_true.astype(y_pred.dtype) if cast and y_true.dtype != y_pred.dtype else y_true


def with_classes_last(x: Any, axis: int) -> Any:
    """Return a tensor or an array with the axis of the classes moved to the end."""
    if axis in (-1, x.ndim - 1):
        return x
    order = [position for position in range(x.ndim) if position != axis % x.ndim]
    order.append(axis % x.ndim)
    return functions.transpose(x, tuple(order)) if isinstance(x, Tensor) else x.transpose(order)


def shape_with_classes_last(shape: Any, axis: int) -> Any:
    """Return a shape with the axis of the classes at the end."""
    if not shape:
        return shape
    axis %= len(shape)
    return (*shape[:axis], *shape[axis + 1 :], shape[axis])


def without_classes(labels: Array, ndim: int, axis: int) -> Array:
    """Return labels without the axis of the classes, if they have it, of size 1."""
    if labels.ndim != ndim or not ndim or labels.shape[axis] != 1:
        return labels
    return labels.reshape([n for i, n in enumerate(labels.shape) if i != axis % ndim])


def check_smoothing(where: str, label_smoothing: Any) -> float:
    """Return a share from 0 to 1 as a float; raise for any other."""
    return check_number(where, "label_smoothing", label_smoothing, 1.0, or_equal=True)


def known_logits(activation: str, y_pred: Tensor, from_logits: bool) -> Tensor | None:
    """Return the logits if they are known: given, or the input of the activation in `y_pred`."""
    made_by = y_pred.activation
    if not from_logits:
        return y_pred.logits if made_by == activation else None
    if made_by is not None:
        warnings.warn(
            f"from_logits=True is for predictions without an activation, and these come out of "
            f"{made_by}: use from_logits=False, or take the activation away.",
            stacklevel=3,
        )
    return y_pred


def binary_entropies(y_true: Any, y_pred: Tensor, logits: Tensor | None) -> Tensor:
    """Return the cross-entropy of each yes-or-no prediction, from its logit where that is known."""
    if logits is None:
        share = functions.clip(y_pred, SMALLEST, 1 - SMALLEST)
        return -(functions.log(share) * y_true + functions.log(1 - share) * (1 - y_true))
    # -log(sigmoid(z)) is softplus(-z), -log(1 - sigmoid(z)) is softplus(z): nothing cancels.
    return functions.softplus(-logits) * y_true + functions.softplus(logits) * (1 - y_true)


def log_probabilities(y_pred: Tensor) -> Tensor:
    """Return the logarithms of predictions divided by their sum over the classes."""
    shares = y_pred / functions.sum(y_pred, axis=-1, keepdims=True)
    return functions.log(functions.clip(shares, SMALLEST, 1 - SMALLEST))


def binary_pair(where: str, y_true: Any, y_pred: Any, label_smoothing: float) -> tuple[Any, Tensor]:
    """Return labels 0 and 1, smoothed towards 1/2, and predictions of one shape."""
    y_true, y_pred = as_pair(where, y_true, y_pred)
    smoothing = check_smoothing(where, label_smoothing)
    if smoothing:
        y_true = y_true * (1 - smoothing) + 0.5 * smoothing
    return y_true, y_pred


def class_shares(
    where: str, y_true: Any, shape: tuple[int, ...], dtype: Any, label_smoothing: float
) -> Any:
    """Return one-hot labels for predictions of this shape and dtype, smoothed."""
    if y_true.shape != shape:
        raise different_shapes(where, "y_true", y_true.shape, shape)
    if y_true.dtype != dtype:
        y_true = y_true.astype(dtype)
    if label_smoothing:
        return y_true * (1 - label_smoothing) + label_smoothing / shape[-1]
    return y_true


def class_numbers(where: str, y_true: Array, shape: tuple[int, ...]) -> Array:
    """Return integer labels for predictions of this shape, flat."""
    samples = shape[:-1]
    if not samples or y_true.shape not in (samples, (*samples, 1)):
        raise no_labels(where, "y_true", y_true.shape, shape)
    labels = y_true.reshape(-1)
    return labels if labels.dtype.kind in "iu" else labels.astype("int64")
