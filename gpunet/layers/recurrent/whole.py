"""Cells that run over a whole sequence as one function."""

from __future__ import annotations

from typing import Any

from gpunet import activations, functions
from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module
from gpunet.layers.recurrent.cells import GRUCell, LSTMCell, RecurrentCell, SimpleRNNCell

__all__ = ["can_run_whole", "outputs_of", "run_whole"]


def can_run_whole(cell: Any) -> bool:
    """Return whether a cell is gpunet's own with the usual activations, and drops no states."""
    if type(cell) not in (SimpleRNNCell, LSTMCell, GRUCell) or not _is_unchanged(cell):
        return False
    if cell.activation is not activations.tanh or cell.recurrent_dropout:
        return False
    if getattr(cell, "recurrent_activation", activations.sigmoid) is not activations.sigmoid:
        return False
    each_gate = cell.dropout and cell.implementation == 1 and cell.gates > 1
    return not each_gate and getattr(cell, "reset_after", True)


def _is_unchanged(cell: Any) -> bool:
    return "call" not in vars(cell) and "step" not in vars(cell)


def run_whole(
    cell: RecurrentCell,
    sequences: Tensor,
    states: list[Any],
    mask: Array | None,
    go_backwards: bool,
) -> tuple[Tensor, list[Any]]:
    """Return the states after each step, (time, batch, units), and the last states.

    Arguments:
        cell: of which `can_run_whole` is true.
        sequences: (batch, time, features).
        states: the first ones.
        mask: bool (batch, time), or None.
        go_backwards: whether to start with the last step.
    """
    dropped = cell.dropout_masks(_First(sequences))
    if dropped is not None:
        factors = functions.reshape(dropped[0], (len(sequences), 1, -1))
        sequences = sequences * factors
    run = {SimpleRNNCell: functions.simple_rnn, LSTMCell: functions.lstm, GRUCell: functions.gru}
    weights = cell.kernel, cell.recurrent_kernel, cell.bias
    result = run[type(cell)](sequences, *weights, *states, mask=mask, go_backwards=go_backwards)
    h_states, *carry = result if isinstance(result, tuple) else (result,)
    return h_states, [h_states[-1], *carry]


def outputs_of(
    h_states: Tensor, mask: Array | None, go_backwards: bool, zero_output: bool
) -> Tensor:
    """Return outputs for states (time, batch, units): zeros at masked steps, or before the others.

    Arguments:
        h_states: after each step.
        mask: bool (batch, time), or None.
        go_backwards: whether the states are in the order from the last step.
        zero_output: whether outputs are zeros at all masked steps.
    """
    if mask is None:
        return h_states
    counts = mask.T[::-1] if go_backwards else mask.T
    if not zero_output:
        counts = get_array_module(mask).cumsum(counts, axis=0) > 0
    return functions.where(counts[:, :, None], h_states, 0)


class _First:
    """The shape, dtype and place of the first step of sequences."""

    def __init__(self, sequences: Tensor) -> None:
        self.shape = (sequences.shape[0], *sequences.shape[2:])
        self.dtype, self.value = sequences.dtype, sequences.value
