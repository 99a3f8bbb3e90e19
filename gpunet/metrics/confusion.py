"""Metrics of yes-or-no predictions at thresholds: counts, and ratios of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet.arguments import integer, number, positive_integer
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.losses.constant import Constant
from gpunet.metrics.metric import aligned_weights, same_shape
from gpunet.metrics.sums import SumsMetric, binned_sums, divide

__all__ = [
    "FalseNegatives", "FalsePositives", "Precision", "Recall", "TrueNegatives", "TruePositives",
]  # fmt: skip

Thresholds = float | Sequence[float] | None


class Counts(NamedTuple):
    """How many samples, or how much weight, predictions above thresholds have: (..., thresholds).

    Attributes:
        tp, fp: of positive and negative samples whose prediction is above the threshold.
        tn, fn: of negative and positive samples whose prediction is not.
    """

    tp: np.ndarray
    fp: np.ndarray
    tn: np.ndarray
    fn: np.ndarray

    @property
    def recall(self) -> np.ndarray:
        return divide(self.tp, self.tp + self.fn)

    @property
    def precision(self) -> np.ndarray:
        return divide(self.tp, self.tp + self.fp)

    @property
    def specificity(self) -> np.ndarray:
        return divide(self.tn, self.tn + self.fp)


class ThresholdMetric(SumsMetric):
    """Base class of metrics of yes-or-no predictions at thresholds.

    Arguments:
        thresholds: above which a prediction is a yes, in any order.
        name, dtype: as in `Metric`.
        class_id: of the last axis, the only class that counts; None for all.
        top_k: how many of the largest predictions of the last axis can be a yes; None for all.
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        name: str | None,
        dtype: Any,
        class_id: int | None = None,
        top_k: int | None = None,
    ) -> None:
        super().__init__(dtype, name)
        where = type(self).__name__
        self.class_id = None if class_id is None else integer(class_id, "class_id", where)
        self.top_k = None if top_k is None else positive_integer(top_k, "top_k", where)
        self._limits = np.asarray(thresholds, np.float64)
        even = np.linspace(0, 1, len(self._limits))
        self._clips = len(even) > 2 and np.allclose(self._limits, even, atol=1e-6)
        self._order = np.argsort(self._limits, kind="stable")
        self._sorted = Constant(self._limits[self._order])
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Arguments:
            y_true: labels, 0 or 1, of any shape.
            y_pred: predictions from 0 to 1, of the same shape.
            sample_weight: factors of the samples, (batch,) or of the labels' shape.
        """
        y_true, y_pred = same_shape(self.name, y_true, y_pred)
        weights = None
        if sample_weight is not None:
            weights = aligned_weights(self.name, sample_weight, y_pred)
        if self.top_k is not None:
            y_pred = _only_top(y_pred, self.top_k, self.name)
        if self.class_id is not None:
            chosen = (..., self._class_of(y_pred.shape))
            y_true, y_pred = y_true[chosen], y_pred[chosen]
            weights = None if weights is None else weights[chosen]
        self._count(y_true, y_pred, weights)

    def _class_of(self, shape: tuple[int, ...]) -> int:
        if len(shape) < 2 or not -shape[-1] <= (self.class_id or 0) < shape[-1]:
            raise ValueError(
                f"{self.name} has class_id={self.class_id}, which is no class of predictions of "
                f"shape {shape}: the classes are the last of at least two axes."
            )
        return self.class_id or 0

    def _count(
        self, y_true: Array, y_pred: Array, weights: Array | None, group: Any = 0, groups: int = 1
    ) -> None:
        """Add to the histogram: of the labels of each group, by the thresholds they are above."""
        xp = get_array_module(y_pred)
        scores = y_pred if y_pred.dtype.kind == "f" else y_pred.astype(np.float64)
        if self._clips:
            scores = xp.clip(scores, 0, 1)
        # Both are of the predictions' type: one that is equal to a threshold is not above it.
        limits = self._sorted.like(scores)
        passed = xp.searchsorted(limits, scores.reshape(-1), side="left")
        index = passed + (len(self._limits) + 1) * (2 * group + (y_true.reshape(-1) != 0))
        flat = None if weights is None else weights.reshape(-1)
        shape = (groups, 2, len(self._limits) + 1)
        self._add(histogram=binned_sums(index, flat, groups * shape[1] * shape[2]).reshape(shape))

    def _counts(self) -> Counts:
        """Return the counts at each threshold, (groups, thresholds)."""
        histogram = self._total("histogram", (1, 2, len(self._limits) + 1))
        above = histogram[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
        below = histogram.cumsum(axis=-1)[..., :-1]
        back = np.argsort(self._order)
        above, below = above[..., back], below[..., back]
        return Counts(above[:, 1], above[:, 0], below[:, 0], below[:, 1])


def _only_top(y_pred: Array, k: int, where: str) -> Array:
    """Return predictions with -infinity in place of all but the `k` largest; the first of equals.

    Raises:
        ValueError: there are fewer than `k`.
    """
    if not y_pred.ndim or y_pred.shape[-1] < k:
        raise ValueError(
            f"{where} has top_k={k}, and received predictions of shape {y_pred.shape}: their last "
            f"axis must be of at least {k} classes."
        )
    xp = get_array_module(y_pred)
    scores = y_pred if y_pred.dtype.kind == "f" else y_pred.astype(np.float64)
    order = xp.argsort(-scores, axis=-1, kind="stable")
    rank = xp.argsort(order, axis=-1, kind="stable")
    return xp.where(rank < k, scores, -np.inf).astype(scores.dtype, copy=False)


def check_thresholds(thresholds: Thresholds, where: str, default: float = 0.5) -> list[float]:
    """Return one threshold or several as a list; raise `ValueError` unless they are from 0 to 1."""
    if thresholds is None:
        return [default]
    several = [thresholds] if np.ndim(thresholds) == 0 else list(thresholds)  # type: ignore[arg-type]
    found = [number(threshold, "thresholds", where) for threshold in several]
    if not found or any(not 0 <= threshold <= 1 for threshold in found):
        raise ValueError(f"{where}: thresholds must be from 0 to 1, received {thresholds!r}.")
    return found


def _one_or_all(values: np.ndarray) -> Any:
    """Return the value at the only threshold as a float, those at several as an array."""
    (values,) = values
    return float(values[0]) if len(values) == 1 else values


class _Count(ThresholdMetric):
    """Base class of metrics that are one of `Counts`.

    Arguments:
        thresholds: one or several from 0 to 1, above which a prediction is a yes; 0.5 by default.
        name, dtype: as in `Metric`.
    """

    _which: str

    def __init__(
        self, thresholds: Thresholds = None, name: str | None = None, dtype: Any = None
    ) -> None:
        self.thresholds = check_thresholds(thresholds, type(self).__name__)
        super().__init__(self.thresholds, name, dtype)

    def result(self) -> Any:
        """Return the count: a float, or an array with one for each of several thresholds."""
        return _one_or_all(getattr(self._counts(), self._which))


class TruePositives(_Count):
    """How many labels 1 are predicted as such.

    Arguments:
        thresholds: one or several from 0 to 1, above which a prediction is a yes; 0.5 by default.
        name, dtype: as in `Metric`.

    >>> TruePositives()([0, 1, 1], [0.6, 0.6, 0.4])
    1.0
    """

    _which = "tp"


class FalsePositives(_Count):
    """How many labels 0 are predicted as 1; arguments as in `TruePositives`.

    >>> FalsePositives()([0, 1, 1], [0.6, 0.6, 0.4])
    1.0
    """

    _which = "fp"


class TrueNegatives(_Count):
    """How many labels 0 are predicted as such; arguments as in `TruePositives`.

    >>> TrueNegatives([0.5, 0.7])([0, 1, 1], [0.6, 0.6, 0.4])
    array([0., 1.])
    """

    _which = "tn"


class FalseNegatives(_Count):
    """How many labels 1 are predicted as 0; arguments as in `TruePositives`.

    >>> FalseNegatives()([0, 1, 1], [0.6, 0.6, 0.4])
    1.0
    """

    _which = "fn"


class _Ratio(ThresholdMetric):
    """Base class of metrics that are a ratio of `Counts`; 0 where it is of nothing.

    Arguments:
        thresholds: one or several from 0 to 1, above which a prediction is a yes; by default 0.5,
            with `top_k` none.
        top_k: how many of the largest predictions of a sample can be a yes; None for all.
        class_id: the only class that counts, of the last axis; None for all.
        name, dtype: as in `Metric`.
    """

    _which: str

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        default = 0.5 if top_k is None else -np.inf
        self.thresholds = check_thresholds(thresholds, type(self).__name__, default)
        super().__init__(self.thresholds, name, dtype, class_id, top_k)

    def result(self) -> Any:
        """Return the ratio: a float, or an array with one for each of several thresholds."""
        return _one_or_all(getattr(self._counts(), self._which))


class Precision(_Ratio):
    """How many of the labels predicted as 1 are 1.

    Arguments:
        thresholds: one or several from 0 to 1, above which a prediction is a yes; by default 0.5,
            with `top_k` none.
        top_k: how many of the largest predictions of a sample can be a yes; None for all.
        class_id: the only class that counts, of the last axis; None for all.
        name, dtype: as in `Metric`.

    >>> round(Precision()([0, 1, 1, 1], [0.6, 0.6, 0.7, 0.4]), 4)
    0.6667
    >>> Precision(top_k=1)([[0, 1, 1]], [[0.2, 0.3, 0.1]])
    1.0
    """

    _which = "precision"


class Recall(_Ratio):
    """How many of the labels that are 1 are predicted as 1; arguments as in `Precision`.

    >>> round(Recall()([0, 1, 1, 1], [0.6, 0.6, 0.3, 0.4]), 4)
    0.3333
    """

    _which = "recall"
