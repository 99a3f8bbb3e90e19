"""Losses, under Keras' names.

A class gives the mean over a batch and checks the targets; the function of the same name gives the
loss of each sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.autograd import Tensor
from gpunet.losses.formulas import (
    binary_crossentropy,
    categorical_crossentropy,
    mae,
    mean_absolute_error,
    mean_squared_error,
    mse,
    sparse_categorical_crossentropy,
)
from gpunet.losses.loss import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Loss,
    LossFunctionWrapper,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
from gpunet.naming import find

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "get",
    "mae",
    "mean_absolute_error",
    "mean_squared_error",
    "mse",
    "sparse_categorical_crossentropy",
]

_FUNCTIONS: dict[Any, type[Loss]] = {
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    mean_absolute_error: MeanAbsoluteError,
    mean_squared_error: MeanSquaredError,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
}
_LOSSES = {function.__name__: loss for function, loss in _FUNCTIONS.items()} | {
    "mae": MeanAbsoluteError,
    "mse": MeanSquaredError,
}


def get(identifier: str | Loss | Callable[[Any, Tensor], Tensor]) -> Loss:
    """Return the loss of a name or of a function, or the loss given.

    Arguments:
        identifier: a name, a loss, or a function ``(y_true, y_pred)`` to a tensor of one number,
            or of one for each sample.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if it is none of these.

    >>> get("mse").name
    'mse'
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, str):
        return find("loss", identifier, _LOSSES)(name=identifier)
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier) and not isinstance(identifier, type):
        known = _FUNCTIONS.get(identifier)
        return known(name=identifier.__name__) if known else LossFunctionWrapper(identifier)
    raise TypeError(
        f"loss must be a name, a Loss or a function (y_true, y_pred), received {identifier!r}: "
        "for example loss='categorical_crossentropy'."
    )
