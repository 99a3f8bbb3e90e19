"""The losses as classes: the mean over a batch, and what its targets must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet import functions
from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.losses import formulas, targets
from gpunet.losses.targets import Shape
from gpunet.naming import check_arguments

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
]


class Loss:
    """Base class of losses: a subclass writes `call`, the loss of each sample.

    Arguments:
        name: what messages call the loss; by default the name of its class.

    >>> class Hinge(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return functions.mean(functions.maximum(1 - y_true * y_pred, 0), axis=-1)
    >>> Hinge()([[1.0], [-1.0]], [[0.5], [0.5]]).item()
    1.0
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Loss:
        """Refuse unknown arguments by a message that says which was meant."""
        check_arguments(cls.__init__, cls.__name__, kwargs)
        return super().__new__(cls)

    def __init__(self, name: str | None = None) -> None:
        self.name = name or type(self).__name__

    def __call__(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return the mean of the samples' losses, a tensor of no dimensions."""
        y_pred = y_pred if isinstance(y_pred, Tensor) else Tensor(y_pred)
        if not hasattr(y_true, "shape"):
            y_true = asarray(y_true, like=y_pred.value)
        y_true = self.as_targets(y_true, y_pred)
        losses = self.call(y_true, y_pred)
        if not isinstance(losses, Tensor):
            raise TypeError(
                f"Loss {self.name} must return a Tensor, one number or one for each sample, "
                f"received {type(losses).__name__}: compute with y_pred, operators and "
                "gpunet.functions, so that it can be differentiated."
            )
        if losses.ndim and (losses.shape[0] != len(y_pred) or losses.size > y_pred.size):
            raise ValueError(
                f"Loss {self.name} must return one number or one for each sample, received shape "
                f"{losses.shape} for predictions of shape {y_pred.shape} and targets of shape "
                f"{y_true.shape}: were they broadcast against each other?"
            )
        return functions.mean(losses) if losses.ndim else losses

    def as_targets(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the targets as `call` gets them: of the predictions' dtype, as in Keras.

        Raises:
            ValueError: if the predictions alone have a last axis of 1, which would broadcast.
        """
        if y_true.shape == y_pred.shape[:-1] and y_pred.shape[-1] == 1:
            raise ValueError(targets.different_shapes(self.name, "y", y_true.shape, y_pred.shape))
        if isinstance(y_true, Tensor) or y_true.dtype == y_pred.dtype:
            return y_true
        return y_true.astype(y_pred.dtype)

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample; a subclass writes this.

        Arguments:
            y_true: targets (batch, ...).
            y_pred: predictions (batch, ...).
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no formula: define call(self, y_true, y_pred)."
        )

    def example_targets(self, y_pred: Array) -> Array:
        """Return targets, all 0, such as there could be for predictions."""
        return get_array_module(y_pred).zeros_like(y_pred)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` if the targets `y` cannot be right for this loss.

        `fit` calls it once on all targets. A loss of one's own takes any.

        Arguments:
            y: targets, (samples, ...).
            output_shape: the shape of the predictions; the batch size, its first, is not used.
        """


class LossFunctionWrapper(Loss):
    """A loss of one's own function.

    Arguments:
        function: ``(y_true, y_pred)`` to a tensor of one number, or of one for each sample.
        name: what messages call the loss; by default the function's name.
    """

    def __init__(self, function: Callable[[Any, Tensor], Tensor], name: str | None = None) -> None:
        super().__init__(name or getattr(function, "__name__", None))
        self.function = function

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return what the function does."""
        return self.function(y_true, y_pred)


class _Crossentropy(Loss):
    """What the cross-entropies share: their settings."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, name: str | None = None
    ) -> None:
        super().__init__(name)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"{type(self).__name__} expects label_smoothing from 0 to 1, received "
                f"{label_smoothing!r}."
            )
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing

    def class_labels(self, y_true: Array, shape: tuple[int, ...], dtype: Any) -> Array | None:
        """Return the labels that predictions by softmax are compared with, for a fused kernel.

        Arguments:
            y_true: targets, an array.
            shape, dtype: of the predictions.

        Returns:
            None where predictions are not such probabilities.

        Raises:
            ValueError: if the shapes do not fit.
        """
        return None


class CategoricalCrossentropy(_Crossentropy):
    """Cross-entropy of predictions with one-hot labels; see `categorical_crossentropy`.

    Arguments:
        from_logits: whether predictions are what softmax would make probabilities of.
        label_smoothing: share of each label that is spread over all classes, from 0 to 1.
        name: what messages call the loss.

    >>> loss = CategoricalCrossentropy()
    >>> round(loss([[0.0, 1.0], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]]).item(), 4)
    0.6931
    """

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return formulas.categorical_crossentropy(
            y_true, y_pred, self.from_logits, self.label_smoothing
        )

    def class_labels(self, y_true: Array, shape: tuple[int, ...], dtype: Any) -> Array | None:
        if self.from_logits:
            return None
        return formulas.class_shares(y_true, shape, dtype, self.label_smoothing)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless each row of `y` is a probability of each class."""
        targets.check_one_hot(self.name, y, output_shape)


class SparseCategoricalCrossentropy(_Crossentropy):
    """Cross-entropy of predictions with integers; see `sparse_categorical_crossentropy`.

    Arguments:
        from_logits: whether predictions are what softmax would make probabilities of.
        name: what messages call the loss.

    >>> round(SparseCategoricalCrossentropy()([1, 0], [[0.5, 0.5], [0.5, 0.5]]).item(), 4)
    0.6931
    """

    def __init__(self, from_logits: bool = False, name: str | None = None) -> None:
        super().__init__(from_logits, 0.0, name)

    def as_targets(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the labels as they are: integers."""
        return y_true

    def example_targets(self, y_pred: Array) -> Array:
        """Return labels, all of class 0."""
        return get_array_module(y_pred).zeros(y_pred.shape[:-1], "int64")

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return formulas.sparse_categorical_crossentropy(y_true, y_pred, self.from_logits)

    def class_labels(self, y_true: Array, shape: tuple[int, ...], dtype: Any) -> Array | None:
        return None if self.from_logits else formulas.class_numbers(y_true, shape)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless `y` holds the number of a class for each sample."""
        targets.check_labels(self.name, y, output_shape)


class BinaryCrossentropy(_Crossentropy):
    """Cross-entropy of yes-or-no predictions with labels 0 and 1; see `binary_crossentropy`.

    Arguments:
        from_logits: whether predictions are what sigmoid would make probabilities of.
        label_smoothing: share of each label that becomes 1/2, from 0 to 1.
        name: what messages call the loss.

    >>> round(BinaryCrossentropy()([[1.0], [0.0]], [[0.5], [0.5]]).item(), 4)
    0.6931
    """

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return formulas.binary_crossentropy(y_true, y_pred, self.from_logits, self.label_smoothing)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless `y` has the predictions' shape and is within 0 and 1."""
        targets.check_binary(self.name, y, output_shape)


class MeanSquaredError(Loss):
    """Mean of squared differences.

    Arguments:
        name: what messages call the loss.

    >>> MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]]).item()
    2.0
    """

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return formulas.mean_squared_error(y_true, y_pred)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless `y` has the predictions' shape and is finite."""
        targets.check_numbers(self.name, y, output_shape)


class MeanAbsoluteError(MeanSquaredError):
    """Mean of absolute differences.

    Arguments:
        name: what messages call the loss.

    >>> MeanAbsoluteError()([[1.0], [2.0]], [[1.0], [4.0]]).item()
    1.0
    """

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        """Return the loss of each sample."""
        return formulas.mean_absolute_error(y_true, y_pred)
