"""Activations and their gradients as CUDA kernels; the formulas are in kernels/activation.cuh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.naming import find
from gpunet.primitives import launch as launcher
from gpunet.primitives.checks import (
    check_has_output,
    check_not_negative,
    check_same_dtype,
    check_same_shape,
)
from gpunet.primitives.launch import Kernel

__all__ = [
    "activation_backward",
    "activation_macro",
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

_FORWARD = Kernel("activation.cu", "activation_forward")
_BACKWARD = Kernel("activation.cu", "activation_backward")

_BLOCK = 256


def relu_forward(x: Array) -> Array:
    """Return max(x, 0)."""
    return _forward("relu", x)


def relu_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of relu, given that of its output `y`."""
    return _backward("relu", output_grad, y)


def leaky_relu_forward(x: Array, *, negative_slope: float = 0.2) -> Array:
    """Return `x` where it is positive, else negative_slope * x."""
    check_not_negative("leaky_relu", "negative_slope", negative_slope)
    return _forward("leaky_relu", x, negative_slope)


def leaky_relu_backward(output_grad: Array, y: Array, *, negative_slope: float = 0.2) -> Array:
    """Return the gradient of the input of leaky_relu, given that of its output `y`."""
    return _backward("leaky_relu", output_grad, y, negative_slope)


def elu_forward(x: Array, *, alpha: float = 1.0) -> Array:
    """Return `x` where it is positive, else alpha * (exp(x) - 1)."""
    check_not_negative("elu", "alpha", alpha)
    return _forward("elu", x, alpha)


def elu_backward(output_grad: Array, y: Array, *, alpha: float = 1.0) -> Array:
    """Return the gradient of the input of elu, given that of its output `y`."""
    return _backward("elu", output_grad, y, alpha)


def selu_forward(x: Array) -> Array:
    """Return 1.0507 * elu(x, alpha=1.6733)."""
    return _forward("selu", x)


def selu_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of selu, given that of its output `y`."""
    return _backward("selu", output_grad, y)


def sigmoid_forward(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return _forward("sigmoid", x)


def sigmoid_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of sigmoid, given that of its output `y`."""
    return _backward("sigmoid", output_grad, y)


def hard_sigmoid_forward(x: Array) -> Array:
    """Return (x + 3) / 6 limited to [0, 1]."""
    return _forward("hard_sigmoid", x)


def hard_sigmoid_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of hard_sigmoid, given that of its output `y`."""
    return _backward("hard_sigmoid", output_grad, y)


def tanh_forward(x: Array) -> Array:
    """Return the hyperbolic tangent of `x`."""
    return _forward("tanh", x)


def tanh_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of tanh, given that of its output `y`."""
    return _backward("tanh", output_grad, y)


def softplus_forward(x: Array) -> Array:
    """Return log(1 + exp(x))."""
    return _forward("softplus", x)


def softplus_backward(output_grad: Array, y: Array) -> Array:
    """Return the gradient of the input of softplus, given that of its output `y`."""
    return _backward("softplus", output_grad, y)


def silu_forward(x: Array) -> Array:
    """Return x * sigmoid(x)."""
    return _forward("silu", x)


def silu_backward(output_grad: Array, x: Array) -> Array:
    """Return the gradient of the input `x` of silu, given that of its output."""
    return _backward("silu", output_grad, x)


def gelu_forward(x: Array, *, approximate: bool = False) -> Array:
    """Return x * P(X <= x) for X of the standard normal distribution, or its form in tanh."""
    return _forward("gelu_tanh" if approximate else "gelu", x)


def gelu_backward(output_grad: Array, x: Array, *, approximate: bool = False) -> Array:
    """Return the gradient of the input `x` of gelu, given that of its output."""
    return _backward("gelu_tanh" if approximate else "gelu", output_grad, x)


_BACKWARD_OF: dict[str, Callable[[Array, Array], Array]] = {
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
    """Return the gradient of what a fused activation was applied to."""
    if activation is None:
        return output_grad
    backward = find("fused activation", activation, _BACKWARD_OF)
    check_has_output(output, activation)
    return backward(output_grad, output)


def activation_macro(activation: str | None) -> str:
    """Return what kernels call an activation, for their macro ACTIVATION.

    >>> activation_macro("leaky_relu"), activation_macro(None)
    ('LEAKY_RELU', 'LINEAR')
    """
    return "LINEAR" if activation is None else activation.upper()


def _forward(name: str, x: Array, option: float = 0.0) -> Array:
    x = launcher.contiguous(x)
    y = launcher.empty(x.shape, x.dtype)
    vector = launcher.vector_width(x, y)
    grid = launcher.blocks_for(launcher.ceil_div(x.size, vector), _BLOCK)
    macros = {"ACTIVATION": activation_macro(name), "VECTOR": vector}
    _FORWARD(grid, _BLOCK, x.size, option, x, y, types={"T": x.dtype}, **macros)
    return y


def _backward(name: str, output_grad: Array, saved: Array, option: float = 0.0) -> Array:
    check_same_shape(f"{name}_grad", output_grad, saved)
    check_same_dtype(f"{name}_grad", output_grad, saved=saved)
    output_grad, saved = launcher.contiguous(output_grad), launcher.contiguous(saved)
    input_grad = launcher.empty(saved.shape, saved.dtype)
    vector = launcher.vector_width(output_grad, saved, input_grad)
    grid = launcher.blocks_for(launcher.ceil_div(saved.size, vector), _BLOCK)
    macros = {"ACTIVATION": activation_macro(name), "VECTOR": vector}
    arguments = (saved.size, option, output_grad, saved, input_grad)
    _BACKWARD(grid, _BLOCK, *arguments, types={"T": saved.dtype}, **macros)
    return input_grad
