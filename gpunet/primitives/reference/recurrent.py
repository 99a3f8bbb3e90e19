"""Recurrences over whole sequences, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.activation_table import as_activation
from gpunet.primitives.reference.activation import activate

__all__ = ["recurrent_backward", "recurrent_forward"]

Array = Any

_SIGMOID, _TANH = as_activation("sigmoid"), as_activation("tanh")


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
    h_states, c_states, gates = [h], [c], []
    for t, inputs in enumerate(x):
        product = h_states[-1] @ kernel
        product = product if bias is None else product + bias
        h, c, saved = _STEPS[cell](inputs, product, h_states[-1], c_states[-1])
        if mask is not None:
            counts = mask[t][:, None]
            h = np.where(counts, h, h_states[-1])
            c = None if c is None else np.where(counts, c, c_states[-1])
        h_states.append(h)
        c_states.append(c)
        gates.append(saved)
    units, dtype = kernel.shape[0], x.dtype
    shape = (*x.shape[:2], 4 * units)
    all_gates = None if cell == "simple_rnn" else np.array(gates, dtype).reshape(shape)
    all_c = None if c_states[0] is None else np.array(c_states, dtype)
    return np.array(h_states, dtype), all_c, all_gates


def _lstm(x: Array, product: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    i, f, g, o = np.split(x + product, 4, axis=1)
    i, f, o = (activate(z, _SIGMOID) for z in (i, f, o))
    g = activate(g, _TANH)
    c = f * c + i * g
    return o * activate(c, _TANH), c, np.concatenate([i, f, g, o], axis=1)


def _gru(x: Array, product: Array, h: Array, c: None) -> tuple[Array, None, Array]:
    (xz, xr, xg), (pz, pr, pg) = np.split(x, 3, axis=1), np.split(product, 3, axis=1)
    z, r = activate(xz + pz, _SIGMOID), activate(xr + pr, _SIGMOID)
    g = activate(xg + r * pg, _TANH)
    return z * h + (1 - z) * g, None, np.concatenate([z, r, g, pg], axis=1)


def _simple_rnn(x: Array, product: Array, h: Array, c: None) -> tuple[Array, None, None]:
    return activate(x + product, _TANH), None, None


_STEPS: dict[str, Any] = {"lstm": _lstm, "gru": _gru, "simple_rnn": _simple_rnn}


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
    x_grad = np.empty((steps, batch, kernel.shape[1]), h_grads.dtype)
    product_grad = np.empty_like(x_grad) if cell == "gru" else x_grad
    carried = np.zeros((batch, units), h_grads.dtype)
    for t in reversed(range(steps)):
        h_grad = carried + h_grads[t]
        counts = np.ones((batch, 1), bool) if mask is None else mask[t][:, None]
        saved: Any = None if gates is None else np.split(gates[t], 4, axis=1)
        if c_states is not None:
            grads, before = _lstm_backward(h_grad, c_grad, saved, c_states[t], c_states[t + 1])
            c_grad, kept = np.where(counts, before, c_grad), 0
            x_grad[t] = np.where(counts, grads, 0)
        elif cell == "gru":
            grads, of_product = _gru_backward(h_grad, saved, h_states[t])
            kept = h_grad * saved[0]
            x_grad[t] = np.where(counts, grads, 0)
            product_grad[t] = np.where(counts, of_product, 0)
        else:
            grads, kept = h_grad * (1 - h_states[t + 1] ** 2), 0
            x_grad[t] = np.where(counts, grads, 0)
        carried = np.where(counts, kept, h_grad) + product_grad[t] @ kernel.T
    return x_grad, product_grad if cell == "gru" else None, carried, c_grad


def _lstm_backward(
    h_grad: Array, c_grad: Array, saved: Any, c: Array, c_after: Array
) -> tuple[Array, Array]:
    i, f, g, o = saved
    out = activate(c_after, _TANH)
    total = c_grad + h_grad * o * (1 - out * out)
    grads = [
        total * g * i * (1 - i),
        total * c * f * (1 - f),
        total * i * (1 - g * g),
        h_grad * out * o * (1 - o),
    ]
    return np.concatenate(grads, axis=1), total * f


def _gru_backward(h_grad: Array, saved: Any, h: Array) -> tuple[Array, Array]:
    z, r, g, product = saved
    z_grad = h_grad * (h - g) * z * (1 - z)
    g_grad = h_grad * (1 - z) * (1 - g * g)
    r_grad = g_grad * product * r * (1 - r)
    return (
        np.concatenate([z_grad, r_grad, g_grad], axis=1),
        np.concatenate([z_grad, r_grad, g_grad * r], axis=1),
    )
