"""Dense layers and the matrix product."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet import primitives
from gpunet.autograd import Array, Result, differentiable
from gpunet.backend import get_array_module
from gpunet.functions.broadcasting import unbroadcast
from gpunet.primitives import Activation

__all__ = ["dense", "matmul"]


@differentiable
def dense(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    activation: str | Activation | None = None,
    axes: int = 1,
) -> Result:
    """Return ``activation(x @ kernel + bias)`` over the last axis of `x`, or several.

    Arguments:
        x: (..., inputs), of any rank from 2.
        kernel: (inputs, units), where inputs and units may be several axes.
        bias: (units,), or None.
        axes: how many axes the inputs are.
        activation: a name of `primitives.OUTPUT_ACTIVATIONS`, an `Activation` of such a name, or
            None.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> dense([[1.0, 2.0]], np.array([[1.0], [-1.0]]), activation="relu").numpy()
    array([[0.]])
    """
    inputs, units = math.prod(kernel.shape[:axes]), kernel.shape[axes:]
    matrix = kernel.reshape(inputs, math.prod(units))
    rows = x.reshape(math.prod(x.shape[:-axes]), inputs)
    shift = None if bias is None else bias.reshape(-1)
    y = primitives.matmul(rows, matrix, shift, activation=activation)

    def backward(output_grad: Array) -> Any:
        row_grad = primitives.activate_backward(output_grad.reshape(y.shape), y, activation)
        grads: Callable[[], tuple[Array, Any]] = functools.cache(
            lambda: primitives.dense_backward_weight(row_grad, rows, with_bias=bias is not None)
        )
        return (
            lambda: primitives.matmul(row_grad, matrix, transpose_b=True).reshape(x.shape),
            lambda: grads()[0].reshape(kernel.shape),
            lambda: None if bias is None else grads()[1].reshape(bias.shape),
        )

    return y.reshape(*x.shape[:-axes], *units), backward


@differentiable
def matmul(x: Array, y: Array) -> Result:
    """Return the matrix product of the last two axes; axes before them broadcast.

    Arguments:
        x: (..., m, k).
        y: (..., k, n).

    Raises:
        ValueError: the shapes do not fit.
    """
    if min(x.ndim, y.ndim) < 2 or x.shape[-1] != y.shape[-2]:
        raise ValueError(
            "matmul expects arrays of at least two dimensions, shaped (..., m, k) and (..., k, n), "
            f"received {x.shape} and {y.shape}."
        )
    if y.ndim == 2:  # all rows of x as one matrix
        wide_x, wide_y = x, y
        left, right = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]), y
    else:
        wide_x, wide_y = _broadcast_before_matrices(x, y)
        left, right = _as_stack(wide_x), _as_stack(wide_y)
    x_shape, y_shape = wide_x.shape, wide_y.shape
    product = primitives.matmul(left, right)

    def backward(output_grad: Array) -> Any:
        grad = output_grad.reshape(product.shape)
        return (
            lambda: unbroadcast(
                primitives.matmul(grad, right, transpose_b=True).reshape(x_shape), x.shape
            ),
            lambda: unbroadcast(
                primitives.matmul(left, grad, transpose_a=True).reshape(y_shape), y.shape
            ),
        )

    return product.reshape(*x_shape[:-1], y_shape[-1]), backward


def _broadcast_before_matrices(x: Array, y: Array) -> tuple[Array, Array]:
    """Return two arrays with the same axes before the last two, which hold the matrices."""
    try:
        stack = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise ValueError(
            f"matmul expects axes that broadcast before the last two, received {x.shape} and "
            f"{y.shape}."
        ) from None
    xp = get_array_module(x, y)
    return (
        xp.broadcast_to(x, (*stack, *x.shape[-2:])),
        xp.broadcast_to(y, (*stack, *y.shape[-2:])),
    )


def _as_stack(array: Array) -> Array:
    """Return the matrices of the last two axes as one stack, (count, rows, columns)."""
    return array.reshape(math.prod(array.shape[:-2]), *array.shape[-2:])
