"""Optimizers, under Keras' names and with Keras' defaults.

An optimizer changes all the parameters of a model at once: they are views into one flat buffer,
and so are their gradients and each of the optimizer's slots.
"""

from __future__ import annotations

from typing import Any

from gpunet.naming import find
from gpunet.optimizers.adam import Adam
from gpunet.optimizers.optimizer import Optimizer
from gpunet.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer", "get"]

_OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "sgd": SGD}


def get(identifier: Any) -> Optimizer:
    """Return the optimizer of a name, with its default arguments, or the optimizer given.

    Arguments:
        identifier: a name, in upper or lower case, or an optimizer.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if it is neither a name nor an optimizer.

    >>> get("adam").get_config()["learning_rate"]
    0.001
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        return find("optimizer", identifier.lower(), _OPTIMIZERS)()
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        raise TypeError(
            f"optimizer must be an instance, received the class {identifier.__name__}: "
            f"pass {identifier.__name__}()."
        )
    raise TypeError(
        f"optimizer must be a name or an Optimizer, received {identifier!r}: "
        "for example optimizer='adam' or optimizer=gpunet.optimizers.SGD(0.1)."
    )
