"""The matrix product as a CUDA kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.cuda.convolution import (
    backward_weight,
    backward_weight_parts,
    weight_parts_shape,
)
from gpunet.primitives.cuda.step import add_up
from gpunet.primitives.cuda.tiling import finish, new_partial, plan_product, vector
from gpunet.primitives.cuda.weight_products import later_parts_shape, weight_parts_later
from gpunet.primitives.geometry import NO_PADDING, Conv2DGeometry
from gpunet.primitives.launch import Kernel
from gpunet.primitives.partial_sums import Parts, parts_are_left
from gpunet.primitives.shapes import matmul_sizes

__all__ = ["dense_backward_weight", "dense_each", "dense_each_backward_input", "matmul"]

Array = Any

_MATMUL = Kernel("matmul.cu", "matmul")
_EACH = Kernel("products.cu", "dense_each")
_EACH_BACKWARD = Kernel("products.cu", "dense_each_backward_input")

_MOST_LAYERS = 4  # of one launch


def matmul(
    a: Array, b: Array, bias: Array | None, transpose_a: bool, transpose_b: bool,
    activation: Activation | None,
) -> Array:  # fmt: skip
    """Return ``activation(a @ b + bias)``."""
    rows, columns, inner = matmul_sizes(a.shape, b.shape, transpose_a, transpose_b)
    stack = a.shape[:-2]  # () for two matrices
    matrices = math.prod(stack)
    a, b = launch.contiguous(a), launch.contiguous(b)
    bias = None if bias is None else launch.contiguous(bias)
    y = launch.empty((*stack, rows, columns), a.dtype)
    vector_a = vector(a.shape[-1], a)
    plan = plan_product(rows, columns, inner, matrices, a.dtype, vector_a)
    partial = new_partial(plan, y.shape, a.dtype)
    _MATMUL(
        (plan.tiles * matrices, plan.splits), plan.tiling.threads,
        matrices, rows, columns, inner, plan.chunk, a, b, bias, y, partial,
        types={"T": a.dtype}, **plan.tiling.macros, VECTOR_A=vector_a,
        VECTOR_B=vector(b.shape[-1], b), VECTOR_Y=vector(columns, y, partial),
        TRANSPOSE_A=int(transpose_a), TRANSPOSE_B=int(transpose_b),
        ACTIVATION=activation_macro(activation),
    )  # fmt: skip
    finish(partial, y, bias, activation)
    return y


def dense_backward_weight(
    output_grad: Array, x: Array, with_bias: bool
) -> tuple[Array | Parts, Array | Parts | None]:
    """Return the gradients of the kernel and of the bias, which is its last row in one product.

    It is a convolution of 1 x 1 on images of one pixel.
    """
    (rows, units), inputs = output_grad.shape, x.shape[1]
    shapes = (rows, 1, 1, inputs), (1, 1, inputs, units), (rows, 1, 1, units)
    g = Conv2DGeometry(*shapes, (1, 1), NO_PADDING, (1, 1), 1)
    x, given = launch.contiguous(x), (launch.contiguous(output_grad), None)
    if not parts_are_left():
        kernel_grad, bias_grad = backward_weight(given, x, g, None, with_bias)
        return kernel_grad.reshape(inputs, units), bias_grad
    later = later_parts_shape(output_grad.size, x, g, with_bias)
    shape = weight_parts_shape(x, g, with_bias) if later is None else later
    partial = launch.empty(shape, launch.accumulator(x.dtype))
    write = backward_weight_parts if later is None else weight_parts_later
    write(given, x, g, None, with_bias, partial)
    buffer, stride, first = partial.reshape(-1), shape[1] * units, inputs * units
    kernel_parts = Parts(buffer, 0, stride, shape[0], (inputs, units), add_up)
    if not with_bias:
        return kernel_parts, None
    return kernel_parts, Parts(buffer, first, stride, shape[0], (units,), add_up)


def dense_each(
    x: Array, kernels: Sequence[Array], biases: Sequence[Array | None]
) -> tuple[Array, ...]:
    """Return ``x @ kernel + bias`` of several layers."""
    (rows, inputs), columns = x.shape, kernels[0].shape[1]
    if any(kernel.shape[1] != columns for kernel in kernels):
        pairs = zip(kernels, biases, strict=True)
        return tuple([matmul(x, kernel, bias, False, False, None) for kernel, bias in pairs])
    x, *kernels = [launch.contiguous(array) for array in (x, *kernels)]
    results = [launch.empty((rows, columns), x.dtype) for _ in kernels]
    arrays: list[Array | None] = []
    for kernel, bias, y in zip(kernels, biases, results, strict=True):
        arrays += [kernel, None if bias is None else launch.contiguous(bias), y]
    arrays += [None] * (3 * (_MOST_LAYERS - len(kernels)))
    vector_x = vector(inputs, x)
    plan = plan_product(rows, columns, inputs, len(kernels), x.dtype, vector_x, may_split=False)
    _EACH(
        (plan.tiles, 1, len(kernels)), plan.tiling.threads, rows, columns, inputs, x, *arrays,
        types={"T": x.dtype}, **plan.tiling.macros, VECTOR_A=vector_x,
        VECTOR_B=vector(columns, *kernels), VECTOR_Y=vector(columns, *results),
        ACTIVATION=activation_macro(None),
    )  # fmt: skip
    return tuple(results)


def dense_each_backward_input(output_grads: Sequence[Array], kernels: Sequence[Array]) -> Array:
    """Return the gradient of the input of `dense_each`."""
    (rows, columns), inputs = output_grads[0].shape, len(kernels[0])
    if any(kernel.shape[1] != columns for kernel in kernels):
        products = [
            matmul(grad, kernel, None, False, True, None)
            for grad, kernel in zip(output_grads, kernels, strict=True)
        ]
        return sum(products[1:], products[0])
    grads, kernels = ([launch.contiguous(a) for a in arrays] for arrays in (output_grads, kernels))
    y, count = launch.empty((rows, inputs), kernels[0].dtype), len(kernels)
    arrays: list[Array | None] = [a for pair in zip(grads, kernels, strict=True) for a in pair]
    arrays += [None] * (2 * (_MOST_LAYERS - count))
    vector_a = vector(columns, *grads)
    plan = plan_product(rows, inputs, count * columns, 1, y.dtype, vector_a, may_split=False)
    _EACH_BACKWARD(
        plan.tiles, plan.tiling.threads, count, rows, columns, inputs, *arrays, y,
        types={"T": y.dtype}, **plan.tiling.macros, VECTOR_A=vector_a,
        VECTOR_B=vector(columns, *kernels), VECTOR_Y=vector(inputs, y),
        ACTIVATION=activation_macro(None),
    )  # fmt: skip
    return y
