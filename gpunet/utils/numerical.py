"""Labels and rows as numbers to train with."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from gpunet.backend import to_numpy

__all__ = ["normalize", "to_categorical"]


def normalize(x: Any, axis: int | None = -1, order: Any = 2) -> np.ndarray:
    """Return an array divided by its norms along an axis; rows of zeros stay zeros.

    Arguments:
        x: an array or a list.
        axis: the axis of each norm; None for one norm of all numbers.
        order: of the norm, such as 1, 2 or `numpy.inf`.

    Raises:
        ValueError: NumPy knows no such norm, or there is no such axis.

    >>> normalize(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    array = to_numpy(x)
    if axis is None:
        array = array.reshape(-1)
    norms = np.linalg.norm(array, order, axis if axis is not None else 0, keepdims=True)
    norms[norms == 0] = 1
    return (array / norms).reshape(np.shape(x))


def to_categorical(y: Any, num_classes: int | None = None) -> np.ndarray:
    """Return integer labels as one-hot rows, for the loss ``categorical_crossentropy``.

    Arguments:
        y: labels 0, 1, ..., num_classes - 1, shape (...) or (..., 1), an array or a list. Floats
            are taken where they are whole numbers.
        num_classes: the number of classes; by default the largest label plus 1.

    Returns:
        A float32 NumPy array, shape (..., num_classes).

    Raises:
        TypeError: if the labels, or `num_classes`, are no integers, or the labels are masked.
        ValueError: if a label is out of range, or there is none to count the classes from.

    >>> to_categorical([0, 2], num_classes=3)
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    if isinstance(y, np.ma.MaskedArray):
        raise TypeError(
            "to_categorical expects a label for each sample, received a masked array: pass "
            "y.compressed() to leave masked labels out, or y.filled(label)."
        )
    labels = _integer_labels(to_numpy(y))
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    classes = _count_classes(labels, num_classes)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise ValueError(
            f"to_categorical expects labels from 0 to {classes - 1}, received "
            f"{labels.flat[wrong[0]]} at position {wrong[0]} ({wrong.size} of {labels.size} labels "
            "are out of range). Check the labels, or pass a larger num_classes."
        )
    one_hot = np.zeros((*labels.shape, classes), np.float32)
    np.put_along_axis(one_hot, labels[..., np.newaxis].astype(np.intp), 1.0, axis=-1)
    return one_hot


def _integer_labels(labels: np.ndarray) -> np.ndarray:
    if labels.dtype.kind in "iu":
        return labels
    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    # 2**53 bounds the whole numbers that a float holds one by one.
    if labels.dtype.kind == "f" and np.all((labels == np.rint(labels)) & (np.abs(labels) < 2**53)):
        return labels.astype(np.int64)
    raise TypeError(
        f"to_categorical expects integer labels, received {labels.dtype} of shape {labels.shape} "
        "with values that are no whole numbers. Labels that are one-hot or probabilities already "
        "need no to_categorical."
    )


def _count_classes(labels: np.ndarray, num_classes: int | None) -> int:
    if num_classes is None:
        if labels.size == 0:
            raise ValueError(
                "to_categorical received no labels to count the classes from; pass num_classes."
            )
        return max(int(labels.max()) + 1, 1)
    try:
        classes = operator.index(num_classes)
    except TypeError:
        raise TypeError(f"num_classes is an integer >= 1, received {num_classes!r}.") from None
    if classes < 1:
        raise ValueError(f"num_classes is an integer >= 1, received {classes}.")
    return classes
