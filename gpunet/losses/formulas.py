"""What the losses compute: one number for each sample.

A softmax or sigmoid before a cross-entropy is undone: the loss is computed from what came before
it, which is exact where the probabilities are 0 or 1 in float32.
"""

from __future__ import annotations

import warnings
from typing import Any

from gpunet import functions
from gpunet.autograd import Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.losses.targets import different_shapes, no_labels

__all__ = [
    "binary_crossentropy",
    "categorical_crossentropy",
    "class_numbers",
    "class_shares",
    "mae",
    "mean_absolute_error",
    "mean_squared_error",
    "mse",
    "sparse_categorical_crossentropy",
]

_SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1, as in Keras


def _targets(y_true: Any, y_pred: Tensor) -> Any:
    """Return `y_true` as an array of the predictions' dtype; a tensor stays what it is."""
    if isinstance(y_true, Tensor):
        return y_true
    y_true = y_true if hasattr(y_true, "shape") else asarray(y_true, like=y_pred.value)
    return y_true if y_true.dtype == y_pred.dtype else y_true.astype(y_pred.dtype)


def _predictions(y_pred: Any) -> Tensor:
    return y_pred if isinstance(y_pred, Tensor) else Tensor(y_pred)


def _check_same_shape(where: str, y_true: Any, y_pred: Tensor) -> None:
    if y_true.shape != y_pred.shape:
        raise ValueError(different_shapes(where, "y_true", y_true.shape, y_pred.shape))


def _logits(activation: str, y_pred: Tensor, from_logits: bool) -> Tensor | None:
    """Return the logits if they are known: given, or what this activation made `y_pred` of."""
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


def _log_probabilities(y_pred: Tensor) -> Tensor:
    shares = y_pred / functions.sum(y_pred, axis=-1, keepdims=True)
    return functions.log(functions.clip(shares, _SMALLEST, 1 - _SMALLEST))


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Tensor:
    """Return each sample's cross-entropy of the predictions with one-hot labels.

    Arguments:
        y_true: one-hot labels or probabilities (batch, classes), or with more axes between.
        y_pred: probabilities of the same shape; each sample's are divided by their sum.
        from_logits: whether `y_pred` is what softmax would make probabilities of.
        label_smoothing: share of each label that is spread over all classes, from 0 to 1.

    Raises:
        ValueError: if the shapes differ.

    >>> categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931])
    """
    y_pred = _predictions(y_pred)
    y_true = _targets(y_true, y_pred)
    labels = class_shares(y_true, y_pred.shape, y_pred.dtype, label_smoothing)
    logits = _logits("softmax", y_pred, from_logits)
    if logits is None:
        return -functions.sum(_log_probabilities(y_pred) * labels, axis=-1)
    return _fused(logits, labels.reshape(-1, y_pred.shape[-1]))


def class_shares(y_true: Any, shape: tuple[int, ...], dtype: Any, label_smoothing: float) -> Any:
    """Return the labels that `categorical_crossentropy` compares predictions with.

    Arguments:
        y_true, label_smoothing: as there; an array or a tensor.
        shape, dtype: of the predictions.
    """
    if y_true.shape != shape:
        where = "categorical_crossentropy"
        raise ValueError(different_shapes(where, "y_true", y_true.shape, shape))
    if y_true.dtype != dtype:
        y_true = y_true.astype(dtype)
    if label_smoothing:
        return y_true * (1 - label_smoothing) + label_smoothing / shape[-1]
    return y_true


def _fused(logits: Tensor, labels: Any) -> Tensor:
    """Return the cross-entropy of softmax(logits), of shape (batch, ...) without the classes."""
    if logits.ndim == 2:
        return functions.softmax_cross_entropy(logits, labels)
    losses = functions.softmax_cross_entropy(logits.reshape(-1, logits.shape[-1]), labels)
    return losses.reshape(logits.shape[:-1])


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Tensor:
    """Return each sample's cross-entropy of the predictions with integer labels.

    Arguments:
        y_true: integer labels (batch,) or (batch, 1), or with more axes between.
        y_pred: probabilities (batch, classes); each sample's are divided by their sum.
        from_logits: whether `y_pred` is what softmax would make probabilities of.

    Raises:
        ValueError: if the shapes do not fit each other.

    >>> sparse_categorical_crossentropy([1], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931])
    """
    y_pred = _predictions(y_pred)
    y_true = y_true.value if isinstance(y_true, Tensor) else y_true
    y_true = y_true if hasattr(y_true, "shape") else asarray(y_true, like=y_pred.value)
    labels = class_numbers(y_true, y_pred.shape)
    logits = _logits("softmax", y_pred, from_logits)
    if logits is not None:
        return _fused(logits, labels)
    classes = y_pred.shape[-1]
    if ((labels < 0) | (labels >= classes)).any():  # one read, where they are on a GPU
        raise ValueError(
            f"sparse_categorical_crossentropy expects labels in [0, {classes}), received labels "
            f"from {labels.min()} to {labels.max()}: check the labels and the number of outputs."
        )
    rows = _log_probabilities(y_pred).reshape(-1, classes)
    losses = -rows[get_array_module(labels).arange(labels.size), labels]
    return losses.reshape(y_pred.shape[:-1])


def class_numbers(y_true: Any, shape: tuple[int, ...]) -> Any:
    """Return the labels that `sparse_categorical_crossentropy` takes, flat and of integers.

    Arguments:
        y_true: as there; an array.
        shape: of the predictions.
    """
    samples = shape[:-1]
    if not samples or y_true.shape not in (samples, (*samples, 1)):
        where = "sparse_categorical_crossentropy"
        raise ValueError(no_labels(where, "y_true", y_true.shape, shape))
    labels = y_true.reshape(-1)
    return labels if labels.dtype.kind in "iu" else labels.astype("int64")


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0
) -> Tensor:
    """Return each sample's cross-entropy of yes-or-no predictions, the mean over the last axis.

    Arguments:
        y_true: 0 or 1, or between, of any shape (batch, ...).
        y_pred: probabilities of the same shape.
        from_logits: whether `y_pred` is what sigmoid would make probabilities of.
        label_smoothing: share of each label that becomes 1/2, from 0 to 1.

    Raises:
        ValueError: if the shapes differ.

    >>> binary_crossentropy([[1.0]], [[0.5]]).numpy().round(4)
    array([0.6931])
    """
    y_pred = _predictions(y_pred)
    y_true = _targets(y_true, y_pred)
    _check_same_shape("binary_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1 - label_smoothing) + 0.5 * label_smoothing
    logits = _logits("sigmoid", y_pred, from_logits)
    if logits is None:
        share = functions.clip(y_pred, _SMALLEST, 1 - _SMALLEST)
        return _mean_of_last_axis(
            -(functions.log(share) * y_true + functions.log(1 - share) * (1 - y_true))
        )
    # -log(sigmoid(z)) is softplus(-z), -log(1 - sigmoid(z)) is softplus(z): nothing cancels.
    return _mean_of_last_axis(
        functions.softplus(-logits) * y_true + functions.softplus(logits) * (1 - y_true)
    )


def mean_squared_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of squared differences over the last axis.

    Arguments:
        y_true: targets of any shape (batch, ...).
        y_pred: predictions of the same shape.

    Raises:
        ValueError: if the shapes differ.

    >>> mean_squared_error([[1.0, 2.0]], [[1.0, 4.0]]).numpy()
    array([2.])
    """
    return _mean_of_last_axis(functions.square(_difference("mean_squared_error", y_true, y_pred)))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of absolute differences over the last axis.

    Arguments:
        y_true: targets of any shape (batch, ...).
        y_pred: predictions of the same shape.

    Raises:
        ValueError: if the shapes differ.

    >>> mean_absolute_error([[1.0, 2.0]], [[1.0, 4.0]]).numpy()
    array([1.])
    """
    difference = _difference("mean_absolute_error", y_true, y_pred)
    return _mean_of_last_axis(functions.absolute(difference))


def _difference(where: str, y_true: Any, y_pred: Any) -> Tensor:
    y_pred = _predictions(y_pred)
    y_true = _targets(y_true, y_pred)
    _check_same_shape(where, y_true, y_pred)
    return y_pred - y_true


def _mean_of_last_axis(values: Tensor) -> Tensor:
    return functions.mean(values, axis=-1) if values.ndim > 1 else values


mse = mean_squared_error
mae = mean_absolute_error
