"""The matrix product, which is a convolution of 1 x 1, of stacks too, and the sum of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.fast.compile import Floats, FloatsIn, kernel
from gpunet.primitives.fast.convolution import activated, add_weight_grads, is_relu, multiply
from gpunet.primitives.fast.memory import NO_BYTES, NO_FLOATS, flat
from gpunet.primitives.fast.plans import Plan, plan
from gpunet.primitives.fast.stacks import multiply_stacks
from gpunet.primitives.geometry import NO_PADDING, Conv2DGeometry
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.shapes import matmul_sizes
from gpunet.primitives.stages import LARGE_STAGE

__all__ = [
    "bias_backward", "dense_backward_weight", "dense_each", "dense_each_backward_input", "matmul",
]  # fmt: skip

Array = Any

_PART = 128  # rows that are summed in float32


def matmul(
    a: Array, b: Array, bias: Array | None, transpose_a: bool, transpose_b: bool,
    activation: Activation | None,
) -> Array:  # fmt: skip
    """Return ``activation(a @ b + bias)``."""
    rows, columns, inner = matmul_sizes(a.shape, b.shape, transpose_a, transpose_b)
    if a.ndim == 3 and a.dtype == np.float32 and bias is None and activation is None and a.size:
        return multiply_stacks(a, b, transpose_a, transpose_b)
    weights = (rows if transpose_a else inner) * columns
    if not _supports(a, rows, columns, inner, weights) or (
        transpose_a and (transpose_b or activation)
    ):
        return reference.matmul(a, b, bias, transpose_a, transpose_b, activation)
    if transpose_a and bias is None:  # as a dense layer's weights get their gradient
        p = _plan(inner, rows, columns, False)
        return add_weight_grads(p, (rows, columns), b, NO_FLOATS, NO_BYTES, a, False)[0]
    y = empty((rows, columns), a.dtype)
    left, right = a.T if transpose_a else a, b.T if transpose_b else b
    multiply(_plan(rows, inner, columns, is_relu(activation)), left, right, bias, y, NO_BYTES)
    return activated(y, activation)


def _supports(a: Array, rows: int, columns: int, inner: int, weights: int) -> bool:
    """Return whether the kernels take a product: with weights, or their gradient, of this size."""
    return (
        a.dtype == np.float32
        and a.ndim == 2
        and min(rows, columns, inner) > 0
        and weights <= LARGE_STAGE  # else BLAS wins, which cuts up what is large
    )


def _plan(rows: int, inner: int, columns: int, relu: bool) -> Plan:
    """Return the plan of (rows, inner) @ (inner, columns): one image, a column of `rows` pixels."""
    shapes = (1, rows, 1, inner), (1, 1, inner, columns), (1, rows, 1, columns)
    return plan(Conv2DGeometry(*shapes, (1, 1), NO_PADDING, (1, 1), 1), (1, 1), relu)


def bias_backward(output_grad: Array) -> Array:
    """Return the sum over all axes but the last."""
    *others, channels = output_grad.shape
    rows = math.prod(others)
    if output_grad.dtype != np.float32:
        return reference.bias_backward(output_grad)
    total = np.empty(channels, np.float32)
    _sum_rows(rows, channels, flat(output_grad), total)
    return total


def dense_backward_weight(
    output_grad: Array, x: Array, with_bias: bool
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias."""
    kernel_grad = matmul(x, output_grad, None, True, False, None)
    return kernel_grad, bias_backward(output_grad) if with_bias else None


def dense_each(
    x: Array, kernels: Sequence[Array], biases: Sequence[Array | None]
) -> tuple[Array, ...]:
    """Return ``x @ kernel + bias`` of several layers."""
    pairs = zip(kernels, biases, strict=True)
    return tuple([matmul(x, kernel, bias, False, False, None) for kernel, bias in pairs])


def dense_each_backward_input(output_grads: Sequence[Array], kernels: Sequence[Array]) -> Array:
    """Return the gradient of the input of `dense_each`."""
    total, *others = [
        matmul(grad, kernel, None, False, True, None)
        for grad, kernel in zip(output_grads, kernels, strict=True)
    ]
    for product in others:
        total += product
    return total


@kernel
def _sum_rows(rows: int, channels: int, matrix: FloatsIn, total: Floats) -> None:
    """Write the sum of the rows: of parts of them in float32, of the parts in float64."""
    exact = np.zeros(channels, np.float64)
    part = np.empty(channels, np.float32)
    for first in range(0, rows, _PART):
        for j in range(channels):
            part[j] = np.float32(0)
        for i in range(first, min(first + _PART, rows)):
            for j in range(channels):
                part[j] += matrix[i * channels + j]
        for j in range(channels):
            exact[j] += part[j]
    for j in range(channels):
        total[j] = exact[j]
