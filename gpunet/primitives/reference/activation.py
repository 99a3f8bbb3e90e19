"""Activations and their gradients: any shape in, the same shape and element type out.

The formulas with a leading underscore write into `out`, which may be the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gpunet.primitives.activation_table import Activation
from gpunet.primitives.reference.blocks import Array, in_chunks, keep_where
from gpunet.primitives.reference.special import erf

__all__ = ["activate", "activate_backward", "activate_into"]

# Klambauer et al., "Self-normalizing neural networks", 2017.
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805

# The tanh form of gelu: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715
# Beyond it gelu is 0 or x to the last digit of float64, and its inner terms cannot overflow.
_GELU_END = 40.0


def activate(x: Array, activation: Activation) -> Array:
    """Return the activation of `x`."""
    return in_chunks(_FORMULAS[activation.name][0], x, **dict(activation.options))


def activate_backward(
    output_grad: Array, saved: Array | None, activation: Activation | None
) -> Array:
    """Return the gradient of the input."""
    if activation is None:
        return output_grad
    assert saved is not None
    formula = _FORMULAS[activation.name][1]
    return in_chunks(formula, output_grad, saved, **dict(activation.options))


def activate_into(x: Array, activation: Activation, out: Array) -> None:
    """Write the activation of `x` to `out`, which may be `x`."""
    _FORMULAS[activation.name][0](x, out=out, **dict(activation.options))


def _relu(x: Array, out: Array) -> None:
    # With an array of zeros this runs three times as fast as with the number 0.
    np.maximum(x, np.zeros_like(x), out=out)


def _relu_grad(output_grad: Array, y: Array, out: Array) -> None:
    keep_where(~(y <= 0), output_grad, out)  # NaN lets the gradient through


def _clipped_relu(
    x: Array, out: Array, negative_slope: float, max_value: float, threshold: float
) -> None:
    below = x <= threshold
    above = np.minimum(x, max_value)
    if negative_slope:
        np.copyto(out, np.where(below, negative_slope * (x - threshold), above))
    else:
        keep_where(~below, above, out)


def _clipped_relu_grad(
    output_grad: Array, y: Array, out: Array, negative_slope: float, max_value: float,
    threshold: float,
) -> None:  # fmt: skip
    moves = ~(y >= max_value)
    if negative_slope:
        output_grad = output_grad * np.where(y <= 0, negative_slope, 1).astype(y.dtype)
    else:
        moves &= ~(y <= 0)
    keep_where(moves, output_grad, out)


# Where a formula has two branches both are computed and each is multiplied by 0 or 1, which is
# exact: np.where is many times slower than that on signs that change at random.
def _leaky_relu(x: Array, out: Array, negative_slope: float) -> None:
    np.add(np.maximum(x, 0), negative_slope * np.minimum(x, 0), out=out)


def _leaky_relu_grad(output_grad: Array, y: Array, out: Array, negative_slope: float) -> None:
    positive = y > 0
    np.add(output_grad * positive, negative_slope * output_grad * ~positive, out=out)


def _elu(x: Array, out: Array, alpha: float) -> None:
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


def _softsign(x: Array, out: Array) -> None:
    np.divide(x, 1 + np.abs(x), out=out)


def _softsign_grad(output_grad: Array, y: Array, out: Array) -> None:
    np.multiply(output_grad, np.square(1 - np.abs(y)), out=out)


def _silu(x: Array, out: Array) -> None:
    sigmoid = np.empty_like(x)
    _sigmoid(x, sigmoid)
    np.multiply(x, sigmoid, out=out)


def _silu_grad(output_grad: Array, x: Array, out: Array) -> None:
    sigmoid = np.empty_like(x)
    _sigmoid(x, sigmoid)
    np.multiply(output_grad, sigmoid * (1 + x * (1 - sigmoid)), out=out)


def _hard_silu(x: Array, out: Array) -> None:
    np.multiply(x, np.clip(x + 3, 0, 6) / 6, out=out)


def _hard_silu_grad(output_grad: Array, x: Array, out: Array) -> None:
    slope = np.clip(x, -3, 3) / 3 + 0.5
    np.multiply(output_grad, np.where(x <= -3, 0, np.where(x >= 3, 1, slope)), out=out)


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


_FORMULAS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "relu": (_relu, _relu_grad),
    "clipped_relu": (_clipped_relu, _clipped_relu_grad),
    "leaky_relu": (_leaky_relu, _leaky_relu_grad),
    "elu": (_elu, _elu_grad),
    "selu": (_selu, _selu_grad),
    "sigmoid": (_sigmoid, _sigmoid_grad),
    "hard_sigmoid": (_hard_sigmoid, _hard_sigmoid_grad),
    "tanh": (_tanh, _tanh_grad),
    "softplus": (_softplus, _softplus_grad),
    "softsign": (_softsign, _softsign_grad),
    "silu": (_silu, _silu_grad),
    "hard_silu": (_hard_silu, _hard_silu_grad),
    "gelu": (_gelu, _gelu_grad),
    "gelu_tanh": (_gelu_tanh, _gelu_tanh_grad),
}
