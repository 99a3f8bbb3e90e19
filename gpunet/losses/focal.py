"""Cross-entropies that weigh samples by how certain their predictions are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import functions
from gpunet.arguments import boolean, check_number, number
from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.losses import targets
from gpunet.losses.classes import (
    as_targets,
    binary_entropies,
    binary_pair,
    check_smoothing,
    class_numbers,
    class_shares,
    known_logits,
    log_probabilities,
    shape_with_classes_last,
    with_classes_last,
)
from gpunet.losses.constant import Constant
from gpunet.losses.crossentropy import BinaryCrossentropy, Crossentropy
from gpunet.losses.formula import SMALLEST, FormulaLoss
from gpunet.losses.loss import as_predictions
from gpunet.losses.targets import Shape

__all__ = [
    "BinaryFocalCrossentropy", "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy", "binary_focal_crossentropy",
    "categorical_focal_crossentropy", "categorical_generalized_cross_entropy",
]  # fmt: skip

_TINY = 1e-30  # above 0 in float32: a power of it has a finite gradient

Alpha = float | Sequence[float]


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Return each sample's focal cross-entropy of yes-or-no predictions, the mean over one axis.

    The cross-entropy is multiplied by ``(1 - p) ** gamma``, where p is the probability of the label
    (Lin et al., 2017).

    Arguments:
        y_true: 0 or 1, or between, of any shape (batch, ...).
        y_pred: probabilities of the same shape.
        apply_class_balancing: whether to multiply by `alpha` where the label is 1, by ``1 - alpha``
            where it is 0.
        alpha: from 0 to 1; used with `apply_class_balancing` only.
        gamma: how little certain predictions count.
        from_logits: whether `y_pred` is logits, the input of a sigmoid.
        label_smoothing: share of each label that becomes 1/2, from 0 to 1.
        axis: the axis of the mean.

    Raises:
        ValueError: if the shapes differ.

    >>> binary_focal_crossentropy([[1.0]], [[0.5]]).numpy().round(4)
    array([0.1733])
    """
    y_true, y_pred = binary_pair("binary_focal_crossentropy", y_true, y_pred, label_smoothing)
    logits = known_logits("sigmoid", y_pred, from_logits)
    if logits is None:
        other = y_true * (1 - y_pred) + (1 - y_true) * y_pred
    else:  # from the logits too: where a probability rounds to 1 nothing cancels
        other = y_true * functions.sigmoid(-logits) + (1 - y_true) * functions.sigmoid(logits)
    losses = binary_entropies(y_true, y_pred, logits) * _power(other, gamma)
    if apply_class_balancing:
        losses = losses * (y_true * alpha + (1 - y_true) * (1 - alpha))
    return functions.mean(losses, axis=axis) if losses.ndim > 1 else losses


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: Alpha = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Return each sample's focal cross-entropy of the predictions with one-hot labels.

    The cross-entropy of each class is multiplied by ``alpha * (1 - p) ** gamma``, where p is the
    predicted probability (Lin et al., 2017).

    Arguments:
        y_true: one-hot labels or probabilities (batch, classes), or with more axes between.
        y_pred: probabilities of the same shape; each sample's are divided by their sum.
        alpha: one number, or one for each class.
        gamma: how little certain predictions count.
        from_logits: whether `y_pred` is logits, the input of a softmax.
        label_smoothing: share of each label that is spread over all classes, from 0 to 1.
        axis: of the classes.

    Raises:
        ValueError: if the shapes differ.

    >>> categorical_focal_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).numpy().round(4)
    array([0.0433])
    """
    where = "categorical_focal_crossentropy"
    y_pred = with_classes_last(as_predictions(y_pred), axis)
    y_true = with_classes_last(as_targets(y_true, y_pred), axis)
    smoothing = check_smoothing(where, label_smoothing)
    labels = class_shares(where, y_true, y_pred.shape, y_pred.dtype, smoothing)
    logits = known_logits("softmax", y_pred, from_logits)
    logarithms = log_probabilities(y_pred) if logits is None else functions.log_softmax(logits)
    factors = _power(1 - functions.exp(logarithms), gamma) * _alphas(alpha, y_pred)
    return -functions.sum(factors * logarithms * labels, axis=-1)


def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float) -> Tensor:
    """Return each sample's ``(1 - p**q) / q`` (Zhang and Sabuncu, 2018).

    Here p is the predicted probability of the label. The loss is near the cross-entropy for `q`
    near 0, and is less led astray by wrong labels the nearer `q` is to 1.

    Arguments:
        y_true: integer labels (batch,) or (batch, 1), or with more axes between.
        y_pred: probabilities (batch, classes).
        q: between 0 and 1.

    Raises:
        ValueError: if the shapes do not fit each other.

    >>> categorical_generalized_cross_entropy([1], [[0.75, 0.25]], q=0.5).numpy()
    array([1.])
    """
    y_pred = as_predictions(y_pred)
    y_true = as_targets(y_true, y_pred, cast=False)
    labels = class_numbers("categorical_generalized_cross_entropy", y_true, y_pred.shape)
    xp = get_array_module(labels)
    chosen = labels[:, None] == xp.arange(y_pred.shape[-1])
    chosen = chosen.reshape(y_pred.shape).astype(y_pred.dtype)
    share = functions.sum(y_pred * chosen, axis=-1)
    power = functions.maximum(share, _TINY) ** q
    return (1 - functions.where(share.value > 0, power, 0.0)) / q


def _power(share: Tensor, gamma: float) -> Tensor:
    """Return ``share ** gamma`` with a finite gradient also where the share is 0."""
    return functions.clip(share, SMALLEST, 1.0) ** gamma


def _alphas(alpha: Alpha, y_pred: Tensor) -> Any:
    """Return one number, or an array with one for each class."""
    if np.ndim(alpha) == 0:
        return alpha
    numbers = asarray(alpha, dtype=y_pred.dtype, like=y_pred.value)
    if numbers.shape != y_pred.shape[-1:]:
        raise ValueError(
            f"categorical_focal_crossentropy expects alpha as one number, or as one for each of "
            f"{y_pred.shape[-1]} classes, received {len(numbers)}."
        )
    return numbers


class BinaryFocalCrossentropy(BinaryCrossentropy):
    """Focal cross-entropy of yes-or-no predictions; see `binary_focal_crossentropy`.

    Arguments:
        apply_class_balancing: whether to multiply by `alpha` where the label is 1, by ``1 - alpha``
            where it is 0.
        alpha: from 0 to 1; used with `apply_class_balancing` only.
        gamma: how little certain predictions count, at least 0.
        from_logits, label_smoothing, axis, reduction, name, dtype: as in `BinaryCrossentropy`.

    >>> round(BinaryFocalCrossentropy()([[1.0], [0.0]], [[0.5], [0.5]]).item(), 4)
    0.1733
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        where = type(self).__name__
        balancing = boolean(apply_class_balancing, "apply_class_balancing", where)
        self.apply_class_balancing = balancing
        self.alpha = check_number(where, "alpha", alpha, 1.0, or_equal=True)
        self.gamma = check_number(where, "gamma", gamma)

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        return binary_focal_crossentropy(
            y_true, y_pred, self.apply_class_balancing, self.alpha, self.gamma, self.from_logits,
            self.label_smoothing, self.axis,
        )  # fmt: skip


class CategoricalFocalCrossentropy(Crossentropy):
    """Focal cross-entropy of one-hot labels; see `categorical_focal_crossentropy`.

    Arguments:
        alpha: one number, or one for each class; at least 0.
        gamma: how little certain predictions count, at least 0.
        from_logits, label_smoothing, axis, reduction, name, dtype: as in `CategoricalCrossentropy`.

    >>> round(CategoricalFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]).item(), 4)
    0.0433
    """

    fusable = False

    def __init__(
        self,
        alpha: Alpha = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        where = type(self).__name__
        several = np.ndim(alpha) == 1
        numbers = [check_number(where, "alpha", one) for one in np.atleast_1d(np.asarray(alpha))]
        self.alpha: Alpha = numbers if several else numbers[0]
        self.gamma = check_number(where, "gamma", gamma)
        self._alphas = Constant(numbers)

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        several = isinstance(self.alpha, list)
        alpha: Any = self._alphas.like(y_pred.value) if several else self.alpha
        return categorical_focal_crossentropy(
            y_true, y_pred, alpha, self.gamma, self.from_logits, self.label_smoothing, self.axis
        )

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless each row of `y` is a probability of each class."""
        if y.ndim == len(output_shape):
            y = with_classes_last(y, self.axis)
        targets.check_one_hot(self.name, y, shape_with_classes_last(output_shape, self.axis))


class CategoricalGeneralizedCrossEntropy(FormulaLoss):
    """Cross-entropy for labels that may be wrong; see `categorical_generalized_cross_entropy`.

    Arguments:
        q: between 0 and 1: the nearer to 1, the less wrong labels count.
        reduction, name, dtype: as in `Loss`.

    Raises:
        ValueError: `q` is not between 0 and 1.

    >>> CategoricalGeneralizedCrossEntropy()([1], [[0.75, 0.25]]).item()
    1.0
    """

    formula, options = staticmethod(categorical_generalized_cross_entropy), ("q",)
    check = staticmethod(targets.check_labels)

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        where = type(self).__name__
        self.q = number(q, "q", where)
        if not 0 < self.q < 1:
            raise ValueError(f"{where} expects q between 0 and 1, as q=0.5, received {q!r}.")
        super().__init__(reduction, name, dtype)

    def as_targets(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the labels as they are: integers."""
        return y_true

    def example_targets(self, y_pred: Array) -> Array:
        """Return labels, all of class 0."""
        return get_array_module(y_pred).zeros(y_pred.shape[:-1], "int64")
