"""Correlations of targets and predictions along an axis, averaged over the samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import integer
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.metrics.metric import same_shape
from gpunet.metrics.reduction import MeanMetricWrapper

__all__ = [
    "ConcordanceCorrelation", "PearsonCorrelation", "concordance_correlation",
    "pearson_correlation",
]  # fmt: skip


def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """Return the correlation of targets and predictions along an axis, from -1 to 1.

    It is NaN where one of them is constant.

    Arguments:
        y_true: targets of any shape.
        y_pred: predictions of the same shape.
        axis: along which they are compared.

    >>> pearson_correlation([[0.0, 1.0, 0.5]], [[0.1, 0.9, 1.0]]).round(4)
    array([0.8109])
    """
    y_true, y_pred = _centered("pearson_correlation", y_true, y_pred, axis)
    spread = (y_true * y_true).mean(axis=axis) * (y_pred * y_pred).mean(axis=axis)
    with np.errstate(invalid="ignore"):
        return (y_true * y_pred).mean(axis=axis) / get_array_module(spread).sqrt(spread)


def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Array:
    """Return how far targets and predictions agree along an axis, from -1 to 1.

    That is ``2 * covariance / (variances + squared difference of means + 1e-7)`` (Lin, 1989).

    Arguments:
        y_true: targets of any shape.
        y_pred: predictions of the same shape.
        axis: along which they are compared.

    >>> concordance_correlation([[0.0, 1.0, 0.5]], [[0.1, 0.9, 1.0]]).round(4)
    array([0.7477])
    """
    means = [y.mean(axis=axis) for y in same_shape("concordance_correlation", y_true, y_pred)]
    y_true, y_pred = _centered("concordance_correlation", y_true, y_pred, axis)
    variances = (y_true * y_true).mean(axis=axis) + (y_pred * y_pred).mean(axis=axis)
    divisor = variances + (means[0] - means[1]) ** 2 + 1e-7
    return 2 * (y_true * y_pred).mean(axis=axis) / divisor


def _centered(where: str, y_true: Any, y_pred: Any, axis: int) -> tuple[Array, Array]:
    y_true, y_pred = same_shape(where, y_true, y_pred)
    return (
        y_true - y_true.mean(axis=axis, keepdims=True),
        y_pred - y_pred.mean(axis=axis, keepdims=True),
    )


class _Correlation(MeanMetricWrapper):
    axis: int

    @property
    def averages_samples(self) -> bool:
        """False where samples may be compared with each other."""
        return self.axis > 0 or self.axis == -1


class PearsonCorrelation(_Correlation):
    """The mean of `pearson_correlation`.

    Arguments:
        name, dtype: as in `Mean`.
        axis: along which targets and predictions are compared.
    """

    def __init__(
        self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1
    ) -> None:
        self.axis = integer(axis, "axis", type(self).__name__)
        super().__init__(pearson_correlation, name, dtype, axis=self.axis)


class ConcordanceCorrelation(_Correlation):
    """The mean of `concordance_correlation`.

    Arguments:
        name, dtype: as in `Mean`.
        axis: along which targets and predictions are compared.
    """

    def __init__(
        self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1
    ) -> None:
        self.axis = integer(axis, "axis", type(self).__name__)
        super().__init__(concordance_correlation, name, dtype, axis=self.axis)
