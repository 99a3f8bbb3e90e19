"""Targets: their form, and checks that are made once per `fit`."""

from __future__ import annotations

from typing import Any

from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray, get_array_module

__all__ = [
    "as_column", "check_binary", "check_integers", "check_labels", "check_numbers",
    "check_one_hot", "check_sequences", "different_shapes", "matching", "no_labels",
]  # fmt: skip

Shape = tuple[int | None, ...]

_MOST_CLASSES = 1_000_000  # a larger label is a mistake, not a class


def as_column(y_true: Any, shape: Shape) -> Any:
    """Return targets (batch, ...) for predictions of a shape (batch, ..., 1) as (batch, ..., 1)."""
    is_column = len(shape) > 1 and (*y_true.shape, 1) == shape
    return y_true.reshape(shape) if is_column else y_true


def matching(y_true: Any, y_pred: Any) -> Any:
    """Return targets as custom losses and metrics receive them.

    That is in the predictions' dtype, so that unsigned integers do not wrap around, and as a
    column where predictions have one; integer labels of classes stay as they are.

    Arguments:
        y_true: an array, a tensor or a list.
        y_pred: predictions, an array or a tensor.

    >>> import numpy as np
    >>> matching(np.array([1, 0], np.uint8), np.zeros((2, 1), np.float32))
    array([[1.],
           [0.]], dtype=float32)
    >>> matching(np.array([1, 0], np.uint8), np.zeros((2, 3), np.float32))
    array([1, 0], dtype=uint8)
    """
    if not hasattr(y_true, "shape"):
        y_true = asarray(y_true, like=getattr(y_pred, "value", y_pred))
    y_true = as_column(y_true, y_pred.shape)
    samples = y_pred.shape[:-1]
    are_labels = y_true.shape != y_pred.shape and y_true.shape in (samples, (*samples, 1))
    if isinstance(y_true, Tensor) or are_labels or y_pred.dtype.kind != "f":
        return y_true
    return y_true if y_true.dtype == y_pred.dtype else y_true.astype(y_pred.dtype)


def different_shapes(where: str, what: str, received: Shape, expected: Shape) -> ValueError:
    """Return the error for targets whose shape is not that of the predictions."""
    fix = "targets and predictions are compared one by one and never broadcast."
    if received == (*expected, 1):
        fix = f"take the targets' last axis away: {what}.squeeze(-1)."
    elif len(received) == len(expected) and received[:-1] == expected[:-1]:
        fix = f"give the last layer as many outputs, {received[-1]}, or correct the targets."
    return ValueError(
        f"{where} expects {what} of the predictions' shape {expected}, received {received}: {fix}"
    )


def no_labels(where: str, what: str, received: Shape, y_pred: Shape) -> ValueError:
    """Return the error for what has not one label for each of the predictions."""
    fix = "give one label for each sample."
    if len(received) == len(y_pred):
        fix = f"for one-hot labels use 'categorical_crossentropy', or {what}.argmax(-1)."
    elif not y_pred[:-1]:
        fix = "the predictions need a last axis of classes."
    return ValueError(
        f"{where} expects {what} to hold integer labels of shape {y_pred[:-1]} for predictions of "
        f"shape {y_pred}, received shape {received}: {fix}"
    )


def check_one_hot(name: str, y: Array, output_shape: Shape) -> None:
    """Raise `ValueError` unless each row of `y` is a probability of each class."""
    expected, classes = (*y.shape[:1], *output_shape[1:]), _classes(name, output_shape)
    if classes == 1:
        raise ValueError(
            f"{name} needs at least 2 classes, and the predictions have 1: use "
            "'binary_crossentropy' with a sigmoid, or as many outputs as classes."
        )
    if y.shape != expected:
        if y.shape in (expected[:-1], (*expected[:-1], 1)):
            raise ValueError(
                f"{name} expects y to be one-hot, shape {expected}, received labels of "
                f"shape {y.shape}: use 'sparse_categorical_crossentropy', or "
                f"gpunet.utils.to_categorical(y, {classes})."
            )
        raise different_shapes(name, "y", y.shape, expected)
    _check_within_0_and_1(name, y)
    sums = y.sum(-1)
    wrong = abs(sums - 1) > 1e-3
    if wrong.any():
        i = _first(wrong)
        raise ValueError(
            f"{name} expects the classes of each sample in y to sum to 1, received "
            f"{sums[i]} at y{list(i)}: use 'binary_crossentropy' if a sample can have several "
            "classes, or divide by the sum."
        )


def check_labels(name: str, y: Array, output_shape: Shape, ignore_class: int | None = None) -> None:
    """Raise `ValueError` unless `y` holds the number of a class for each sample."""
    predictions, classes = (*y.shape[:1], *output_shape[1:]), _classes(name, output_shape)
    samples = predictions[:-1]
    if y.shape not in (samples, (*samples, 1)):
        raise no_labels(name, "y", y.shape, predictions)
    check_integers(name, y, True, "")
    if ignore_class is not None:
        y = get_array_module(y).where(y == ignore_class, 0, y)
    if y.size and not (y.min() >= 0 and y.max() < classes):
        fix = "correct the labels."
        if y.max() < _MOST_CLASSES:
            fix = f"give the last layer {int(y.max()) + 1} outputs, or correct the labels."
        if y.min() == 1 and y.max() == classes:
            fix = "these count from 1: use y - 1."
        _refuse(name, y, (y < 0) | (y >= classes), f"labels in [0, {classes})", fix)


def check_integers(name: str, y: Array, fits: bool, shape: str) -> None:
    """Raise `ValueError` unless `y` holds integers, and `fits` the `shape` that is expected."""
    if not fits:
        raise ValueError(
            f"{name} expects y to hold integer labels of shape {shape}, received shape {y.shape}."
        )
    _check_finite(name, y)
    if y.dtype.kind == "f":
        _refuse(name, y, y != y.round(), "whole numbers", "labels are integers.")


def check_sequences(name: str, y: Array, steps: int | None, classes: int | None) -> None:
    """Raise `ValueError` unless rows of labels, filled up with 0, can be read in so many steps."""
    if classes is not None:
        fix = "give the last layer one output for each label, and one more for the blank, 0."
        _refuse(name, y, (y < 0) | (y >= classes), f"labels in [0, {classes})", fix)
    gaps = (y[:, :-1] == 0) & (y[:, 1:] != 0)
    _refuse(name, y[:, 1:], gaps, "zeros at the end of rows only", "0 is the blank, no label.")
    repeated = ((y[:, :-1] == y[:, 1:]) & (y[:, 1:] != 0)).sum(axis=1)
    needed = (y != 0).sum(axis=1) + repeated
    if steps is not None and (needed > steps).any():
        i = _first(needed > steps)
        raise ValueError(
            f"{name} needs {needed[i]} steps to read the labels y{list(i)}, a blank between equal "
            f"ones included, and the predictions have {steps}: give the model longer inputs or "
            "less pooling, or leave these samples out."
        )


def check_binary(name: str, y: Array, output_shape: Shape) -> None:
    """Raise `ValueError` unless `y` has the predictions' shape and is within 0 and 1."""
    _check_target_shape(name, y, output_shape)
    _check_within_0_and_1(name, y)


def check_numbers(name: str, y: Array, output_shape: Shape) -> None:
    """Raise `ValueError` unless `y` has the predictions' shape and is finite."""
    _check_target_shape(name, y, output_shape)
    _check_finite(name, y)


def _classes(name: str, output_shape: Shape) -> int:
    if len(output_shape) < 2 or output_shape[-1] is None:
        raise ValueError(
            f"{name} expects predictions of shape (batch, classes), received {output_shape}: "
            "end the model with a layer of one output for each class, such as Dense."
        )
    return output_shape[-1]


def _check_target_shape(name: str, y: Array, output_shape: Shape) -> None:
    expected = (*y.shape[:1], *output_shape[1:])
    if as_column(y, expected).shape != expected:
        raise different_shapes(name, "y", y.shape, expected)


def _check_finite(name: str, y: Array) -> None:
    """Refuse what is no number, NaN and infinity."""
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{name} expects numbers in y, received dtype {y.dtype}.")
    if y.dtype.kind == "f":
        infinite = ~get_array_module(y).isfinite(y)
        _refuse(name, y, infinite, "finite numbers", "remove these samples.")


def _check_within_0_and_1(name: str, y: Array) -> None:
    if y.size and y.dtype.kind in "biuf" and y.min() >= 0 and y.max() <= 1:
        return
    _check_finite(name, y)
    fix = "targets are probabilities; scale them, or use 'mse' for other numbers."
    _refuse(name, y, (y < 0) | (y > 1), "numbers from 0 to 1", fix)


def _refuse(name: str, y: Array, wrong: Array, expected: str, fix: str) -> None:
    """Raise `ValueError` for the first element of `y` at which `wrong` is true, if any is."""
    if wrong.any():
        i = _first(wrong)
        raise ValueError(f"{name} expects {expected} in y, received {y[i]} at y{list(i)}: {fix}")


def _first(wrong: Array) -> tuple[int, ...]:
    """Return the index of the first element that is true."""
    index = get_array_module(wrong).argwhere(wrong)[0]
    return tuple(index.tolist())
