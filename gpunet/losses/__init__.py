"""Losses, under Keras' names.

A class gives one number for a batch and checks the targets; the function of the same name gives
the loss of each sample.
"""

# ruff: noqa: F403, F405
from __future__ import annotations

from typing import Any

from gpunet.configurable import Registry
from gpunet.losses.circle import *
from gpunet.losses.crossentropy import *
from gpunet.losses.ctc import *
from gpunet.losses.distributions import *
from gpunet.losses.focal import *
from gpunet.losses.hinge import *
from gpunet.losses.loss import Loss, LossFunctionWrapper
from gpunet.losses.overlap import *
from gpunet.losses.regression import *
from gpunet.naming import public_names

__all__ = [*public_names(globals()), "deserialize", "get", "serialize"]

_REGISTRY = Registry(
    "loss",
    Loss,
    [item for item in globals().values() if item is not LossFunctionWrapper],
    {
        "bce": BinaryCrossentropy,
        "kld": KLDivergence,
        "mae": MeanAbsoluteError,
        "mape": MeanAbsolutePercentageError,
        "mse": MeanSquaredError,
        "msle": MeanSquaredLogarithmicError,
    },
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
    name = getattr(found, "__name__", "")
    return get(name) if globals().get(name) is found else LossFunctionWrapper(found)
