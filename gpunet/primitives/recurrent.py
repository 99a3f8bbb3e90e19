"""Recurrences over whole sequences: LSTM, GRU and the simple recurrent layer.

The products of the inputs of all time steps come as one array; a recurrence adds the product of the
state before, and applies the cell.
"""

from __future__ import annotations

from typing import Any

from gpunet.naming import find
from gpunet.primitives.checks import check_same_dtype, check_shape
from gpunet.primitives.twins import twins_of

__all__ = ["recurrent_backward", "recurrent_forward"]

Array = Any

# Of each cell: the gates of its inputs, and how many numbers a unit are saved for the gradient.
_CELLS = {"gru": (3, 4), "lstm": (4, 4), "simple_rnn": (1, 0)}


def recurrent_forward(
    x: Array,
    kernel: Array,
    bias: Array | None,
    h: Array,
    c: Array | None = None,
    mask: Array | None = None,
    *,
    cell: str,
) -> tuple[Array, Array | None, Array | None]:
    """Return the states before and after each step, and what the gradient needs.

    With p = h @ kernel + bias, sigmoid s and gates as blocks of columns::

        lstm        i, f, g, o = x + p; c = s(f) c + s(i) tanh(g); h = s(o) tanh(c)
        gru         z, r, g = x, p; z = s(x + p); r = s(x + p); g = tanh(x + r p); h = z h + (1-z) g
        simple_rnn  h = tanh(x + p)

    Arguments:
        x: (time, batch, gates * units), of 4, 3 or 1 gates.
        kernel: (units, gates * units).
        bias: (gates * units,), or None.
        h: the first state, (batch, units).
        c: the first carry of an LSTM, likewise; else None.
        mask: bool (time, batch), False where the states stay as they are; None for True.
        cell: 'lstm', 'gru' or 'simple_rnn'.

    Returns:
        The states h (time + 1, batch, units) with the first one; those of c likewise, or None; the
        gates (time, batch, 4 * units), for a GRU z, r, g and the candidate's part of p, or None.

    Raises:
        TypeError, ValueError: types or shapes do not fit, or the cell is unknown.

    >>> import numpy as np
    >>> states, _, _ = recurrent_forward(
    ...     np.ones((3, 1, 1)), np.ones((1, 1)), None, np.zeros((1, 1)), cell="simple_rnn"
    ... )
    >>> states.ravel().round(3)
    array([0.   , 0.762, 0.943, 0.96 ])
    """
    where = "recurrent_forward"
    twins = twins_of(where, x, kernel, bias, h, c, mask)
    gates, _ = find("cell", cell, _CELLS)
    check_same_dtype(where, x, kernel=kernel, bias=bias, h=h, c=c)
    if x.ndim != 3 or kernel.ndim != 2:
        raise ValueError(
            f"{where}: expected x of shape (time, batch, gates * units) and a kernel (units, "
            f"gates * units), received {x.shape} and {kernel.shape}."
        )
    (steps, batch, _), units = x.shape, kernel.shape[0]
    check_shape(where, "x", x.shape, (steps, batch, gates * units))
    check_shape(where, "kernel", kernel.shape, (units, gates * units))
    check_shape(where, "h", h.shape, (batch, units))
    if bias is not None:
        check_shape(where, "bias", bias.shape, (gates * units,))
    _check_carry(where, cell, c, (batch, units))
    _check_mask(where, mask, (steps, batch))
    return twins.recurrent_forward(x, kernel, bias, h, c, mask, cell)


def recurrent_backward(
    h_grads: Array,
    c_grad: Array | None,
    kernel: Array,
    h_states: Array,
    c_states: Array | None,
    gates: Array | None,
    mask: Array | None = None,
    *,
    cell: str,
) -> tuple[Array, Array | None, Array, Array | None]:
    """Return the gradients of a recurrence, back through time.

    Arguments:
        h_grads: of the state after each step, (time, batch, units).
        c_grad: of the last carry of an LSTM, (batch, units); else None.
        kernel, mask, cell: as in `recurrent_forward`.
        h_states, c_states, gates: its results.

    Returns:
        The gradients of x, (time, batch, gates * units); of p, likewise, or None where they are
        those of x; of the first state; and of the first carry, or None.

    Raises:
        TypeError, ValueError: types or shapes do not fit, or the cell is unknown.
    """
    where = "recurrent_backward"
    twins = twins_of(where, h_grads, c_grad, kernel, h_states, c_states, gates, mask)
    count, saved = find("cell", cell, _CELLS)
    check_same_dtype(
        where, h_grads, c_grad=c_grad, kernel=kernel, h_states=h_states, c_states=c_states,
        gates=gates,
    )  # fmt: skip
    if h_grads.ndim != 3:
        raise ValueError(
            f"{where}: expected h_grads of shape (time, batch, units), received {h_grads.shape}."
        )
    steps, batch, units = h_grads.shape
    check_shape(where, "h_states", h_states.shape, (steps + 1, batch, units))
    check_shape(where, "kernel", kernel.shape, (units, count * units))
    if saved and gates is not None:
        check_shape(where, "gates", gates.shape, (steps, batch, saved * units))
    _check_carry(where, cell, c_grad, (batch, units))
    _check_mask(where, mask, (steps, batch))
    return twins.recurrent_backward(h_grads, c_grad, kernel, h_states, c_states, gates, mask, cell)


def _check_carry(where: str, cell: str, c: Array | None, shape: tuple[int, ...]) -> None:
    if (c is None) == (cell == "lstm"):
        raise ValueError(f"{where}: an LSTM, and no other cell, has a carry; the cell is {cell!r}.")
    if c is not None:
        check_shape(where, "the carry", c.shape, shape)


def _check_mask(where: str, mask: Array | None, shape: tuple[int, ...]) -> None:
    if mask is None:
        return
    check_shape(where, "mask", mask.shape, shape)
    if mask.dtype != bool:
        raise TypeError(f"{where}: expected a mask of bools, received {mask.dtype}.")
