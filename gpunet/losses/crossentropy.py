"""Cross-entropies of class probabilities with labels.

A softmax or sigmoid before a cross-entropy is undone: the loss is computed from its input, which is
exact where the probabilities are 0 or 1 in float32.
"""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.arguments import boolean, integer
from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module
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
    without_classes,
)
from gpunet.losses.loss import Loss, as_predictions
from gpunet.losses.targets import Shape

__all__ = [
    "BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy",
    "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy",
]  # fmt: skip


def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Return each sample's cross-entropy of the predictions with one-hot labels.

    Arguments:
        y_true: one-hot labels or probabilities (batch, classes), or with more axes between.
        y_pred: probabilities of the same shape; each sample's are divided by their sum.
        from_logits: whether `y_pred` is logits, the input of a softmax.
        label_smoothing: share of each label that is spread over all classes, from 0 to 1.
        axis: of the classes.

    Raises:
        ValueError: if the shapes differ.

    >>> categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931])
    """
    y_pred = with_classes_last(as_predictions(y_pred), axis)
    y_true = with_classes_last(as_targets(y_true, y_pred), axis)
    smoothing = check_smoothing("categorical_crossentropy", label_smoothing)
    labels = class_shares("categorical_crossentropy", y_true, y_pred.shape, y_pred.dtype, smoothing)
    logits = known_logits("softmax", y_pred, from_logits)
    if logits is None:
        return -functions.sum(log_probabilities(y_pred) * labels, axis=-1)
    return _fused(logits, labels.reshape(-1, y_pred.shape[-1]))


def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Return each sample's cross-entropy of the predictions with integer labels.

    Arguments:
        y_true: integer labels (batch,) or (batch, 1), or with more axes between.
        y_pred: probabilities (batch, classes); each sample's are divided by their sum.
        from_logits: whether `y_pred` is logits, the input of a softmax.
        ignore_class: a label whose samples have the loss 0, such as -1 or 255.
        axis: of the classes.

    Raises:
        ValueError: if the shapes do not fit each other.

    >>> sparse_categorical_crossentropy([1], [[0.5, 0.5]]).numpy().round(4)
    array([0.6931])
    """
    y_pred = as_predictions(y_pred)
    y_true = without_classes(as_targets(y_true, y_pred, cast=False), y_pred.ndim, axis)
    y_pred = with_classes_last(y_pred, axis)
    labels = class_numbers("sparse_categorical_crossentropy", y_true, y_pred.shape)
    mask = None
    if ignore_class is not None:
        mask = labels != ignore_class
        labels = get_array_module(labels).where(mask, labels, 0)
    losses = _sparse_losses(labels, y_pred, from_logits)
    if mask is None:
        return losses
    return functions.where(mask.reshape(losses.shape), losses, losses.dtype.type(0))


def _sparse_losses(labels: Array, y_pred: Tensor, from_logits: bool) -> Tensor:
    logits = known_logits("softmax", y_pred, from_logits)
    if logits is not None:
        return _fused(logits, labels)
    classes = y_pred.shape[-1]
    if ((labels < 0) | (labels >= classes)).any():  # one read, where they are on a GPU
        raise ValueError(
            f"sparse_categorical_crossentropy expects labels in [0, {classes}), received labels "
            f"from {labels.min()} to {labels.max()}: check the labels and the number of outputs."
        )
    rows = log_probabilities(y_pred).reshape(-1, classes)
    losses = -rows[get_array_module(labels).arange(labels.size), labels]
    return losses.reshape(y_pred.shape[:-1])


def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """Return each sample's cross-entropy of yes-or-no predictions, the mean over one axis.

    Arguments:
        y_true: 0 or 1, or between, of any shape (batch, ...).
        y_pred: probabilities of the same shape.
        from_logits: whether `y_pred` is logits, the input of a sigmoid.
        label_smoothing: share of each label that becomes 1/2, from 0 to 1.
        axis: the axis of the mean.

    Raises:
        ValueError: if the shapes differ.

    >>> binary_crossentropy([[1.0]], [[0.5]]).numpy().round(4)
    array([0.6931])
    """
    y_true, y_pred = binary_pair("binary_crossentropy", y_true, y_pred, label_smoothing)
    logits = known_logits("sigmoid", y_pred, from_logits)
    losses = binary_entropies(y_true, y_pred, logits)
    return functions.mean(losses, axis=axis) if losses.ndim > 1 else losses


def _fused(logits: Tensor, labels: Any) -> Tensor:
    """Return the cross-entropy of softmax(logits), of shape (batch, ...) without the classes."""
    if logits.ndim == 2:
        return functions.softmax_cross_entropy(logits, labels)
    losses = functions.softmax_cross_entropy(logits.reshape(-1, logits.shape[-1]), labels)
    return losses.reshape(logits.shape[:-1])


class Crossentropy(Loss):
    """Base class of cross-entropies: the options that all have."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        where = type(self).__name__
        self.from_logits = boolean(from_logits, "from_logits", where)
        self.label_smoothing = check_smoothing(where, label_smoothing)
        self.axis = integer(axis, "axis", where)

    @property
    def fusable(self) -> bool:
        """True for the mean loss of a softmax over the last axis, which a kernel fuses."""
        of_probabilities = not self.from_logits and self.axis == -1
        return of_probabilities and self.averages_samples and self.dtype is None


class CategoricalCrossentropy(Crossentropy):
    """Cross-entropy of predictions with one-hot labels; see `categorical_crossentropy`.

    Arguments:
        from_logits: whether predictions are logits, the input of a softmax.
        label_smoothing: share of each label that is spread over all classes, from 0 to 1.
        axis: of the classes.
        reduction, name, dtype: as in `Loss`.

    >>> loss = CategoricalCrossentropy()
    >>> round(loss([[0.0, 1.0], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]]).item(), 4)
    0.6931
    """

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        return categorical_crossentropy(
            y_true, y_pred, self.from_logits, self.label_smoothing, self.axis
        )

    def class_labels(self, y_true: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return the labels for a fused kernel, given the predictions' shape and dtype."""
        return class_shares("categorical_crossentropy", y_true, shape, dtype, self.label_smoothing)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless each row of `y` is a probability of each class."""
        if y.ndim == len(output_shape):
            y = with_classes_last(y, self.axis)
        targets.check_one_hot(self.name, y, shape_with_classes_last(output_shape, self.axis))


class SparseCategoricalCrossentropy(Crossentropy):
    """Cross-entropy of predictions with integers; see `sparse_categorical_crossentropy`.

    Arguments:
        from_logits: whether predictions are logits, the input of a softmax.
        ignore_class: a label whose samples do not count, such as -1 or 255.
        reduction: as in `Loss`.
        axis: of the classes.
        name, dtype: as in `Loss`.

    >>> round(SparseCategoricalCrossentropy()([1, 0], [[0.5, 0.5], [0.5, 0.5]]).item(), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, 0.0, axis, reduction, name, dtype)
        where = type(self).__name__
        self.ignore_class = (
            None if ignore_class is None else integer(ignore_class, "ignore_class", where)
        )

    @property
    def averages_samples(self) -> bool:
        return super().averages_samples and self.ignore_class is None

    def as_targets(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the labels as they are: integers."""
        return y_true

    def mask(self, y_true: Array, y_pred: Tensor) -> Array | None:
        if self.ignore_class is None:
            return None
        labels = without_classes(y_true, y_pred.ndim, self.axis)
        return (labels != self.ignore_class).astype(y_pred.dtype)

    def example_targets(self, y_pred: Array) -> Array:
        """Return labels, all of class 0."""
        shape = shape_with_classes_last(y_pred.shape, self.axis)[:-1]
        return get_array_module(y_pred).zeros(shape, "int64")

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        return sparse_categorical_crossentropy(
            y_true, y_pred, self.from_logits, self.ignore_class, self.axis
        )

    def class_labels(self, y_true: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return the labels for a fused kernel, given the predictions' shape and dtype."""
        return class_numbers("sparse_categorical_crossentropy", y_true, shape)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless `y` holds the number of a class for each sample."""
        y = without_classes(y, len(output_shape), self.axis)
        shape = shape_with_classes_last(output_shape, self.axis)
        targets.check_labels(self.name, y, shape, self.ignore_class)


class BinaryCrossentropy(Crossentropy):
    """Cross-entropy of yes-or-no predictions with labels 0 and 1; see `binary_crossentropy`.

    Arguments:
        from_logits: whether predictions are logits, the input of a sigmoid.
        label_smoothing: share of each label that becomes 1/2, from 0 to 1.
        axis: the axis of the mean.
        reduction, name, dtype: as in `Loss`.

    >>> round(BinaryCrossentropy()([[1.0], [0.0]], [[0.5], [0.5]]).item(), 4)
    0.6931
    """

    fusable = False

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        return binary_crossentropy(
            y_true, y_pred, self.from_logits, self.label_smoothing, self.axis
        )

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless `y` has the predictions' shape and is within 0 and 1."""
        targets.check_binary(self.name, y, output_shape)
