"""Updates of all parameters of a model at once, in place, over flat buffers."""

from __future__ import annotations

import math

import numpy as np

from gpunet.primitives.reference.blocks import Array, blocks_of

__all__ = ["adam_update", "is_skipped", "sgd_update", "squares_are_finite"]

_CHUNK = 1 << 13  # elements; five arrays of that size stay in a level-2 cache


def sgd_update(
    parameters: Array, gradients: Array, velocity: Array | None, learning_rate: Array,
    momentum: float, nesterov: bool, skip: Array | None,
) -> None:  # fmt: skip
    """Take one step of gradient descent, in place."""
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
    parameters: Array, gradients: Array, mean: Array, variance: Array, step: Array,
    learning_rate: Array, options: tuple[float, float, float], skip: Array | None,
) -> None:  # fmt: skip
    """Take one step of Adam, in place; `options` are beta_1, beta_2 and epsilon."""
    if is_skipped(skip):
        return
    beta_1, beta_2, epsilon = options
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


def squares_are_finite(gradients: Array) -> bool:
    """Return whether the gradients and their squares are finite."""
    if not gradients.size:
        return True
    limit = math.sqrt(np.finfo(gradients.dtype).max)  # NaN fails both comparisons
    return -limit <= float(gradients.min()) and float(gradients.max()) <= limit


def is_skipped(skip: Array | None) -> bool:
    """Return whether to skip a step, and count it then; see `sgd_update`."""
    if skip is None or not skip[:2].any():
        return False
    skip[2] += 1
    return True
