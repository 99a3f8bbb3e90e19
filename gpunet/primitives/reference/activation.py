"""Activations and their gradients: any shape in, the same shape and element type out.

Where the gradient follows from the output, that is what the backward function takes: the input
need not be kept. The formulas with a leading underscore write into `out`, which may be the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.naming import find
from gpunet.primitives.checks import check_has_output, check_not_negative
from gpunet.primitives.reference.blocks import Array, in_chunks, keep_where
from gpunet.primitives.reference.special import erf

__all__ = [
    "FORMULAS",
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

# Klambauer et al., "Self-normalizing neural networks", 2017.
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805

# The tanh form of gelu: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715
# Beyond it gelu is 0 or x to the last digit of float64, and its inner terms cannot overflow.
_GELU_END = 40.0


def relu_forward(x: Array) -> Array:
    """Return max(x, 0).

    >>> relu_forward(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return in_chunks(_relu, x)


def relu_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of relu, given that of its output `y`."""
    return in_chunks(_relu_grad, output_grad, y)


def leaky_relu_forward(x: Array, *, negative_slope: float = 0.2) -> Array:
    """Return `x` where it is positive, else negative_slope * x.

    Raises:
        ValueError: `negative_slope` is negative: the output would not tell the sign of `x`.
    """
    check_not_negative("leaky_relu", "negative_slope", negative_slope)
    return in_chunks(_leaky_relu, x, negative_slope=negative_slope)


def leaky_relu_backward(output_grad: Array, y: Array, *, negative_slope: float = 0.2) -> Array:
    """Return the gradient of the input of leaky_relu, given that of its output `y`."""
    return in_chunks(_leaky_relu_grad, output_grad, y, negative_slope=negative_slope)


def elu_forward(x: Array, *, alpha: float = 1.0) -> Array:
    """Return `x` where it is positive, else alpha * (exp(x) - 1) (Clevert et al., 2015).

    Raises:
        ValueError: `alpha` is negative: the output would not tell the sign of `x`.
    """
    check_not_negative("elu", "alpha", alpha)
    return in_chunks(_elu, x, alpha=alpha)


def elu_backward(output_grad: Array, y: Array, *, alpha: float = 1.0) -> Array:
    """Return the gradient of the input of elu, given that of its output `y`."""
    return in_chunks(_elu_grad, output_grad, y, alpha=alpha)


def selu_forward(x: Array) -> Array:
    """Return 1.0507 * elu(x, alpha=1.6733), which keeps mean and variance (Klambauer et al.)."""
    return in_chunks(_selu, x)


def selu_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of selu, given that of its output `y`."""
    return in_chunks(_selu_grad, output_grad, y)


def sigmoid_forward(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return in_chunks(_sigmoid, x)


def sigmoid_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of sigmoid, given that of its output `y`."""
    return in_chunks(_sigmoid_grad, output_grad, y)


def hard_sigmoid_forward(x: Array) -> Array:
    """Return (x + 3) / 6 limited to [0, 1], as Keras 3 defines it."""
    return in_chunks(_hard_sigmoid, x)


def hard_sigmoid_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of hard_sigmoid, given that of its output `y`."""
    return in_chunks(_hard_sigmoid_grad, output_grad, y)


def tanh_forward(x: Array) -> Array:
    """Return the hyperbolic tangent of `x`."""
    return in_chunks(_tanh, x)


def tanh_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of tanh, given that of its output `y`."""
    return in_chunks(_tanh_grad, output_grad, y)


def softplus_forward(x: Array) -> Array:
    """Return log(1 + exp(x))."""
    return in_chunks(_softplus, x)


def softplus_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of softplus, given that of its output `y`."""
    return in_chunks(_softplus_grad, output_grad, y)


def silu_forward(x: Array) -> Array:
    """Return x * sigmoid(x), also called swish."""
    return in_chunks(_silu, x)


def silu_backward(output_grad: Array, x: Array) -> Array:
    """Return the gradient of the input `x` of silu, given that of its output."""
    return in_chunks(_silu_grad, output_grad, x)


def gelu_forward(x: Array, *, approximate: bool = False) -> Array:
    """Return x * P(X <= x) for X of the standard normal distribution (Hendrycks and Gimpel, 2016).

    Arguments:
        x: any shape.
        approximate: use the formula in tanh instead of the error function.
    """
    return in_chunks(_gelu_tanh if approximate else _gelu, x)


def gelu_backward(output_grad: Array, x: Array, *, approximate: bool = False) -> Array:
    """Return the gradient of the input `x` of gelu, given that of its output."""
    return in_chunks(_gelu_tanh_grad if approximate else _gelu_grad, output_grad, x)


def _relu(x: Array, out: Array) -> None:
    # With an array of zeros this runs three times as fast as with the number 0.
    np.maximum(x, np.zeros_like(x), out=out)


def _relu_grad(output_grad: Array, y: Array, out: Array) -> None:
    keep_where(y > 0, output_grad, out)


# Where a formula has two branches both are computed and each is multiplied by 0 or 1, which is
# exact: np.where is many times slower than that on signs that change at random.
def _leaky_relu(x: Array, out: Array, negative_slope: float = 0.2) -> None:
    larger = np.maximum if negative_slope <= 1 else np.minimum
    larger(x, negative_slope * x, out=out)


def _leaky_relu_grad(output_grad: Array, y: Array, out: Array, negative_slope: float) -> None:
    positive = y > 0
    np.add(output_grad * positive, negative_slope * output_grad * ~positive, out=out)


def _elu(x: Array, out: Array, alpha: float = 1.0) -> None:
    np.add(np.maximum(x, 0), alpha * np.expm1(np.minimum(x, 0)), out=out)


def _elu_grad(output_grad: Array, y: Array, out: Array, alpha: float) -> None:
    positive = y > 0
    slope = (np.minimum(y, 0) + alpha) * ~positive + positive  # alpha exp(x) is y + alpha
    np.multiply(output_grad, slope, out=out)


def _selu(x: Array, out: Array) -> None:
    _elu(x, out, _SELU_ALPHA)
    out *= _SELU_SCALE


def _selu_grad(output_grad: Array, y: Array, out: Array) -> None:
    positive = y > 0
    slope = (np.minimum(y, 0) + _SELU_SCALE * _SELU_ALPHA) * ~positive + _SELU_SCALE * positive
    np.multiply(output_grad, slope, out=out)


def _sigmoid(x: Array, out: Array) -> None:
    small = np.exp(-np.abs(x))  # at most 1
    np.divide(np.maximum(small, x >= 0), 1 + small, out=out)


def _sigmoid_grad(output_grad: Array, y: Array, out: Array) -> None:
    np.multiply(output_grad, y * (1 - y), out=out)


def _hard_sigmoid(x: Array, out: Array) -> None:
    np.divide(np.clip(x + 3, 0, 6), 6, out=out)


def _hard_sigmoid_grad(output_grad: Array, y: Array, out: Array) -> None:
    keep_where((y > 0) & (y < 1), output_grad / 6, out)


def _tanh(x: Array, out: Array) -> None:
    np.tanh(x, out=out)


def _tanh_grad(output_grad: Array, y: Array, out: Array) -> None:
    np.multiply(output_grad, 1 - y * y, out=out)


def _softplus(x: Array, out: Array) -> None:
    np.add(np.maximum(x, 0), np.log1p(np.exp(-np.abs(x))), out=out)


def _softplus_grad(output_grad: Array, y: Array, out: Array) -> None:
    np.multiply(output_grad, -np.expm1(-y), out=out)


def _silu(x: Array, out: Array) -> None:
    sigmoid = np.empty_like(x)
    _sigmoid(x, sigmoid)
    np.multiply(x, sigmoid, out=out)


def _silu_grad(output_grad: Array, x: Array, out: Array) -> None:
    sigmoid = np.empty_like(x)
    _sigmoid(x, sigmoid)
    np.multiply(output_grad, sigmoid * (1 + x * (1 - sigmoid)), out=out)


def _gelu(x: Array, out: Array) -> None:
    np.multiply(0.5 * x, 1 + erf(x * math.sqrt(0.5)), out=out)


def _gelu_grad(output_grad: Array, x: Array, out: Array) -> None:
    bounded = np.clip(x, -_GELU_END, _GELU_END)
    density = np.exp(-0.5 * bounded * bounded) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + erf(bounded * math.sqrt(0.5)))
    np.multiply(output_grad, below + bounded * density, out=out)


def _gelu_tanh(x: Array, out: Array) -> None:
    np.multiply(0.5 * x, 1 + np.tanh(_gelu_inner(np.clip(x, -_GELU_END, _GELU_END))), out=out)


def _gelu_tanh_grad(output_grad: Array, x: Array, out: Array) -> None:
    bounded = np.clip(x, -_GELU_END, _GELU_END)
    inner = np.tanh(_gelu_inner(bounded))
    inner_grad = _GELU_SCALE * (1 + 3 * _GELU_CUBIC * bounded * bounded) * (1 - inner * inner)
    np.multiply(output_grad, 0.5 * (1 + inner) + 0.5 * bounded * inner_grad, out=out)


def _gelu_inner(x: Array) -> Array:
    return _GELU_SCALE * (x + _GELU_CUBIC * x * x * x)


FORMULAS: dict[str, Callable[..., Any]] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "sigmoid": _sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "tanh": _tanh,
    "softplus": _softplus,
}
"""The formulas that a product applies to its output in place, with their default options."""

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
    """Return the gradient of what a fused activation was applied to.

    Arguments:
        output_grad: gradient of the output.
        output: what `conv2d_forward` or `matmul` returned, of the same shape.
        activation: the one given to it; None returns `output_grad` itself.

    Raises:
        ValueError: the activation is unknown, or its output is missing.

    >>> activation_backward(np.ones(2), np.array([0.0, 3.0]), "relu")
    array([0., 1.])
    """
    if activation is None:
        return output_grad
    backward = find("fused activation", activation, _BACKWARD)
    check_has_output(output, activation)
    return backward(output_grad, output)  # type: ignore[arg-type] # checked just before
