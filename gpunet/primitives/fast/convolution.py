"""2-D convolution of float32 by the kernels of `products` and `depthwise`; the rest by NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import RELU, Activation
from gpunet.primitives.fast import activation as activations
from gpunet.primitives.fast import depthwise, products, strided, weight_grads
from gpunet.primitives.fast.bands import PANEL, Sizes
from gpunet.primitives.fast.memory import NO_BYTES, NO_FLOATS, flat, scratch, workspace
from gpunet.primitives.fast.packing import pack_tiles
from gpunet.primitives.fast.plans import Plan, plan
from gpunet.primitives.fast.threads import run
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.reference.memory import empty

__all__ = [
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "pack_weights",
    "split_grads",
    "turned_geometry",
]

Array = Any


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None, g: Conv2DGeometry, activation: Activation | None
) -> Array:
    """Return the cross-correlation of `x` with `kernel`."""
    if depthwise.supports(g, x):
        y = depthwise.forward(x, kernel, bias, g)
        return y if activation is None else activations.activate(y, activation)
    if not supports(g, x):
        return reference.conv2d_forward(x, kernel, bias, g, activation)
    y = empty(g.output_shape, x.dtype)
    multiply(plan(g, (1, 1), is_relu(activation)), x, kernel, bias, y, NO_BYTES)
    return activated(y, activation)


def supports(g: Conv2DGeometry, x: Array) -> bool:
    """Return whether the kernels compute convolutions of this geometry and type."""
    return x.dtype == np.float32 and g.groups == 1 and g.output_shape[0] > 0


def multiply(
    p: Plan, x: Array, kernel: Array, bias: Array | None, y: Array, indices: Array
) -> None:
    """Write the outputs, pooled if the plan says so, to `y` and `indices`."""
    panels = workspace("panels", p.weights)
    biases = workspace("biases", p.panels * PANEL)
    pack_weights(p.sizes, kernel, bias, panels, biases)
    _run_forward(p, x, panels, biases, y, indices)


def _run_forward(p: Plan, x: Array, panels: Array, biases: Array, y: Array, indices: Array) -> None:
    memory = scratch(p.sizes.scratch)
    run(
        products.forward, p.tasks, p.table, flat(x), panels, biases, p.positions, p.segments,
        y.reshape(-1), indices.reshape(-1), memory, memory,
    )  # fmt: skip


def pack_weights(
    sizes: Sizes, kernel: Array, bias: Array | None, panels: Array, biases: Array
) -> None:
    """Lay the weights of a convolution out as its kernels take them, where `sizes` says."""
    given = NO_FLOATS if bias is None else flat(bias)
    places = panels, sizes.first_weight, biases, sizes.first_bias
    if sizes.winograd:
        pack_tiles(sizes.pixel, sizes.filters, False, flat(kernel), given, *places)
    else:
        products.pack(sizes.patch, sizes.filters, flat(kernel), given, *places)


def is_relu(activation: Activation | None) -> bool:
    """Return whether the kernels apply the activation themselves."""
    return activation == RELU


def activated(y: Array, activation: Activation | None) -> Array:
    """Return `y` after its activation; relu is applied already."""
    if activation is None or is_relu(activation):
        return y
    return activations.activate(y, activation)


def conv2d_backward_weight(
    output_grad: Array, x: Array, g: Conv2DGeometry, activation: Activation | None,
    output: Array | None, with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias."""
    if depthwise.supports(g, x):
        grad = activations.activate_backward(output_grad, output, activation)
        return depthwise.backward_weight(grad, x, g, with_bias)
    if not supports(g, x):
        return reference.conv2d_backward_weight(output_grad, x, g, activation, output, with_bias)
    grad, output, relu = before_activation(output_grad, output, activation)
    p = plan(g, (1, 1), relu)
    return add_weight_grads(p, g.kernel_shape, grad, output, NO_BYTES, x, with_bias)


def before_activation(
    output_grad: Array, output: Array | None, activation: Activation | None
) -> tuple[Array, Array, bool]:
    """Return a gradient, the output, and whether the kernels apply relu's gradient by it."""
    if is_relu(activation):
        return output_grad, output, True
    return activations.activate_backward(output_grad, output, activation), NO_FLOATS, False


def add_weight_grads(
    p: Plan, kernel_shape: tuple[int, ...], output_grad: Array, output: Array, indices: Array,
    x: Array, with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and, if wanted, of the bias."""
    parts = workspace("parts", p.chunks * p.panels * (p.sizes.steps + 1) * PANEL)
    memory = scratch(p.sizes.scratch)
    grads, done = np.empty((p.sizes.patch + 1) * p.sizes.filters, x.dtype), np.zeros(1, np.int64)
    run(
        weight_grads.weight_grad, p.chunks * p.groups + p.panels, p.table, p.chunk, p.chunks,
        flat(x), flat(output_grad), flat(output), flat(indices), p.positions, p.steps, parts,
        grads, memory, memory, done,
    )  # fmt: skip
    return split_grads(grads, kernel_shape, with_bias)


def split_grads(
    grads: Array, kernel_shape: tuple[int, ...], with_bias: bool
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias, which follow one another."""
    size = math.prod(kernel_shape)
    return grads[:size].reshape(kernel_shape), grads[size:] if with_bias else None


def conv2d_backward_input(
    output_grad: Array, kernel: Array, g: Conv2DGeometry, activation: Activation | None,
    output: Array | None,
) -> Array:  # fmt: skip
    """Return the gradient of the input.

    It is a convolution itself, of the output's gradient with the turned kernel: with strides of 1
    by Winograd's method or, where that is slower, phase by phase as with other strides.
    """
    if depthwise.supports(g, kernel):
        grad = activations.activate_backward(output_grad, output, activation)
        return depthwise.backward_input(grad, kernel, g)
    turned = turned_geometry(g) if supports(g, kernel) else None
    back = None if turned is None else plan(turned, (1, 1), False)
    is_tiled = back is not None and back.sizes.winograd
    phases = strided.plan(g) if supports(g, kernel) and not is_tiled else None
    if back is None and phases is None:
        return reference.conv2d_backward_input(output_grad, kernel, g, activation, output)
    grad = activations.activate_backward(output_grad, output, activation)
    input_grad = empty(g.input_shape, kernel.dtype)
    if phases is not None:
        strided.backward_input(phases, grad, kernel, input_grad)
    else:
        assert back is not None
        _multiply_turned(back, grad, kernel, input_grad)
    return input_grad


def _multiply_turned(p: Plan, grad: Array, kernel: Array, input_grad: Array) -> None:
    """Write the gradient of the input, a convolution with strides of 1."""
    panels, biases = workspace("panels", p.weights), workspace("biases", p.panels * PANEL)
    if p.sizes.winograd:
        sizes = p.sizes.pixel, p.sizes.filters
        pack_tiles(*sizes, True, flat(kernel), NO_FLOATS, panels, 0, biases, 0)
    else:  # dilated
        pack_weights(p.sizes, kernel[::-1, ::-1].swapaxes(2, 3), None, panels, biases)
    _run_forward(p, grad, panels, biases, input_grad, NO_BYTES)


def turned_geometry(g: Conv2DGeometry) -> Conv2DGeometry | None:
    """Return the convolution from the output's gradient to the input's, or None."""
    reach = [(size - 1) * step for size, step in zip(g.kernel_shape[:2], g.dilation, strict=True)]
    (top, bottom), (left, right) = g.padding
    padding = ((reach[0] - top, reach[0] - bottom), (reach[1] - left, reach[1] - right))
    if g.strides != (1, 1) or min(map(min, padding)) < 0:
        return None
    height, width, channels, filters = g.kernel_shape
    return Conv2DGeometry(
        g.output_shape, (height, width, filters, channels), g.input_shape, (1, 1), padding,
        g.dilation, 1,
    )  # fmt: skip
