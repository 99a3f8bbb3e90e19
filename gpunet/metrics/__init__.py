"""Metrics, under Keras' names: running means and counts over the batches of an epoch.

They work on arrays. On a GPU the running sums stay there until `result` reads them.
"""

# ruff: noqa: F403, F405
from __future__ import annotations

from typing import Any

from gpunet.configurable import Registry
from gpunet.losses import Loss
from gpunet.metrics import means_of_losses
from gpunet.metrics.accuracy import *
from gpunet.metrics.auc import *
from gpunet.metrics.confusion import *
from gpunet.metrics.constrained import *
from gpunet.metrics.correlation import *
from gpunet.metrics.f_score import *
from gpunet.metrics.iou import *
from gpunet.metrics.means_of_losses import *
from gpunet.metrics.metric import Metric
from gpunet.metrics.reduction import *
from gpunet.metrics.regression import *
from gpunet.naming import public_names

__all__ = sorted(
    {*public_names(globals()), *means_of_losses.__all__, "deserialize", "get", "serialize"}
)

_REGISTRY = Registry(
    "metric",
    Metric,
    [item for item in globals().values() if item is not MeanMetricWrapper],
    {
        "acc": AutoAccuracy,
        "accuracy": AutoAccuracy,
        "bce": BinaryCrossentropy,
        "mae": MeanAbsoluteError,
        "mape": MeanAbsolutePercentageError,
        "mse": MeanSquaredError,
        "msle": MeanSquaredLogarithmicError,
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
