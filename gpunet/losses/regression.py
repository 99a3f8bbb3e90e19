"""Losses of numbers: squared and absolute differences."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.autograd import Array, Tensor
from gpunet.losses import targets
from gpunet.losses.loss import Loss, as_predictions
from gpunet.losses.targets import Shape, different_shapes

__all__ = [
    "MeanAbsoluteError", "MeanSquaredError", "mae", "mean_absolute_error", "mean_squared_error",
    "mse",
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
    y_pred = as_predictions(y_pred)
    y_true = targets.matching(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        raise different_shapes(where, "y_true", y_true.shape, y_pred.shape)
    return y_pred - y_true


def _mean_of_last_axis(values: Tensor) -> Tensor:
    return functions.mean(values, axis=-1) if values.ndim > 1 else values


mse = mean_squared_error
mae = mean_absolute_error


class _OfNumbers(Loss):
    """A loss that compares targets and predictions one by one."""

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless `y` has the predictions' shape and is finite."""
        targets.check_numbers(self.name, y, output_shape)


class MeanSquaredError(_OfNumbers):
    """Mean of squared differences.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]]).item()
    2.0
    """

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        return mean_squared_error(y_true, y_pred)


class MeanAbsoluteError(_OfNumbers):
    """Mean of absolute differences.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> MeanAbsoluteError()([[1.0], [2.0]], [[1.0], [4.0]]).item()
    1.0
    """

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        return mean_absolute_error(y_true, y_pred)
