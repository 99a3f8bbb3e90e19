"""Losses of numbers: differences, ratios, angles."""

from __future__ import annotations

import math
from typing import Any

from gpunet import functions
from gpunet.arguments import check_number, integer
from gpunet.autograd import Tensor
from gpunet.losses.formula import SMALLEST, AxisLoss, FormulaLoss, as_pair, mean_of_last

__all__ = [
    "CosineSimilarity", "Huber", "LogCosh", "MeanAbsoluteError", "MeanAbsolutePercentageError",
    "MeanSquaredError", "MeanSquaredLogarithmicError", "cosine_similarity", "huber", "log_cosh",
    "mae", "mape", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "mse", "msle",
]  # fmt: skip


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
    return mean_of_last(functions.square(_difference("mean_squared_error", y_true, y_pred)))


def mean_absolute_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of absolute differences over the last axis.

    Arguments and errors are those of `mean_squared_error`.

    >>> mean_absolute_error([[1.0, 2.0]], [[1.0, 4.0]]).numpy()
    array([1.])
    """
    return mean_of_last(functions.absolute(_difference("mean_absolute_error", y_true, y_pred)))


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of absolute differences in percent of the targets.

    Targets are taken as at least 1e-7 in size. Arguments and errors are those of
    `mean_squared_error`.

    >>> mean_absolute_percentage_error([[1.0, 2.0]], [[1.0, 4.0]]).numpy()
    array([50.])
    """
    y_true, y_pred = as_pair("mean_absolute_percentage_error", y_true, y_pred)
    size = functions.maximum(functions.absolute(y_true), SMALLEST)
    return 100 * mean_of_last(functions.absolute((y_pred - y_true) / size))


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of squared differences of ``log(1 + y)``.

    Numbers below 1e-7, negative ones too, are taken as 1e-7. Arguments and errors are those of
    `mean_squared_error`.

    >>> mean_squared_logarithmic_error([[1.0]], [[3.0]]).numpy().round(4)
    array([0.4805])
    """
    y_true, y_pred = as_pair("mean_squared_logarithmic_error", y_true, y_pred)
    of_true, of_pred = (functions.log(functions.maximum(y, SMALLEST) + 1) for y in (y_true, y_pred))
    return mean_of_last(functions.square(of_pred - of_true))


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Tensor:
    """Return each sample's mean of the Huber loss over the last axis (Huber, 1964).

    That is ``error**2 / 2`` where the error is at most `delta`, else
    ``delta * |error| - delta**2 / 2``.

    Arguments:
        y_true: targets of any shape (batch, ...).
        y_pred: predictions of the same shape.
        delta: from where on the loss is linear.

    Raises:
        ValueError: if the shapes differ.

    >>> huber([[0.0, 0.0]], [[1.0, 3.0]]).numpy()
    array([1.5])
    """
    size = functions.absolute(_difference("huber", y_true, y_pred))
    linear = delta * size - 0.5 * delta * delta
    return mean_of_last(functions.where(size.value <= delta, 0.5 * size * size, linear))


def log_cosh(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of ``log(cosh(error))`` over the last axis.

    Arguments and errors are those of `mean_squared_error`.

    >>> log_cosh([[0.0]], [[2.0]]).numpy().round(4)
    array([1.325])
    """
    error = _difference("log_cosh", y_true, y_pred)
    return mean_of_last(error + functions.softplus(-2 * error) - math.log(2))


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Tensor:
    """Return the negative cosine of the angle between targets and predictions along an axis.

    It is -1 for vectors of one direction, 1 for opposite ones, 0 where one of them is 0.

    Arguments:
        y_true: targets of any shape (batch, ...).
        y_pred: predictions of the same shape.
        axis: along which the vectors lie.

    Raises:
        ValueError: if the shapes differ.

    >>> cosine_similarity([[0.0, 1.0]], [[1.0, 1.0]]).numpy().round(4)
    array([-0.7071])
    """
    y_true, y_pred = as_pair("cosine_similarity", y_true, y_pred)
    return -functions.sum(_unit(y_true, axis) * _unit(y_pred, axis), axis=axis)


def _unit(x: Any, axis: int) -> Tensor:
    """Return vectors divided by their length, which is taken as at least 1e-7."""
    squares = functions.sum(functions.square(x), axis=axis, keepdims=True)
    return x / functions.sqrt(functions.maximum(squares, SMALLEST**2))


def _difference(where: str, y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = as_pair(where, y_true, y_pred)
    return y_pred - y_true


mse = mean_squared_error
mae = mean_absolute_error
mape = mean_absolute_percentage_error
msle = mean_squared_logarithmic_error


class MeanSquaredError(FormulaLoss):
    """Mean of squared differences.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]]).item()
    2.0
    """

    formula = staticmethod(mean_squared_error)


class MeanAbsoluteError(FormulaLoss):
    """Mean of absolute differences.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> MeanAbsoluteError()([[1.0], [2.0]], [[1.0], [4.0]]).item()
    1.0
    """

    formula = staticmethod(mean_absolute_error)


class MeanAbsolutePercentageError(FormulaLoss):
    """Mean of absolute differences in percent of the targets.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> MeanAbsolutePercentageError()([[1.0], [2.0]], [[1.0], [4.0]]).item()
    50.0
    """

    formula = staticmethod(mean_absolute_percentage_error)


class MeanSquaredLogarithmicError(FormulaLoss):
    """Mean of squared differences of ``log(1 + y)``; see `mean_squared_logarithmic_error`.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> round(MeanSquaredLogarithmicError()([[1.0]], [[3.0]]).item(), 4)
    0.4805
    """

    formula = staticmethod(mean_squared_logarithmic_error)


class Huber(FormulaLoss):
    """Squared differences that are linear from `delta` on; see `huber`.

    Arguments:
        delta: from where on the loss is linear; at least 0.
        reduction, name, dtype: as in `Loss`.

    >>> Huber()([[0.0, 0.0]], [[1.0, 3.0]]).item()
    1.5
    """

    formula, options = staticmethod(huber), ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        self.delta = check_number(type(self).__name__, "delta", delta)
        super().__init__(reduction, name, dtype)


class LogCosh(FormulaLoss):
    """Mean of ``log(cosh(error))``: squares of small errors, sizes of large ones.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> round(LogCosh()([[0.0]], [[2.0]]).item(), 4)
    1.325
    """

    formula = staticmethod(log_cosh)


class CosineSimilarity(AxisLoss):
    """Negative cosine of the angle between targets and predictions; see `cosine_similarity`.

    Arguments:
        axis: along which the vectors lie.
        reduction, name, dtype: as in `Loss`.

    >>> CosineSimilarity()([[0.0, 1.0]], [[0.0, 3.0]]).item()
    -1.0
    """

    formula, options = staticmethod(cosine_similarity), ("axis",)
    axis: int

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.axis = integer(axis, "axis", type(self).__name__)
        super().__init__(reduction, name, dtype)
