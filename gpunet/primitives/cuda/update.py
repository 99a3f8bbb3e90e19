"""Updates of all parameters of a model at once, in place, as CUDA kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives import launch
from gpunet.primitives.cuda.step import Segment, finish_gradients
from gpunet.primitives.launch import Kernel

__all__ = ["adam_update", "sgd_update", "squares_are_finite"]

Array = Any

_SGD = Kernel("optimizer.cu", "sgd_update")
_ADAM = Kernel("optimizer.cu", "adam_update")

_BLOCK = 256


def sgd_update(
    parameters: Array, gradients: Array, velocity: Array | None, learning_rate: Array,
    momentum: float, nesterov: bool, skip: Array | None,
) -> None:  # fmt: skip
    """Take one step of gradient descent, in place."""
    gradients = launch.contiguous(gradients)
    buffers = [parameters] if velocity is None else [parameters, velocity]
    vector = launch.vector_width(gradients, *buffers)
    _SGD(
        _blocks(parameters.size, vector), _BLOCK, parameters.size, momentum, int(nesterov),
        learning_rate, gradients, parameters, velocity, skip,
        types={"T": parameters.dtype}, VECTOR=vector,
    )  # fmt: skip


def adam_update(
    parameters: Array, gradients: Array, mean: Array, variance: Array, step: Array,
    learning_rate: Array, options: tuple[float, float, float], skip: Array | None,
) -> None:  # fmt: skip
    """Take one step of Adam, in place; `options` are beta_1, beta_2 and epsilon."""
    beta_1, beta_2, epsilon = options
    gradients = launch.contiguous(gradients)
    vector = launch.vector_width(parameters, gradients, mean, variance)
    _ADAM(
        _blocks(parameters.size, vector), _BLOCK, parameters.size,
        1 - beta_1, 1 - beta_2, _log(beta_1), _log(beta_2), epsilon, step, learning_rate,
        gradients, parameters, mean, variance, skip, types={"T": parameters.dtype}, VECTOR=vector,
    )  # fmt: skip


def squares_are_finite(gradients: Array) -> bool:
    """Return whether the gradients and their squares are finite; waits for the device."""
    failed = launch.empty((3,), np.int64)
    failed.fill(0)
    flat = launch.contiguous(gradients).reshape(-1)
    finish_gradients(flat, [], (Segment(0, flat.size),), failed)
    return not bool(failed[1])


def _blocks(count: int, vector: int) -> int:
    return launch.blocks_for(launch.ceil_div(count, vector), _BLOCK)


def _log(beta: float) -> float:
    return math.log(beta) if beta else -math.inf
