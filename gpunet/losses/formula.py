"""Losses that are a formula of targets and predictions of one shape: what they have in common.

A new loss is its formula, a function, and a class that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gpunet import functions
from gpunet.arguments import integer
from gpunet.autograd import Array, Tensor
from gpunet.losses import targets
from gpunet.losses.loss import Loss, as_predictions
from gpunet.losses.targets import Shape, different_shapes

__all__ = ["SMALLEST", "Axes", "AxisLoss", "FormulaLoss", "as_pair", "check_axes", "mean_of_last"]

SMALLEST = 1e-7  # what Keras limits divisors, probabilities and arguments of logarithms to

Axes = int | tuple[int, ...] | None


def as_pair(where: str, y_true: Any, y_pred: Any) -> tuple[Any, Tensor]:
    """Return targets, in the predictions' dtype, and predictions of one shape.

    Raises:
        ValueError: if the shapes differ.
    """
    y_pred = as_predictions(y_pred)
    y_true = targets.matching(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        raise different_shapes(where, "y_true", y_true.shape, y_pred.shape)
    return y_true, y_pred


def mean_of_last(values: Tensor) -> Tensor:
    """Return the mean over the last axis, but not over the samples."""
    return functions.mean(values, axis=-1) if values.ndim > 1 else values


def check_axes(axis: Any, where: str) -> Axes:
    """Return one axis, several as a tuple, or None for all; raise `TypeError` for others."""
    if isinstance(axis, list | tuple):
        return tuple(integer(one, "axis", where) for one in axis)
    return None if axis is None else integer(axis, "axis", where)


class FormulaLoss(Loss):
    """Base class of losses that are a formula.

    A subclass sets `formula`, and `options`, its attributes that the formula takes as arguments.
    `check` is the function that checks the targets once in `fit`.

    Arguments:
        reduction, name, dtype: as in `Loss`.
    """

    formula: ClassVar[Callable[..., Tensor]]
    options: ClassVar[tuple[str, ...]] = ()
    check: ClassVar[Any] = staticmethod(targets.check_numbers)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        options = {option: getattr(self, option) for option in self.options}
        return type(self).formula(y_true, y_pred, **options)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless `y` has the predictions' shape and possible values."""
        type(self).check(self.name, y, output_shape)


class AxisLoss(FormulaLoss):
    """Base class of losses that are computed over an axis or several, that of the batch too."""

    axis: Axes

    def reduces_batch(self, ndim: int) -> bool:
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        return any(axis is None or axis % ndim == 0 for axis in axes)

    @property
    def averages_samples(self) -> bool:
        """False also where it depends on the number of axes."""
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        of_samples = all(axis is not None and (axis > 0 or axis == -1) for axis in axes)
        return of_samples and super().averages_samples
