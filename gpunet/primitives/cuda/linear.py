"""The matrix product as a CUDA kernel."""

from __future__ import annotations

import math
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

__all__ = ["dense_backward_weight", "matmul"]

Array = Any

_MATMUL = Kernel("matmul.cu", "matmul")


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
