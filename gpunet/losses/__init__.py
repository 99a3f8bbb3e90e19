"""Losses, under Keras' names.

A class gives one number for a batch and checks the targets; the function of the same name gives
the loss of each sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.autograd import Tensor
from gpunet.configurable import Registry
from gpunet.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from gpunet.losses.loss import Loss, LossFunctionWrapper
from gpunet.losses.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    mae,
    mean_absolute_error,
    mean_squared_error,
    mse,
)

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
    "deserialize",
    "get",
    "mae",
    "mean_absolute_error",
    "mean_squared_error",
    "mse",
    "serialize",
    "sparse_categorical_crossentropy",
]

_CLASSES: dict[Callable[..., Tensor], type[Loss]] = {
    binary_crossentropy: BinaryCrossentropy,
    categorical_crossentropy: CategoricalCrossentropy,
    mean_absolute_error: MeanAbsoluteError,
    mean_squared_error: MeanSquaredError,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
}
_REGISTRY = Registry(
    "loss",
    Loss,
    _CLASSES.values(),
    {"bce": BinaryCrossentropy, "mae": MeanAbsoluteError, "mse": MeanSquaredError},
    function="(y_true, y_pred)",
)
serialize = _REGISTRY.serialize
deserialize = _REGISTRY.deserialize


def get(identifier: Any) -> Loss:
    """Return the loss of a name, a class, a config or a function, or the loss given.

    Arguments:
        identifier: a loss, its name, class or config; a function ``(y_true, y_pred)`` returns a
            tensor of one number, or of one for each sample.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `identifier` is none of these.

    >>> get("mse").name, get("MeanSquaredError").name
    ('mse', 'mean_squared_error')
    """
    if isinstance(identifier, str):
        kind = _REGISTRY.find(identifier)
        return kind() if identifier == kind.__name__ else kind(name=identifier)
    found = _REGISTRY.get(identifier)
    if isinstance(found, Loss):
        return found
    known = _CLASSES.get(found)
    return known(name=found.__name__) if known else LossFunctionWrapper(found)
