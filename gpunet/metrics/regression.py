"""Metrics of numbers: the means of the losses of the same names."""

from __future__ import annotations

from typing import Any

from gpunet.losses import mean_absolute_error, mean_squared_error
from gpunet.metrics.reduction import MeanMetricWrapper

__all__ = ["MeanAbsoluteError", "MeanSquaredError", "mean_absolute_error", "mean_squared_error"]


class MeanSquaredError(MeanMetricWrapper):
    """The mean of the squared differences.

    Arguments:
        name: the key of the metric.
        dtype: as in `Mean`.
    """

    def __init__(self, name: str = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(mean_squared_error, name, dtype)


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of the absolute differences.

    Arguments:
        name: the key of the metric.
        dtype: as in `Mean`.
    """

    def __init__(self, name: str = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(mean_absolute_error, name, dtype)
