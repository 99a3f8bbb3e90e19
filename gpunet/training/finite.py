"""Losses and gradients that are NaN or infinite: how they are found, and the error."""

from __future__ import annotations

import math

from gpunet import primitives
from gpunet.autograd import Array

__all__ = ["NonFiniteLossError", "check_finite", "non_finite"]


class NonFiniteLossError(FloatingPointError):
    """The loss or a gradient became NaN or infinite; the weights are those of the step before.

    Attributes:
        batch: in which batch that was; the first is 1.
    """

    batch = 1


def check_finite(losses: Array, gradients: Array) -> None:
    """Raise `NonFiniteLossError` if the loss, a gradient or its square is NaN or infinite.

    Optimizers such as Adam square the gradients: one of 2e19 is finite in float32, its square not.
    """
    total = float(losses.sum())
    if not math.isfinite(total):
        raise non_finite("the loss", total)
    if gradients.size and not primitives.squares_are_finite(gradients):
        largest = float(abs(gradients).max())
        if math.isfinite(largest):
            raise non_finite(f"the square of the largest gradient, {largest:.3g},", math.inf)
        raise non_finite("a gradient", largest)


def non_finite(name: str, value: float) -> NonFiniteLossError:
    """Return the error for a value, such as "the loss", that is not finite."""
    return NonFiniteLossError(
        f"{name} is {value}. The weights are still those of the step before. A lower "
        "learning rate, inputs scaled to about [0, 1], or from_logits=True with a last layer "
        "that has no activation often helps."
    )
