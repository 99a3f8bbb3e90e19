"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpunet import primitives
from gpunet.arguments import boolean, check_number
from gpunet.autograd import Array
from gpunet.optimizers.optimizer import Optimizer, Segment

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent, with or without momentum.

    Without momentum ``p -= learning_rate * g``. With it ``v = momentum * v - learning_rate * g``
    and then ``p += v``, or with Nesterov's ``p += momentum * v - learning_rate * g``
    (Sutskever et al., 2013).

    Arguments:
        learning_rate: at least 0, or a schedule.
        momentum: decay of the velocity, from 0 to 1.
        nesterov: whether to use Nesterov's momentum.
        options: ``weight_decay`` and ``name``, as in `Optimizer`.

    Raises:
        ValueError: if an argument is out of range.

    >>> import numpy as np
    >>> weights = [np.array([1.0, 2.0])]
    >>> SGD(learning_rate=0.1).apply([np.array([1.0, -1.0])], weights)
    >>> weights
    [array([0.9, 2.1])]
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = check_number("SGD", "momentum", momentum, 1.0, or_equal=True)
        self.nesterov = boolean(nesterov, "nesterov", "SGD")
        self.slots = ("velocity",) if self.momentum else ()

    def update(
        self,
        parameters: Array,
        gradients: Array,
        slots: Mapping[str, Array],
        segments: Sequence[Segment] = (),
        *,
        skip: Array | None = None,
    ) -> None:
        primitives.sgd_update(
            parameters,
            gradients,
            slots.get("velocity"),
            self._learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            skip=skip,
        )
