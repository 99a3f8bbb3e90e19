"""Updates of all parameters of a model at once, in place, over flat buffers."""

from __future__ import annotations

import math

import numpy as np

from gpunet.primitives.checks import check_update
from gpunet.primitives.reference.blocks import Array, blocks_of

__all__ = ["adam_update", "is_skipped", "sgd_update"]

_CHUNK = 1 << 13  # elements; five arrays of that size stay in a level-2 cache


def sgd_update(
    parameters: Array,
    gradients: Array,
    velocity: Array | None,
    learning_rate: Array,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    skip: Array | None = None,
) -> None:
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
            but its third, which counts the steps that were left out.

    Raises:
        TypeError, ValueError: the arrays do not fit each other, or there is no velocity.
    """
    if momentum and velocity is None:
        raise ValueError("sgd_update: expected a velocity buffer with momentum, received None.")
    check_update(
        "sgd_update", parameters, learning_rate, skip=skip, gradients=gradients, velocity=velocity
    )
    if is_skipped(skip):
        return
    rate = learning_rate.item()
    for part in blocks_of(parameters.size, _CHUNK):
        step = gradients[part] * -rate
        if velocity is not None:
            velocity[part] *= momentum
            velocity[part] += step
            if nesterov:
                step += velocity[part] * momentum
            else:
                step = velocity[part]
        parameters[part] += step


def adam_update(
    parameters: Array,
    gradients: Array,
    mean: Array,
    variance: Array,
    step: Array,
    learning_rate: Array,
    *,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    skip: Array | None = None,
) -> None:
    """Take one step of Adam, in place, by Keras' formulas (Kingma and Ba, 2014, section 2).

    mean += (gradients - mean) * (1 - beta_1); variance likewise, of the gradients' squares;
    parameters -= alpha * mean / (sqrt(variance) + epsilon), where
    alpha = learning_rate * sqrt(1 - beta_2^step) / (1 - beta_1^step).

    Arguments:
        parameters: (count,), changed.
        gradients: (count,).
        mean: (count,), changed.
        variance: (count,), changed.
        step: int64 (1,); 1 at the first step.
        learning_rate: (1,), of the type of `parameters`.
        beta_1: decay of `mean`.
        beta_2: decay of `variance`.
        epsilon: added to the denominator.
        skip: as in `sgd_update`.

    Raises:
        TypeError, ValueError: the arrays do not fit each other.
    """
    others = {"gradients": gradients, "mean": mean, "variance": variance}
    check_update("adam_update", parameters, learning_rate, step, skip, **others)
    if is_skipped(skip):
        return
    count = step.item()
    alpha = learning_rate.item() * math.sqrt(1 - beta_2**count) / (1 - beta_1**count)
    buffer = np.empty(min(parameters.size, _CHUNK), parameters.dtype)
    for part in blocks_of(parameters.size, _CHUNK):
        gradient, m, v = gradients[part], mean[part], variance[part]
        change = buffer[: len(gradient)]
        np.subtract(gradient, m, out=change)
        change *= 1 - beta_1
        m += change
        np.multiply(gradient, gradient, out=change)
        change -= v
        change *= 1 - beta_2
        v += change
        np.sqrt(v, out=change)
        change += epsilon
        np.divide(m, change, out=change)
        change *= alpha
        parameters[part] -= change


def is_skipped(skip: Array | None) -> bool:
    """Return whether a step is to be left out, and count it then; see `sgd_update`."""
    if skip is None or not skip[:2].any():
        return False
    skip[2] += 1
    return True
