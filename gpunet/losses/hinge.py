"""Hinge losses: predictions on the right side of a margin cost nothing."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module
from gpunet.losses import targets
from gpunet.losses.formula import FormulaLoss, as_pair, mean_of_last

__all__ = [
    "CategoricalHinge", "Hinge", "SquaredHinge", "categorical_hinge", "hinge", "squared_hinge",
]  # fmt: skip


def hinge(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of ``max(0, 1 - y_true * y_pred)`` over the last axis.

    Arguments:
        y_true: targets of any shape (batch, ...), -1 or 1; if all are 0 or 1, then 0 means -1.
        y_pred: predictions of the same shape.

    Raises:
        ValueError: if the shapes differ.

    >>> hinge([[-1.0, 1.0]], [[0.5, 3.0]]).numpy()
    array([0.75])
    """
    return mean_of_last(_margins("hinge", y_true, y_pred))


def squared_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of ``max(0, 1 - y_true * y_pred)**2`` over the last axis.

    Arguments and errors are those of `hinge`.

    >>> squared_hinge([[-1.0, 1.0]], [[0.5, 3.0]]).numpy()
    array([1.125])
    """
    return mean_of_last(functions.square(_margins("squared_hinge", y_true, y_pred)))


def categorical_hinge(y_true: Any, y_pred: Any) -> Tensor:
    """Return how far, of each sample, the label's prediction is less than 1 above all others.

    Arguments:
        y_true: one-hot labels (batch, classes), or with more axes between.
        y_pred: predictions of the same shape.

    Raises:
        ValueError: if the shapes differ.

    >>> categorical_hinge([[0.0, 1.0]], [[0.5, 0.75]]).numpy()
    array([0.75])
    """
    y_true, y_pred = as_pair("categorical_hinge", y_true, y_pred)
    of_label = functions.sum(y_true * y_pred, axis=-1)
    largest_other = functions.max((1 - y_true) * y_pred, axis=-1)
    return functions.maximum(largest_other - of_label + 1, 0)


def _margins(where: str, y_true: Any, y_pred: Any) -> Tensor:
    y_true, y_pred = as_pair(where, y_true, y_pred)
    return functions.maximum(1 - y_pred * _signs(getattr(y_true, "value", y_true)), 0)


def _signs(labels: Array) -> Array:
    """Return labels with -1 in place of 0 where all are 0 or 1; the host reads nothing."""
    are_binary = ((labels == 0) | (labels == 1)).all()
    return get_array_module(labels).where(are_binary, 2 * labels - 1, labels)


class Hinge(FormulaLoss):
    """Mean of ``max(0, 1 - y_true * y_pred)`` for targets -1 and 1, or 0 and 1.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> Hinge()([[-1.0], [1.0]], [[0.5], [3.0]]).item()
    0.75
    """

    formula = staticmethod(hinge)


class SquaredHinge(FormulaLoss):
    """Mean of ``max(0, 1 - y_true * y_pred)**2`` for targets -1 and 1, or 0 and 1.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> SquaredHinge()([[-1.0], [1.0]], [[0.5], [3.0]]).item()
    1.125
    """

    formula = staticmethod(squared_hinge)


class CategoricalHinge(FormulaLoss):
    """Hinge loss of one-hot labels; see `categorical_hinge`.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> CategoricalHinge()([[0.0, 1.0]], [[0.5, 0.75]]).item()
    0.75
    """

    formula = staticmethod(categorical_hinge)
    check = staticmethod(targets.check_one_hot)
