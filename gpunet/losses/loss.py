"""The base of losses: targets, sample weights and the reduction to one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet import functions
from gpunet.arguments import check_choice, check_function, floating
from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.configurable import Configurable
from gpunet.losses import targets
from gpunet.losses.targets import Shape
from gpunet.naming import snake_case

__all__ = ["Loss", "LossFunctionWrapper"]

_REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


class Loss(Configurable):
    """Base class of losses: a subclass writes `call`, the loss of each sample.

    Arguments:
        name: the loss' name; by default its class name in snake_case.
        reduction: ``"sum_over_batch_size"`` or ``"mean"`` for the mean of all losses, ``"sum"``,
            ``"mean_with_sample_weight"`` for their sum divided by that of the weights, or None for
            the losses themselves.
        dtype: what the loss is computed in; by default the predictions' dtype.

    >>> class Hinge(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return functions.mean(functions.maximum(1 - y_true * y_pred, 0), axis=-1)
    >>> Hinge()([[1.0], [-1.0]], [[0.5], [0.5]]).item()
    1.0
    >>> Hinge(reduction="sum")([[1.0], [-1.0]], [[0.5], [0.5]], sample_weight=[1.0, 2.0]).item()
    3.5
    """

    _set_by_init = "reduction"
    reads_mask = False  # whether `call` itself computes with the mask of the predictions

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
        **unknown: Any,
    ) -> None:
        super().__init__(**unknown)
        where = type(self).__name__
        self.name = name or snake_case(where)
        self.dtype = floating(dtype, where)
        self.reduction = check_choice(reduction, _REDUCTIONS, "reduction", where)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Return the loss of a batch, a tensor of no axes unless `reduction` is None.

        Arguments:
            y_true: targets (batch, ...).
            y_pred: predictions (batch, ...).
            sample_weight: (batch,), or further axes of the losses; factors of the losses.

        Losses that a mask of `y_pred` excludes do not count: a mean is over the others.

        Raises:
            ValueError: if the shapes do not fit each other.
        """
        given_mask = y_pred.mask if isinstance(y_pred, Tensor) else None
        y_true, y_pred = self._prepared(y_true, y_pred)
        losses = self._losses(y_true, y_pred)
        mask = self.mask(y_true, y_pred)
        of_samples = bool(losses.ndim) and not self.reduces_batch(y_pred.ndim)
        if given_mask is not None and of_samples and not self.reads_mask:
            given_mask = self._aligned(given_mask, losses)
            mask = given_mask if mask is None else mask * given_mask
        if sample_weight is None and mask is None:
            return self._reduced(losses, losses.size)
        weights = mask
        count: Any = losses.size if mask is None else mask.sum()
        if sample_weight is not None:
            weights = self._weights(sample_weight, losses, of_samples)
            weights = weights if mask is None else weights * mask
            if self.reduction == "mean_with_sample_weight":
                xp = get_array_module(losses.value)
                count = xp.broadcast_to(weights, losses.shape).sum()
        return self._reduced(losses * weights, count)

    def per_sample(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return the losses before the reduction: (batch, ...), or one number for the batch."""
        return self._losses(*self._prepared(y_true, y_pred))

    def _prepared(self, y_true: Any, y_pred: Any) -> tuple[Array, Tensor]:
        y_pred = as_predictions(y_pred)
        if self.dtype is not None and y_pred.dtype != self.dtype:
            y_pred, mask = functions.astype(y_pred, self.dtype), y_pred.mask
            y_pred.mask = mask
        if not hasattr(y_true, "shape"):
            y_true = asarray(y_true, like=y_pred.value)
        return self.as_targets(y_true, y_pred), y_pred

    def _losses(self, y_true: Array, y_pred: Tensor) -> Tensor:
        losses = self.call(y_true, y_pred)
        if not isinstance(losses, Tensor):
            raise TypeError(
                f"Loss {self.name} must return a Tensor, one number or one for each sample, "
                f"received {type(losses).__name__}: compute with y_pred, operators and "
                "gpunet.functions, so that it can be differentiated."
            )
        of_samples = losses.ndim and not self.reduces_batch(y_pred.ndim)
        if of_samples and (losses.shape[0] != len(y_pred) or losses.size > y_pred.size):
            raise ValueError(
                f"Loss {self.name} must return one number or one for each sample, received shape "
                f"{losses.shape} for predictions of shape {y_pred.shape} and targets of shape "
                f"{y_true.shape}: were they broadcast against each other?"
            )
        return losses

    def _aligned(self, mask: Array, losses: Tensor) -> Array:
        """Return the mask of the predictions, in the shape and the dtype of the losses."""
        if mask.shape != losses.shape[: mask.ndim]:
            raise ValueError(
                f"Loss {self.name} received predictions with a mask of shape {mask.shape}, and has "
                f"losses of shape {losses.shape}: the sizes of the mask must be the first of "
                "these. A layer that merges steps should return another mask in compute_mask."
            )
        mask = mask.reshape(mask.shape + (1,) * (losses.ndim - mask.ndim))
        xp = get_array_module(losses.value)
        return xp.broadcast_to(mask, losses.shape).astype(losses.dtype)

    def _weights(self, sample_weight: Any, losses: Tensor, of_samples: bool) -> Array:
        """Return the weights with as many axes as the losses."""
        weights = asarray(getattr(sample_weight, "value", sample_weight), like=losses.value)
        if not of_samples:
            raise ValueError(
                f"Loss {self.name} is one of the whole batch, with losses of shape "
                f"{losses.shape}, and takes no sample_weight, received shape {weights.shape}: "
                "leave it out, or choose a loss of each sample."
            )
        shape = weights.shape[:-1] if weights.shape[-1:] == (1,) else weights.shape
        if shape != losses.shape[: len(shape)]:
            raise ValueError(
                f"Loss {self.name} expects sample_weight of shape {losses.shape[:1]}, one for each "
                f"loss, received shape {weights.shape} for losses of shape {losses.shape}."
            )
        weights = weights.reshape(shape + (1,) * (losses.ndim - len(shape)))
        return weights.astype(losses.dtype, copy=False)

    def _reduced(self, losses: Tensor, count: Any) -> Tensor:
        if self.reduction in (None, "none") or not losses.ndim:
            return losses
        if self.reduction == "sum":
            return functions.sum(losses)
        if isinstance(count, int) and count == losses.size:
            return functions.mean(losses)
        # Where nothing counts the sum is 0, and so is the loss.
        return functions.sum(losses) / (count + (count == 0)).astype(losses.dtype)

    @property
    def averages_samples(self) -> bool:
        """True if the loss of a batch is the mean of the losses of all its samples."""
        return self.reduction not in ("sum", "none", None)

    def reduces_batch(self, ndim: int) -> bool:
        """Return whether a loss is of several samples, for predictions of `ndim` axes."""
        return False

    def as_targets(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the targets as `call` receives them: in the predictions' dtype, as in Keras.

        Targets (batch,) for predictions (batch, 1) are taken as a column.
        """
        y_true = targets.as_column(y_true, y_pred.shape)
        if isinstance(y_true, Tensor) or y_true.dtype == y_pred.dtype:
            return y_true
        return y_true.astype(y_pred.dtype)

    def mask(self, y_true: Array, y_pred: Tensor) -> Array | None:
        """Return which losses count, in the predictions' dtype; None where all do."""
        return None

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
        """Return valid targets for predictions, all 0."""
        return get_array_module(y_pred).zeros_like(y_pred)

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` if the targets `y` cannot be right for this loss.

        `fit` calls it once on all targets. A custom loss takes any.

        Arguments:
            y: targets, (samples, ...).
            output_shape: the shape of the predictions; the batch size, its first, is not used.
        """


class LossFunctionWrapper(Loss):
    """A loss of a function.

    Arguments:
        fn: ``(y_true, y_pred)`` to a tensor of one number, or of one for each sample.
        reduction, name, dtype: as in `Loss`; the name is that of the function by default.
        options: further arguments of the function.

    >>> LossFunctionWrapper(lambda y_true, y_pred: abs(y_pred - y_true))([1.0], [3.0]).item()
    2.0
    """

    def __init__(
        self,
        fn: Callable[..., Tensor],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)
        check_function(fn, ("y_true", "y_pred"), f"Loss {self.name}", **options)
        self.function, self.options = fn, options

    def call(self, y_true: Array, y_pred: Tensor) -> Tensor:
        return self.function(y_true, y_pred, **self.options)


def as_predictions(y_pred: Any) -> Tensor:
    """Return predictions as a tensor of floating-point numbers."""
    y_pred = y_pred if isinstance(y_pred, Tensor) else Tensor(y_pred)
    return y_pred if y_pred.dtype.kind == "f" else Tensor(y_pred.value.astype("float64"))
