"""Updates of all parameters, in one pass over the buffers; the same bits as by NumPy."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from numba import types

from gpunet.primitives import reference
from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, kernel
from gpunet.primitives.fast.elementwise import share, tasks_for
from gpunet.primitives.fast.memory import flat
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.update import is_skipped

__all__ = ["adam_update", "sgd_update", "squares_are_finite"]

Array = Any


def sgd_update(
    parameters: Array, gradients: Array, velocity: Array | None, learning_rate: Array,
    momentum: float, nesterov: bool, skip: Array | None,
) -> None:  # fmt: skip
    """Take one step of gradient descent, in place."""
    if not _supports(parameters, parameters if velocity is None else velocity):
        reference.sgd_update(
            parameters, gradients, velocity, learning_rate, momentum, nesterov, skip
        )
        return
    if is_skipped(skip):
        return
    run(
        _sgd, tasks_for(parameters.size), -learning_rate.item(), momentum, velocity is not None,
        nesterov, flat(gradients), parameters if velocity is None else velocity, parameters,
    )  # fmt: skip


def adam_update(
    parameters: Array, gradients: Array, mean: Array, variance: Array, step: Array,
    learning_rate: Array, options: tuple[float, float, float], skip: Array | None,
) -> None:  # fmt: skip
    """Take one step of Adam, in place; `options` are beta_1, beta_2 and epsilon."""
    if not _supports(parameters, mean, variance):
        reference.adam_update(
            parameters, gradients, mean, variance, step, learning_rate, options, skip
        )
        return
    if is_skipped(skip):
        return
    beta_1, beta_2, epsilon = options
    count = step.item()
    alpha = learning_rate.item() * math.sqrt(1 - beta_2**count) / (1 - beta_1**count)
    run(
        _adam, tasks_for(parameters.size, _ADAM_TASK), alpha, 1 - beta_1, 1 - beta_2, epsilon,
        flat(gradients), mean, variance, parameters,
    )  # fmt: skip


def squares_are_finite(gradients: Array) -> bool:
    """Return whether the gradients and their squares are finite."""
    if gradients.dtype != np.float32 or not gradients.size:
        return reference.squares_are_finite(gradients)
    tasks = tasks_for(gradients.size, _CHECK_TASK)
    largest = np.empty(tasks, np.int64)
    run(_find_largest, tasks, flat(gradients).view(np.int32), largest)
    return max(largest.tolist()) <= _LARGEST_TO_SQUARE


_ADAM_TASK = 1 << 14  # parameters: a square root and a division each
_CHECK_TASK = 1 << 19  # gradients: as many as one thread reads while another wakes up


def _supports(*buffers: Array) -> bool:
    """Return whether the kernels can write into these flat buffers as they lie."""
    return buffers[0].dtype == np.float32 and all(
        buffer.flags.c_contiguous and buffer.flags.aligned and buffer.flags.writeable
        for buffer in buffers
    )


@kernel
def _sgd(
    counters: Ints, tasks: int, worker: int,
    factor: np.float32, momentum: np.float32, has_velocity: bool, nesterov: bool,
    gradients: FloatsIn, velocity: Floats, parameters: Floats,
) -> None:  # fmt: skip
    """Take a step of gradient descent; `factor` is minus the learning rate."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        start, stop = share(task, tasks, parameters.size)
        g, v, p = gradients[start:stop], velocity[start:stop], parameters[start:stop]
        if not has_velocity:
            for i in range(p.size):
                p[i] += g[i] * factor
        else:
            for i in range(p.size):
                step = g[i] * factor
                v[i] = v[i] * momentum + step
                p[i] += step + v[i] * momentum if nesterov else v[i]
        task = next_task(counters, tasks, worker)


@kernel
def _adam(
    counters: Ints, tasks: int, worker: int,
    alpha: np.float32, mean_rate: np.float32, variance_rate: np.float32, epsilon: np.float32,
    gradients: FloatsIn, mean: Floats, variance: Floats, parameters: Floats,
) -> None:  # fmt: skip
    """Take a step of Adam; the rates are 1 less the decays."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        start, stop = share(task, tasks, parameters.size)
        g, p = gradients[start:stop], parameters[start:stop]
        m, v = mean[start:stop], variance[start:stop]
        for i in range(p.size):
            m[i] += (g[i] - m[i]) * mean_rate
            v[i] += (g[i] * g[i] - v[i]) * variance_rate
            p[i] -= m[i] / (math.sqrt(v[i]) + epsilon) * alpha
        task = next_task(counters, tasks, worker)


# The bits of a float32 without its sign, as an integer: larger for larger numbers, largest for NaN.
_LARGEST_TO_SQUARE = int(np.sqrt(np.finfo(np.float32).max).view(np.int32))
_NO_SIGN = np.int32(0x7FFFFFFF)
_Bits = Annotated[Any, types.Array(types.int32, 1, "C", readonly=True)]


@kernel
def _find_largest(counters: Ints, tasks: int, worker: int, bits: _Bits, largest: Ints) -> None:
    """Write for each task the largest bits without their sign."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        start, stop = share(task, tasks, bits.size)
        part, found = bits[start:stop], np.int32(0)
        for i in range(part.size):
            found = max(found, np.int32(part[i] & _NO_SIGN))  # Numba's & is of int64
        largest[task] = found
        task = next_task(counters, tasks, worker)
