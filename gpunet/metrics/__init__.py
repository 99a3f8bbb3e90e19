"""Metrics, under Keras' names: running means over the batches of an epoch.

They work on arrays. On a GPU the running sum stays there until `result` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.naming import check_arguments, find

__all__ = [
    "Accuracy",
    "AutoAccuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "accuracy",
    "accuracy_for",
    "binary_accuracy",
    "categorical_accuracy",
    "counts_hits",
    "get",
    "mean_absolute_error",
    "mean_squared_error",
    "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]


def _array(x: Any, like: Array | None = None) -> Array:
    """Return the array in a tensor, or an array of a list, which then lives where `like` does."""
    if isinstance(x, Tensor):
        return x.value
    return x if hasattr(x, "shape") else asarray(x, like=like)


def _arrays(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    y_pred = _array(y_pred)
    y_true = _array(y_true, like=y_pred)
    get_array_module(y_true, y_pred)  # raises where they cannot be compared
    return y_true, y_pred


def _same_shape(where: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    y_true, y_pred = _arrays(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        fix = "labels and predictions are compared one by one and never broadcast."
        if (*y_true.shape, 1) == y_pred.shape:
            fix = "give the labels a last axis: y.reshape(-1, 1)."
        raise ValueError(
            f"{where} expects y_true of the shape of y_pred, {y_pred.shape}, received "
            f"{y_true.shape}: {fix}"
        )
    return y_true, y_pred


def _one_hot(where: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    y_true, y_pred = _arrays(y_true, y_pred)
    if y_true.shape != y_pred.shape or y_pred.ndim < 2:
        raise ValueError(
            f"{where} expects one-hot y_true and y_pred of one shape (batch, classes), received "
            f"{y_true.shape} and {y_pred.shape}: for integer labels use "
            f"'sparse_{where}', or gpunet.utils.to_categorical(y)."
        )
    return y_true, y_pred


def _sparse(where: str, y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    """Return integer labels of the shape of `y_pred` without its last axis, and `y_pred`."""
    y_true, y_pred = _arrays(y_true, y_pred)
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
    y_true, y_pred = _same_shape("accuracy", y_true, y_pred)
    return y_true == y_pred


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Array:
    """Return where ``y_pred > threshold`` is what the label, 0 or 1, says.

    Arguments:
        y_true: labels, 0 or 1, of any shape.
        y_pred: probabilities, of the same shape.
        threshold: above it a prediction counts as 1.
    """
    y_true, y_pred = _same_shape("binary_accuracy", y_true, y_pred)
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


def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Array:
    """Return where the prediction for the label is among the `k` largest.

    Arguments:
        y_true: integer labels (batch,) or (batch, 1); a label that is no class is never found.
        y_pred: (batch, classes).
        k: how many of the largest count; those equal to the last of them count too.
    """
    y_true, y_pred = _sparse("sparse_top_k_categorical_accuracy", y_true, y_pred)
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


def mean_squared_error(y_true: Any, y_pred: Any) -> Array:
    """Return the squared differences of two arrays of one shape."""
    difference = _difference("mean_squared_error", y_true, y_pred)
    return difference * difference


def mean_absolute_error(y_true: Any, y_pred: Any) -> Array:
    """Return the absolute differences of two arrays of one shape."""
    return abs(_difference("mean_absolute_error", y_true, y_pred))


def _difference(where: str, y_true: Any, y_pred: Any) -> Array:
    y_true, y_pred = _same_shape(where, y_true, y_pred)
    if y_pred.dtype.kind != "f":  # whole numbers without a sign would wrap around
        y_pred = y_pred.astype(np.float64)
    return y_pred - y_true


class Metric:
    """Base class of metrics: `update_state` takes in a batch, `result` tells the state so far.

    Arguments:
        name: the key of the metric in logs and in the history; by default the class' name
            in snake_case.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Metric:
        """Refuse unknown arguments by a message that says which was meant."""
        check_arguments(cls.__init__, cls.__name__, kwargs)
        return super().__new__(cls)

    def __init__(self, name: str | None = None) -> None:
        self.name = name or re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take in one batch, for most metrics ``update_state(y_true, y_pred)``."""
        raise NotImplementedError(
            f"{type(self).__name__} cannot take in a batch: define update_state(y_true, y_pred)."
        )

    def result(self) -> float:
        """Return the metric over all batches since `reset_state`."""
        raise NotImplementedError(f"{type(self).__name__} has no result: define result(self).")

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError(f"{type(self).__name__} cannot forget: define reset_state(self).")


class Mean(Metric):
    """The mean of all values of all batches; 0 before the first.

    Arguments:
        name: the key of the metric in logs and in the history.

    >>> metric = Mean()
    >>> metric.update_state([1.0, 3.0])
    >>> metric.update_state(5.0)
    >>> metric.result()
    3.0
    """

    def __init__(self, name: str | None = "mean") -> None:
        super().__init__(name)
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all values."""
        self._total: Any = 0.0  # a Python number, on a GPU an array of no dimensions there
        self._count = 0

    def update_state(self, values: Any) -> None:
        """Take in the values of a batch, of any shape."""
        self._add(_array(values))

    def result(self) -> float:
        """Return the mean of the values since `reset_state`."""
        return float(self._total) / self._count if self._count else 0.0

    def set_state(self, total: float, count: int) -> None:
        """Let the state be that after `count` values that add up to `total`."""
        self._total, self._count = total, count

    def _add(self, values: Array, weight: int = 1) -> None:
        xp = get_array_module(values)
        is_bool = values.dtype == bool
        total = xp.count_nonzero(values) if is_bool else values.sum(dtype=np.float64)
        self._total += total * weight
        self._count += values.size * weight


class MeanMetricWrapper(Mean):
    """The mean of a function of labels and predictions.

    Arguments:
        function: ``(y_true, y_pred)`` to one value for each sample, or to one number, which then
            stands for every sample of the batch.
        name: the key of the metric in logs and in the history; by default the function's name.

    >>> def largest_error(y_true, y_pred):
    ...     return abs(y_true - y_pred).max(axis=-1)
    >>> metric = MeanMetricWrapper(largest_error)
    >>> metric.update_state([[1.0, 2.0]], [[1.5, 2.0]])
    >>> metric.name, metric.result()
    ('largest_error', 0.5)
    """

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", None))
        self.function = function

    def update_state(self, y_true: Any, y_pred: Any) -> None:  # type: ignore[override]
        """Take in a batch of labels and predictions."""
        y_true, y_pred = _arrays(y_true, y_pred)
        values = _array(self.function(y_true, y_pred))
        self._add(values, 1 if values.ndim or not y_pred.ndim else len(y_pred))


class Accuracy(MeanMetricWrapper):
    """How often predicted labels are equal to the labels; see `accuracy`."""

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__(accuracy, name)


class BinaryAccuracy(MeanMetricWrapper):
    """How often ``y_pred > threshold`` is what the label says; see `binary_accuracy`.

    Arguments:
        name: the key of the metric.
        threshold: above it a prediction counts as 1.
    """

    def __init__(self, name: str = "binary_accuracy", threshold: float = 0.5) -> None:
        super().__init__(partial(binary_accuracy, threshold=threshold), name)
        self.threshold = threshold


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the one-hot label's; see `categorical_accuracy`.

    >>> metric = CategoricalAccuracy()
    >>> metric.update_state([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
    >>> metric.result()
    0.5
    """

    def __init__(self, name: str = "categorical_accuracy") -> None:
        super().__init__(categorical_accuracy, name)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the largest prediction is the integer label's."""

    def __init__(self, name: str = "sparse_categorical_accuracy") -> None:
        super().__init__(sparse_categorical_accuracy, name)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the one-hot label is among the `k` largest predictions.

    Arguments:
        k: how many of the largest count; at least 1.
        name: the key of the metric.
    """

    def __init__(self, k: int = 5, name: str = "top_k_categorical_accuracy") -> None:
        super().__init__(partial(top_k_categorical_accuracy, k=_check_k(k)), name)
        self.k = k


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the integer label is among the `k` largest predictions.

    Arguments:
        k: how many of the largest count; at least 1.
        name: the key of the metric.
    """

    def __init__(self, k: int = 5, name: str = "sparse_top_k_categorical_accuracy") -> None:
        super().__init__(partial(sparse_top_k_categorical_accuracy, k=_check_k(k)), name)
        self.k = k


def _check_k(k: Any) -> int:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"Top-k accuracy expects a whole number k of at least 1, received {k!r}.")
    return k


class MeanSquaredError(MeanMetricWrapper):
    """The mean of the squared differences."""

    def __init__(self, name: str = "mean_squared_error") -> None:
        super().__init__(mean_squared_error, name)


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of the absolute differences."""

    def __init__(self, name: str = "mean_absolute_error") -> None:
        super().__init__(mean_absolute_error, name)


class AutoAccuracy(MeanMetricWrapper):
    """What the name 'accuracy' means: the accuracy that fits the shapes; see `accuracy_for`."""

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__(_auto_accuracy, name)


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


def counts_hits(
    metric: Metric, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]
) -> TypeGuard[Mean]:
    """Return whether a metric is how often the largest prediction is that of the label.

    `Mean.update_state` may then take the hits themselves.
    """
    functions: dict[type[Metric], Any] = {
        AutoAccuracy: accuracy_for(y_true_shape, y_pred_shape),
        CategoricalAccuracy: categorical_accuracy,
        SparseCategoricalAccuracy: sparse_categorical_accuracy,
    }
    fitting = functions[AutoAccuracy]
    return fitting is not binary_accuracy and functions.get(type(metric)) is fitting


def _auto_accuracy(y_true: Array, y_pred: Array) -> Array:
    return accuracy_for(y_true.shape, y_pred.shape)(y_true, y_pred)


_METRICS: dict[str, Callable[[], Metric]] = {
    "acc": AutoAccuracy,
    "accuracy": AutoAccuracy,
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
}


def get(identifier: str | Metric | Callable[[Any, Any], Any]) -> Metric:
    """Return the metric of a name, of a function, or the metric given.

    A name is also the metric's key in the history: ``'acc'`` gives ``'acc'``.

    Arguments:
        identifier: a name, a metric, or a function ``(y_true, y_pred)`` as for
            `MeanMetricWrapper`.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if it is none of these.

    >>> get("acc").name
    'acc'
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        metric = find("metric", identifier, _METRICS)()
        metric.name = identifier
        return metric
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        return MeanMetricWrapper(identifier)
    raise TypeError(
        f"A metric must be a name, a Metric or a function (y_true, y_pred), received "
        f"{identifier!r}: for example metrics=['accuracy']."
    )
