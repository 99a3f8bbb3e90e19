"""Argument checks of the primitives, the same for every kind of array."""

from __future__ import annotations

from typing import Any, Protocol

from gpunet import naming

__all__ = [
    "OUTPUT_ACTIVATIONS",
    "are_class_numbers",
    "check_activation",
    "check_not_negative",
    "check_same_dtype",
    "check_same_shape",
    "check_shape",
]

Shape = tuple[int, ...]

OUTPUT_ACTIVATIONS = (
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "sigmoid",
    "hard_sigmoid",
    "tanh",
    "softplus",
)
"""Activations whose gradient follows from their output: a product can apply them in place."""


class _HasDtype(Protocol):
    @property
    def dtype(self) -> Any: ...


class _HasShape(Protocol):
    @property
    def shape(self) -> Shape: ...


def are_class_numbers(logits_shape: Shape, labels: Any) -> bool:
    """Return True for labels that are class numbers, False for probabilities, by shape and type.

    Arguments:
        logits_shape: (batch, classes).
        labels: (batch,) integers, or (batch, classes) numbers of any kind.

    Raises:
        TypeError, ValueError: the labels are of neither form.
    """
    where = "softmax_cross_entropy"
    if len(logits_shape) != 2 or logits_shape[1] == 0:
        raise ValueError(
            f"{where}: expected logits of shape (batch, classes), received {logits_shape}."
        )
    kind = "f" if labels.dtype.name == "bfloat16" else labels.dtype.kind
    if labels.shape == logits_shape:
        if kind not in "biuf" or labels.dtype.itemsize > 8:
            raise TypeError(
                f"{where}: expected probabilities as numbers of up to 64 bits, received "
                f"{labels.dtype}: convert them with labels.astype('float32')."
            )
        return False
    if labels.shape != logits_shape[:1]:
        raise ValueError(
            f"{where}: expected labels of shape {logits_shape[:1]} (class numbers) or "
            f"{logits_shape} (probabilities), received {labels.shape}: reshape them; nothing is "
            "broadcast here."
        )
    if kind not in "iu":
        raise TypeError(
            f"{where}: expected class numbers to be integers, received {labels.dtype}: "
            "convert them with labels.astype('int32')."
        )
    return True


def check_shape(where: str, argument: str, shape: Shape, expected: Shape) -> None:
    """Raise `ValueError` unless `argument` has the `expected` shape."""
    if shape != expected:
        raise ValueError(
            f"{where}: expected {argument} of shape {expected}, received {shape}: "
            "give the array that belongs to the other arguments."
        )


def check_same_dtype(where: str, first: _HasDtype, **others: _HasDtype | None) -> None:
    """Raise `TypeError` unless the arrays have one element type; None is passed over."""
    for name, other in others.items():
        if other is not None and other.dtype != first.dtype:
            raise TypeError(
                f"{where}: expected arrays of one type, received {first.dtype} "
                f"and {name} of {other.dtype}: convert one of them with astype."
            )


def check_activation(name: str | None) -> None:
    """Raise `ValueError` unless `name` is None or one of `OUTPUT_ACTIVATIONS`."""
    if name is not None:
        naming.find("fused activation", name, dict.fromkeys(OUTPUT_ACTIVATIONS))


def check_same_shape(where: str, first: _HasShape, *others: _HasShape) -> None:
    """Raise `ValueError` unless all arrays have the shape of the first."""
    for other in others:
        if other.shape != first.shape:
            raise ValueError(
                f"{where}: expected arrays of one shape, received {first.shape} and "
                f"{other.shape}: nothing is broadcast here."
            )


def check_not_negative(where: str, name: str, value: float) -> None:
    """Raise `ValueError` if a number is negative or NaN."""
    if not value >= 0:
        raise ValueError(f"{where}: expected {name} of at least 0, received {value!r}.")
