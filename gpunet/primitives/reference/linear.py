"""The matrix product, and what convolution and dense layers do to a product's output."""

from __future__ import annotations

import math

import numpy as np

from gpunet.primitives.activation_table import Activation, as_activation
from gpunet.primitives.checks import check_matmul
from gpunet.primitives.reference.activation import activate_into
from gpunet.primitives.reference.blocks import Array, blocks_of, per_block

__all__ = ["add_bias_and_activate", "bias_backward", "matmul"]

_ROWS = 1024  # summed at a time by `bias_backward`, so that rounding errors stay small


def matmul(
    a: Array,
    b: Array,
    bias: Array | None = None,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: str | Activation | None = None,
) -> Array:
    """Return ``activation(a @ b + bias)``.

    Arguments:
        a: (rows, inner), or (inner, rows) with `transpose_a`; or a stack of such matrices, with an
            axis before.
        b: (inner, columns), or (columns, inner) with `transpose_b`; a stack of as many if `a` is.
        bias: (columns,), or None.
        transpose_a: take the transpose of `a`, without copying it.
        transpose_b: likewise of `b`.
        activation: one of `OUTPUT_ACTIVATIONS` with its default options, or None.

    Raises:
        TypeError, ValueError: types or shapes do not fit, or the activation is unknown.

    >>> matmul(np.ones((2, 3)), np.ones((3, 1)), np.array([0.5]))
    array([[3.5],
           [3.5]])
    """
    check_matmul(a, b, bias, transpose_a, transpose_b, activation)
    y = np.matmul(
        a.swapaxes(-1, -2) if transpose_a else a, b.swapaxes(-1, -2) if transpose_b else b
    )
    add_bias_and_activate(y.reshape(math.prod(y.shape[:-1]), y.shape[-1]), bias, activation)
    return y


def bias_backward(output_grad: Array) -> Array:
    """Return the sum of `output_grad` (..., channels) over all axes but the last, (channels,)."""
    *others, channels = output_grad.shape
    rows = output_grad.reshape(math.prod(others), channels)
    total = np.zeros(rows.shape[1], rows.dtype)
    for part in blocks_of(len(rows), _ROWS):
        total += np.ones(part.stop - part.start, rows.dtype) @ rows[part]
    return total


def add_bias_and_activate(
    rows: Array, bias: Array | None, activation: str | Activation | None
) -> None:
    """Add `bias` to each of the `rows` (count, length) and apply `activation`, in place."""
    if bias is None and activation is None:
        return
    for block in blocks_of(len(rows), per_block(len(rows), rows.strides[0])):
        part = rows[block]
        if bias is not None:
            part += bias
        if activation is not None:
            activate_into(part, as_activation(activation), part)
