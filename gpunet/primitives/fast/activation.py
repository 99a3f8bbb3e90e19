"""Activations and their gradients, in one pass over the arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from gpunet.naming import find
from gpunet.primitives import reference
from gpunet.primitives.checks import check_has_output, check_not_negative, check_same_shape
from gpunet.primitives.fast.compile import FLOATS, FLOATS_IN, INTS, formula, kernel
from gpunet.primitives.fast.elementwise import LEAST_TASK, share, tasks_for
from gpunet.primitives.fast.exponential import erf, exp, expm1, log1p
from gpunet.primitives.fast.memory import flat
from gpunet.primitives.fast.simd import take_task
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty

__all__ = [
    "activation_backward",
    "elu_backward",
    "elu_forward",
    "gelu_backward",
    "gelu_forward",
    "hard_sigmoid_backward",
    "hard_sigmoid_forward",
    "leaky_relu_backward",
    "leaky_relu_forward",
    "relu_backward",
    "relu_forward",
    "selu_backward",
    "selu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softplus_backward",
    "softplus_forward",
    "tanh_backward",
    "tanh_forward",
]

Array = Any

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_THREE, _SIX = np.float32(3), np.float32(6)

# The constants of the reference twins.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_ROOT_HALF = np.float32(math.sqrt(0.5))
_DENSITY_AT_0 = np.float32(1 / math.sqrt(2 * math.pi))
_GELU_SCALE, _GELU_CUBIC = np.float32(2 * math.sqrt(2 / math.pi)), np.float32(0.044715)
_GELU_END = np.float32(40)

# What the kernels can do. Those of `_simple`:
_RELU, _RELU_GRAD, _LEAKY_RELU, _LEAKY_RELU_GRAD, _ELU_GRAD = range(5)
_HARD_SIGMOID, _HARD_SIGMOID_GRAD, _SIGMOID_GRAD, _TANH_GRAD = range(5, 9)
# Those of `_curved`, which have an exponential function in them:
_ELU, _SIGMOID, _TANH, _SOFTPLUS, _SILU, _GELU, _GELU_TANH = range(7)
_SOFTPLUS_GRAD, _SILU_GRAD, _GELU_GRAD, _GELU_TANH_GRAD = range(7, 11)


def relu_forward(x: Array) -> Array:
    """Return max(x, 0)."""
    return _forward("relu", _simple, _RELU, x)


def relu_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of relu, given that of its output `y`."""
    return _backward("relu", _simple, _RELU_GRAD, output_grad, y)


def leaky_relu_forward(x: Array, *, negative_slope: float = 0.2) -> Array:
    """Return `x` where it is positive, else negative_slope * x."""
    check_not_negative("leaky_relu", "negative_slope", negative_slope)
    options = {"negative_slope": negative_slope}
    return _forward("leaky_relu", _simple, _LEAKY_RELU, x, negative_slope, **options)


def leaky_relu_backward(output_grad: Array, y: Array, *, negative_slope: float = 0.2) -> Array:
    """Return the gradient of the input of leaky_relu, given that of its output `y`."""
    name, options = "leaky_relu", {"negative_slope": negative_slope}
    return _backward(name, _simple, _LEAKY_RELU_GRAD, output_grad, y, negative_slope, **options)


def elu_forward(x: Array, *, alpha: float = 1.0) -> Array:
    """Return `x` where it is positive, else alpha * (exp(x) - 1)."""
    check_not_negative("elu", "alpha", alpha)
    return _forward("elu", _curved, _ELU, x, alpha, 1.0, alpha=alpha)


def elu_backward(output_grad: Array, y: Array, *, alpha: float = 1.0) -> Array:
    """Return the gradient of the input of elu, given that of its output `y`."""
    return _backward("elu", _simple, _ELU_GRAD, output_grad, y, alpha, 1.0, alpha=alpha)


def selu_forward(x: Array) -> Array:
    """Return 1.0507 * elu(x, alpha=1.6733)."""
    return _forward("selu", _curved, _ELU, x, _SELU_ALPHA, _SELU_SCALE)


def selu_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of selu, given that of its output `y`."""
    alpha = _SELU_SCALE * _SELU_ALPHA
    return _backward("selu", _simple, _ELU_GRAD, output_grad, y, alpha, _SELU_SCALE)


def sigmoid_forward(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return _forward("sigmoid", _curved, _SIGMOID, x)


def sigmoid_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of sigmoid, given that of its output `y`."""
    return _backward("sigmoid", _simple, _SIGMOID_GRAD, output_grad, y)


def hard_sigmoid_forward(x: Array) -> Array:
    """Return (x + 3) / 6 limited to [0, 1]."""
    return _forward("hard_sigmoid", _simple, _HARD_SIGMOID, x)


def hard_sigmoid_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of hard_sigmoid, given that of its output `y`."""
    return _backward("hard_sigmoid", _simple, _HARD_SIGMOID_GRAD, output_grad, y)


def tanh_forward(x: Array) -> Array:
    """Return the hyperbolic tangent of `x`."""
    return _forward("tanh", _curved, _TANH, x)


def tanh_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of tanh, given that of its output `y`."""
    return _backward("tanh", _simple, _TANH_GRAD, output_grad, y)


def softplus_forward(x: Array) -> Array:
    """Return log(1 + exp(x))."""
    return _forward("softplus", _curved, _SOFTPLUS, x)


def softplus_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of softplus, given that of its output `y`."""
    return _backward("softplus", _curved, _SOFTPLUS_GRAD, output_grad, y)


def silu_forward(x: Array) -> Array:
    """Return x * sigmoid(x), also called swish."""
    return _forward("silu", _curved, _SILU, x)


def silu_backward(output_grad: Array, x: Array) -> Array:
    """Return the gradient of the input `x` of silu, given that of its output."""
    return _backward("silu", _curved, _SILU_GRAD, output_grad, x)


def gelu_forward(x: Array, *, approximate: bool = False) -> Array:
    """Return x * P(X <= x) for X of the standard normal distribution; `approximate` by tanh."""
    return _forward(
        "gelu", _curved, _GELU_TANH if approximate else _GELU, x, approximate=approximate
    )


def gelu_backward(output_grad: Array, x: Array, *, approximate: bool = False) -> Array:
    """Return the gradient of the input `x` of gelu, given that of its output."""
    operation = _GELU_TANH_GRAD if approximate else _GELU_GRAD
    return _backward("gelu", _curved, operation, output_grad, x, approximate=approximate)


_BACKWARD: dict[str, Callable[[Array, Array], Array]] = {
    "relu": relu_backward,
    "leaky_relu": leaky_relu_backward,
    "elu": elu_backward,
    "selu": selu_backward,
    "sigmoid": sigmoid_backward,
    "hard_sigmoid": hard_sigmoid_backward,
    "tanh": tanh_backward,
    "softplus": softplus_backward,
}


def activation_backward(output_grad: Array, output: Array | None, activation: str | None) -> Array:
    """Return the gradient of what a fused activation was applied to, given its output."""
    if activation is None:
        return output_grad
    backward = find("fused activation", activation, _BACKWARD)
    check_has_output(output, activation)
    return backward(output_grad, output)


def _forward(
    name: str,
    work: Callable[..., None],
    operation: int,
    x: Array,
    a: float = 0.0,
    b: float = 0.0,
    **options: Any,
) -> Array:
    """Return what a kernel makes of `x`, or the reference twin with these options."""
    if x.dtype != np.float32:
        return getattr(reference, f"{name}_forward")(x, **options)
    source = flat(x)
    return _computed(work, operation, a, b, source, source, x.shape)


def _backward(
    name: str,
    work: Callable[..., None],
    operation: int,
    output_grad: Array,
    kept: Array,
    a: float = 0.0,
    b: float = 0.0,
    **options: Any,
) -> Array:
    """Return what a kernel makes of a gradient and what was kept, or the reference twin."""
    check_same_shape(f"{name}_grad", output_grad, kept)
    if output_grad.dtype != np.float32 or kept.dtype != np.float32:
        return getattr(reference, f"{name}_backward")(output_grad, kept, **options)
    return _computed(work, operation, a, b, flat(output_grad), flat(kept), output_grad.shape)


def _computed(
    work: Callable[..., None],
    operation: int,
    a: float,
    b: float,
    first: Array,
    second: Array,
    shape: tuple[int, ...],
) -> Array:
    result = empty(shape, np.float32)
    least = LEAST_TASK if work is _simple else LEAST_TASK // 2
    tasks = tasks_for(first.size, least)
    run(work, tasks, operation, a, b, first, second, result.reshape(-1))
    return result


_PARAMETERS = (
    INTS, types.int64, types.int64, types.int64, types.float32, types.float32, FLOATS_IN,
    FLOATS_IN, FLOATS,
)  # fmt: skip


# Each loop stands for itself: of one with the choice inside LLVM makes no vectors.
@kernel(*_PARAMETERS)
def _simple(  # noqa: C901
    counters: Array,
    tasks: int,
    worker: int,
    operation: int,
    a: np.float32,
    b: np.float32,
    first: Array,
    second: Array,
    result: Array,
) -> None:
    """Write one of the simple formulas of (first, second), flat arrays, to `result`."""
    task = take_task(counters)
    while task < tasks:
        start, stop = share(task, tasks, result.size)
        x, y, out = first[start:stop], second[start:stop], result[start:stop]
        if operation == _RELU:
            for i in range(out.size):
                out[i] = _ZERO if x[i] < _ZERO else x[i]
        elif operation == _RELU_GRAD:
            for i in range(out.size):
                out[i] = x[i] if y[i] > _ZERO else _ZERO
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
        task = take_task(counters)


@kernel(*_PARAMETERS)
def _curved(  # noqa: C901
    counters: Array,
    tasks: int,
    worker: int,
    operation: int,
    a: np.float32,
    b: np.float32,
    first: Array,
    second: Array,
    result: Array,
) -> None:
    """The same of the formulas with exponential functions."""
    task = take_task(counters)
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
                out[i] = _HALF * x[i] * (_ONE + erf(x[i] * _ROOT_HALF))
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
                out[i] = x[i] * _gelu_slope(_bounded(y[i]))
        elif operation == _GELU_TANH_GRAD:
            for i in range(out.size):
                out[i] = x[i] * _gelu_tanh_slope(_bounded(y[i]))
        task = take_task(counters)


@formula
def _hard_sigmoid(x: np.float32) -> np.float32:
    moved = x + _THREE
    moved = _ZERO if moved < _ZERO else moved
    return (_SIX if moved > _SIX else moved) / _SIX


@formula
def _sigmoid(x: np.float32) -> np.float32:
    small = exp(-abs(x))  # at most 1
    return (small if x < _ZERO else _ONE) / (_ONE + small)


@formula
def _tanh(x: np.float32) -> np.float32:
    small = expm1(-_TWO * abs(x))
    size = -small / (_TWO + small)
    return -size if x < _ZERO else size


@formula
def _bounded(x: np.float32) -> np.float32:
    x = _GELU_END if x > _GELU_END else x
    return -_GELU_END if x < -_GELU_END else x


@formula
def _gelu_slope(x: np.float32) -> np.float32:
    below = _HALF * (_ONE + erf(x * _ROOT_HALF))
    return below + x * (exp(-_HALF * x * x) * _DENSITY_AT_0)


# The tanh form of gelu, 0.5 x (1 + tanh(u)), is x sigmoid(2 u).
@formula
def _gelu_inner(x: np.float32) -> np.float32:
    return _GELU_SCALE * (x + _GELU_CUBIC * x * x * x)


@formula
def _gelu_tanh_slope(x: np.float32) -> np.float32:
    sigmoid = _sigmoid(_gelu_inner(x))
    inner_slope = _GELU_SCALE * (_ONE + _THREE * _GELU_CUBIC * x * x)
    return sigmoid + x * (sigmoid * (_ONE - sigmoid) * inner_slope)
