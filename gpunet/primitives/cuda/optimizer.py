"""Updates of all parameters of a model at once, in place, as CUDA kernels."""

from __future__ import annotations

import math
from typing import Any

from gpunet.primitives.checks import check_update
from gpunet.primitives.launch import kernel as launcher
from gpunet.primitives.launch.kernel import Kernel

__all__ = ["adam_update", "sgd_update"]

Array = Any

_SGD = Kernel("optimizer.cu", "sgd_update")
_ADAM = Kernel("optimizer.cu", "adam_update")

_BLOCK = 256


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

    Raises:
        ValueError: what is changed is a view that is not contiguous; nothing is changed then.
    """
    if momentum and velocity is None:
        raise ValueError("sgd_update: expected a velocity buffer with momentum, received None.")
    check_update(
        "sgd_update", parameters, learning_rate, skip=skip, gradients=gradients, velocity=velocity
    )
    gradients = launcher.contiguous(gradients)
    buffers = [parameters] if velocity is None else [parameters, velocity]
    vector = launcher.vector_width(gradients, *buffers)
    _SGD(
        _blocks(parameters.size, vector),
        _BLOCK,
        parameters.size,
        momentum,
        int(nesterov),
        learning_rate,
        gradients,
        parameters,
        velocity,
        skip,
        types={"T": parameters.dtype},
        VECTOR=vector,
    )


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

    Raises:
        ValueError: what is changed is a view that is not contiguous; nothing is changed then.
    """
    others = {"gradients": gradients, "mean": mean, "variance": variance}
    check_update("adam_update", parameters, learning_rate, step, skip, **others)
    gradients = launcher.contiguous(gradients)
    vector = launcher.vector_width(parameters, gradients, mean, variance)
    _ADAM(
        _blocks(parameters.size, vector),
        _BLOCK,
        parameters.size,
        1 - beta_1,
        1 - beta_2,
        _log(beta_1),
        _log(beta_2),
        epsilon,
        step,
        learning_rate,
        gradients,
        parameters,
        mean,
        variance,
        skip,
        types={"T": parameters.dtype},
        VECTOR=vector,
    )


def _blocks(count: int, vector: int) -> int:
    return launcher.blocks_for(launcher.ceil_div(count, vector), _BLOCK)


def _log(beta: float) -> float:
    return math.log(beta) if beta else -math.inf
