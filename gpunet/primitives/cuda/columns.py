"""Inputs as columns in chunks of rows, and the moments of these, for kernels of normalization."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpunet.primitives import launch
from gpunet.primitives.launch import Kernel

__all__ = ["COLUMNS", "Table", "column_moments", "table_of"]

Array = Any

_MOMENTS = Kernel("normalization.cu", "column_moments")

_WARP, _WARPS = COLUMNS = 32, 8  # of a block of columns
_LEAST_ROWS = 8 * _WARPS  # of a chunk
_MOST_BLOCKS = 65_535  # of a grid, along its second axis


def column_moments(x: Array, table: Table, centered: bool) -> Array:
    """Return the means and sums of squares of chunks of columns, (2, parts, line).

    Arguments:
        x: contiguous.
        table: how it is divided.
        centered: whether means are taken off; else they are 0.
    """
    kind = launch.accumulator(x.dtype)
    parts = launch.empty((2, table.parts, table.line), kind)
    types = {"T": x.dtype, "S": kind}
    _MOMENTS(table.grid, COLUMNS, *table.sizes, int(centered), x, parts, types=types)
    return parts


class Table(NamedTuple):
    """An input as (batch, rows, line), its rows divided into chunks; see the kernels."""

    batch: int
    rows: int
    line: int
    chunk: int
    chunks: int  # of a sample

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self)

    @property
    def parts(self) -> int:
        return self.batch * self.chunks

    @property
    def grid(self) -> tuple[int, int]:
        return launch.ceil_div(self.line, _WARP), min(self.parts, _MOST_BLOCKS)


def table_of(
    batch: int, positions: int, channels: int, fold: bool = True, blocks: int = 8
) -> Table:
    """Return how to divide the work so that the blocks fill the device.

    Arguments:
        batch, positions, channels: of the input.
        fold: whether a line may hold the channels of several positions, to fill warps.
        blocks: how many are wanted for each multiprocessor.
    """
    repeats = 1
    while fold and 0 < repeats * channels < _WARP and positions % (2 * repeats) == 0 < positions:
        repeats *= 2
    rows, line = positions // repeats, repeats * channels
    across = max(1, launch.ceil_div(line, _WARP) * batch)
    wanted = launch.ceil_div(blocks * launch.multiprocessors(), across)
    chunks = max(1, min(wanted, rows // _LEAST_ROWS))
    chunk = launch.ceil_div(rows, chunks) if rows else 1
    return Table(batch, rows, line, chunk, launch.ceil_div(rows, chunk))
