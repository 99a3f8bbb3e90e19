"""Products of float32 matrices, and of stacks of them; a task is a block of one result.

A block is gone through in runs of `RUN` of the inner axis. The numbers of a run are laid side by
side for each panel of columns, from the matrix or its transpose; a panel of them stays in the
level-1 cache while all tiles of the block's rows meet it. The sums of a tile, `TILE` rows by a
panel, stay in registers; each run goes on from the sums of the one before. So a sum is that of all
products in order: neither the division into blocks nor the number of threads changes a bit.

Rows are read where they lie. Of a transposed left matrix they lie apart, so a block packs the rows
of each tile side by side first. What is packed is read in the order in which it lies in memory.

Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, kernel, part
from gpunet.primitives.fast.memory import flat, scratch
from gpunet.primitives.fast.plans import whole_lines
from gpunet.primitives.fast.products import PANEL, TILE
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    broadcast,
    get,
    load,
    multiply_add,
    put,
    splat,
    store,
    take_task,
    where_beats,
)
from gpunet.primitives.fast.threads import run, thread_count
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.shapes import matmul_sizes

__all__ = ["multiply_matrices"]

Array = Any

RUN = 256  # numbers of the inner axis: a panel of them fills half of a level-1 cache
_TASK = 1 << 20  # multiplications that are worth a task: some 20 microseconds
_TASKS = 6  # for each thread: one that is held up leaves the others enough
_MOST_ROWS, _LEAST_ROWS = 40 * TILE, 8 * TILE  # of a block
_MOST_PANELS = 8


class _Sizes(NamedTuple):
    """Sizes of a product and of the blocks that it is divided into."""

    rows: int
    columns: int
    inner: int
    block_rows: int
    block_panels: int
    down: int  # blocks in a column of them
    across: int
    transpose_a: int
    transpose_b: int
    relu: int
    scratch: int  # floats of a thread's memory


def multiply_matrices(
    a: Array, b: Array, bias: Array | None, transpose_a: bool, transpose_b: bool, relu: bool
) -> Array:
    """Return ``a @ b + bias``, of two matrices or two stacks of them, after relu if it is wanted.

    Arguments:
        a, b: float32, not empty.
        bias: one number for each column, or None.
        transpose_a, transpose_b: whether the transpose is meant.
        relu: whether numbers below 0 become 0.
    """
    rows, columns, inner = matmul_sizes(a.shape, b.shape, transpose_a, transpose_b)
    a, transpose_a = _contiguous(a, transpose_a)
    b, transpose_b = _contiguous(b, transpose_b)
    count = len(a) if a.ndim == 3 else 1
    sizes = _sizes(count, rows, columns, inner, transpose_a, transpose_b, relu)
    y = empty((*a.shape[:-2], rows, columns), np.float32)
    added = np.zeros(-(-columns // PANEL) * PANEL, np.float32)
    if bias is not None:
        added[:columns] = bias
    memory = scratch(sizes.scratch)
    tasks = count * sizes.down * sizes.across
    run(_multiply, tasks, sizes, flat(a), flat(b), added, y.reshape(-1), memory, memory)
    return y


def _contiguous(matrix: Array, transposed: bool) -> tuple[Array, bool]:
    """Return a matrix that is the transpose of a contiguous one as that, else as it is."""
    if matrix.ndim == 2 and not matrix.flags.c_contiguous and matrix.flags.f_contiguous:
        return matrix.T, not transposed
    return matrix, transposed


@lru_cache(maxsize=512)
def _sizes(
    count: int, rows: int, columns: int, inner: int, transpose_a: bool, transpose_b: bool,
    relu: bool,
) -> _Sizes:  # fmt: skip
    """Return the sizes of blocks: as large as the caches hold, but enough of them for threads."""
    panels = -(-columns // PANEL)
    wanted = max(1, min(_TASKS * thread_count(), count * rows * columns * inner // _TASK))
    block_rows, block_panels = min(rows, _MOST_ROWS), min(panels, _MOST_PANELS)

    def are_few() -> bool:
        return count * -(-rows // block_rows) * -(-panels // block_panels) < wanted

    # Rows that are packed are packed anew for each block beside; panels for each block below.
    while not transpose_a and block_panels > 2 and are_few():
        block_panels = -(-block_panels // 2)
    while block_rows > _LEAST_ROWS and are_few():
        block_rows = max(_LEAST_ROWS, block_rows // 2 // TILE * TILE)
    while block_panels > 1 and are_few():
        block_panels = -(-block_panels // 2)
    run_length = min(RUN, inner)
    tiles = -(-block_rows // TILE)
    packed = tiles * (TILE * run_length + LANES) if transpose_a else 0
    memory = TILE * PANEL + block_panels * PANEL * run_length + packed
    return _Sizes(
        rows, columns, inner, block_rows, block_panels, -(-rows // block_rows),
        -(-panels // block_panels), int(transpose_a), int(transpose_b), int(relu),
        whole_lines(memory),
    )  # fmt: skip


@kernel
def _multiply(
    counters: Ints, tasks: int, worker: int,
    sizes: _Sizes, a: FloatsIn, b: FloatsIn, bias: FloatsIn, y: Floats, memory: Floats,
    memory_in: FloatsIn,
) -> None:  # fmt: skip
    """Write the products. `memory_in` is `memory`: a tile, panels, and packed rows a thread."""
    rows, columns, inner = sizes.rows, sizes.columns, sizes.inner
    tile, run_length = worker * sizes.scratch, min(RUN, inner)
    panels = tile + TILE * PANEL
    packed = panels + sizes.block_panels * PANEL * run_length
    task = take_task(counters)
    while task < tasks:
        matrix, block = task // (sizes.down * sizes.across), task % (sizes.down * sizes.across)
        row = block // sizes.across * sizes.block_rows
        last_row = min(row + sizes.block_rows, rows)
        column = block % sizes.across * sizes.block_panels * PANEL
        last_column = min(column + sizes.block_panels * PANEL, columns)
        a_start, b_start = matrix * rows * inner, matrix * inner * columns
        for first in range(0, inner, RUN):
            length = min(RUN, inner - first)
            continues, ends = first > 0, first + length == inner
            if sizes.transpose_b:
                _pack_transposed(b, b_start + column * inner + first, inner, length,
                                 last_column - column, memory, panels)  # fmt: skip
            else:
                _pack(b, b_start + first * columns + column, columns, length,
                      last_column - column, memory, panels)  # fmt: skip
            if sizes.transpose_a:
                _pack_rows(a, a_start + first * rows, rows, length, row, last_row, memory, packed)
            for j in range(column, last_column, PANEL):
                count, panel = min(PANEL, columns - j), panels + (j - column) * length
                for i in range(row, last_row, TILE):
                    several = min(TILE, last_row - i)
                    to = (matrix * rows + i) * columns + j
                    if sizes.transpose_a:
                        at = packed + (i - row) // TILE * (TILE * length + LANES)
                        _tile(memory_in, at, 1, TILE, several, memory_in, panel, length, memory,
                              tile, count, bias, j, continues, ends, sizes.relu, y, to,
                              columns)  # fmt: skip
                    else:
                        at = a_start + i * inner + first
                        _tile(a, at, inner, 1, several, memory_in, panel, length, memory,
                              tile, count, bias, j, continues, ends, sizes.relu, y, to,
                              columns)  # fmt: skip
        task = take_task(counters)


@part
def _pack_rows(
    a: Array, start: int, rows: int, length: int, first: int, last: int, memory: Array, packed: int
) -> None:
    """Lay rows of the transpose side by side, tile by tile: (tiles, length * TILE + LANES).

    A tile's numbers are copied by a vector, and what it writes too much is written over by the
    next; the last tile repeats rows that are there.
    """
    tile = TILE * length + LANES
    for k in range(length):
        to = packed + k * TILE
        for i in range(first, last, TILE):
            if i + LANES <= rows:
                store(memory, to, load(a, start + k * rows + i, LANES))
            else:
                for r in range(TILE):
                    put(memory, to + r, get(a, start + k * rows + min(i + r, rows - 1)))
            to += tile


@part
def _pack(
    b: Array, start: int, step: int, length: int, count: int, memory: Array, panels: int
) -> None:
    """Lay columns out in panels, (panels, length, PANEL), the last one filled up with zeros."""
    whole = count // PANEL * PANEL
    for k in range(length):
        to = panels + k * PANEL
        for j in range(0, whole, PANEL):
            store(memory, to + j * length, load(b, start + k * step + j, PANEL))
        if whole < count:
            to += whole * length
            for j in range(count - whole):
                put(memory, to + j, get(b, start + k * step + whole + j))
            for j in range(count - whole, PANEL):
                put(memory, to + j, np.float32(0))


@part
def _pack_transposed(
    b: Array, start: int, step: int, length: int, count: int, memory: Array, panels: int
) -> None:
    """Lay rows of a matrix out as panels of columns, likewise."""
    for j in range(count):
        to = panels + j // PANEL * PANEL * length + j % PANEL
        for k in range(length):
            put(memory, to + k * PANEL, get(b, start + j * step + k))
    for j in range(count, (count + PANEL - 1) // PANEL * PANEL):
        to = panels + j // PANEL * PANEL * length + j % PANEL
        for k in range(length):
            put(memory, to + k * PANEL, np.float32(0))


@part
def _tile(
    a: Array, start: int, row_step: int, step: int, rows: int, panels: Array, panel: int,
    length: int, memory: Array, tile: int, count: int, bias: Array, column: int, continues: bool,
    ends: bool, relu: int, y: Array, to: int, columns: int,
) -> None:  # fmt: skip
    """Write the products of a tile's rows with a panel to y[to:], or add them to what is there.

    Of a tile of less rows the last one is computed several times.
    """
    zero, last = splat(np.float32(0), PANEL), rows - 1
    a0, a1 = start, start + min(1, last) * row_step
    a2, a3 = start + min(2, last) * row_step, start + min(3, last) * row_step
    a4, a5 = start + min(4, last) * row_step, start + min(5, last) * row_step
    whole = rows == TILE and count == PANEL
    sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
    if continues and whole:
        sum0, sum1 = load(y, to, PANEL), load(y, to + columns, PANEL)
        at = to + 2 * columns
        sum2, sum3 = load(y, at, PANEL), load(y, at + columns, PANEL)
        at += 2 * columns
        sum4, sum5 = load(y, at, PANEL), load(y, at + columns, PANEL)
    elif continues:
        for r in range(rows):
            for j in range(count):
                put(memory, tile + r * PANEL + j, get(y, to + r * columns + j))
        sum0, sum1 = load(memory, tile, PANEL), load(memory, tile + PANEL, PANEL)
        at = tile + 2 * PANEL
        sum2, sum3 = load(memory, at, PANEL), load(memory, at + PANEL, PANEL)
        at += 2 * PANEL
        sum4, sum5 = load(memory, at, PANEL), load(memory, at + PANEL, PANEL)
    at = 0
    for k in range(panel, panel + length * PANEL, PANEL):
        w = load(panels, k, PANEL)
        sum0 = multiply_add(broadcast(a, a0 + at, PANEL), w, sum0)
        sum1 = multiply_add(broadcast(a, a1 + at, PANEL), w, sum1)
        sum2 = multiply_add(broadcast(a, a2 + at, PANEL), w, sum2)
        sum3 = multiply_add(broadcast(a, a3 + at, PANEL), w, sum3)
        sum4 = multiply_add(broadcast(a, a4 + at, PANEL), w, sum4)
        sum5 = multiply_add(broadcast(a, a5 + at, PANEL), w, sum5)
        at += step
    added = load(bias, column, PANEL) if ends else zero
    cut = ends and relu != 0
    if whole:
        _finish(sum0, added, cut, y, to)
        _finish(sum1, added, cut, y, to + columns)
        _finish(sum2, added, cut, y, to + 2 * columns)
        _finish(sum3, added, cut, y, to + 3 * columns)
        _finish(sum4, added, cut, y, to + 4 * columns)
        _finish(sum5, added, cut, y, to + 5 * columns)
    else:
        _finish(sum0, added, cut, memory, tile)
        _finish(sum1, added, cut, memory, tile + PANEL)
        _finish(sum2, added, cut, memory, tile + 2 * PANEL)
        _finish(sum3, added, cut, memory, tile + 3 * PANEL)
        _finish(sum4, added, cut, memory, tile + 4 * PANEL)
        _finish(sum5, added, cut, memory, tile + 5 * PANEL)
        for r in range(rows):
            for j in range(count):
                put(y, to + r * columns + j, get(memory, tile + r * PANEL + j))


@part
def _finish(value: Any, added: Any, cut: bool, y: Array, to: int) -> None:
    """Write the sums of a row, with the bias, and after relu if it is wanted."""
    value = add(value, added)
    if cut:
        zero = splat(np.float32(0), PANEL)
        value = where_beats(value, zero, value, zero)
    store(y, to, value)
