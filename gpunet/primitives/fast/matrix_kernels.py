"""The kernels of products of matrices; a task is a block of one result, or of a part of its sums.

The columns of a block are laid side by side in panels, from the matrix or its transpose. They are
gone through in runs of `RUN` numbers of the inner axis: a panel of a run stays in the level-1 cache
while all tiles of the block's rows meet it. The sums of a tile, `TILE` rows by a panel, stay in
registers; each run goes on from the sums of the one before. So a sum is that of all products in
order: the division into blocks changes no bit.

Rows are read where they lie. Of a transposed left matrix they lie apart, so a block packs the rows
of each tile side by side first. What is packed is read in the order in which it lies in memory. A
thread keeps its panels for the next block below, whose task is the next.

Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, helper, part, uncounted_kernel
from gpunet.primitives.fast.elementwise import share
from gpunet.primitives.fast.products import LINE, PANEL, TILE
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    broadcast,
    get,
    load,
    multiply_add,
    prefetch,
    put,
    splat,
    store,
    store_turned,
    where_beats,
)

__all__ = ["RUN", "Sizes", "add_chunks", "multiply", "pack_columns", "pack_transposed"]

Array = Any

RUN = 256  # numbers of the inner axis: a panel of them fills half of a level-1 cache
_ZERO, _ONE = np.float32(0), np.float32(1)


class Sizes(NamedTuple):
    """Sizes of a product and of the blocks that it is divided into."""

    matrices: int  # in a stack of them
    rows: int  # of a result
    columns: int
    inner: int
    given: int  # rows of the left matrix: one less than `rows` if a row of ones follows them
    left_step: int  # numbers from a left matrix to the next: 0 if they share one
    bias_step: int  # likewise of the bias
    block_rows: int  # whole tiles
    block_panels: int
    down: int  # blocks in a column of them
    across: int
    chunk: int  # numbers of the inner axis that a task sums
    kept: int  # of them, those whose panels are in memory at a time
    transpose_a: int
    transpose_b: int
    relu: int
    onto: int  # 1 if the products are added to what is there
    scratch: int  # floats of a thread's memory


@uncounted_kernel
def multiply(
    counters: Ints, tasks: int, worker: int,
    sizes: Sizes, a: FloatsIn, b: FloatsIn, bias: FloatsIn, y: Floats, memory: Floats,
    memory_in: FloatsIn,
) -> None:  # fmt: skip
    """Write the products of each chunk: (chunks, matrices, rows, columns).

    `memory_in` is `memory`: a tile, panels, and packed rows for each thread.
    """
    tile = worker * sizes.scratch
    panels, packed = tile + TILE * PANEL, -1
    width = sizes.block_panels * PANEL
    task = next_task(counters, tasks, worker)
    while task < tasks:
        side = task // sizes.down  # a chunk, a matrix and columns of it
        matrix, column = side // sizes.across % sizes.matrices, side % sizes.across * width
        count = min(width, sizes.columns - column)
        start = side // sizes.across // sizes.matrices * sizes.chunk
        end = min(start + sizes.chunk, sizes.inner)
        row = task % sizes.down * sizes.block_rows
        to = side // sizes.across * sizes.rows * sizes.columns
        for first in range(start, end, sizes.kept):
            last = min(first + sizes.kept, end)
            if packed != side or sizes.kept < sizes.chunk:
                _pack(sizes, b, matrix, column, count, first, last, memory, panels)
            for begin in range(first, last, RUN):
                length = min(RUN, last - begin)
                continues, ends = sizes.onto > 0 or begin > start, begin + length == end
                _block(
                    sizes, a, matrix, row, column, count, begin, length, continues, ends,
                    bias, y, to, memory, memory_in, tile, panels + (begin - first) * width,
                    panels + sizes.kept * width,
                )  # fmt: skip
        packed = side
        task = next_task(counters, tasks, worker)


@part
def _block(
    sizes: Sizes, a: Array, matrix: int, row: int, column: int, count: int, begin: int, length: int,
    continues: bool, ends: bool, bias: Array, y: Array, y_start: int, memory: Array,
    memory_in: Array, tile: int, panels: int, packed: int,
) -> None:  # fmt: skip
    """Write the products of a block's rows with a run of its panels, or add them."""
    last_row = min(row + sizes.block_rows, sizes.rows)
    columns = sizes.columns
    source, at, row_step, step = a, matrix * sizes.left_step, sizes.inner, 1
    at, tile_step = at + row * sizes.inner + begin, TILE * sizes.inner
    if sizes.transpose_a:
        start = matrix * sizes.left_step + begin * sizes.given
        _pack_rows(a, start, sizes.given, length, row, last_row, memory, packed)
        source, at, row_step, step = memory_in, packed, 1, TILE
        tile_step = TILE * length + LANES
    for j in range(0, count, PANEL):
        rows_at = at
        for i in range(row, last_row, TILE):
            if j == 0 and not sizes.transpose_a:
                _prefetch_rows(a, rows_at + tile_step, row_step, length)
            _tile(
                source, rows_at, row_step, step, min(TILE, last_row - i), memory_in,
                panels + j * length, length, memory, tile, min(PANEL, count - j), bias,
                matrix * sizes.bias_step + column + j,
                continues, ends, sizes.relu, sizes.transpose_a > 0, y,
                y_start + i * columns + column + j, columns,
            )  # fmt: skip
            rows_at += tile_step


@part
def _prefetch_rows(a: Array, start: int, step: int, length: int) -> None:
    """Begin to bring a tile's rows close: they are too short for the processor to foresee them."""
    for at in range(start, start + TILE * step, step):
        for k in range(at, at + length, LINE):
            prefetch(a, k)


@part
def _pack_rows(
    a: Array, start: int, rows: int, length: int, first: int, last: int, memory: Array, packed: int
) -> None:
    """Lay rows of the transpose side by side, tile by tile: (tiles, length * TILE + LANES).

    A tile's numbers are copied by a vector, and what it writes too much is written over by the
    next. After the rows that are there come rows of ones.
    """
    tile = TILE * length + LANES
    for k in range(length):
        to = packed + k * TILE
        for i in range(first, last, TILE):
            if i + LANES <= rows:
                store(memory, to, load(a, start + k * rows + i, LANES))
            else:
                for r in range(TILE):
                    put(memory, to + r, get(a, start + k * rows + i + r) if i + r < rows else _ONE)
            to += tile


@helper
def _pack(
    sizes: Sizes, b: Array, matrix: int, column: int, count: int, first: int, last: int,
    memory: Array, panels: int,
) -> None:  # fmt: skip
    """Lay columns out in panels, (runs, panels, length, PANEL), the last one filled with zeros."""
    start = matrix * sizes.inner * sizes.columns
    for begin in range(first, last, RUN):
        length = min(RUN, last - begin)
        for j in range(0, count, PANEL):
            to = panels + (begin - first) * sizes.block_panels * PANEL + j * length
            some = min(PANEL, count - j)
            if sizes.transpose_b:
                at = start + (column + j) * sizes.inner + begin
                pack_transposed(b, at, sizes.inner, length, some, memory, to)
            else:
                at = start + begin * sizes.columns + column + j
                pack_columns(b, at, sizes.columns, length, some, memory, to)


@helper
def pack_columns(
    b: Array, start: int, step: int, length: int, count: int, memory: Array, to: int
) -> None:
    """Lay up to PANEL columns out as a panel, (length, PANEL), filled up with zeros.

    Each row of them begins `step` numbers after the one before.
    """
    for k in range(length):
        at, out = start + k * step, to + k * PANEL
        if count == PANEL:
            store(memory, out, load(b, at, PANEL))
        else:
            for j in range(PANEL):
                put(memory, out + j, get(b, at + j) if j < count else _ZERO)


@helper
def pack_transposed(
    b: Array, start: int, step: int, length: int, count: int, memory: Array, to: int
) -> None:
    """Lay up to PANEL rows out as the columns of a panel, likewise."""
    whole = length // LANES * LANES if count == PANEL else 0
    for k in range(0, whole, LANES):
        for j in range(0, PANEL, LANES):
            store_turned(b, start + j * step + k, step, memory, to + k * PANEL + j, PANEL)
    for k in range(whole, length):
        for j in range(PANEL):
            number = get(b, start + j * step + k) if j < count else _ZERO
            put(memory, to + k * PANEL + j, number)


@part
def _tile(
    a: Array, start: int, row_step: int, step: int, rows: int, panels: Array, panel: int,
    length: int, memory: Array, tile: int, count: int, bias: Array, column: int, continues: bool,
    ends: bool, relu: int, apart: bool, y: Array, to: int, columns: int,
) -> None:  # fmt: skip
    """Write the products of a tile's rows with a panel to y[to:], or add them to what is there.

    If `apart`, a run's products are summed by themselves first, which rounds less in long sums;
    else the sum goes on from what is there, as that of a convolution does, with the same bits.
    Of a tile of less rows the last one is computed several times.
    """
    zero, last = splat(_ZERO, PANEL), rows - 1
    a0, a1 = start, start + min(1, last) * row_step
    a2, a3 = start + min(2, last) * row_step, start + min(3, last) * row_step
    a4, a5 = start + min(4, last) * row_step, start + min(5, last) * row_step
    whole = rows == TILE and count == PANEL
    if continues and not whole:
        _copy(y, to, columns, rows, count, memory, tile)
    sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
    if continues and not apart:
        before = _loaded(y, to, columns) if whole else _loaded(memory, tile, PANEL)
        sum0, sum1, sum2, sum3, sum4, sum5 = before
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
    if continues and apart:
        before = _loaded(y, to, columns) if whole else _loaded(memory, tile, PANEL)
        sum0, sum1, sum2 = add(sum0, before[0]), add(sum1, before[1]), add(sum2, before[2])
        sum3, sum4, sum5 = add(sum3, before[3]), add(sum4, before[4]), add(sum5, before[5])
    if ends:
        added = load(bias, column, PANEL)
        sum0, sum1, sum2 = add(sum0, added), add(sum1, added), add(sum2, added)
        sum3, sum4, sum5 = add(sum3, added), add(sum4, added), add(sum5, added)
        if relu:
            sum0, sum1 = where_beats(sum0, zero, sum0, zero), where_beats(sum1, zero, sum1, zero)
            sum2, sum3 = where_beats(sum2, zero, sum2, zero), where_beats(sum3, zero, sum3, zero)
            sum4, sum5 = where_beats(sum4, zero, sum4, zero), where_beats(sum5, zero, sum5, zero)
    sums = sum0, sum1, sum2, sum3, sum4, sum5
    if whole:
        _store(sums, y, to, columns)
    else:
        _store(sums, memory, tile, PANEL)
        for r in range(rows):
            for j in range(count):
                put(y, to + r * columns + j, get(memory, tile + r * PANEL + j))


@part
def _loaded(x: Array, at: int, step: int) -> Any:
    """Return the sums of a tile's rows, which begin `step` numbers apart."""
    return (
        load(x, at, PANEL), load(x, at + step, PANEL), load(x, at + 2 * step, PANEL),
        load(x, at + 3 * step, PANEL), load(x, at + 4 * step, PANEL), load(x, at + 5 * step, PANEL),
    )  # fmt: skip


@part
def _copy(y: Array, to: int, step: int, rows: int, count: int, memory: Array, tile: int) -> None:
    """Copy what is there of a tile that is not whole, to where a whole one has place."""
    for r in range(rows):
        for j in range(count):
            put(memory, tile + r * PANEL + j, get(y, to + r * step + j))


@part
def _store(sums: Any, y: Array, to: int, step: int) -> None:
    """Write the sums of a tile's rows, likewise."""
    store(y, to, sums[0])
    store(y, to + step, sums[1])
    store(y, to + 2 * step, sums[2])
    store(y, to + 3 * step, sums[3])
    store(y, to + 4 * step, sums[4])
    store(y, to + 5 * step, sums[5])


@uncounted_kernel
def add_chunks(
    counters: Ints, tasks: int, worker: int, chunks: int, parts: FloatsIn, y: Floats
) -> None:
    """Write the sum of the results of all chunks, in their order."""
    size = y.size
    task = next_task(counters, tasks, worker)
    while task < tasks:
        start, end = share(task, tasks, size)
        whole = start + (end - start) // LANES * LANES
        for i in range(start, whole, LANES):
            total = load(parts, i, LANES)
            for at in range(i + size, chunks * size, size):
                total = add(total, load(parts, at, LANES))
            store(y, i, total)
        for i in range(whole, end):
            number = get(parts, i)
            for at in range(i + size, chunks * size, size):
                number += get(parts, at)
            put(y, i, number)
        task = next_task(counters, tasks, worker)
