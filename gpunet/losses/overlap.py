"""Losses of overlap, for segmentation: over all predictions together, or over chosen axes."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import check_number
from gpunet.autograd import Tensor
from gpunet.losses import targets
from gpunet.losses.formula import SMALLEST, Axes, AxisLoss, as_pair, check_axes

__all__ = ["Dice", "Tversky", "dice", "tversky"]


def dice(y_true: Any, y_pred: Any, axis: Axes = None) -> Tensor:
    """Return ``1 - 2 * sum(y_true * y_pred) / (sum(y_true) + sum(y_pred) + 1e-7)``.

    Arguments:
        y_true: targets from 0 to 1, of any shape (batch, ...).
        y_pred: predictions of the same shape.
        axis: of the sums, one or several; all, those of the batch too, by default.

    Raises:
        ValueError: if the shapes differ.

    >>> round(dice([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.5
    """
    axis = check_axes(axis, "dice")
    y_true, y_pred = as_pair("dice", y_true, y_pred)
    overlap = functions.sum(y_true * y_pred, axis=axis)
    sizes = functions.sum(y_true, axis=axis) + functions.sum(y_pred, axis=axis)
    return 1 - 2 * overlap / (sizes + SMALLEST)


def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axes = None
) -> Tensor:
    """Return 1 minus the index of Tversky, a Dice coefficient that weighs errors (Salehi, 2017).

    Keras 3.15 documents `alpha` and `beta` as this function has them, and exchanges them.

    Arguments:
        y_true: targets from 0 to 1, of any shape (batch, ...).
        y_pred: predictions of the same shape.
        alpha: the weight of false positives, ``(1 - y_true) * y_pred``.
        beta: the weight of false negatives, ``y_true * (1 - y_pred)``.
        axis: of the sums, one or several; all, those of the batch too, by default.

    Raises:
        ValueError: if the shapes differ.

    >>> round(tversky([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.5
    """
    axis = check_axes(axis, "tversky")
    y_true, y_pred = as_pair("tversky", y_true, y_pred)
    overlap = functions.sum(y_true * y_pred, axis=axis)
    missed = functions.sum((1 - y_pred) * y_true, axis=axis)
    false = functions.sum(y_pred * (1 - y_true), axis=axis)
    return 1 - overlap / (overlap + alpha * false + beta * missed + SMALLEST)


class Dice(AxisLoss):
    """1 minus the Dice coefficient of targets and predictions; see `dice`.

    Arguments:
        reduction, name: as in `Loss`.
        axis: of the sums, one or several; all by default. Where the batch is among them the loss
            is none of each sample, and takes no weights.
        dtype: as in `Loss`.

    >>> round(Dice()([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.5
    """

    formula, options = staticmethod(dice), ("axis",)
    check = staticmethod(targets.check_binary)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: Axes = None,
        dtype: Any = None,
    ) -> None:
        self.axis = check_axes(axis, type(self).__name__)
        super().__init__(reduction, name, dtype)


class Tversky(AxisLoss):
    """1 minus the index of Tversky of targets and predictions; see `tversky`.

    Arguments:
        alpha: the weight of false positives, at least 0.
        beta: the weight of false negatives, at least 0.
        reduction, name: as in `Loss`.
        axis: as in `Dice`.
        dtype: as in `Loss`.

    >>> round(Tversky(alpha=0.0, beta=1.0)([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.5
    """

    formula, options = staticmethod(tversky), ("alpha", "beta", "axis")
    check = staticmethod(targets.check_binary)

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: Axes = None,
        dtype: Any = None,
    ) -> None:
        where = type(self).__name__
        self.alpha = check_number(where, "alpha", alpha)
        self.beta = check_number(where, "beta", beta)
        self.axis = check_axes(axis, where)
        super().__init__(reduction, name, dtype)
