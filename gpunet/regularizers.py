"""Regularizers, under Keras' names: losses of weights, added to the loss that is trained."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from typing import Any

from gpunet import functions
from gpunet.arguments import check_number
from gpunet.autograd import Parameter, Tensor
from gpunet.configurable import Configurable, Registry

__all__ = [
    "L1", "L1L2", "L2", "Regularizer", "deserialize", "get", "penalties", "penalty", "serialize",
]  # fmt: skip


class Regularizer(Configurable):
    """Base class of regularizers: a subclass writes `__call__`, the loss of a weight.

    >>> class Mean(Regularizer):
    ...     def __call__(self, x):
    ...         return functions.square(x).mean()
    >>> float(Mean()(Parameter([1.0, 3.0])))
    5.0
    """

    def __call__(self, x: Any) -> Tensor:
        """Return the loss of a weight, one number to differentiate."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__(self, x).")


class L1L2(Regularizer):
    """The loss ``l1 * sum(|x|) + l2 * sum(x**2)``.

    Arguments:
        l1, l2: numbers of at least 0.

    Raises:
        ValueError: one is negative, or not finite.

    >>> float(L1L2(l1=1.0, l2=0.1)(Parameter([1.0, -3.0])))
    5.0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = check_number(type(self).__name__, "l1", l1)
        self.l2 = check_number(type(self).__name__, "l2", l2)

    def __call__(self, x: Any) -> Tensor:
        parts = []
        if self.l1:
            parts.append(functions.absolute(x).sum() * self.l1)
        if self.l2 or not parts:
            parts.append(functions.square(x).sum() * self.l2)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


class L1(L1L2):
    """The loss ``l1 * sum(|x|)``."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """The loss ``l2 * sum(x**2)``."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


def penalties(weights: Iterable[Parameter]) -> list[Tensor]:
    """Return the losses of the weights that have a regularizer, one number each.

    Raises:
        TypeError: a regularizer returns something else.
    """
    found = []
    for weight in weights:
        if weight.regularizer is None:
            continue
        penalty = weight.regularizer(weight)
        if not isinstance(penalty, Tensor) or penalty.size != 1:
            received = f"shape {penalty.shape}" if hasattr(penalty, "shape") else repr(penalty)
            raise TypeError(
                f"The regularizer of weight {weight.name!r} must return a tensor of one number, "
                f"received {received}: compute with operators and gpunet.functions, and end with "
                ".sum()."
            )
        found.append(penalty.reshape(()))
    return found


def penalty(weights: Iterable[Parameter]) -> Tensor | None:
    """Return the sum of the losses of the weights, None if no weight has a regularizer."""
    found = penalties(weights)
    return functools.reduce(operator.add, found) if found else None


_REGISTRY = Registry("regularizer", Regularizer, globals().values(), function="(weight)")
serialize = _REGISTRY.serialize
deserialize = _REGISTRY.deserialize


def get(identifier: Any) -> Any:
    """Return the regularizer of a name, a class or a config, or the function given; None for None.

    Raises:
        ValueError: the name is unknown.
        TypeError: `identifier` is none of these.

    >>> get("l2")
    L2(l2=0.01)
    """
    return None if identifier is None else _REGISTRY.get(identifier)
