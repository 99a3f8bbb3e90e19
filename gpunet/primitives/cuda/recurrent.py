"""Recurrences over whole sequences, on kernels/sequence.cu where one launch takes all steps.

Else each step is a product and a kernel of kernels/recurrent.cu.
"""

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

_SEQUENCE = Kernel("sequence.cu", "recurrent_sequence")
_SEQUENCE_BACKWARD = Kernel("sequence.cu", "recurrent_sequence_backward")

_BLOCK = 128
_WARP = 32
_MOST_UNITS, _MOST_THREADS = 256, 512  # of a block that has all steps of a sample
_LEAST_PRODUCTS = 16  # of a thread, for a gate
# Each sample reads the kernel anew: beyond so many a multiprocessor, products of all are faster.
_MOST_SAMPLES = 4


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
    c_states = None if c is None else launch.empty(h_states.shape, x.dtype)
    shape = (steps, batch, 4 * units)
    gates = None if cell == "simple_rnn" else launch.empty(shape, x.dtype)
    options: Any = {"types": {"T": x.dtype}, "CELL": cell.upper()}
    if _takes_all_steps(batch, units):
        given = (_contiguous(array) for array in (x, kernel, bias, h, c))
        _SEQUENCE(
            batch, _threads(units), steps, batch, units, _columns(units), *given, mask, gates,
            h_states, c_states, **options,
        )  # fmt: skip
        return h_states, c_states, gates
    h_states[0] = h
    if c_states is not None:
        c_states[0] = c
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
    options: Any = {"types": {"T": dtype}, "CELL": cell.upper()}
    if _takes_all_steps(batch, units):
        first_h_grad = launch.empty((batch, units), dtype)
        first_c_grad = None if c_grad is None else launch.empty((batch, units), dtype)
        _SEQUENCE_BACKWARD(
            batch, _threads(units), steps, batch, units, h_grads, _contiguous(c_grad),
            launch.contiguous(kernel), h_states, c_states, gates, mask, x_grad, product_grad,
            first_h_grad, first_c_grad, **options,
        )  # fmt: skip
        return x_grad, product_grad, first_h_grad, first_c_grad
    carried = launch.empty((batch, units), dtype)
    carried.fill(0)
    if c_grad is not None:
        c_grad = launch.contiguous(c_grad).copy()
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


def _takes_all_steps(batch: int, units: int) -> bool:
    """Return whether one launch takes all steps, a block for each sample."""
    return 0 < units <= _MOST_UNITS and batch <= _MOST_SAMPLES * launch.multiprocessors()


def _columns(units: int) -> int:
    """Return the units, rounded up to whole warps."""
    return launch.ceil_div(units, _WARP) * _WARP


def _threads(units: int) -> int:
    """Return the threads of a sample: some slices of the products of each unit."""
    columns = _columns(units)
    return columns * max(1, min(_MOST_THREADS // columns, units // _LEAST_PRODUCTS))


def _contiguous(array: Array | None) -> Array | None:
    return None if array is None else launch.contiguous(array)


def _at(array: Array | None, t: int) -> Array | None:
    return None if array is None else array[t]


def _bytes(mask: Array | None) -> Array | None:
    return None if mask is None else launch.contiguous(mask).view(np.uint8)
