"""Metrics of numbers that are no means over samples: roots and shares of squared errors."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from gpunet.arguments import check_choice, positive_integer
from gpunet.metrics.metric import aligned_weights, same_shape
from gpunet.metrics.reduction import Mean
from gpunet.metrics.sums import SumsMetric

__all__ = ["R2Score", "RootMeanSquaredError"]


class RootMeanSquaredError(Mean):
    """The root of the mean of squared differences.

    Arguments:
        name, dtype: as in `Mean`.

    >>> round(RootMeanSquaredError()([[0.0], [0.0]], [[3.0], [1.0]]), 4)
    2.2361
    """

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take in a batch of targets and predictions of one shape, and factors of the samples."""
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        error = y_pred - y_true.astype(y_pred.dtype if y_pred.dtype.kind == "f" else np.float64)
        super().update_state(error * error, sample_weight)

    def result(self) -> float:
        """Return the root of the mean since `reset_state`."""
        return math.sqrt(super().result())


class R2Score(SumsMetric):
    """The share of the variance of the targets that the predictions explain.

    1 minus the squared errors divided by the squared differences from the targets' mean: 1 for
    right predictions, 0 for the mean. For constant targets it is 0, or NaN if they are predicted
    exactly.

    Arguments:
        class_aggregation: ``"uniform_average"`` for the mean over the outputs,
            ``"variance_weighted_average"`` for that weighted by the targets' variances, None for
            the score of each output.
        num_regressors: for the adjusted score, how many independent variables predict.
        name, dtype: as in `Metric`.

    >>> round(R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]]), 4)
    0.5714
    """

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        where = type(self).__name__
        choices = (None, "uniform_average", "variance_weighted_average")
        self.class_aggregation = check_choice(
            class_aggregation, choices, "class_aggregation", where
        )
        self.num_regressors = positive_integer(
            num_regressors, "num_regressors", where, or_zero=True
        )
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all samples."""
        super().reset_state()
        self._numbers = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Arguments:
            y_true: targets (batch, outputs).
            y_pred: predictions of the same shape.
            sample_weight: factors of the samples, (batch,).
        """
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        if y_pred.ndim != 2:
            raise ValueError(
                f"{self.name} expects targets and predictions of shape (batch, outputs), received "
                f"shape {y_pred.shape}: reshape them to rows."
            )
        y_true, y_pred = y_true.astype(np.float64), y_pred.astype(np.float64)
        weights = y_true * 0 + 1
        if sample_weight is not None:
            weights = aligned_weights(self.name, sample_weight, y_true)
        error = y_true - y_pred
        self._add(
            weights=weights.sum(axis=0),
            targets=(y_true * weights).sum(axis=0),
            squares=(y_true * y_true * weights).sum(axis=0),
            errors=(error * error * weights).sum(axis=0),
        )
        self._numbers += y_true.size

    def result(self) -> Any:
        """Return the score: a float, or without aggregation an array with that of each output."""
        sums = (self._total(name) for name in ("weights", "targets", "squares", "errors"))
        weights, targets, squares, errors = sums
        with np.errstate(divide="ignore", invalid="ignore"):
            total = squares - targets * (targets / weights)
            scores = 1 - errors / total
            scores = np.where(np.isinf(scores), 0.0, scores)
            if self.class_aggregation == "uniform_average":
                scores = scores.mean()
            elif self.class_aggregation == "variance_weighted_average":
                scores = (total * scores).sum() / total.sum()
        scores = self._adjusted(scores)
        return scores if scores.ndim else float(scores)

    def _adjusted(self, scores: Any) -> Any:
        left = self._numbers - 1 - self.num_regressors
        if self.num_regressors and left <= 0:
            warnings.warn(
                f"{self.name} with num_regressors={self.num_regressors} is adjusted only for more "
                f"than {self.num_regressors + 1} targets, and there are {self._numbers}: this is "
                "the plain score.",
                stacklevel=3,
            )
        elif self.num_regressors:
            scores = 1 - (1 - scores) * (self._numbers - 1) / left
        return np.asarray(scores)
