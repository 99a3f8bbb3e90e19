"""Activations and their gradients as CUDA kernels; the formulas are in kernels/activation.cuh."""

from __future__ import annotations

import math
from typing import Any

from gpunet.primitives import launch as launcher
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.launch import Kernel

__all__ = ["activate", "activate_backward", "activation_macro"]

Array = Any

_FORWARD = Kernel("activation.cu", "activation_forward")
_BACKWARD = Kernel("activation.cu", "activation_backward")

_BLOCK = 256


def activate(x: Array, activation: Activation) -> Array:
    """Return the activation of `x`."""
    x = launcher.contiguous(x)
    y = launcher.empty(x.shape, x.dtype)
    _launch(_FORWARD, activation, x, y)
    return y


def activate_backward(
    output_grad: Array, saved: Array | None, activation: Activation | None
) -> Array:
    """Return the gradient of the input."""
    if activation is None:
        return output_grad
    output_grad, saved = launcher.contiguous(output_grad), launcher.contiguous(saved)
    input_grad = launcher.empty(saved.shape, saved.dtype)
    _launch(_BACKWARD, activation, output_grad, saved, input_grad)
    return input_grad


def activation_macro(activation: Activation | None) -> str:
    """Return the value of the macro ACTIVATION for a kernel that fuses an activation.

    >>> activation_macro(Activation("leaky_relu", (("negative_slope", 0.2),)))
    'Fused(LEAKY_RELU,0.2)'
    >>> activation_macro(None)
    'LINEAR'
    """
    if activation is None:
        return "LINEAR"
    options = ["NO_LIMIT" if math.isinf(value) else repr(value) for value in activation.values]
    name = activation.name.upper()
    return f"Fused({','.join([name, *options])})" if options else name


def _launch(kernel: Kernel, activation: Activation, *arrays: Array) -> None:
    """Launch with one option as an argument, so that another value needs no other build."""
    size, vector = arrays[-1].size, launcher.vector_width(*arrays)
    grid = launcher.blocks_for(launcher.ceil_div(size, vector), _BLOCK)
    values = activation.values
    name = activation_macro(activation) if len(values) > 1 else activation.name.upper()
    option = values[0] if values else 0.0
    macros = {"ACTIVATION": name, "VECTOR": vector}
    kernel(grid, _BLOCK, size, option, *arrays, types={"T": arrays[0].dtype}, **macros)
