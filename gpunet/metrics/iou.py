"""Intersection over union of classes, for segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.arguments import boolean, integer, number, positive_integer
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.metrics.metric import aligned_weights, as_arrays
from gpunet.metrics.sums import SumsMetric, binned_sums

__all__ = ["BinaryIoU", "IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"]

_SMALLEST = 1e-7  # added to divisors, as in Keras


class IoU(SumsMetric):
    """The mean over chosen classes of intersection over union of labels and predictions.

    Of a class that is ``tp / (tp + fp + fn)``; one that occurs in neither does not count. Labels
    that are no class do not count either. Sample weights are not rounded, whatever the dtype.

    Arguments:
        num_classes: how many classes there are; labels are from 0 to below it.
        target_class_ids: the classes of which the mean is taken.
        name, dtype: as in `Metric`.
        ignore_class: a label whose places do not count, such as 255.
        sparse_y_true: whether labels are integers, not one-hot.
        sparse_y_pred: whether predictions are integers, not probabilities.
        axis: of the classes, in what is not sparse.

    >>> round(IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1]), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(None if dtype == "int" else dtype, name)
        where = type(self).__name__
        self.num_classes = positive_integer(num_classes, "num_classes", where)
        ids = [integer(one, "target_class_ids", where) for one in target_class_ids]
        if not ids or any(not 0 <= one < self.num_classes for one in ids):
            raise ValueError(
                f"{where} expects target_class_ids in [0, {self.num_classes}), received "
                f"{target_class_ids!r}."
            )
        self.target_class_ids = ids
        self.ignore_class = (
            None if ignore_class is None else integer(ignore_class, "ignore_class", where)
        )
        self.sparse_y_true = boolean(sparse_y_true, "sparse_y_true", where)
        self.sparse_y_pred = boolean(sparse_y_pred, "sparse_y_pred", where)
        self.axis = integer(axis, "axis", where)
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Arguments:
            y_true: labels (batch, ...), integers or one-hot.
            y_pred: predictions likewise.
            sample_weight: factors, (batch,) or with further axes of the integer labels.
        """
        y_true, y_pred = as_arrays(y_true, y_pred)
        y_true = y_true if self.sparse_y_true else y_true.argmax(self.axis)
        y_pred = y_pred if self.sparse_y_pred else y_pred.argmax(self.axis)
        if y_true.size != y_pred.size or y_true.shape[:1] != y_pred.shape[:1]:
            raise ValueError(
                f"{self.name} expects as many labels as predictions, received shapes "
                f"{y_true.shape} and {y_pred.shape} of class numbers: sparse_y_true, sparse_y_pred "
                "and axis say which are one-hot."
            )
        weights = None
        if sample_weight is not None:
            weights = aligned_weights(self.name, sample_weight, y_true).reshape(-1)
        self._count(y_true.reshape(-1), y_pred.reshape(-1), weights)

    def _count(self, labels: Array, predicted: Array, weights: Array | None) -> None:
        xp, classes = get_array_module(labels), self.num_classes
        counts = (labels >= 0) & (labels < classes) & (predicted >= 0) & (predicted < classes)
        if self.ignore_class is not None:
            counts = counts & (labels != self.ignore_class)
        labels, predicted = (xp.where(counts, x, 0).astype(np.int64) for x in (labels, predicted))
        # What does not count is in a bin after the last.
        index = xp.where(counts, labels * classes + predicted, classes * classes)
        sums = binned_sums(index, weights, classes * classes + 1)[:-1]
        self._add(matrix=sums.reshape(classes, classes))

    def result(self) -> float:
        """Return the mean over the classes of the samples since `reset_state`."""
        matrix = self._total("matrix", (self.num_classes, self.num_classes))
        both = matrix.diagonal()[self.target_class_ids]
        either = (matrix.sum(axis=0) + matrix.sum(axis=1))[self.target_class_ids] - both
        occurs = either > 1e-9
        ratios = np.where(occurs, both / (either + _SMALLEST), 0)
        return float(ratios.sum() / (occurs.sum() + _SMALLEST))


class BinaryIoU(IoU):
    """The mean over classes 0 and 1, or one of them, for predictions that are probabilities of 1.

    Arguments:
        target_class_ids: 0, 1 or both.
        threshold: from it on a prediction is of class 1.
        name, dtype: as in `Metric`.

    >>> round(BinaryIoU([0, 1], threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]), 4)
    0.3333
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = number(threshold, "threshold", type(self).__name__)

    def _count(self, labels: Array, predicted: Array, weights: Array | None) -> None:
        super()._count(labels, predicted >= self.threshold, weights)


class MeanIoU(IoU):
    """The mean over all classes of intersection over union.

    Arguments:
        num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis: as in `IoU`.

    >>> round(MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1]), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        positive_integer(num_classes, "num_classes", type(self).__name__)
        super().__init__(
            num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true,
            sparse_y_pred, axis,
        )  # fmt: skip


class OneHotIoU(IoU):
    """The mean over chosen classes for one-hot labels, and predictions that are probabilities.

    Arguments:
        num_classes, target_class_ids, name, dtype, ignore_class, sparse_y_pred, axis: as in `IoU`.

    >>> y, p = [[0, 1], [1, 0]], [[0.2, 0.8], [0.1, 0.9]]
    >>> round(OneHotIoU(num_classes=2, target_class_ids=[1])(y, p), 4)
    0.5
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis
        )


class OneHotMeanIoU(MeanIoU):
    """The mean over all classes for one-hot labels, and predictions that are probabilities.

    Arguments:
        num_classes, name, dtype, ignore_class, sparse_y_pred, axis: as in `IoU`.

    >>> y, p = [[0, 1], [1, 0]], [[0.2, 0.8], [0.1, 0.9]]
    >>> round(OneHotMeanIoU(num_classes=2)(y, p), 4)
    0.25
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
