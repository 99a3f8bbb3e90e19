"""Accuracies: how often predictions are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

from gpunet.arguments import boolean, number, positive_integer
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.metrics.metric import Metric, as_arrays, same_shape
from gpunet.metrics.reduction import Mean, MeanMetricWrapper

__all__ = [
    "Accuracy", "AutoAccuracy", "BinaryAccuracy", "CategoricalAccuracy",
    "SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy", "TopKCategoricalAccuracy",
    "accuracy", "accuracy_for", "binary_accuracy", "categorical_accuracy", "counts_correct",
    "sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]  # fmt: skip


def _one_hot(where: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    y_true, y_pred = as_arrays(y_true, y_pred)
    if y_true.shape != y_pred.shape or y_pred.ndim < 2:
        raise ValueError(
            f"{where} expects one-hot y_true and y_pred of one shape (batch, classes), received "
            f"{y_true.shape} and {y_pred.shape}: for integer labels use "
            f"'sparse_{where}', or gpunet.utils.to_categorical(y)."
        )
    return y_true, y_pred


def _sparse(where: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return integer labels of the shape of `y_pred` without its last axis, and `y_pred`."""
    y_true, y_pred = as_arrays(y_true, y_pred)
    expected = y_pred.shape[:-1]
    if y_true.shape != expected or not expected:
        if y_true.shape != (*expected, 1) or not expected:
            raise ValueError(
                f"{where} expects integer y_true of shape (batch,) and y_pred of shape "
                f"(batch, classes), received {y_true.shape} and {y_pred.shape}: for one-hot "
                f"labels use '{where.removeprefix('sparse_')}', or y.argmax(-1)."
            )
        y_true = y_true.reshape(expected)
    return y_true, y_pred


def accuracy(y_true: Any, y_pred: Any) -> Array:
    """Return where predictions are equal to their labels.

    Arguments:
        y_true: labels, of any shape.
        y_pred: predicted labels, of the same shape.
    """
    y_true, y_pred = same_shape("accuracy", y_true, y_pred)
    return y_true == y_pred


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Array:
    """Return where ``y_pred > threshold`` is what the label, 0 or 1, says.

    Arguments:
        y_true: labels, 0 or 1, of any shape.
        y_pred: probabilities, of the same shape.
        threshold: above it a prediction counts as 1.
    """
    y_true, y_pred = same_shape("binary_accuracy", y_true, y_pred)
    return y_true == (y_pred > threshold)


def categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """Return where the largest prediction is at the largest of the one-hot label.

    Arguments:
        y_true: one-hot labels (batch, classes), or with more axes between.
        y_pred: predictions of the same shape.
    """
    y_true, y_pred = _one_hot("categorical_accuracy", y_true, y_pred)
    return y_true.argmax(-1) == y_pred.argmax(-1)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Array:
    """Return where the largest prediction is that of the label.

    Arguments:
        y_true: integer labels (batch,) or (batch, 1), or with more axes between.
        y_pred: (batch, classes).
    """
    y_true, y_pred = _sparse("sparse_categorical_accuracy", y_true, y_pred)
    return y_true == y_pred.argmax(-1)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Array:
    """Return where the prediction for the label is among the `k` largest.

    Arguments:
        y_true: one-hot labels (batch, classes), or with more axes between.
        y_pred: predictions of the same shape.
        k: how many of the largest count; those equal to the last of them count too.
    """
    y_true, y_pred = _one_hot("top_k_categorical_accuracy", y_true, y_pred)
    return _in_top_k(y_true.argmax(-1), y_pred, k)


def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Array:
    """Return where the prediction for the label is among the `k` largest.

    Arguments:
        y_true: integer labels (batch,) or (batch, 1); a label that is no class is never found.
        y_pred: (batch, classes).
        k: how many of the largest count; those equal to the last of them count too.
        from_sorted_ids: whether `y_pred` is the numbers of classes, the most probable first, in
            place of a score for each class.
    """
    y_true, y_pred = _sparse("sparse_top_k_categorical_accuracy", y_true, y_pred)
    if from_sorted_ids:
        return (y_pred[..., :k] == y_true[..., None]).any(axis=-1)
    return _in_top_k(y_true, y_pred, k)


def _in_top_k(labels: Array, scores: Array, k: int) -> Array:
    """Return where fewer than `k` scores are larger than that of the label; NaN is never found."""
    xp = get_array_module(labels, scores)
    classes = scores.shape[-1]
    known = (labels >= 0) & (labels < classes)
    index = xp.where(known, labels, 0).astype(np.int64)[..., None]
    score = xp.take_along_axis(scores, index, axis=-1)
    larger = (scores > score).sum(-1)
    return (larger < k) & known & (score == score)[..., 0]


class Accuracy(MeanMetricWrapper):
    """How often predicted labels are equal to the labels; see `accuracy`.

    Arguments:
        name, dtype: as in `Mean`.
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """How often ``y_pred > threshold`` is what the label says; see `binary_accuracy`.

    Arguments:
        name, dtype: as in `Mean`.
        threshold: above it a prediction counts as 1.
    """

    def __init__(
        self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5
    ) -> None:
        self.threshold = number(threshold, "threshold", "BinaryAccuracy")
        super().__init__(binary_accuracy, name, dtype, threshold=self.threshold)


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the one-hot label's; see `categorical_accuracy`.

    Arguments:
        name, dtype: as in `Mean`.

    >>> metric = CategoricalAccuracy()
    >>> metric.update_state([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
    >>> metric.result()
    0.5
    """

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the integer label's.

    Arguments:
        name, dtype: as in `Mean`.
    """

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the one-hot label is among the `k` largest predictions.

    Arguments:
        k: how many of the largest count; at least 1.
        name, dtype: as in `Mean`.
    """

    def __init__(
        self, k: int = 5, name: str = "top_k_categorical_accuracy", dtype: Any = None
    ) -> None:
        self.k = positive_integer(k, "k", "TopKCategoricalAccuracy")
        super().__init__(top_k_categorical_accuracy, name, dtype, k=self.k)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the integer label is among the `k` largest predictions.

    Arguments:
        k: how many of the largest count; at least 1.
        name, dtype: as in `Mean`.
        from_sorted_ids: whether predictions are the numbers of classes, the most probable first.

    >>> SparseTopKCategoricalAccuracy(k=1, from_sorted_ids=True)([2, 1], [[1, 0, 3], [1, 2, 3]])
    0.5
    """

    def __init__(
        self,
        k: int = 5,
        name: str = "sparse_top_k_categorical_accuracy",
        dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:
        where = "SparseTopKCategoricalAccuracy"
        self.k = positive_integer(k, "k", where)
        self.from_sorted_ids = boolean(from_sorted_ids, "from_sorted_ids", where)
        options = {"k": self.k, "from_sorted_ids": self.from_sorted_ids}
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, **options)


class AutoAccuracy(MeanMetricWrapper):
    """The meaning of the name 'accuracy': the accuracy that fits the shapes; see `accuracy_for`.

    Arguments:
        name, dtype: as in `Mean`.
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None) -> None:
        super().__init__(_auto_accuracy, name, dtype)


def accuracy_for(
    y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]
) -> Callable[[Any, Any], Array]:
    """Return the function that is the accuracy for labels and predictions of these shapes.

    Keras' rule: predictions with a last axis of 1, or with no axis but the batch, have
    `binary_accuracy`; labels with fewer axes than the predictions, or with a last axis of 1,
    `sparse_categorical_accuracy`; all others `categorical_accuracy`.
    """
    if len(y_pred_shape) < 2 or y_pred_shape[-1] == 1:
        return binary_accuracy
    if len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1:
        return sparse_categorical_accuracy
    return categorical_accuracy


def _auto_accuracy(y_true: Array, y_pred: Array) -> Array:
    return accuracy_for(y_true.shape, y_pred.shape)(y_true, y_pred)


def counts_correct(
    metric: Metric, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]
) -> TypeGuard[Mean]:
    """Return whether a metric is how often the largest prediction is that of the label.

    `Mean.update_state` may then be given which samples were correct.
    """
    functions: dict[type[Metric], Any] = {
        AutoAccuracy: accuracy_for(y_true_shape, y_pred_shape),
        CategoricalAccuracy: categorical_accuracy,
        SparseCategoricalAccuracy: sparse_categorical_accuracy,
    }
    fitting = functions[AutoAccuracy]
    return fitting is not binary_accuracy and functions.get(type(metric)) is fitting
