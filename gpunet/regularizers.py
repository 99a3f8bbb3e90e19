"""Regularizers, under Keras' names: losses of weights and outputs, added to the loss trained."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gpunet import functions
from gpunet.arguments import check_number
from gpunet.autograd import Parameter, Tensor
from gpunet.configurable import Configurable, Registry

__all__ = [
    "L1", "L1L2", "L2", "Regularizer", "activity_loss", "add_loss", "collect_losses", "deserialize",
    "get", "l1", "l1_l2", "l2", "penalties", "penalty", "serialize",
]  # fmt: skip

_added: ContextVar[list[Tensor] | None] = ContextVar("added", default=None)


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


@contextmanager
def collect_losses() -> Iterator[list[Tensor]]:
    """Collect what is given to `add_loss` inside the block, such as by the layers of one step.

    >>> with collect_losses() as losses:
    ...     add_loss(Tensor(2.0), "an example")
    >>> losses
    [Tensor(array(2.))]
    """
    added: list[Tensor] = []
    token = _added.set(added)
    try:
        yield added
    finally:
        _added.reset(token)


def add_loss(loss: Any, source: str) -> None:
    """Add a loss to those that are collected; nothing happens where none are.

    Arguments:
        loss: a tensor of one number, or a list of them.
        source: what the loss is of, for messages.

    Raises:
        TypeError: it is none of these.
    """
    given = list(loss) if isinstance(loss, list | tuple) else [loss]
    found = [_one_number(x, source) for x in given]
    added = _added.get()
    if added is not None:
        added.extend(found)


def activity_loss(regularizer: Any, output: Tensor, layer: str) -> Tensor:
    """Return the loss of an output of a layer, divided by the batch size as in Keras.

    Raises:
        TypeError: the regularizer returns something else than one number.
    """
    loss = _one_number(regularizer(output), f"The activity_regularizer of layer {layer!r}")
    return loss / max(output.shape[0], 1) if output.ndim else loss


def penalties(weights: Iterable[Parameter]) -> list[Tensor]:
    """Return the losses of the weights that have a regularizer, and those collected now.

    Raises:
        TypeError: a regularizer returns something else than one number.
    """
    found = [
        _one_number(weight.regularizer(weight), f"The regularizer of weight {weight.name!r}")
        for weight in weights
        if weight.regularizer is not None
    ]
    return [*found, *(_added.get() or ())]


def penalty(weights: Iterable[Parameter]) -> Tensor | None:
    """Return the sum of `penalties`, None if there are none."""
    found = penalties(weights)
    return functools.reduce(operator.add, found) if found else None


def _one_number(loss: Any, source: str) -> Tensor:
    if not isinstance(loss, Tensor) or loss.size != 1:
        received = f"shape {loss.shape}" if hasattr(loss, "shape") else repr(loss)
        raise TypeError(
            f"{source} must return a tensor of one number, received {received}: compute with "
            "operators and gpunet.functions, and end with .sum()."
        )
    return loss.reshape(())


l1, l2, l1_l2 = L1, L2, L1L2  # Keras' other names

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
