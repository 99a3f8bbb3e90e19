"""The layer that runs a cell along time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gpunet import functions
from gpunet.arguments import boolean
from gpunet.autograd import Array, Parameter, Tensor
from gpunet.backend import get_array_module
from gpunet.layers.layer import Layer, Shape
from gpunet.layers.recurrent.cells import check_states
from gpunet.layers.recurrent.stacked import (
    StackedRNNCells,
    checked_cell,
    draw_masks,
    output_size,
    renewed,
    run_cell,
)
from gpunet.layers.recurrent.whole import can_run_whole, outputs_of, run_whole
from gpunet.structure import flatten, pack

__all__ = ["RNN"]


class RNN(Layer):
    """Run a cell over the time steps of inputs (batch, time, ...).

    A cell has ``call(inputs, states)``, which returns the output and the next states, and
    `state_size`, an integer or a list with one for each state.

    With a mask (batch, time) the states stay as they are at masked steps, and the output is that of
    the step before, zeros at first.

    Arguments:
        cell: a cell, or a list of cells that are stacked.
        return_sequences: whether to return the outputs of all time steps, (batch, time, units), in
            place of the last one.
        return_state: whether to return the last states too: [output, *states].
        go_backwards: whether to start at the last time step; outputs are then in this order.
        stateful: whether a call starts with the states in which the last one ended, sample by
            sample; `reset_state` sets them to 0. They move with the weights: not in a failed step.
        unroll: accepted as in Keras; it makes no difference.
        zero_output_for_mask: whether the output is zeros at masked steps.
        options: those of every `Layer`.

    Call arguments:
        initial_state: tensors, one for each state, each (batch, size); zeros by default.
        mask: bool (batch, time).

    >>> import numpy as np
    >>> from gpunet.layers import GRUCell
    >>> RNN([GRUCell(4), GRUCell(2)], return_sequences=True)(np.ones((5, 7, 3))).shape
    (5, 7, 2)
    """

    creates_mask = False

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        where = type(self).__name__
        is_list = isinstance(cell, list | tuple)
        self.cell: Any = StackedRNNCells(list(cell)) if is_list else checked_cell(cell, where)
        self.return_sequences = boolean(return_sequences, "return_sequences", where)
        self.return_state = boolean(return_state, "return_state", where)
        self.go_backwards = boolean(go_backwards, "go_backwards", where)
        self.stateful = boolean(stateful, "stateful", where)
        self.unroll = boolean(unroll, "unroll", where)
        self.zero_output_for_mask = boolean(zero_output_for_mask, "zero_output_for_mask", where)
        # Not among the weights, as in Keras; to set it must not look like another layer.
        self._memory = SimpleNamespace(states=None)

    @classmethod
    def from_config(cls, config: Any) -> Any:
        return super().from_config(renewed(dict(config)))

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states, always as a list."""
        size = self.cell.state_size
        return list(size) if isinstance(size, list | tuple) else [size]

    # Shapes and masks

    def build(self, input_shape: Shape) -> None:
        self._check_rank(input_shape)
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((input_shape[0], *input_shape[2:]))

    def _check_rank(self, shape: Any) -> None:
        if len(shape) < 3 or isinstance(shape[0], list | tuple):
            raise ValueError(
                f"{type(self).__name__} expects inputs of shape (batch, time, features), received "
                f"{tuple(shape)}."
            )

    def check_input(self, shape: Any) -> None:
        self._check_rank(shape)
        if shape[1] == 0:
            raise ValueError(
                f"{type(self).__name__} expects at least one time step, received inputs of shape "
                f"{tuple(shape)}."
            )
        if isinstance(self.cell, Layer):
            self.cell.check_input((shape[0], *shape[2:]))

    def _cast(self, x: Any) -> Any:
        return self.cell._cast(x) if isinstance(self.cell, Layer) else x

    def compute_output_shape(self, input_shape: Shape) -> Any:
        batch, time = input_shape[:2]
        sizes = _as_shape(output_size(self.cell))
        shape = (batch, time, *sizes) if self.return_sequences else (batch, *sizes)
        return [shape, *self._state_shapes(batch)] if self.return_state else shape

    def _state_shapes(self, batch: int | None) -> list[Any]:
        def shapes(size: Any) -> Any:
            if isinstance(size, list):
                return [shapes(part) for part in size]
            return (batch, *_as_shape(size))

        return [shapes(size) for size in self.state_size]

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = previous_mask if self.return_sequences else None
        return [mask] if self.return_state else mask

    # Calls

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None) -> Any:
        if mask is not None and mask.ndim != 2:
            raise ValueError(
                f"{type(self).__name__} expects a mask of shape (batch, time), "
                f"{sequences.shape[:2]}, received {mask.shape}."
            )
        if mask is not None and mask.shape != sequences.shape[:2]:  # 1 where it is the same for all
            mask = get_array_module(mask).broadcast_to(mask, sequences.shape[:2]).copy()
        states = self._first_states(sequences, initial_state)
        output, states = self.run_steps(sequences, states, mask)
        if self.stateful:
            for parameter, state in zip(self._memory.states, flatten(states), strict=True):
                self.add_update(parameter, state)
        return [output, *states] if self.return_state else output

    def run_steps(
        self, sequences: Tensor, states: list[Any], mask: Array | None
    ) -> tuple[Tensor, list[Any]]:
        """Return the output and the last states."""
        if can_run_whole(self.cell):
            backwards, zero = self.go_backwards, self.zero_output_for_mask
            h_states, last = run_whole(self.cell, sequences, states, mask, backwards)
            outputs = outputs_of(h_states, mask, backwards, zero)
            if self.return_sequences:
                return functions.transpose(outputs, (1, 0, 2)), last
            return outputs[-1], last
        steps = functions.unstack(sequences, axis=1)
        masks = [None] * len(steps) if mask is None else [mask[:, t] for t in range(len(steps))]
        if self.go_backwards:
            steps, masks = steps[::-1], masks[::-1]
        dropped = draw_masks(self.cell, steps[0])
        results: list[Tensor] = []
        for x, counts in zip(steps, masks, strict=True):
            output, after = run_cell(self.cell, x, states, dropped)
            if counts is not None:
                before = None if self.zero_output_for_mask or not results else results[-1]
                output = _where(counts, output, before)
                pairs = zip(flatten(after), flatten(states), strict=True)
                after = pack(after, [_where(counts, new, old) for new, old in pairs])
            results, states = [*(results if self.return_sequences else ()), output], after
        return (functions.stack(results, axis=1) if self.return_sequences else output), states

    # States

    def _first_states(self, sequences: Tensor, given: Any) -> list[Any]:
        batch = len(sequences)
        if given is None and self.stateful:
            # Copies: the states are written over while the gradient still needs these.
            states = [Tensor(p.value.copy()) for p in self._stored(sequences)]
            return pack(self._state_shapes_as_leaves(), states)
        if self.stateful:
            self._stored(sequences)
        if given is None:
            return self._zero_states(sequences)
        states = list(given) if isinstance(given, list | tuple) else [given]
        expected = self._state_shapes(batch)
        check_states(flatten(states), _leaf_shapes(expected), type(self).__name__)
        like = sequences.value
        tensors = [self._as_tensor(state, like) for state in flatten(states)]
        tensors = [t if t.dtype == like.dtype else functions.astype(t, like.dtype) for t in tensors]
        return pack(self._state_shapes_as_leaves(), tensors)

    def _zero_states(self, sequences: Tensor) -> list[Any]:
        own = getattr(self.cell, "get_initial_state", None)
        if own is not None and not type(self.cell).__module__.startswith("gpunet."):
            states = own(batch_size=len(sequences))
            states = list(states) if isinstance(states, list | tuple) else [states]
            return pack(states, [self._as_tensor(s, sequences.value) for s in flatten(states)])
        xp, shapes = get_array_module(sequences.value), self._state_shapes(len(sequences))
        zeros = [Tensor(xp.zeros(shape, sequences.dtype)) for shape in _leaf_shapes(shapes)]
        return pack(self._state_shapes_as_leaves(), zeros)

    def _state_shapes_as_leaves(self) -> list[Any]:
        """Return the structure of the states, with one leaf for each."""

        def leaves(size: Any) -> Any:
            return [leaves(part) for part in size] if isinstance(size, list) else 0

        return [leaves(size) for size in self.state_size]

    def _stored(self, sequences: Tensor) -> list[Parameter]:
        """Return the states kept from the call before, of zeros at first."""
        stored, batch = self._memory.states, len(sequences)
        if stored is None or (len(stored[0]) != batch and not any(s.value.any() for s in stored)):
            self._memory.states = stored = [
                Parameter(state.value, "rnn_state", trainable=False)
                for state in flatten(self._zero_states(sequences))
            ]
        if len(stored[0]) != batch:
            raise ValueError(
                f"{type(self).__name__} is stateful: its states are those of {len(stored[0])} "
                f"samples, received a batch of {batch}. Pass batches of one size, or call "
                "reset_state() before another size."
            )
        return stored

    @property
    def states(self) -> list[Parameter] | None:
        """The states kept from the call before where `stateful`; None before the first."""
        return self._memory.states

    def reset_state(self) -> None:
        """Set the states that a stateful layer keeps to 0."""
        for state in self._memory.states or ():
            state.value.fill(0)

    reset_states = reset_state


def _as_shape(size: Any) -> tuple[int, ...]:
    return tuple(size) if isinstance(size, tuple) else (size,)


def _leaf_shapes(shapes: Any) -> list[tuple[int, ...]]:
    """Return the shapes in nested lists, in order."""
    if isinstance(shapes, list):
        return [leaf for item in shapes for leaf in _leaf_shapes(item)]
    return [shapes]


def _where(counts: Array, new: Any, old: Any) -> Tensor:
    """Return `new` for samples that count, else `old`, or zeros."""
    condition = counts.reshape(counts.shape + (1,) * (new.ndim - 1))
    return functions.where(condition, new, 0 if old is None else old)
