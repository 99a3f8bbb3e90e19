"""Cells on top of each other as one."""

from __future__ import annotations

from typing import Any

from gpunet.layers.layer import Layer, Shape
from gpunet.layers.recurrent.cells import RecurrentCell, check_states

__all__ = ["StackedRNNCells"]


class StackedRNNCells(Layer):
    """Several cells as one: each takes the output of the one before it.

    Arguments:
        cells: a list of cells.
        options: those of every `Layer`.

    >>> import numpy as np
    >>> from gpunet.layers import GRUCell, RNN
    >>> RNN(StackedRNNCells([GRUCell(4), GRUCell(2)]))(np.ones((5, 7, 3))).shape
    (5, 2)
    """

    def __init__(self, cells: Any, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(cells, list | tuple) or not cells:
            raise ValueError(
                f"StackedRNNCells expects a list of cells, such as [LSTMCell(8), LSTMCell(8)], "
                f"received {cells!r}."
            )
        self.cells = [checked_cell(cell, "StackedRNNCells") for cell in cells]

    @classmethod
    def from_config(cls, config: Any) -> Any:
        return super().from_config(renewed(config))

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states of each cell."""
        sizes = [cell.state_size for cell in self.cells]
        return [list(size) if isinstance(size, tuple) else size for size in sizes]

    @property
    def output_size(self) -> Any:
        """The size of the output of the last cell."""
        return output_size(self.cells[-1])

    def build(self, input_shape: Shape) -> None:
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
            input_shape = (input_shape[0], output_size(cell))

    def call(self, inputs: Any, states: Any) -> Any:  # type: ignore[override]
        for cell, state in zip(self.cells, states, strict=False):
            if isinstance(cell, RecurrentCell):
                check_states(
                    list(state) if isinstance(state, list | tuple) else [state],
                    [cell.state_shape(inputs)] * cell.state_count,
                    f"StackedRNNCells: {type(cell).__name__}",
                )
        return self.step(inputs, states, draw_masks(self, inputs))

    def _cast(self, x: Any) -> Any:
        first = self.cells[0]
        return first._cast(x) if isinstance(first, Layer) else x

    def step(self, inputs: Any, states: Any, masks: Any) -> tuple[Any, list[Any]]:
        """Return the output of the last cell, and the next states of each cell."""
        if len(states) != len(self.cells):
            raise ValueError(
                f"StackedRNNCells expects the states of {len(self.cells)} cells, received "
                f"{len(states)}."
            )
        after = []
        masks = masks or [None] * len(self.cells)
        for cell, state, mask in zip(self.cells, states, masks, strict=True):
            given = list(state) if isinstance(state, list | tuple) else [state]
            inputs, new = run_cell(cell, inputs, given, mask)
            after.append(new if isinstance(state, list | tuple) else new[0])
        return inputs, after

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """Return the initial states of each cell."""
        found = []
        for cell in self.cells:
            states = cell.get_initial_state(batch_size=batch_size)
            single = isinstance(cell.state_size, int) and isinstance(states, list | tuple)
            found.append(states[0] if single else states)
        return found


def checked_cell(cell: Any, where: str) -> Any:
    """Return a cell, or raise `ValueError` where an object cannot be one."""
    if not callable(getattr(cell, "call", None)) or not hasattr(cell, "state_size"):
        raise ValueError(
            f"{where} expects cells: objects with call(inputs, states) and state_size, such as "
            f"LSTMCell(8); received {cell!r}."
        )
    return cell


def output_size(cell: Any) -> Any:
    """Return the size of the output of a cell: that of its first state by default."""
    size = getattr(cell, "output_size", None)
    if size is not None:
        return size
    return cell.state_size[0] if isinstance(cell.state_size, list | tuple) else cell.state_size


def _steps_itself(cell: Any) -> bool:
    """Return whether a cell is one of gpunet's whose `call` was not replaced."""
    if "call" in vars(cell):
        return False
    return type(cell).call in (RecurrentCell.call, StackedRNNCells.call)


def draw_masks(cell: Any, inputs: Any) -> Any:
    """Return the dropout of a cell that stays the same at all time steps; None for none.

    Arguments:
        inputs: of one time step.
    """
    if not _steps_itself(cell):
        return None
    if isinstance(cell, RecurrentCell):
        return cell.dropout_masks(inputs)
    masks = []
    for part in cell.cells:
        masks.append(draw_masks(part, inputs))
        shape = (inputs.shape[0], output_size(part))
        inputs = inputs if inputs.shape == shape else _Like(inputs, shape)
    return masks if any(mask is not None for mask in masks) else None


class _Like:
    """The shape, dtype and place of a tensor that is not computed."""

    def __init__(self, other: Any, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype, self.value = shape, other.dtype, other.value


def run_cell(cell: Any, inputs: Any, states: list[Any], masks: Any) -> tuple[Any, list[Any]]:
    """Return the output of any cell and its next states as a list."""
    if _steps_itself(cell):
        return cell.step(inputs, states, masks)
    output, after = (cell if isinstance(cell, Layer) else cell.call)(inputs, states)
    return output, list(after) if isinstance(after, list | tuple) else [after]


def renewed(item: Any) -> Any:
    """Return a configuration with new layers, without weights, in place of those in it."""
    if isinstance(item, Layer):
        return type(item).from_config(item.get_config())
    if isinstance(item, dict):
        return {key: renewed(value) for key, value in item.items()}
    return [renewed(value) for value in item] if isinstance(item, list) else item
