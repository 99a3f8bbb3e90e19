"""Losses of distributions: the Kullback-Leibler divergence, and counts after Poisson."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.autograd import Tensor
from gpunet.losses.formula import SMALLEST, FormulaLoss, as_pair, mean_of_last

__all__ = ["KLDivergence", "Poisson", "kl_divergence", "kld", "poisson"]


def kl_divergence(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's sum of ``y_true * log(y_true / y_pred)`` over the last axis.

    Both are limited to [1e-7, 1], as in Keras.

    Arguments:
        y_true: probabilities (batch, ..., classes).
        y_pred: probabilities of the same shape.

    Raises:
        ValueError: if the shapes differ.

    >>> kl_divergence([[0.5, 0.5]], [[0.25, 0.75]]).numpy().round(4)
    array([0.1438])
    """
    y_true, y_pred = (
        functions.clip(y, SMALLEST, 1.0) for y in as_pair("kl_divergence", y_true, y_pred)
    )
    terms = y_true * (functions.log(y_true) - functions.log(y_pred))
    return functions.sum(terms, axis=-1)


def poisson(y_true: Any, y_pred: Any) -> Tensor:
    """Return each sample's mean of ``y_pred - y_true * log(y_pred + 1e-7)`` over the last axis.

    The negative logarithm of the probability of the counts `y_true`, but for a term without
    `y_pred`.

    Arguments:
        y_true: counts of any shape (batch, ...).
        y_pred: their expected values, of the same shape.

    Raises:
        ValueError: if the shapes differ.

    >>> poisson([[2.0]], [[1.0]]).numpy().round(4)
    array([1.])
    """
    y_true, y_pred = as_pair("poisson", y_true, y_pred)
    return mean_of_last(y_pred - y_true * functions.log(y_pred + SMALLEST))


kld = kl_divergence


class KLDivergence(FormulaLoss):
    """Kullback-Leibler divergence of the predictions from the targets; see `kl_divergence`.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> round(KLDivergence()([[0.5, 0.5]], [[0.25, 0.75]]).item(), 4)
    0.1438
    """

    formula = staticmethod(kl_divergence)


class Poisson(FormulaLoss):
    """Mean of ``y_pred - y_true * log(y_pred)`` for counts; see `poisson`.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> round(Poisson()([[2.0]], [[1.0]]).item(), 4)
    1.0
    """

    formula = staticmethod(poisson)
