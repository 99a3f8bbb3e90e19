"""The best ratio of counts at thresholds where another ratio is high enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import check_number, positive_integer
from gpunet.metrics.confusion import ThresholdMetric

__all__ = [
    "PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity",
    "SpecificityAtSensitivity",
]  # fmt: skip


class _BestRatio(ThresholdMetric):
    """Base class of metrics that are the best ratio at thresholds where another is high enough.

    Arguments:
        least: what the other ratio must be at least, from 0 to 1.
        num_thresholds: how many thresholds there are, evenly from 0 to 1.
        class_id: the only class that counts, of the last axis; None for all.
        name, dtype: as in `Metric`.
    """

    _ratios: tuple[str, str]  # the one that is wanted, the other

    def __init__(
        self, least: float, num_thresholds: int, class_id: int | None, name: str | None, dtype: Any
    ) -> None:
        where = type(self).__name__
        self.num_thresholds = positive_integer(num_thresholds, "num_thresholds", where)
        several = np.arange(self.num_thresholds) / max(1, self.num_thresholds - 1)
        self.thresholds = several.tolist() if self.num_thresholds > 1 else [0.5]
        self._least = least
        super().__init__(self.thresholds, name, dtype, class_id)

    def result(self) -> float:
        """Return the best ratio, 0 where the other is high enough at no threshold."""
        counts = self._counts()
        wanted, other = (getattr(counts, ratio) for ratio in self._ratios)
        return float(np.where(other >= self._least, wanted, 0).max())


def _share(value: Any, argument: str, where: type) -> float:
    return check_number(where.__name__, argument, value, 1.0, or_equal=True)


class SensitivityAtSpecificity(_BestRatio):
    """The best recall at thresholds where the specificity is high enough.

    Arguments:
        specificity: the least share of labels 0 that are predicted as 0, from 0 to 1.
        num_thresholds: how many thresholds there are, evenly from 0 to 1.
        class_id: the only class that counts, of the last axis; None for all.
        name, dtype: as in `Metric`.

    >>> SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    0.5
    """

    _ratios = "recall", "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.specificity = _share(specificity, "specificity", type(self))
        super().__init__(self.specificity, num_thresholds, class_id, name, dtype)


class SpecificityAtSensitivity(_BestRatio):
    """The best specificity at thresholds where the recall is high enough.

    Arguments:
        sensitivity: the least share of labels 1 that are predicted as 1, from 0 to 1.
        num_thresholds, class_id, name, dtype: as in `SensitivityAtSpecificity`.

    >>> round(SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]), 4)
    0.6667
    """

    _ratios = "specificity", "recall"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.sensitivity = _share(sensitivity, "sensitivity", type(self))
        super().__init__(self.sensitivity, num_thresholds, class_id, name, dtype)


class PrecisionAtRecall(_BestRatio):
    """The best precision at thresholds where the recall is high enough.

    Arguments:
        recall: the least share of labels 1 that are predicted as 1, from 0 to 1.
        num_thresholds, class_id, name, dtype: as in `SensitivityAtSpecificity`.

    >>> PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
    0.5
    """

    _ratios = "precision", "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.recall = _share(recall, "recall", type(self))
        super().__init__(self.recall, num_thresholds, class_id, name, dtype)


class RecallAtPrecision(_BestRatio):
    """The best recall at thresholds where the precision is high enough.

    Arguments:
        precision: the least share of labels 1 among those predicted as 1, from 0 to 1.
        num_thresholds, class_id, name, dtype: as in `SensitivityAtSpecificity`.

    >>> RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    0.5
    """

    _ratios = "recall", "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.precision = _share(precision, "precision", type(self))
        super().__init__(self.precision, num_thresholds, class_id, name, dtype)
