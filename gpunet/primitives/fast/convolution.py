"""2-D convolution by the kernels of `products`; float32 without groups, all else by NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import as_activation
from gpunet.primitives.checks import (
    check_convolution,
    check_fused_output,
    check_same_dtype,
    check_shape,
)
from gpunet.primitives.fast import activation as activations
from gpunet.primitives.fast import products, weight_grads
from gpunet.primitives.fast.memory import flat, scratch, workspace
from gpunet.primitives.fast.plans import Plan, plan
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.shapes import Conv2DGeometry, Padding, Window, conv2d_geometry

__all__ = [
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "split_grads",
    "turned_geometry",
]

Array = Any

NO_BYTES = np.empty(0, np.uint8)
NO_FLOATS = np.empty(0, np.float32)


def conv2d_forward(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Array:
    """Return the cross-correlation of `x` with `kernel`; arguments as in the reference twin."""
    g = conv2d_geometry(x.shape, kernel.shape, strides, padding, dilation, groups)
    check_convolution(x, kernel, bias, activation)
    if not can(g, x):
        return reference.conv2d_forward(
            x, kernel, bias, strides=strides, padding=padding, dilation=dilation, groups=groups,
            activation=activation,
        )  # fmt: skip
    y = empty(g.output_shape, x.dtype)
    multiply(plan(g, (1, 1), activation == "relu"), x, kernel, bias, y, NO_BYTES)
    return activated(y, activation)


def can(g: Conv2DGeometry, x: Array) -> bool:
    """Return whether the kernels here are for a convolution of this geometry and type."""
    return x.dtype == np.float32 and g.groups == 1 and g.output_shape[0] > 0


def multiply(
    p: Plan, x: Array, kernel: Array, bias: Array | None, y: Array, indices: Array
) -> None:
    """Write the outputs, pooled if the plan says so, to `y` and `indices`."""
    panels = workspace("panels", p.panels * p.sizes.patch * products.PANEL)
    biases = workspace("biases", p.panels * products.PANEL)
    given = NO_FLOATS if bias is None else flat(bias)
    products.pack(p.sizes.patch, p.sizes.filters, flat(kernel), given, panels, 0, biases, 0)
    memory = scratch(p.sizes.scratch)
    run(
        products.forward, p.tasks, p.sizes, flat(x), panels, biases, p.positions, p.segments,
        y.reshape(-1), indices.reshape(-1), memory, memory,
    )  # fmt: skip


def activated(y: Array, activation: str | None) -> Array:
    """Return `y` after its activation, of which relu is done already."""
    if activation in (None, "relu"):
        return y
    return activations.activate(y, as_activation(activation))


def conv2d_backward_weight(
    output_grad: Array,
    x: Array,
    kernel_shape: tuple[int, ...],
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
    output: Array | None = None,
    with_bias: bool = False,
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias; arguments as in the reference twin."""
    g = conv2d_geometry(x.shape, kernel_shape, strides, padding, dilation, groups)
    check_same_dtype("conv2d", x, output_grad=output_grad)
    check_shape("conv2d", "output_grad", output_grad.shape, g.output_shape)
    check_fused_output(output_grad, output, activation)
    if not can(g, x):
        return reference.conv2d_backward_weight(
            output_grad, x, kernel_shape, strides=strides, padding=padding, dilation=dilation,
            groups=groups, activation=activation, output=output, with_bias=with_bias,
        )  # fmt: skip
    grad, output, relu = before_activation(output_grad, output, activation)
    p = plan(g, (1, 1), relu)
    return add_weight_grads(p, kernel_shape, grad, output, NO_BYTES, x, with_bias)


def before_activation(
    output_grad: Array, output: Array | None, activation: str | None
) -> tuple[Array, Array, bool]:
    """Return a gradient, the output and whether relu's gradient is still to be taken by it."""
    if activation == "relu":
        return output_grad, output, True
    return activations.activation_backward(output_grad, output, activation), NO_FLOATS, False


def add_weight_grads(
    p: Plan,
    kernel_shape: tuple[int, ...],
    output_grad: Array,
    output: Array,
    indices: Array,
    x: Array,
    with_bias: bool,
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and, if wanted, of the bias."""
    parts = workspace("parts", p.chunks * p.panels * (p.steps.size + 1) * products.PANEL)
    memory = scratch(p.sizes.scratch)
    run(
        weight_grads.weight_grad, p.chunks * p.panels, p.sizes, p.chunk, flat(x), flat(output_grad),
        flat(output), flat(indices), p.positions, p.steps, parts, memory, memory,
    )  # fmt: skip
    grads = np.empty((p.sizes.patch + 1) * p.sizes.filters, x.dtype)
    weight_grads.sum_parts(p.chunks, p.sizes.patch, p.sizes.steps, p.sizes.filters, parts, grads)
    return split_grads(grads, kernel_shape, with_bias)


def split_grads(
    grads: Array, kernel_shape: tuple[int, ...], with_bias: bool
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias, which follow one another."""
    size = math.prod(kernel_shape)
    return grads[:size].reshape(kernel_shape), grads[size:] if with_bias else None


def conv2d_backward_input(
    output_grad: Array,
    kernel: Array,
    input_shape: tuple[int, ...],
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
    output: Array | None = None,
) -> Array:
    """Return the gradient of the input; arguments as in the reference twin.

    With strides of 1 it is a convolution itself, of the gradient with the kernel turned around.
    """
    g = conv2d_geometry(input_shape, kernel.shape, strides, padding, dilation, groups)
    check_same_dtype("conv2d", kernel, output_grad=output_grad)
    check_shape("conv2d", "output_grad", output_grad.shape, g.output_shape)
    check_fused_output(output_grad, output, activation)
    turned = turned_geometry(g)
    if not can(g, kernel) or turned is None:
        return reference.conv2d_backward_input(
            output_grad, kernel, input_shape, strides=strides, padding=padding, dilation=dilation,
            groups=groups, activation=activation, output=output,
        )  # fmt: skip
    grad = activations.activation_backward(output_grad, output, activation)
    input_grad = empty(input_shape, kernel.dtype)
    weights = kernel[::-1, ::-1].swapaxes(2, 3)
    multiply(plan(turned, (1, 1), False), grad, weights, None, input_grad, NO_BYTES)
    return input_grad


def turned_geometry(g: Conv2DGeometry) -> Conv2DGeometry | None:
    """Return the convolution that makes the input's gradient of the output's, if there is one."""
    reach = [(size - 1) * step for size, step in zip(g.kernel_shape[:2], g.dilation, strict=True)]
    (top, bottom), (left, right) = g.padding
    padding = (
        (reach[0] - top, reach[0] - bottom),
        (reach[1] - left, reach[1] - right),
    )
    if g.strides != (1, 1) or min(map(min, padding)) < 0:
        return None
    height, width, channels, filters = g.kernel_shape
    return Conv2DGeometry(
        g.output_shape, (height, width, filters, channels), g.input_shape, (1, 1), padding,
        g.dilation, 1,
    )  # fmt: skip
