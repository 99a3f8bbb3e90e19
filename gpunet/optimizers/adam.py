"""Adam: steps scaled by running moments of the gradient."""

from __future__ import annotations

from collections.abc import Mapping

from gpunet import primitives
from gpunet.autograd import Array
from gpunet.optimizers.optimizer import Optimizer, check_number

__all__ = ["Adam"]


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014, the formulation before section 2.1, as in Keras).

    With m and v the running means of g and g squared, step t changes p by
    ``-learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)``.

    Arguments:
        learning_rate: at least 0.
        beta_1: decay of the running mean of the gradient, from 0 to below 1.
        beta_2: decay of the running mean of its square, from 0 to below 1.
        epsilon: keeps the divisor from 0; at least 0.
        name: what the optimizer is called.

    Raises:
        ValueError: if an argument is out of range.

    >>> import numpy as np
    >>> parameters = np.array([1.0, 2.0])
    >>> optimizer = Adam(learning_rate=0.1)
    >>> optimizer.build(parameters)
    >>> optimizer.apply(parameters, np.array([3.0, -5.0]))
    >>> parameters.round(3)
    array([0.9, 2.1])
    """

    slots = ("mean", "variance")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name)
        self.beta_1 = check_number("Adam", "beta_1", beta_1, 1.0)
        self.beta_2 = check_number("Adam", "beta_2", beta_2, 1.0)
        self.epsilon = check_number("Adam", "epsilon", epsilon)

    def update(self, parameters: Array, gradients: Array, slots: Mapping[str, Array]) -> None:
        """Change `parameters` and `slots` in place, by the formulas above."""
        self._update(None, parameters, gradients, slots)

    def update_unless(
        self, failed: Array, parameters: Array, gradients: Array, slots: Mapping[str, Array]
    ) -> None:
        if type(self).update is Adam.update:
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
        primitives.adam_update(
            parameters,
            gradients,
            slots["mean"],
            slots["variance"],
            self.iterations,
            self._learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            skip=failed,
        )
