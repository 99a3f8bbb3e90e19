"""Recurrent layers over whole sequences."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, Tensor, differentiable, on_symbols
from gpunet.backend import get_array_module
from gpunet.primitives.partial_sums import Parts

__all__ = ["gru", "lstm", "simple_rnn"]

Result = tuple[Array, Callable[[Array], Any]]


class _Carry:
    """The carry of an LSTM after the last step, and its gradient."""

    value: Array = None
    grad: Array | None = None  # None for zeros


@on_symbols
def lstm(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    h: Any,
    c: Any,
    *,
    mask: Array | None = None,
    go_backwards: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the states after each step of an LSTM (time, batch, units), and the last carry.

    Arguments:
        x: (batch, time, features).
        kernel, recurrent_kernel: (features, 4 * units) and (units, 4 * units), for the gates i, f,
            g and o.
        bias: (4 * units,), or None.
        h, c: the first state and carry, (batch, units).
        mask: bool (batch, time), False where states stay as they are.
        go_backwards: whether to start with the last step.

    Raises:
        TypeError, ValueError: types or shapes do not fit.
    """
    carry = _Carry()
    states = _recurrence(
        x, kernel, recurrent_kernel, bias, h, c, mask=mask, go_backwards=go_backwards, cell="lstm",
        carry=carry,
    )  # fmt: skip
    return states, _last_carry(states, carry=carry)


def gru(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    h: Any,
    *,
    mask: Array | None = None,
    go_backwards: bool = False,
) -> Tensor:
    """Return the states after each step of a GRU (time, batch, units).

    Arguments:
        x, h, mask, go_backwards: as for `lstm`.
        kernel, recurrent_kernel: (features, 3 * units) and (units, 3 * units), for the gates z and
            r and the candidate.
        bias: (2, 3 * units), of the inputs and of the states, or None.
    """
    return _recurrence(
        x, kernel, recurrent_kernel, bias, h, None, mask=mask, go_backwards=go_backwards, cell="gru"
    )


def simple_rnn(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    h: Any,
    *,
    mask: Array | None = None,
    go_backwards: bool = False,
) -> Tensor:
    """Return the states after each step of a simple recurrent layer (time, batch, units).

    Arguments:
        x, h, mask, go_backwards: as for `lstm`.
        kernel, recurrent_kernel: (features, units) and (units, units).
        bias: (units,), or None.

    >>> import numpy as np
    >>> x, one = np.ones((1, 3, 1)), np.ones((1, 1))
    >>> simple_rnn(x, one, one, None, np.zeros((1, 1))).numpy().ravel().round(3)
    array([0.762, 0.943, 0.96 ])
    """
    options = {"mask": mask, "go_backwards": go_backwards}
    return _recurrence(x, kernel, recurrent_kernel, bias, h, None, **options, cell="simple_rnn")


@differentiable
def _recurrence(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None,
    h: Array,
    c: Array | None,
    *,
    mask: Array | None,
    go_backwards: bool,
    cell: str,
    carry: _Carry | None = None,
) -> Result:
    """Return the states after each step, and put the last carry into `carry` if there is one."""
    (batch, steps, features), width = x.shape, kernel.shape[1]
    xp = get_array_module(x)
    order = slice(None, None, -1 if go_backwards else 1)
    rows = xp.ascontiguousarray(x.transpose(1, 0, 2)[order]).reshape(-1, features)
    counts = None if mask is None else xp.ascontiguousarray(mask.T[order])
    of_inputs, of_states = bias, None
    if both := bias is not None and bias.ndim == 2:  # one of the inputs and one of the states
        of_inputs, of_states = bias
    z = primitives.matmul(rows, kernel, of_inputs).reshape(steps, batch, width)
    h_states, c_states, gates = primitives.recurrent_forward(
        z, recurrent_kernel, of_states, h, c, counts, cell=cell
    )
    if carry is not None and c_states is not None:
        carry.value = c_states[-1]

    def backward(h_grads: Array) -> Any:
        c_grad = None if carry is None else carry.grad
        if carry is not None:
            carry.grad = None  # a later backward pass may not reach the carry
        if c is not None and c_grad is None:
            c_grad = xp.zeros_like(c)
        z_grad, product_grad, h_grad, first_c_grad = primitives.recurrent_backward(
            h_grads, c_grad, recurrent_kernel, h_states, c_states, gates, counts, cell=cell
        )
        z_rows = z_grad.reshape(len(rows), width)
        state_rows = z_rows if product_grad is None else product_grad.reshape(len(rows), width)
        before = h_states[:-1].reshape(len(rows), h.shape[-1])

        def x_grad() -> Array:
            grad = primitives.matmul(z_rows, kernel, transpose_b=True)
            return grad.reshape(steps, batch, features)[order].transpose(1, 0, 2)

        of_kernel = functools.cache(
            lambda: primitives.dense_backward_weight(z_rows, rows, with_bias=bias is not None)
        )
        of_recurrent_kernel = functools.cache(
            lambda: primitives.dense_backward_weight(state_rows, before, with_bias=both)
        )

        def bias_grads() -> Array:
            grads = of_kernel()[1], of_recurrent_kernel()[1]
            return xp.stack([g.total() if isinstance(g, Parts) else g for g in grads])

        return (
            x_grad,
            lambda: of_kernel()[0],
            lambda: of_recurrent_kernel()[0],
            bias_grads if both else lambda: of_kernel()[1],
            h_grad,
            first_c_grad,
        )

    return h_states[1:], backward


@differentiable
def _last_carry(states: Array, *, carry: _Carry) -> Result:
    """Return the carry after the last step; the recurrence of `states` takes its gradient."""
    shape, dtype, xp = states.shape, states.dtype, get_array_module(states)

    def backward(output_grad: Array) -> Array:
        carry.grad = output_grad
        return xp.zeros(shape, dtype)

    return carry.value, backward
