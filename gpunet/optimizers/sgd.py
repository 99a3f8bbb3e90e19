"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

from gpunet import primitives
from gpunet.autograd import Array
from gpunet.optimizers.optimizer import Optimizer, check_number

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    Without momentum ``p -= learning_rate * g``. With it ``v = momentum * v - learning_rate * g``
    and then ``p += v``, or with Nesterov's ``p += momentum * v - learning_rate * g``
    (Sutskever et al., 2013).

    Arguments:
        learning_rate: at least 0.
        momentum: share of the last step's velocity that is kept, from 0 to 1.
        nesterov: whether to use Nesterov's momentum.
        name: what the optimizer is called.

    Raises:
        ValueError: if an argument is out of range.

    >>> import numpy as np
    >>> parameters = np.array([1.0, 2.0])
    >>> optimizer = SGD(learning_rate=0.1)
    >>> optimizer.build(parameters)
    >>> optimizer.apply(parameters, np.array([1.0, -1.0]))
    >>> parameters
    array([0.9, 2.1])
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name)
        self.momentum = check_number("SGD", "momentum", momentum, 1.0, or_equal=True)
        self.nesterov = bool(nesterov)
        self.slots = ("velocity",) if self.momentum else ()

    def update(self, parameters: Array, gradients: Array, slots: Mapping[str, Array]) -> None:
        """Change `parameters` and `slots` in place, by the formulas above."""
        self._update(None, parameters, gradients, slots)

    def update_unless(
        self, failed: Array, parameters: Array, gradients: Array, slots: Mapping[str, Array]
    ) -> None:
        if type(self).update is SGD.update:
            self._update(failed, parameters, gradients, slots)
        else:  # of a subclass, with a rule of its own
            super().update_unless(failed, parameters, gradients, slots)

    def _update(
        self,
        failed: Array | None,
        parameters: Array,
        gradients: Array,
        slots: Mapping[str, Array],
    ) -> None:
        primitives.sgd_update(
            parameters,
            gradients,
            slots.get("velocity"),
            self._learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            skip=failed,
        )
