"""Metrics, under Keras' names: running means over the batches of an epoch.

They work on arrays. On a GPU the running sum stays there until `result` reads it.
"""

from __future__ import annotations

from typing import Any

from gpunet.configurable import Registry
from gpunet.losses import Loss
from gpunet.metrics.accuracy import (
    Accuracy,
    AutoAccuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    accuracy_for,
    binary_accuracy,
    categorical_accuracy,
    counts_correct,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from gpunet.metrics.confusion import AUC
from gpunet.metrics.metric import Metric
from gpunet.metrics.probabilistic import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from gpunet.metrics.reduction import Mean, MeanMetricWrapper
from gpunet.metrics.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    mean_absolute_error,
    mean_squared_error,
)

__all__ = [
    "AUC",
    "Accuracy",
    "AutoAccuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "accuracy",
    "accuracy_for",
    "binary_accuracy",
    "binary_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "counts_correct",
    "deserialize",
    "get",
    "mean_absolute_error",
    "mean_squared_error",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "top_k_categorical_accuracy",
]

_REGISTRY = Registry(
    "metric",
    Metric,
    [
        AUC,
        Accuracy,
        AutoAccuracy,
        BinaryAccuracy,
        BinaryCrossentropy,
        CategoricalAccuracy,
        CategoricalCrossentropy,
        Mean,
        MeanAbsoluteError,
        MeanSquaredError,
        SparseCategoricalAccuracy,
        SparseCategoricalCrossentropy,
        SparseTopKCategoricalAccuracy,
        TopKCategoricalAccuracy,
    ],
    {
        "acc": AutoAccuracy,
        "accuracy": AutoAccuracy,
        "bce": BinaryCrossentropy,
        "mae": MeanAbsoluteError,
        "mse": MeanSquaredError,
    },
    function="(y_true, y_pred)",
)
serialize = _REGISTRY.serialize
deserialize = _REGISTRY.deserialize


def get(identifier: Any) -> Metric:
    """Return the metric of a name, a class, a config, a function or a loss, or the metric given.

    A name is also the metric's key in the history: ``'acc'`` gives ``'acc'``.

    Arguments:
        identifier: a metric, its name, class or config; a function ``(y_true, y_pred)`` as for
            `MeanMetricWrapper`; a loss or its class.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `identifier` is none of these.

    >>> get("acc").name, get("MSE").name
    ('acc', 'MSE')
    """
    if isinstance(identifier, str):
        is_auto = identifier.lower() == "accuracy"
        return (AutoAccuracy if is_auto else _REGISTRY.find(identifier))(name=identifier)
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        identifier = identifier()
    found = _REGISTRY.get(identifier)
    return found if isinstance(found, Metric) else MeanMetricWrapper(found)
