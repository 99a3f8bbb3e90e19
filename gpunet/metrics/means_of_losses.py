"""The means of losses over samples, as metrics.

A new one is a class that names its function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gpunet.arguments import integer
from gpunet.autograd import Tensor
from gpunet.losses import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    cosine_similarity,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from gpunet.losses.classes import without_classes
from gpunet.metrics.metric import as_arrays
from gpunet.metrics.reduction import MeanMetricWrapper
from gpunet.naming import snake_case

__all__ = [
    "BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "CosineSimilarity",
    "Hinge", "KLDivergence", "LogCoshError", "MeanAbsoluteError", "MeanAbsolutePercentageError",
    "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson", "SparseCategoricalCrossentropy",
    "SquaredHinge", "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_hinge", "hinge", "huber", "kl_divergence",
    "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "poisson", "sparse_categorical_crossentropy",
    "squared_hinge",
]  # fmt: skip


class _MeanOfLoss(MeanMetricWrapper):
    """Base class of the means of a loss without options."""

    formula: ClassVar[Callable[..., Tensor]]

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        kind = type(self)
        super().__init__(kind.formula, name or snake_case(kind.__name__), dtype)


class MeanSquaredError(_MeanOfLoss):
    """The mean of the squared differences.

    Arguments:
        name, dtype: as in `Mean`.
    """

    formula = staticmethod(mean_squared_error)


class MeanAbsoluteError(_MeanOfLoss):
    """The mean of the absolute differences; arguments as in `MeanSquaredError`."""

    formula = staticmethod(mean_absolute_error)


class MeanAbsolutePercentageError(_MeanOfLoss):
    """The mean of the differences in percent of the targets; see `MeanSquaredError`."""

    formula = staticmethod(mean_absolute_percentage_error)


class MeanSquaredLogarithmicError(_MeanOfLoss):
    """The mean of the squared differences of ``log(1 + y)``; see `MeanSquaredError`."""

    formula = staticmethod(mean_squared_logarithmic_error)


class Hinge(_MeanOfLoss):
    """The mean of the hinge loss; arguments as in `MeanSquaredError`."""

    formula = staticmethod(hinge)


class SquaredHinge(_MeanOfLoss):
    """The mean of the squared hinge loss; arguments as in `MeanSquaredError`."""

    formula = staticmethod(squared_hinge)


class CategoricalHinge(_MeanOfLoss):
    """The mean of the hinge loss of one-hot labels; arguments as in `MeanSquaredError`."""

    formula = staticmethod(categorical_hinge)


class KLDivergence(_MeanOfLoss):
    """The mean of the Kullback-Leibler divergence; arguments as in `MeanSquaredError`."""

    formula = staticmethod(kl_divergence)


class Poisson(_MeanOfLoss):
    """The mean of the Poisson loss; arguments as in `MeanSquaredError`."""

    formula = staticmethod(poisson)


class LogCoshError(MeanMetricWrapper):
    """The mean of ``log(cosh(error))``.

    Arguments:
        name, dtype: as in `Mean`.
    """

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(log_cosh, name, dtype)


class CosineSimilarity(MeanMetricWrapper):
    """The mean cosine of the angle between targets and predictions: the loss, times -1.

    Arguments:
        name, dtype: as in `Mean`.
        axis: along which the vectors lie.

    >>> CosineSimilarity()([[0.0, 1.0]], [[0.0, 3.0]])
    1.0
    """

    def __init__(
        self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1
    ) -> None:
        self.axis = integer(axis, "axis", type(self).__name__)
        super().__init__(_cosine, name, dtype, axis=self.axis)

    @property
    def averages_samples(self) -> bool:
        """False where vectors may be of several samples."""
        return self.axis > 0 or self.axis == -1


def _cosine(y_true: Any, y_pred: Any, axis: int) -> Tensor:
    return -cosine_similarity(y_true, y_pred, axis)


class BinaryCrossentropy(MeanMetricWrapper):
    """The mean of `binary_crossentropy`.

    Arguments:
        name, dtype: as in `Mean`.
        from_logits, label_smoothing: as in the loss.
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing}
        super().__init__(binary_crossentropy, name, dtype, **options)


class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `categorical_crossentropy`.

    Arguments:
        name, dtype: as in `Mean`.
        from_logits, label_smoothing, axis: as in the loss.
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
    ) -> None:
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(categorical_crossentropy, name, dtype, **options)


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `sparse_categorical_crossentropy` over the samples that count.

    Arguments:
        name, dtype: as in `Mean`.
        from_logits: as in the loss.
        ignore_class: a label whose samples do not count; in Keras 3.15 they count as 0, unless
            weights are given.
        axis: as in the loss.
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        where = type(self).__name__
        self.axis = integer(axis, "axis", where)
        self.ignore_class = (
            None if ignore_class is None else integer(ignore_class, "ignore_class", where)
        )
        options = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(sparse_categorical_crossentropy, name, dtype, **options)

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take in a batch of integer labels and predictions, and factors of the samples."""
        if self.ignore_class is not None:
            labels, scores = as_arrays(y_true, y_pred)
            labels = without_classes(labels, scores.ndim, self.axis)
            sample_weight = self._masked(labels != self.ignore_class, sample_weight)
        super().update_state(y_true, y_pred, sample_weight)
