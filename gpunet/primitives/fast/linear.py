"""The matrix product, of stacks too, and the sum of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, kernel
from gpunet.primitives.fast.convolution import activated, is_relu
from gpunet.primitives.fast.matrices import multiply_matrices
from gpunet.primitives.fast.memory import flat
from gpunet.primitives.fast.simd import take_task
from gpunet.primitives.fast.threads import run

__all__ = [
    "bias_backward", "dense_backward_weight", "dense_each", "dense_each_backward_input", "matmul",
]  # fmt: skip

Array = Any

_PART = 128  # rows that are summed in float32
_COLUMNS = 64  # that a task sums


def matmul(
    a: Array, b: Array, bias: Array | None, transpose_a: bool, transpose_b: bool,
    activation: Activation | None,
) -> Array:  # fmt: skip
    """Return ``activation(a @ b + bias)``."""
    if a.dtype != np.float32 or not (a.size and b.size):
        return reference.matmul(a, b, bias, transpose_a, transpose_b, activation)
    y = multiply_matrices(a, b, bias, transpose_a, transpose_b, is_relu(activation))
    return activated(y, activation)


def bias_backward(output_grad: Array) -> Array:
    """Return the sum over all axes but the last."""
    *others, channels = output_grad.shape
    rows = math.prod(others)
    if output_grad.dtype != np.float32:
        return reference.bias_backward(output_grad)
    total = np.empty(channels, np.float32)
    run(_sum_rows, -(-channels // _COLUMNS), rows, channels, flat(output_grad), total)
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
def _sum_rows(
    counters: Ints, tasks: int, worker: int,
    rows: int, channels: int, matrix: FloatsIn, total: Floats,
) -> None:  # fmt: skip
    """Write the sum of the rows: of parts of them in float32, of the parts in float64."""
    exact, part = np.empty(_COLUMNS, np.float64), np.empty(_COLUMNS, np.float32)
    task = take_task(counters)
    while task < tasks:
        start = task * _COLUMNS
        count = min(_COLUMNS, channels - start)
        exact[:] = 0
        for first in range(0, rows, _PART):
            part[:] = 0
            for i in range(first, min(first + _PART, rows)):
                for j in range(count):
                    part[j] += matrix[i * channels + start + j]
            for j in range(count):
                exact[j] += part[j]
        for j in range(count):
            total[start + j] = exact[j]
        task = take_task(counters)
