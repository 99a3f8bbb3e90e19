"""Recurrences over whole sequences: a product and a kernel of kernels/recurrent.cu a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives import launch
from gpunet.primitives.cuda.linear import matmul
from gpunet.primitives.launch import Kernel

__all__ = ["recurrent_backward", "recurrent_forward"]

Array = Any

_STEP = Kernel("recurrent.cu", "recurrent_step")
_STEP_BACKWARD = Kernel("recurrent.cu", "recurrent_step_backward")

_BLOCK = 128


def recurrent_forward(
    x: Array,
    kernel: Array,
    bias: Array | None,
    h: Array,
    c: Array | None,
    mask: Array | None,
    cell: str,
) -> tuple[Array, Array | None, Array | None]:
    """Return the states before and after each step, and what the gradient needs."""
    steps, batch, _ = x.shape
    units = kernel.shape[0]
    x, mask = launch.contiguous(x), _bytes(mask)
    h_states = launch.empty((steps + 1, batch, units), x.dtype)
    h_states[0] = h
    c_states = None if c is None else launch.empty(h_states.shape, x.dtype)
    if c_states is not None:
        c_states[0] = c
    shape = (steps, batch, 4 * units)
    gates = None if cell == "simple_rnn" else launch.empty(shape, x.dtype)
    options: Any = {"types": {"T": x.dtype}, "CELL": cell.upper()}
    size = batch * units
    grid = launch.blocks_for(size, _BLOCK)
    for t in range(steps):
        product = matmul(h_states[t], kernel, bias, False, False, None)
        _STEP(
            grid, _BLOCK, size, units, x[t], product, h_states[t], _at(c_states, t), _at(mask, t),
            _at(gates, t), h_states[t + 1], _at(c_states, t + 1), **options,
        )  # fmt: skip
    return h_states, c_states, gates


def recurrent_backward(
    h_grads: Array,
    c_grad: Array | None,
    kernel: Array,
    h_states: Array,
    c_states: Array | None,
    gates: Array | None,
    mask: Array | None,
    cell: str,
) -> tuple[Array, Array | None, Array, Array | None]:
    """Return the gradients of a recurrence, back through time."""
    steps, batch, units = h_grads.shape
    h_grads, h_states, mask = launch.contiguous(h_grads), launch.contiguous(h_states), _bytes(mask)
    c_states = None if c_states is None else launch.contiguous(c_states)
    gates = None if gates is None else launch.contiguous(gates)
    dtype = h_grads.dtype
    x_grad = launch.empty((steps, batch, kernel.shape[1]), dtype)
    product_grad = launch.empty(x_grad.shape, dtype) if cell == "gru" else None
    carried = launch.empty((batch, units), dtype)
    carried.fill(0)
    if c_grad is not None:
        c_grad = launch.contiguous(c_grad).copy()
    options: Any = {"types": {"T": dtype}, "CELL": cell.upper()}
    size, product = batch * units, None
    grid = launch.blocks_for(size, _BLOCK)
    for t in reversed(range(steps)):
        _STEP_BACKWARD(
            grid, _BLOCK, size, units, h_grads[t], product, _at(gates, t), h_states[t],
            h_states[t + 1], _at(c_states, t), _at(c_states, t + 1), _at(mask, t), carried, c_grad,
            x_grad[t], _at(product_grad, t), **options,
        )  # fmt: skip
        grads = x_grad if product_grad is None else product_grad
        product = matmul(grads[t], kernel, None, False, True, None)
    return x_grad, product_grad, carried if product is None else carried + product, c_grad


def _at(array: Array | None, t: int) -> Array | None:
    return None if array is None else array[t]


def _bytes(mask: Array | None) -> Array | None:
    return None if mask is None else launch.contiguous(mask).view(np.uint8)
