"""Metrics that are means or sums over samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.arguments import check_function
from gpunet.autograd import Array, Tensor, no_grad
from gpunet.backend import asarray, get_array_module
from gpunet.losses import Loss
from gpunet.losses.targets import matching
from gpunet.metrics.metric import Metric, aligned_weights, as_array, as_arrays

__all__ = ["Mean", "MeanMetricWrapper", "Sum"]


class Mean(Metric):
    """The mean of all values of all batches; 0 before the first.

    Sums are of float64. On a GPU they stay there until `result` reads them.

    Arguments:
        name: the key of the metric in logs and in the history.
        dtype: accepted as in Keras; no value is rounded to it.

    >>> metric = Mean()
    >>> metric.update_state([1.0, 3.0])
    >>> metric.update_state(5.0)
    >>> metric.result()
    3.0
    >>> metric([9.0, 1.0], sample_weight=[0, 1])
    2.5
    """

    _kind = "mean"

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all values."""
        self._total: Any = 0.0  # Python numbers, on a GPU arrays of no axes there
        self._count: Any = 0

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Take in the values of a batch.

        Arguments:
            values: of any shape.
            sample_weight: factors of the values, (batch,) or further axes of theirs.
        """
        self._add(as_array(values), sample_weight)

    def result(self) -> float:
        """Return the mean of the values since `reset_state`."""
        count = float(self._count)
        return float(self._total) / count if count else 0.0

    def set_state(self, total: float, count: int) -> None:
        """Set the state to that after `count` values that add up to `total`."""
        self._total, self._count = total, count

    def _add(self, values: Array, sample_weight: Any = None, samples: int = 1) -> None:
        """Take in values; a single one may stand for all `samples` of a batch."""
        if values.dtype.kind in "cmMOSU":
            raise TypeError(
                f"Metric {self.name} is a {self._kind} of real numbers, received values of dtype "
                f"{values.dtype}."
            )
        xp = get_array_module(values)
        if sample_weight is None:
            is_bool = values.dtype == bool
            total = xp.count_nonzero(values) if is_bool else values.sum(dtype=np.float64)
            self._total += total * samples
            self._count += values.size * samples
            return
        weights = asarray(as_array(sample_weight), like=values)
        values = xp.broadcast_to(values, values.shape or weights.shape)
        weights = aligned_weights(self.name, weights, values)
        self._total += (values * weights).sum(dtype=np.float64)
        self._count += weights.sum(dtype=np.float64)


class Sum(Mean):
    """The sum of all values of all batches.

    Sums are of float64. On a GPU they stay there until `result` reads them.

    Arguments:
        name: the key of the metric in logs and in the history.
        dtype: accepted as in Keras; no value is rounded to it.

    >>> metric = Sum()
    >>> metric.update_state([1.0, 3.0])
    >>> metric([9.0, 1.0], sample_weight=[0.5, 1])
    9.5
    """

    _kind = "sum"

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name, dtype)

    def result(self) -> float:
        """Return the sum of the values since `reset_state`."""
        return float(self._total)


class MeanMetricWrapper(Mean):
    """The mean of a function of labels and predictions.

    Arguments:
        fn: ``(y_true, y_pred)`` to one value for each sample, or to one number, which then stands
            for every sample of the batch; or a loss.
        name: the key of the metric in logs and in the history; by default the function's name.
        dtype: as in `Mean`.
        options: further arguments of the function.

    >>> def largest_error(y_true, y_pred):
    ...     return abs(y_true - y_pred).max(axis=-1)
    >>> metric = MeanMetricWrapper(largest_error)
    >>> metric.update_state([[1.0, 2.0]], [[1.5, 2.0]])
    >>> metric.name, metric.result()
    ('largest_error', 0.5)
    """

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **options: Any
    ) -> None:
        default = fn.name if isinstance(fn, Loss) else getattr(fn, "__name__", None)
        Metric.__init__(self, dtype, name or default)
        check_function(fn, ("y_true", "y_pred"), f"Metric {self.name}", **options)
        self.function, self.options = fn, options
        self.reset_state()

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take in a batch of labels and predictions.

        Arguments:
            y_true: labels; the function receives them in the predictions' dtype, but integer
                labels of classes as they are.
            y_pred: predictions.
            sample_weight: factors of the function's values, (batch,).

        Values that a mask of `y_pred` excludes do not count.
        """
        mask = y_pred.mask if isinstance(y_pred, Tensor) else None
        y_true, y_pred = as_arrays(y_true, y_pred)
        with no_grad():
            values = as_array(self.function(matching(y_true, y_pred), y_pred, **self.options))
        samples = len(y_pred) if y_pred.ndim and not values.ndim else 1
        if mask is not None and values.ndim:
            sample_weight = self._masked(mask, sample_weight)
        self._add(values, sample_weight, samples)

    def _masked(self, mask: Array, sample_weight: Any) -> Array:
        """Return the weights of values, 0 where the mask of their prediction is False."""
        if sample_weight is None:
            return mask
        weights = asarray(as_array(sample_weight), like=mask)
        if weights.ndim > mask.ndim and weights.shape[-1] == 1:
            weights = weights[..., 0]
        rank = max(weights.ndim, mask.ndim)
        weights, mask = (x.reshape(x.shape + (1,) * (rank - x.ndim)) for x in (weights, mask))
        return weights * mask
