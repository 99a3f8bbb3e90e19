"""Activations and their gradients, in one pass over the arrays."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, formula, kernel
from gpunet.primitives.fast.elementwise import LEAST_TASK, share, tasks_for
from gpunet.primitives.fast.exponential import erf, exp, expm1, gelu_slope, log1p
from gpunet.primitives.fast.exponential import sigmoid as _sigmoid
from gpunet.primitives.fast.exponential import tanh as _tanh
from gpunet.primitives.fast.memory import flat
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import multiply_add
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty

__all__ = ["activate", "activate_backward"]

Array = Any

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_THREE, _SIX = np.float32(3), np.float32(6)

# The constants of the reference twins.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_ROOT_HALF = np.float32(math.sqrt(0.5))
_GELU_SCALE, _GELU_CUBIC = np.float32(2 * math.sqrt(2 / math.pi)), np.float32(0.044715)
_GELU_END = np.float32(40)

# Operations of the kernel `_simple`:
_RELU, _RELU_GRAD, _LEAKY_RELU, _LEAKY_RELU_GRAD, _ELU_GRAD = range(5)
_HARD_SIGMOID, _HARD_SIGMOID_GRAD, _SIGMOID_GRAD, _TANH_GRAD = range(5, 9)
_CLIPPED_RELU, _CLIPPED_RELU_GRAD, _SOFTSIGN, _SOFTSIGN_GRAD = range(9, 13)
_HARD_SILU, _HARD_SILU_GRAD = range(13, 15)
# Operations of the kernel `_curved`, which have an exponential function in them:
_CURVED = 15
_ELU, _SIGMOID, _TANH, _SOFTPLUS, _SILU, _GELU, _GELU_TANH = range(_CURVED, 22)
_SOFTPLUS_GRAD, _SILU_GRAD, _GELU_GRAD, _GELU_TANH_GRAD = range(22, 26)


class _Operations(NamedTuple):
    forward: int
    backward: int
    # The numbers a, b and c of the formulas, after the options of the activation.
    numbers: tuple[float, ...] = ()
    numbers_backward: tuple[float, ...] = ()


_OPERATIONS = {
    "relu": _Operations(_RELU, _RELU_GRAD),
    "clipped_relu": _Operations(_CLIPPED_RELU, _CLIPPED_RELU_GRAD),
    "leaky_relu": _Operations(_LEAKY_RELU, _LEAKY_RELU_GRAD),
    "elu": _Operations(_ELU, _ELU_GRAD, (1.0,), (1.0,)),
    "selu": _Operations(
        _ELU, _ELU_GRAD, (_SELU_ALPHA, _SELU_SCALE), (_SELU_SCALE * _SELU_ALPHA, _SELU_SCALE)
    ),
    "sigmoid": _Operations(_SIGMOID, _SIGMOID_GRAD),
    "hard_sigmoid": _Operations(_HARD_SIGMOID, _HARD_SIGMOID_GRAD),
    "tanh": _Operations(_TANH, _TANH_GRAD),
    "softplus": _Operations(_SOFTPLUS, _SOFTPLUS_GRAD),
    "softsign": _Operations(_SOFTSIGN, _SOFTSIGN_GRAD),
    "silu": _Operations(_SILU, _SILU_GRAD),
    "hard_silu": _Operations(_HARD_SILU, _HARD_SILU_GRAD),
    "gelu": _Operations(_GELU, _GELU_GRAD),
    "gelu_tanh": _Operations(_GELU_TANH, _GELU_TANH_GRAD),
}


def activate(x: Array, activation: Activation) -> Array:
    """Return the activation of `x`."""
    if x.dtype != np.float32:
        return reference.activate(x, activation)
    row, source = _OPERATIONS[activation.name], flat(x)
    return _computed(row.forward, activation.values + row.numbers, source, source, x.shape)


def activate_backward(
    output_grad: Array, saved: Array | None, activation: Activation | None
) -> Array:
    """Return the gradient of the input."""
    if activation is None:
        return output_grad
    assert saved is not None
    if output_grad.dtype != np.float32 or saved.dtype != np.float32:
        return reference.activate_backward(output_grad, saved, activation)
    row, numbers = _OPERATIONS[activation.name], activation.values
    numbers += row.numbers_backward
    return _computed(row.backward, numbers, flat(output_grad), flat(saved), output_grad.shape)


def _computed(
    operation: int, numbers: tuple[float, ...], first: Array, second: Array, shape: tuple[int, ...]
) -> Array:
    """Return the result of an operation on flat arrays, in `shape`."""
    result = empty(shape, np.float32)
    work, least = (_curved, LEAST_TASK // 2) if operation >= _CURVED else (_simple, LEAST_TASK)
    a, b, c = (*numbers, 0.0, 0.0, 0.0)[:3]
    tasks = tasks_for(first.size, least)
    run(work, tasks, operation, a, b, c, first, second, result.reshape(-1))
    return result


# A loop for each formula: LLVM does not vectorize one loop with the choice inside.
@kernel
def _simple(  # noqa: C901
    counters: Ints, tasks: int, worker: int,
    operation: int, a: np.float32, b: np.float32, c: np.float32, first: FloatsIn, second: FloatsIn,
    result: Floats,
) -> None:  # fmt: skip
    """Write one of the simple formulas of (first, second), flat arrays, to `result`."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        start, stop = share(task, tasks, result.size)
        x, y, out = first[start:stop], second[start:stop], result[start:stop]
        if operation == _RELU:
            for i in range(out.size):
                out[i] = _ZERO if x[i] < _ZERO else x[i]
        elif operation == _RELU_GRAD:
            for i in range(out.size):
                out[i] = _ZERO if y[i] <= _ZERO else x[i]
        elif operation == _LEAKY_RELU:
            for i in range(out.size):
                out[i] = x[i] if x[i] > _ZERO else a * x[i]
        elif operation == _LEAKY_RELU_GRAD:
            for i in range(out.size):
                out[i] = x[i] if y[i] > _ZERO else a * x[i]
        elif operation == _ELU_GRAD:
            for i in range(out.size):
                out[i] = x[i] * (b if y[i] > _ZERO else y[i] + a)
        elif operation == _HARD_SIGMOID:
            for i in range(out.size):
                out[i] = _hard_sigmoid(x[i])
        elif operation == _HARD_SIGMOID_GRAD:
            for i in range(out.size):
                out[i] = x[i] / _SIX if (y[i] > _ZERO) & (y[i] < _ONE) else _ZERO
        elif operation == _SIGMOID_GRAD:
            for i in range(out.size):
                out[i] = x[i] * (y[i] * (_ONE - y[i]))
        elif operation == _TANH_GRAD:
            for i in range(out.size):
                out[i] = x[i] * (_ONE - y[i] * y[i])
        elif operation == _CLIPPED_RELU:
            for i in range(out.size):
                out[i] = _clipped_relu(x[i], a, b, c)
        elif operation == _CLIPPED_RELU_GRAD:
            for i in range(out.size):
                out[i] = _clipped_relu_grad(x[i], y[i], a, b)
        elif operation == _SOFTSIGN:
            for i in range(out.size):
                out[i] = x[i] / (_ONE + abs(x[i]))
        elif operation == _SOFTSIGN_GRAD:
            for i in range(out.size):
                rest = _ONE - abs(y[i])
                out[i] = x[i] * (rest * rest)
        elif operation == _HARD_SILU:
            for i in range(out.size):
                out[i] = x[i] * _hard_sigmoid(x[i])
        elif operation == _HARD_SILU_GRAD:
            for i in range(out.size):
                out[i] = x[i] * _hard_silu_slope(y[i])
        task = next_task(counters, tasks, worker)


@kernel
def _curved(  # noqa: C901
    counters: Ints, tasks: int, worker: int,
    operation: int, a: np.float32, b: np.float32, c: np.float32, first: FloatsIn, second: FloatsIn,
    result: Floats,
) -> None:  # fmt: skip
    """Write one of the formulas with exponential functions, as `_simple` does."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        start, stop = share(task, tasks, result.size)
        x, y, out = first[start:stop], second[start:stop], result[start:stop]
        if operation == _ELU:
            for i in range(out.size):
                out[i] = b * (x[i] if x[i] > _ZERO else a * expm1(x[i]))
        elif operation == _SIGMOID:
            for i in range(out.size):
                out[i] = _sigmoid(x[i])
        elif operation == _TANH:
            for i in range(out.size):
                out[i] = _tanh(x[i])
        elif operation == _SOFTPLUS:
            for i in range(out.size):
                out[i] = (x[i] if x[i] > _ZERO else _ZERO) + log1p(exp(-abs(x[i])))
        elif operation == _SILU:
            for i in range(out.size):
                out[i] = x[i] * _sigmoid(x[i])
        elif operation == _GELU:
            for i in range(out.size):
                out[i] = x[i] * multiply_add(_HALF, erf(x[i] * _ROOT_HALF), _HALF)
        elif operation == _GELU_TANH:
            for i in range(out.size):
                out[i] = x[i] * _sigmoid(_gelu_inner(_bounded(x[i])))
        elif operation == _SOFTPLUS_GRAD:
            for i in range(out.size):
                out[i] = x[i] * -expm1(-y[i])
        elif operation == _SILU_GRAD:
            for i in range(out.size):
                sigmoid = _sigmoid(y[i])
                out[i] = x[i] * (sigmoid * (_ONE + y[i] * (_ONE - sigmoid)))
        elif operation == _GELU_GRAD:
            for i in range(out.size):
                out[i] = x[i] * gelu_slope(y[i])
        elif operation == _GELU_TANH_GRAD:
            for i in range(out.size):
                out[i] = x[i] * _gelu_tanh_slope(_bounded(y[i]))
        task = next_task(counters, tasks, worker)


@formula
def _clipped_relu(
    x: np.float32, slope: np.float32, largest: np.float32, threshold: np.float32
) -> np.float32:
    below = slope * (x - threshold) if slope > _ZERO else _ZERO
    above = largest if x > largest else x
    return below if x <= threshold else above


@formula
def _clipped_relu_grad(
    output_grad: np.float32, y: np.float32, slope: np.float32, largest: np.float32
) -> np.float32:
    below = slope * output_grad if slope > _ZERO else _ZERO
    inside = below if y <= _ZERO else output_grad
    return _ZERO if y >= largest else inside


@formula
def _hard_silu_slope(x: np.float32) -> np.float32:
    slope = x / _THREE + _HALF
    slope = _ZERO if x <= -_THREE else slope
    return _ONE if x >= _THREE else slope


@formula
def _hard_sigmoid(x: np.float32) -> np.float32:
    moved = x + _THREE
    moved = _ZERO if moved < _ZERO else moved
    return (_SIX if moved > _SIX else moved) / _SIX


@formula
def _bounded(x: np.float32) -> np.float32:
    x = _GELU_END if x > _GELU_END else x
    return -_GELU_END if x < -_GELU_END else x


# The tanh form of gelu, 0.5 x (1 + tanh(u)), is x sigmoid(2 u).
@formula
def _gelu_inner(x: np.float32) -> np.float32:
    return _GELU_SCALE * (x + _GELU_CUBIC * x * x * x)


@formula
def _gelu_tanh_slope(x: np.float32) -> np.float32:
    sigmoid = _sigmoid(_gelu_inner(x))
    inner_slope = _GELU_SCALE * (_ONE + _THREE * _GELU_CUBIC * x * x)
    return sigmoid + x * (sigmoid * (_ONE - sigmoid) * inner_slope)
