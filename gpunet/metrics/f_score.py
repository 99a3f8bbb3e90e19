"""F-scores: means of precision and recall."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import check_choice, number
from gpunet.backend import get_array_module
from gpunet.metrics.metric import aligned_weights, same_shape
from gpunet.metrics.sums import SumsMetric

__all__ = ["F1Score", "FBetaScore"]

_SMALLEST = 1e-7  # added to divisors, as in Keras


class FBetaScore(SumsMetric):
    """The weighted harmonic mean of precision and recall, of each class or averaged.

    Arguments:
        average: None for the score of each class; ``"micro"`` for that of all classes together;
            ``"macro"`` for the mean over the classes; ``"weighted"`` for the mean weighted by how
            many labels each class has.
        beta: how much more recall counts than precision, above 0.
        threshold: above 0, at most 1; predictions above it are a yes. None if the largest
            prediction of each sample is.
        name, dtype: as in `Metric`.

    >>> y = [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    >>> p = [[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]]
    >>> FBetaScore(beta=2.0, threshold=0.5)(y, p).round(4)
    array([0.3846, 0.9091, 0.8333])
    """

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        where = type(self).__name__
        averages = (None, "micro", "macro", "weighted")
        self.average = check_choice(average, averages, "average", where)
        self.beta = number(beta, "beta", where)
        if self.beta <= 0:
            raise ValueError(f"{where} expects beta above 0, as beta=1.0, received {beta!r}.")
        self.threshold = None if threshold is None else number(threshold, "threshold", where)
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(
                f"{where} expects a threshold above 0 and at most 1, received {threshold!r}."
            )
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Arguments:
            y_true: labels, 0 or 1, (batch, classes).
            y_pred: predictions of the same shape.
            sample_weight: factors of the samples, (batch,).
        """
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        if y_pred.ndim != 2:
            raise ValueError(
                f"{self.name} expects labels and predictions of shape (batch, classes), received "
                f"shape {y_pred.shape}: reshape them to rows."
            )
        xp = get_array_module(y_pred)
        if self.threshold is None:
            positive = (y_pred >= y_pred.max(axis=-1, keepdims=True)) & (abs(y_pred) > 1e-9)
        else:
            positive = y_pred > self.threshold
        labels, weights = y_true.astype(np.float64), xp.ones(y_pred.shape, np.float64)
        if sample_weight is not None:
            weights = aligned_weights(self.name, sample_weight, y_pred)
        positive = positive.astype(np.float64)
        axis = None if self.average == "micro" else 0
        self._add(
            tp=(positive * labels * weights).sum(axis=axis),
            fp=(positive * (1 - labels) * weights).sum(axis=axis),
            fn=((1 - positive) * labels * weights).sum(axis=axis),
            labels=(labels * weights).sum(axis=axis),
        )

    def result(self) -> Any:
        """Return the score: a float, or without `average` an array with that of each class."""
        tp, fp, fn, labels = (self._total(name) for name in ("tp", "fp", "fn", "labels"))
        precision, recall = tp / (tp + fp + _SMALLEST), tp / (tp + fn + _SMALLEST)
        squared = self.beta**2
        mean = precision * recall / (squared * precision + recall + _SMALLEST)
        scores = (1 + squared) * mean
        if self.average is None:
            return scores
        if self.average == "weighted":
            return float((scores * labels).sum() / (labels.sum() + _SMALLEST))
        return float(scores.mean())


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall, of each class or averaged.

    Arguments:
        average, threshold, name, dtype: as in `FBetaScore`.

    >>> round(F1Score("micro", threshold=0.5)([[1, 1], [1, 0]], [[0.2, 0.6], [0.7, 0.6]]), 4)
    0.6667
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)
