"""Connectionist temporal classification: labels of a sequence without their places in it."""

from __future__ import annotations

from typing import Any

from gpunet import functions
from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module
from gpunet.losses import targets
from gpunet.losses.classes import as_targets
from gpunet.losses.formula import FormulaLoss
from gpunet.losses.loss import as_predictions
from gpunet.losses.targets import Shape

__all__ = ["CTC", "ctc"]

_NEVER = -1e30  # the logarithm of a probability of 0


def ctc(y_true: Any, y_pred: Any) -> Tensor:
    """Return minus the logarithm of the probability of each sample's sequence of labels.

    See `gpunet.functions.ctc_loss`. Steps that a mask of `y_pred` excludes are blanks for certain,
    so that padding changes nothing.

    Arguments:
        y_true: integer labels (batch, length), each row filled up with 0, the blank.
        y_pred: logits (batch, steps, classes), the input of a softmax; class 0 is the blank.

    Raises:
        ValueError: if the shapes do not fit each other.

    >>> import numpy as np
    >>> ctc([[1]], np.zeros((1, 2, 2))).numpy().round(4)
    array([0.2877])
    """
    y_pred = as_predictions(y_pred)
    y_true = as_targets(y_true, y_pred, cast=False)
    if y_pred.ndim != 3 or y_true.ndim != 2 or len(y_true) != len(y_pred):
        raise ValueError(
            "ctc expects y_true of shape (batch, length) and y_pred of shape (batch, steps, "
            f"classes), received shapes {y_true.shape} and {y_pred.shape}."
        )
    labels = y_true if y_true.dtype.kind in "iu" else y_true.astype("int64")
    logarithms = functions.log_softmax(y_pred)
    if y_pred.mask is not None:
        xp = get_array_module(y_pred.value)
        blank = xp.where(xp.arange(y_pred.shape[2]) == 0, 0.0, _NEVER).astype(y_pred.dtype)
        logarithms = functions.where(y_pred.mask[..., None], logarithms, blank)
    return functions.ctc_loss(logarithms, labels)


class CTC(FormulaLoss):
    """Connectionist temporal classification of sequences of logits; see `ctc`.

    Arguments:
        reduction, name, dtype: as in `Loss`.

    >>> import numpy as np
    >>> round(CTC()([[1]], np.zeros((1, 2, 2))).item(), 4)
    0.2877
    """

    formula = staticmethod(ctc)
    reads_mask = True

    def as_targets(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the labels as they are: integers."""
        return y_true

    def example_targets(self, y_pred: Array) -> Array:
        """Return labels, one for each sample, of class 1."""
        return get_array_module(y_pred).ones((len(y_pred), 1), "int64")

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless each row of `y` is labels that fit into the steps."""
        if len(output_shape) != 3:
            raise ValueError(
                f"{self.name} expects predictions of shape (batch, steps, classes), received "
                f"{output_shape}: end the model with a layer of sequences and Dense."
            )
        targets.check_integers(self.name, y, y.ndim == 2, "(samples, length)")
        targets.check_sequences(self.name, y, output_shape[1], output_shape[2])
