"""Optimizers, under Keras' names and with Keras' defaults.

An optimizer changes all the parameters of a model at once: they are views into one flat buffer,
and so are their gradients and each of the optimizer's slots.
"""

# ruff: noqa: F403
from __future__ import annotations

from typing import Any

from gpunet.configurable import Registry
from gpunet.naming import public_names
from gpunet.optimizers import schedules
from gpunet.optimizers.adam import *
from gpunet.optimizers.optimizer import Optimizer
from gpunet.optimizers.optimizer import Segment as Segment
from gpunet.optimizers.sgd import *

__all__ = [*public_names(globals()), "deserialize", "get", "schedules", "serialize"]

_REGISTRY = Registry("optimizer", Optimizer, globals().values())
serialize = _REGISTRY.serialize
deserialize = _REGISTRY.deserialize


def get(identifier: Any) -> Optimizer:
    """Return the optimizer of a name, a class or a config, or the optimizer given.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `identifier` is none of these.

    >>> get("adam").get_config()["learning_rate"]
    0.001
    """
    return _REGISTRY.get(identifier)
