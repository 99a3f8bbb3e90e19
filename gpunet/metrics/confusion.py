"""Metrics of yes-or-no predictions at thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.arguments import boolean, check_choice, number, positive_integer
from gpunet.backend import asarray, get_array_module, to_numpy
from gpunet.metrics.metric import Metric, as_array, same_shape

__all__ = ["AUC"]

_BEYOND = 1e-7  # the first and last threshold are so far below 0 and above 1


class AUC(Metric):
    """The area under the curve of the true and false positive rate, or of precision and recall.

    The curve is known at some thresholds only, as in Keras: scores between two of them are equal.

    Arguments:
        num_thresholds: how many thresholds there are, at least 2, evenly from 0 to 1.
        curve: ``"ROC"`` or ``"PR"``.
        summation_method: ``"interpolation"``, ``"minoring"`` or ``"majoring"``: the mean, the
            smaller or the larger of the heights at two neighbouring thresholds.
        name: the key of the metric.
        dtype: accepted as in Keras.
        thresholds: the thresholds between 0 and 1, in place of `num_thresholds`.
        from_logits: whether predictions are logits, the input of a sigmoid.

    >>> metric = AUC()
    >>> metric.update_state([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> round(metric.result(), 6)
    0.75
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str = "auc",
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        *,
        from_logits: bool = False,
    ) -> None:
        super().__init__(dtype, name)
        methods = ("interpolation", "minoring", "majoring")
        curve = curve.upper() if isinstance(curve, str) else curve
        self.curve = check_choice(curve, ("ROC", "PR"), "curve", "AUC")
        self.summation_method = check_choice(summation_method, methods, "summation_method", "AUC")
        self.from_logits = boolean(from_logits, "from_logits", "AUC")
        inner = [number(threshold, "thresholds", "AUC") for threshold in thresholds or ()]
        if thresholds is None:
            if positive_integer(num_thresholds, "num_thresholds", "AUC") < 2:
                raise ValueError("AUC: num_thresholds must be at least 2, received 1.")
            inner = [i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)]
        if any(not 0 <= threshold <= 1 for threshold in inner):
            raise ValueError(f"AUC: thresholds must be from 0 to 1, received {thresholds!r}.")
        self.thresholds = np.array([-_BEYOND, *sorted(inner), 1 + _BEYOND])
        self.reset_state()

    def reset_state(self) -> None:
        # (2, thresholds + 1): negative and positive samples by the number of thresholds they pass
        self._histogram: Any = np.zeros((2, len(self.thresholds) + 1))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Arguments:
            y_true: labels, 0 or 1, of any shape.
            y_pred: probabilities of the same shape.
            sample_weight: factors of the samples, (batch,) or of the labels' shape.
        """
        y_true, y_pred = same_shape("AUC", y_true, y_pred)
        xp = get_array_module(y_pred)
        weights = xp.ones(y_pred.shape)
        if sample_weight is not None:
            given = asarray(as_array(sample_weight), like=y_pred)
            weights = weights * given.reshape(given.shape + (1,) * (y_pred.ndim - given.ndim))
        scores = y_pred.reshape(-1).astype(np.float64)
        scores = 1 / (1 + xp.exp(-scores)) if self.from_logits else scores
        passed = xp.searchsorted(asarray(self.thresholds, like=y_pred), scores, side="left")
        shape = self._histogram.shape
        index = passed + shape[1] * (y_true.reshape(-1) != 0)
        counts = xp.bincount(index, weights=weights.reshape(-1), minlength=shape[0] * shape[1])
        self._histogram = asarray(self._histogram, like=y_pred) + counts.reshape(shape)

    def result(self) -> float:
        """Return the area under the curve of the samples since `reset_state`."""
        histogram = to_numpy(self._histogram)
        # At each threshold: negative and positive samples whose score is above it.
        above = histogram[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
        (fp, tp), (negatives, positives) = above, histogram.sum(axis=1)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _interpolated_pr(tp, fp, positives)
        recall = _divide(tp, positives)
        x, y = _divide(fp, negatives), recall
        if self.curve == "PR":
            x, y = recall, _divide(tp, tp + fp)
        heights = {
            "interpolation": (y[:-1] + y[1:]) / 2,
            "minoring": np.minimum(y[:-1], y[1:]),
            "majoring": np.maximum(y[:-1], y[1:]),
        }[self.summation_method]
        return float(((x[:-1] - x[1:]) * heights).sum())


def _divide(a: np.ndarray, b: Any) -> np.ndarray:
    """Return a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=np.broadcast_to(b, a.shape) > 0)


def _interpolated_pr(tp: np.ndarray, fp: np.ndarray, positives: float) -> float:
    """Return the area under precision over recall, true positives being linear in between.

    Source: Davis and Goadrich, 2006, as in Keras.
    """
    predicted = tp + fp
    true_steps, steps = tp[:-1] - tp[1:], predicted[:-1] - predicted[1:]
    slope = _divide(true_steps, steps)
    intercept = tp[1:] - slope * predicted[1:]
    ratio = np.where(predicted[1:] > 0, _divide(predicted[:-1], predicted[1:]), 1.0)
    logarithm = np.log(np.where(ratio > 0, ratio, 1.0))
    return float(_divide(slope * (true_steps + intercept * logarithm), positives).sum())
