"""The circle loss: embeddings of one label near each other, those of others far away."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import functions
from gpunet.arguments import boolean, check_number
from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.losses import targets
from gpunet.losses.formula import FormulaLoss
from gpunet.losses.loss import as_predictions
from gpunet.losses.targets import Shape

__all__ = ["Circle", "circle"]


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Tensor:
    """Return each sample's circle loss of its distances to embeddings of references.

    That is ``softplus(logsumexp(positive) + logsumexp(negative))`` over the references of the same
    label and of others; each distance counts by how far it is from its optimum (Sun et al., 2020).
    It is 0 where one of the two kinds is missing.

    Arguments:
        y_true: integer labels (batch,) or (batch, 1).
        y_pred: embeddings (batch, features) of length 1.
        ref_labels: labels of the references, by default those of the batch.
        ref_embeddings: embeddings of the references, by default those of the batch.
        remove_diagonal: whether a sample is no reference of itself.
        gamma: the scale of the distances.
        margin: cosine distances of positives should be below it, of negatives above 1 minus it.

    Raises:
        ValueError: if the shapes do not fit each other.

    >>> circle([0, 0, 1], [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]).numpy().round(4)
    array([0.    , 6.4017, 0.    ])
    """
    y_pred = as_predictions(y_pred)
    references = y_pred if ref_embeddings is None else as_predictions(ref_embeddings)
    labels = _labels(y_true, y_pred)
    of_references = labels if ref_labels is None else _labels(ref_labels, references)
    positive, negative = _pairs(labels, of_references, remove_diagonal)
    cosines = functions.matmul(y_pred, functions.transpose(references))
    distances = functions.maximum(1 - cosines, 0.0)
    near = functions.maximum(margin + distances, 0.0) * (margin - distances) * -gamma
    far = functions.maximum(1 + margin - distances, 0.0) * (1 - margin - distances) * gamma
    losses = functions.softplus(_log_sum(near, positive) + _log_sum(far, negative))
    counts = positive.any(axis=1) & negative.any(axis=1)
    return functions.where(counts, losses, 0.0)


def _labels(labels: Any, embeddings: Tensor) -> Array:
    """Return integer labels (rows,) for embeddings (rows, features)."""
    labels = getattr(labels, "value", labels)
    labels = labels if hasattr(labels, "shape") else asarray(labels, like=embeddings.value)
    if embeddings.ndim != 2 or labels.shape not in (embeddings.shape[:1], (len(embeddings), 1)):
        raise ValueError(
            "circle expects embeddings of shape (batch, features) and one integer label for each, "
            f"received shapes {embeddings.shape} and {labels.shape}: end the model with Dense and "
            "UnitNormalization."
        )
    return labels.reshape(-1)


def _pairs(labels: Array, of_references: Array, remove_diagonal: bool) -> tuple[Array, Array]:
    """Return which references have a sample's label, and which another: (batch, references)."""
    xp = get_array_module(labels, of_references)
    same = labels[:, None] == of_references[None, :]
    negative = xp.logical_not(same)
    if remove_diagonal:
        same = same & (xp.arange(len(labels))[:, None] != xp.arange(len(of_references)))
    return same, negative


def _log_sum(x: Tensor, chosen: Array) -> Tensor:
    """Return the logarithm of the sum of exp(x) over the chosen of a row; any number for none."""
    xp = get_array_module(chosen)
    largest = xp.where(chosen, x.value, -np.inf).max(axis=1, keepdims=True)
    largest = xp.where(xp.isfinite(largest), largest, 0).astype(x.dtype)
    terms = functions.exp(functions.where(chosen, x - largest, 0.0)) * chosen
    total = functions.maximum(functions.sum(terms, axis=1), 1e-30)
    return functions.log(total) + largest[:, 0]


class Circle(FormulaLoss):
    """Circle loss of embeddings of length 1 with integer labels; see `circle`.

    Samples that have no other of their label in the batch, or none of another label, do not count.

    Arguments:
        gamma: the scale of the distances, at least 0.
        margin: cosine distances of positives should be below it, of negatives above 1 minus it.
        remove_diagonal: whether a sample is no pair with itself.
        reduction, name, dtype: as in `Loss`.

    >>> loss = Circle()([0, 0, 1], [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> round(loss.item(), 4)
    3.2008
    """

    formula, options = staticmethod(circle), ("remove_diagonal", "gamma", "margin")

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        where = type(self).__name__
        self.gamma = check_number(where, "gamma", gamma)
        self.margin = check_number(where, "margin", margin)
        self.remove_diagonal = boolean(remove_diagonal, "remove_diagonal", where)
        super().__init__(reduction, name, dtype)

    @property
    def averages_samples(self) -> bool:
        """False: a loss depends on the other samples of the batch."""
        return False

    def as_targets(self, y_true: Array, y_pred: Tensor) -> Array:
        """Return the labels as they are: integers."""
        return y_true

    def mask(self, y_true: Array, y_pred: Tensor) -> Array | None:
        """Return which samples have references of both kinds."""
        labels = _labels(y_true, y_pred)
        positive, negative = _pairs(labels, labels, self.remove_diagonal)
        return (positive.any(axis=1) & negative.any(axis=1)).astype(y_pred.dtype)

    def example_targets(self, y_pred: Array) -> Array:
        """Return labels, 0 and 1 by turns."""
        return get_array_module(y_pred).arange(len(y_pred)) % 2

    def check_targets(self, y: Array, output_shape: Shape) -> None:
        """Raise `ValueError` unless `y` holds an integer for each sample."""
        targets.check_integers(self.name, y, y.shape in (y.shape[:1], (len(y), 1)), "(samples,)")
