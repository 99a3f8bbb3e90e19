"""The matrix product, and the bias and activation of products."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpunet.fork import finish_before_fork
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.reference.activation import activate_into
from gpunet.primitives.reference.blocks import Array, blocks_of, per_block

__all__ = [
    "add_bias_and_activate", "bias_backward", "dense_backward_weight", "dense_each",
    "dense_each_backward_input", "matmul",
]  # fmt: skip

_ROWS = 1024  # summed at a time by `bias_backward`, so that rounding errors stay small


def matmul(
    a: Array, b: Array, bias: Array | None, transpose_a: bool, transpose_b: bool,
    activation: Activation | None,
) -> Array:  # fmt: skip
    """Return ``activation(a @ b + bias)``."""
    y = finish_before_fork(
        np.matmul,
        a.swapaxes(-1, -2) if transpose_a else a,
        b.swapaxes(-1, -2) if transpose_b else b,
    )
    add_bias_and_activate(y.reshape(math.prod(y.shape[:-1]), y.shape[-1]), bias, activation)
    return y


def bias_backward(output_grad: Array) -> Array:
    """Return the sum over all axes but the last."""
    *others, channels = output_grad.shape
    rows = output_grad.reshape(math.prod(others), channels)
    total = np.zeros(rows.shape[1], rows.dtype)
    for part in blocks_of(len(rows), _ROWS):
        ones = np.ones(part.stop - part.start, rows.dtype)
        total += finish_before_fork(np.matmul, ones, rows[part])
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


def add_bias_and_activate(rows: Array, bias: Array | None, activation: Activation | None) -> None:
    """Add `bias` to each of the `rows` (count, length) and apply `activation`, in place."""
    if bias is None and activation is None:
        return
    for block in blocks_of(len(rows), per_block(len(rows), rows.strides[0])):
        part = rows[block]
        if bias is not None:
            part += bias
        if activation is not None:
            activate_into(part, activation, part)
