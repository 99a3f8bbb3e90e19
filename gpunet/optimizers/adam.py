"""Adam: steps scaled by running moments of the gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpunet import primitives
from gpunet.arguments import check_number
from gpunet.autograd import Array
from gpunet.optimizers.optimizer import Optimizer, Segment

__all__ = ["Adam"]


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014, the formulation before section 2.1, as in Keras).

    With m and v the running means of g and g squared, step t changes p by
    ``-learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)``.

    Arguments:
        learning_rate: at least 0, or a schedule.
        beta_1: decay of the running mean of the gradient, from 0 to below 1.
        beta_2: decay of the running mean of its square, from 0 to below 1.
        epsilon: added to the divisor; at least 0.
        options: ``weight_decay`` and ``name``, as in `Optimizer`.

    Raises:
        ValueError: if an argument is out of range.

    >>> import numpy as np
    >>> weights = [np.array([1.0, 2.0])]
    >>> Adam(learning_rate=0.1).apply([np.array([3.0, -5.0])], weights)
    >>> weights[0].round(3)
    array([0.9, 2.1])
    """

    slots = ("mean", "variance")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = check_number("Adam", "beta_1", beta_1, 1.0)
        self.beta_2 = check_number("Adam", "beta_2", beta_2, 1.0)
        self.epsilon = check_number("Adam", "epsilon", epsilon)

    def update(
        self,
        parameters: Array,
        gradients: Array,
        slots: Mapping[str, Array],
        segments: Sequence[Segment] = (),
        *,
        skip: Array | None = None,
    ) -> None:
        primitives.adam_update(
            parameters,
            gradients,
            slots["mean"],
            slots["variance"],
            self.step_count,
            self._learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            skip=skip,
        )
