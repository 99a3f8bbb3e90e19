"""The matrix product, of stacks too, and the gradients of dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.fast.convolution import activated, is_relu
from gpunet.primitives.fast.matrices import (
    multiply_each,
    multiply_matrices,
    weight_gradients,
)

__all__ = [
    "bias_backward", "dense_backward_weight", "dense_each", "dense_each_backward_input", "matmul",
]  # fmt: skip

Array = Any


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
    if output_grad.dtype != np.float32 or output_grad.size == 0:
        return reference.bias_backward(output_grad)
    rows = output_grad.reshape(-1, output_grad.shape[-1])
    _, total = weight_gradients(rows, np.empty((len(rows), 0), np.float32), True)
    assert total is not None
    return total


def dense_backward_weight(
    output_grad: Array, x: Array, with_bias: bool
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias."""
    if x.dtype != np.float32 or not (x.size and output_grad.size):
        return reference.dense_backward_weight(output_grad, x, with_bias)
    return weight_gradients(output_grad, x, with_bias)


def dense_each(
    x: Array, kernels: Sequence[Array], biases: Sequence[Array | None]
) -> tuple[Array, ...]:
    """Return ``x @ kernel + bias`` of several layers."""
    are_alike = len({kernel.shape for kernel in kernels}) == 1
    if are_alike and x.dtype == np.float32 and x.size and kernels[0].size:
        return tuple(multiply_each(x, kernels, biases))
    pairs = zip(kernels, biases, strict=True)
    return tuple([matmul(x, kernel, bias, False, False, None) for kernel, bias in pairs])


def dense_each_backward_input(output_grads: Sequence[Array], kernels: Sequence[Array]) -> Array:
    """Return the gradient of the input of `dense_each`."""
    empty = any(array.size == 0 for array in (*output_grads, *kernels))
    if empty or output_grads[0].dtype != np.float32:
        return reference.dense_each_backward_input(output_grads, kernels)
    total = None
    for grad, kernel in zip(output_grads, kernels, strict=True):
        total = multiply_matrices(grad, kernel, None, False, True, False, total)
    return total
