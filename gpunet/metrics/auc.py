"""The area under a curve of two ratios of counts at thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.arguments import boolean, check_choice, check_number, lowered, positive_integer
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.losses.constant import Constant
from gpunet.metrics.confusion import Counts, ThresholdMetric, check_thresholds
from gpunet.metrics.sums import divide

__all__ = ["AUC"]

_BEYOND = 1e-7  # the first and last threshold are so far below 0 and above 1
_METHODS = ("interpolation", "minoring", "majoring")


class AUC(ThresholdMetric):
    """The area under the curve of the true and false positive rate, or of precision and recall.

    The curve is known at some thresholds only, as in Keras: scores between two of them are equal.

    Arguments:
        num_thresholds: how many thresholds there are, at least 2, evenly from 0 to 1.
        curve: ``"ROC"``, ``"PR"``, or ``"PRGAIN"`` for the gains of precision and recall.
        summation_method: ``"interpolation"``, ``"minoring"`` or ``"majoring"``: the mean, the
            smaller or the larger of the heights at two neighbouring thresholds.
        name: the key of the metric.
        dtype: accepted as in Keras.
        thresholds: the thresholds between 0 and 1, in place of `num_thresholds`.
        multi_label: whether to return the mean of the areas of each label, for predictions
            (batch, labels), in place of the area of all together.
        num_labels: how many labels there are, known from the predictions too; with `multi_label`.
        label_weights: factors of the labels: of their areas with `multi_label`, else of their
            counts.
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
        name: str | None = "auc",
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        where = type(self).__name__
        curve = curve.upper() if isinstance(curve, str) else curve
        self.curve = check_choice(curve, ("ROC", "PR", "PRGAIN"), "curve", where)
        method = lowered(summation_method)
        self.summation_method = check_choice(method, _METHODS, "summation_method", where)
        self.from_logits = boolean(from_logits, "from_logits", where)
        self.multi_label = boolean(multi_label, "multi_label", where)
        if num_labels is not None:
            positive_integer(num_labels, "num_labels", where)
            if not self.multi_label:
                raise ValueError(f"{where}: num_labels={num_labels} needs multi_label=True.")
        self.num_labels = num_labels
        self.label_weights = None
        if label_weights is not None:
            self.label_weights = np.array(
                [check_number(where, "label_weights", one) for one in label_weights]
            )
        self._label_weights = Constant(() if label_weights is None else label_weights)
        self.thresholds = _all_thresholds(num_thresholds, thresholds, where)
        super().__init__(self.thresholds.tolist(), name, dtype)

    def _count(
        self, y_true: Array, y_pred: Array, weights: Array | None, group: Any = 0, groups: int = 1
    ) -> None:
        xp = get_array_module(y_pred)
        self._check_labels(y_pred.shape)
        y_pred = y_pred if y_pred.dtype.kind == "f" else y_pred.astype(np.float64)
        if self.from_logits:
            y_pred = 1 / (1 + xp.exp(-y_pred.astype(np.float64)))
        if self.multi_label:
            groups = y_pred.shape[-1]
            group = xp.arange(y_pred.size) % groups
        elif self.label_weights is not None:
            factors = xp.broadcast_to(self._label_weights.like(y_pred), y_pred.shape)
            weights = factors if weights is None else factors * weights
        super()._count(y_true, y_pred, weights, group, groups)

    def _check_labels(self, shape: tuple[int, ...]) -> None:
        weights, expected = self.label_weights, self.num_labels
        if self.multi_label and len(shape) != 2:
            raise ValueError(
                f"{self.name} with multi_label=True expects predictions of shape (batch, labels), "
                f"received shape {shape}."
            )
        labels = shape[-1] if len(shape) > 1 else 1
        if expected not in (None, labels) or (weights is not None and len(weights) != labels):
            given = expected if weights is None else len(weights)
            raise ValueError(
                f"{self.name} expects {given} labels, by num_labels or label_weights, received "
                f"predictions of shape {shape}."
            )

    def result(self) -> float:
        """Return the area under the curve of the samples since `reset_state`."""
        counts = self._counts()
        if self.curve == "PR" and self.summation_method == "interpolation":
            areas = _interpolated_pr(counts)
        else:
            areas = self._areas(counts)
        if self.multi_label and self.label_weights is not None and len(areas) > 1:
            return float(divide(areas @ self.label_weights, self.label_weights.sum()))
        return float(areas.mean())

    def _areas(self, counts: Counts) -> np.ndarray:
        x, y = {
            "ROC": lambda: (divide(counts.fp, counts.fp + counts.tn), counts.recall),
            "PR": lambda: (counts.recall, counts.precision),
            "PRGAIN": lambda: _gains(counts),
        }[self.curve]()
        heights = {
            "interpolation": (y[:, :-1] + y[:, 1:]) / 2,
            "minoring": np.minimum(y[:, :-1], y[:, 1:]),
            "majoring": np.maximum(y[:, :-1], y[:, 1:]),
        }[self.summation_method]
        return ((x[:, :-1] - x[:, 1:]) * heights).sum(axis=1)


def _all_thresholds(num_thresholds: int, given: Any, where: str) -> np.ndarray:
    if given is not None:
        inner = sorted(check_thresholds(given, where)) if len(given) else []
    elif positive_integer(num_thresholds, "num_thresholds", where) < 2:
        raise ValueError(f"{where}: num_thresholds must be at least 2, received 1.")
    else:
        inner = [i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)]
    return np.array([-_BEYOND, *inner, 1 + _BEYOND])


def _interpolated_pr(counts: Counts) -> np.ndarray:
    """Return the area under precision over recall, true positives being linear in between.

    Source: Davis and Goadrich, 2006, as in Keras.
    """
    tp, predicted = counts.tp, counts.tp + counts.fp
    true_steps, steps = tp[:, :-1] - tp[:, 1:], predicted[:, :-1] - predicted[:, 1:]
    slope = divide(true_steps, steps)
    intercept = tp[:, 1:] - slope * predicted[:, 1:]
    ratio = np.where(predicted[:, 1:] > 0, divide(predicted[:, :-1], predicted[:, 1:]), 1.0)
    logarithm = np.log(np.where(ratio > 0, ratio, 1.0))
    positives = (counts.tp + counts.fn)[:, 1:]
    return divide(slope * (true_steps + intercept * logarithm), positives).sum(axis=1)


def _gains(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """Return the gains of recall and of precision (Flach and Kull, 2015).

    A recall gain below 0 counts as 0. Without true positives the gains are 0 and 1, as in Keras.
    """
    scale = divide(counts.tp + counts.fn, counts.tn + counts.fp)
    found = counts.tp > 0
    of_recall = np.where(found, 1 - scale * divide(counts.fn, counts.tp), 0)
    of_precision = np.where(found, 1 - scale * divide(counts.fp, counts.tp), 1)
    return np.maximum(of_recall, 0), of_precision
