"""Updates of all parameters of a model at once, in place, over flat buffers."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.checks import check_update
from gpunet.primitives.twins import twins_of

__all__ = ["adam_update", "sgd_update", "squares_are_finite"]

Array = Any


def sgd_update(
    parameters: Array, gradients: Array, velocity: Array | None, learning_rate: Array, *,
    momentum: float = 0.0, nesterov: bool = False, skip: Array | None = None,
) -> None:  # fmt: skip
    """Take one step of gradient descent, in place, by Keras' formulas.

    With momentum: velocity = momentum * velocity - learning_rate * gradients; parameters +=
    velocity, or with Nesterov's look ahead, momentum * velocity - learning_rate * gradients.

    Arguments:
        parameters: (count,), changed.
        gradients: (count,).
        velocity: (count,), changed; None without momentum.
        learning_rate: (1,), of the type of `parameters`.
        momentum: from 0 to below 1.
        nesterov: look ahead.
        skip: int64 (3,), or None. Where its first or second element is not 0, nothing is changed
            but its third, which counts the skipped steps.

    Raises:
        TypeError, ValueError: the arrays do not fit each other, there is no velocity, or on a GPU
            an array to change is not contiguous. Nothing is changed then.

    >>> import numpy as np
    >>> parameters = np.array([1.0, 2.0])
    >>> sgd_update(parameters, np.array([1.0, -1.0]), None, np.array([0.5]))
    >>> parameters
    array([0.5, 2.5])
    """
    twins = twins_of("sgd_update", parameters, gradients, velocity, learning_rate, skip)
    if momentum and velocity is None:
        raise ValueError("sgd_update: expected a velocity buffer with momentum, received None.")
    check_update(
        "sgd_update", parameters, learning_rate, skip=skip, gradients=gradients, velocity=velocity
    )
    twins.sgd_update(parameters, gradients, velocity, learning_rate, momentum, nesterov, skip)


def adam_update(
    parameters: Array, gradients: Array, mean: Array, variance: Array,
    step: Array, learning_rate: Array, *,
    beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7, skip: Array | None = None,
) -> None:  # fmt: skip
    """Take one step of Adam, in place, by Keras' formulas (Kingma and Ba, 2014, section 2).

    mean += (gradients - mean) * (1 - beta_1); variance likewise, of the gradients' squares;
    parameters -= alpha * mean / (sqrt(variance) + epsilon), where
    alpha = learning_rate * sqrt(1 - beta_2^step) / (1 - beta_1^step).

    Arguments:
        parameters: (count,), changed.
        gradients: (count,); see `squares_are_finite`.
        mean: (count,), changed.
        variance: (count,), changed.
        step: int64 (1,); 1 at the first step.
        learning_rate: (1,), of the type of `parameters`.
        beta_1: decay of `mean`.
        beta_2: decay of `variance`.
        epsilon: added to the denominator.
        skip: as in `sgd_update`.

    Raises:
        TypeError, ValueError: the arrays do not fit each other, or on a GPU an array to change is
            not contiguous. Nothing is changed then.

    >>> import numpy as np
    >>> parameters, gradients = np.zeros(2), np.array([1.0, -1.0])
    >>> slots = np.zeros(2), np.zeros(2)
    >>> adam_update(parameters, gradients, *slots, np.array([1]), np.array([0.1]))
    >>> parameters.round(4)
    array([-0.1,  0.1])
    """
    twins = twins_of(
        "adam_update", parameters, gradients, mean, variance, step, learning_rate, skip
    )
    others = {"gradients": gradients, "mean": mean, "variance": variance}
    check_update("adam_update", parameters, learning_rate, step, skip, **others)
    options = beta_1, beta_2, epsilon
    twins.adam_update(parameters, gradients, mean, variance, step, learning_rate, options, skip)


def squares_are_finite(gradients: Array) -> bool:
    """Return whether all gradients are finite, and their squares too, in their type.

    An optimizer with running means of squares, such as Adam, would divide by infinity ever after.
    In float32 the square of 1.9e19 is infinite.

    Arguments:
        gradients: any shape.

    Raises:
        TypeError: `gradients` is no array of floating-point numbers.

    >>> import numpy as np
    >>> squares_are_finite(np.array([1e18], "float32")), squares_are_finite(np.array([np.nan]))
    (True, False)
    >>> squares_are_finite(np.array([1e20], "float32"))
    False
    """
    twins = twins_of("squares_are_finite", gradients)
    return twins.squares_are_finite(gradients)
