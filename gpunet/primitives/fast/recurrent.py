"""Recurrences over whole sequences: each task takes a few samples through all time steps.

Samples do not depend on each other, so nothing is waited for between two steps. A step multiplies
the states of `TILE` samples by the kernel, laid out in panels as in `products`, into scratch
memory, and applies the cell there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.fast.compile import (
    BytesIn,
    Floats,
    FloatsIn,
    Ints,
    helper,
    kernel,
    part,
)
from gpunet.primitives.fast.exponential import sigmoid, tanh
from gpunet.primitives.fast.memory import flat, scratch, workspace
from gpunet.primitives.fast.products import LINE, PANEL, TILE, pack, transpose
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import prefetch, splat
from gpunet.primitives.fast.threads import run, thread_count
from gpunet.primitives.fast.tiles import add_products, row_starts, store_rows
from gpunet.primitives.reference.memory import empty

__all__ = ["recurrent_backward", "recurrent_forward"]

Array = Any

_MOST = 4 * TILE  # samples of a task
_ONE, _ZERO = np.float32(1), np.float32(0)
_LSTM, _GRU, _SIMPLE_RNN = range(3)
_CODES = {"lstm": _LSTM, "gru": _GRU, "simple_rnn": _SIMPLE_RNN}
_NO_FLOATS, _NO_BYTES = np.zeros(0, np.float32), np.zeros(0, np.uint8)


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
    if x.dtype != np.float32 or not x.size:
        return reference.recurrent_forward(x, kernel, bias, h, c, mask, cell)
    steps, batch, columns = x.shape
    units = kernel.shape[0]
    h_states = empty((steps + 1, batch, units), np.float32)
    h_states[0] = h
    c_states = None if c is None else empty(h_states.shape, np.float32)
    if c_states is not None:
        c_states[0] = c
    gates = None if cell == "simple_rnn" else empty((steps, batch, 4 * units), np.float32)
    share = _share(batch)
    panels, biases, width = _packed(flat(kernel), units, columns, bias)
    run(
        _forward, -(-batch // share), _CODES[cell], steps, batch, units, width, share, flat(x),
        panels, biases, _bytes(mask), h_states.reshape(-1), _floats(c_states), _floats(gates),
        scratch(share * width),
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
    if h_grads.dtype != np.float32 or not h_grads.size:
        return reference.recurrent_backward(
            h_grads, c_grad, kernel, h_states, c_states, gates, mask, cell
        )
    steps, batch, units = h_grads.shape
    columns = kernel.shape[1]
    x_grad = empty((steps, batch, columns), np.float32)
    product_grad = empty(x_grad.shape, np.float32) if cell == "gru" else None
    h_grad = np.zeros((batch, units), np.float32)
    first_c_grad = None if c_grad is None else np.array(c_grad, np.float32)
    share = _share(batch)
    transposed = workspace("transposed kernel", columns * units)
    transpose(units, columns, flat(kernel), transposed, 0)
    panels, _, width = _packed(transposed, columns, units, None)
    run(
        _backward, -(-batch // share), _CODES[cell], steps, batch, units, width, share,
        flat(h_grads), panels, _bytes(mask), flat(h_states), _flat_or_none(c_states),
        _flat_or_none(gates), x_grad.reshape(-1), _floats(product_grad), h_grad.reshape(-1),
        _floats(first_c_grad), scratch(share * width),
    )  # fmt: skip
    return x_grad, product_grad, h_grad, first_c_grad


def _share(batch: int) -> int:
    """Return how many samples a task has: few tasks, since each reads all weights in each step."""
    return -(-batch // max(thread_count(), -(-batch // _MOST)))


def _packed(
    weights: Array, rows: int, columns: int, bias: Array | None
) -> tuple[Array, Array, int]:
    """Return weights (rows, columns) in panels, a bias if any, and columns filled up to panels."""
    width = -(-columns // PANEL) * PANEL
    panels, biases = workspace("panels", width * rows), workspace("biases", width)
    pack(rows, columns, weights, _flat_or_none(bias), panels, 0, biases, 0)
    return panels, biases if bias is not None else _NO_FLOATS, width


def _flat_or_none(array: Array | None) -> Array:
    return _NO_FLOATS if array is None else flat(array)


def _floats(array: Array | None) -> Array:
    return _NO_FLOATS if array is None else array.reshape(-1)


def _bytes(mask: Array | None) -> Array:
    return _NO_BYTES if mask is None else flat(mask).view(np.uint8)


@helper
def _multiply(
    source: Array, start: int, stride: int, rows: int, inner: int, panels: Array, width: int,
    out: Array, to: int,
) -> None:  # fmt: skip
    """Write the products of rows with all panels to out[to:], (rows, width).

    A panel stays in the level-1 cache while the tiles of all rows meet it: tiles of `TILE` rows, or
    of 4 where so fewer rows are computed in vain.
    """
    for first in range(0, width, PANEL):
        panel, row = first * inner, 0
        while row < rows:
            left = rows - row
            at, place = start + row * stride, to + row * width + first
            if left <= 4 or 7 <= left <= 8:
                _multiply_4(source, at, stride, left, inner, panels, panel, out, place, width)
                row += 4
            else:
                _multiply_6(source, at, stride, left, inner, panels, panel, out, place, width)
                row += TILE


@part
def _multiply_6(
    source: Array, start: int, stride: int, left: int, inner: int, panels: Array, panel: int,
    out: Array, to: int, step: int,
) -> None:  # fmt: skip
    """Write the products of up to 6 rows with a panel; the last row, if need be, several times."""
    zero, starts = splat(_ZERO, PANEL), row_starts(start, left, stride)
    sums = zero, zero, zero, zero, zero, zero
    sums = add_products(sums, source, starts, 1, panels, panel, inner)
    store_rows(out, row_starts(to, left, step), sums)


@part
def _multiply_4(
    source: Array, start: int, stride: int, left: int, inner: int, panels: Array, panel: int,
    out: Array, to: int, step: int,
) -> None:  # fmt: skip
    """Write the products of up to 4 rows with a panel, likewise."""
    zero, starts = splat(_ZERO, PANEL), row_starts(start, left, stride)[:4]
    sums = zero, zero, zero, zero
    sums = add_products(sums, source, starts, 1, panels, panel, inner)
    store_rows(out, row_starts(to, left, step)[:4], sums)


@part
def _add(x: Array, others: Array) -> None:
    """Add numbers to those of x; none, if there are none."""
    for j in range(others.size):
        x[j] += others[j]


@part
def _prefetch(x: Array, start: int, count: int) -> None:
    """Begin to bring numbers close that are read after a step's products, if there are any."""
    for at in range(start, start + count, LINE):
        prefetch(x, at)


@kernel
def _forward(
    counters: Ints, tasks: int, worker: int,
    cell: int, steps: int, batch: int, units: int, width: int, share: int, x: FloatsIn,
    panels: FloatsIn, biases: FloatsIn, mask: BytesIn, h_states: Floats, c_states: Floats,
    gates: Floats, products: Floats,
) -> None:  # fmt: skip
    """Write the states after each step, and the gates."""
    own = worker * share * width
    columns = units * (4 if cell == _LSTM else 3 if cell == _GRU else 1)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        first = task * share
        rows = min(share, batch - first)
        for t in range(steps):
            start = (t * batch + first) * units
            _multiply(h_states, start, units, rows, units, panels, width, products, own)
            for row in range(rows):
                sample = t * batch + first + row
                before, after = sample * units, (sample + batch) * units
                p = products[own + row * width : own + row * width + columns]
                z = x[sample * columns : (sample + 1) * columns]
                h, new = h_states[before : before + units], h_states[after : after + units]
                _add(p, biases[:columns])
                if cell == _LSTM:
                    c, new_c = c_states[before : before + units], c_states[after : after + units]
                    _lstm_step(units, z, p, c, gates[4 * before : 4 * (before + units)], new, new_c)
                    if mask.size and not mask[sample]:
                        for j in range(units):
                            new_c[j] = c[j]
                elif cell == _GRU:
                    _gru_step(units, z, p, h, gates[4 * before : 4 * (before + units)], new)
                else:
                    for j in range(units):
                        new[j] = tanh(z[j] + p[j])
                if mask.size and not mask[sample]:
                    for j in range(units):
                        new[j] = h[j]
        task = next_task(counters, tasks, worker)


@part
def _lstm_step(
    units: int, z: Array, p: Array, c: Array, gates: Array, new: Array, new_c: Array
) -> None:
    i, f = gates[:units], gates[units : 2 * units]
    g, o = gates[2 * units : 3 * units], gates[3 * units : 4 * units]
    z_g, z_o = z[2 * units : 3 * units], z[3 * units : 4 * units]
    p_g, p_o = p[2 * units : 3 * units], p[3 * units : 4 * units]
    # In slices, from 0 on: LLVM does not vectorize loops whose indices might be negative.
    for j in range(2 * units):
        gates[j] = sigmoid(z[j] + p[j])
    for j in range(units):
        g[j] = tanh(z_g[j] + p_g[j])
    for j in range(units):
        o[j] = sigmoid(z_o[j] + p_o[j])
    for j in range(units):
        new_c[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(units):
        new[j] = o[j] * tanh(new_c[j])


@part
def _gru_step(units: int, z: Array, p: Array, h: Array, gates: Array, new: Array) -> None:
    for j in range(2 * units):
        gates[j] = sigmoid(z[j] + p[j])
    update, reset = gates[:units], gates[units : 2 * units]
    g, saved = gates[2 * units : 3 * units], gates[3 * units : 4 * units]
    of_g, product = z[2 * units : 3 * units], p[2 * units : 3 * units]
    for j in range(units):
        saved[j] = product[j]
    for j in range(units):
        g[j] = tanh(of_g[j] + reset[j] * product[j])
    for j in range(units):
        new[j] = update[j] * h[j] + (_ONE - update[j]) * g[j]


@kernel
def _backward(
    counters: Ints, tasks: int, worker: int,
    cell: int, steps: int, batch: int, units: int, width: int, share: int, h_grads: FloatsIn,
    panels: FloatsIn, mask: BytesIn, h_states: FloatsIn, c_states: FloatsIn, gates: FloatsIn,
    x_grad: Floats, product_grad: Floats, h_grad: Floats, c_grad: Floats, products: Floats,
) -> None:  # fmt: skip
    """Write the gradients; h_grad and c_grad hold those of the states after the step at hand."""
    own = worker * share * width
    columns = units * (4 if cell == _LSTM else 3 if cell == _GRU else 1)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        first = task * share
        rows = min(share, batch - first)
        for t in range(steps - 1, -1, -1):
            for row in range(rows):
                sample, own_row = t * batch + first + row, first + row
                before, after = sample * units, (sample + batch) * units
                grad = h_grad[own_row * units : (own_row + 1) * units]
                out = x_grad[sample * columns : (sample + 1) * columns]
                _add(grad, h_grads[before : before + units])
                if mask.size and not mask[sample]:
                    out[:] = _ZERO
                    if cell == _GRU:
                        product_grad[sample * columns : (sample + 1) * columns] = _ZERO
                elif cell == _LSTM:
                    _lstm_grads(
                        units, gates[4 * before : 4 * (before + units)],
                        c_states[before : before + units], c_states[after : after + units],
                        grad, c_grad[own_row * units : (own_row + 1) * units], out,
                    )  # fmt: skip
                elif cell == _GRU:
                    _gru_grads(
                        units, gates[4 * before : 4 * (before + units)],
                        h_states[before : before + units], grad, out,
                        product_grad[sample * columns : (sample + 1) * columns],
                    )  # fmt: skip
                else:
                    h = h_states[after : after + units]
                    for j in range(units):
                        out[j] = grad[j] * (_ONE - h[j] * h[j])
                        grad[j] = _ZERO
            start = (t * batch + first) * columns
            source = product_grad if cell == _GRU else x_grad
            _prefetch(gates, 4 * ((t - 1) * batch + first) * units, 4 * rows * units)
            _multiply(source, start, columns, rows, columns, panels, width, products, own)
            for row in range(rows):
                grad = h_grad[(first + row) * units : (first + row + 1) * units]
                _add(grad, products[own + row * width : own + row * width + units])
        task = next_task(counters, tasks, worker)


@part
def _lstm_grads(
    units: int, gates: Array, c: Array, new_c: Array, grad: Array, c_grad: Array, out: Array
) -> None:
    i, f = gates[:units], gates[units : 2 * units]
    g, o = gates[2 * units : 3 * units], gates[3 * units : 4 * units]
    i_grad, f_grad = out[:units], out[units : 2 * units]
    g_grad, o_grad = out[2 * units : 3 * units], out[3 * units : 4 * units]
    for j in range(units):
        y = tanh(new_c[j])
        o_grad[j] = grad[j] * y * o[j] * (_ONE - o[j])
        c_grad[j] += grad[j] * o[j] * (_ONE - y * y)
    for j in range(units):
        i_grad[j] = c_grad[j] * g[j] * i[j] * (_ONE - i[j])
        g_grad[j] = c_grad[j] * i[j] * (_ONE - g[j] * g[j])
    for j in range(units):
        f_grad[j] = c_grad[j] * c[j] * f[j] * (_ONE - f[j])
        c_grad[j] = c_grad[j] * f[j]
        grad[j] = _ZERO


@part
def _gru_grads(
    units: int, gates: Array, h: Array, grad: Array, out: Array, of_product: Array
) -> None:
    z, r = gates[:units], gates[units : 2 * units]
    g, product = gates[2 * units : 3 * units], gates[3 * units : 4 * units]
    z_grad, r_grad, g_grad = out[:units], out[units : 2 * units], out[2 * units : 3 * units]
    for j in range(units):
        z_grad[j] = grad[j] * (h[j] - g[j]) * z[j] * (_ONE - z[j])
        g_grad[j] = grad[j] * (_ONE - z[j]) * (_ONE - g[j] * g[j])
    for j in range(units):
        r_grad[j] = g_grad[j] * product[j] * r[j] * (_ONE - r[j])
        of_product[2 * units + j] = g_grad[j] * r[j]
        grad[j] = grad[j] * z[j]
    for j in range(2 * units):
        of_product[j] = out[j]
