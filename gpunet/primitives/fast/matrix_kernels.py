"""The kernels of products of matrices; a task is a block of one result, or of a part of its sums.

The columns of a block are laid side by side in panels, from the matrix or its transpose. They are
gone through in runs of `RUN` numbers of the inner axis: a panel of a run stays in the level-1 cache
while all tiles of the block's rows meet it. The sums of a tile, `TILE` rows by a panel, stay in
registers; each run goes on from the sums of the one before. So a sum is that of all products in
order: the division into blocks changes no bit.

Rows are read where they lie. Of a transposed left matrix they lie apart, so a block packs the rows
of each tile side by side first. What is packed is read in the order in which it lies in memory.
Where many blocks lie below each other, a thread packs all panels at once and keeps them for the
next block below, whose task is the next; else each panel is packed just before its tiles, so that
it need not leave the level-1 cache.

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
    get,
    load,
    prefetch,
    put,
    splat,
    store,
    store_turned,
    where_beats,
)
from gpunet.primitives.fast.tiles import (
    add_products,
    add_to_rows,
    load_rows,
    row_starts,
    store_rows,
)

__all__ = ["RUN", "SPACED", "Sizes", "add_chunks", "multiply", "pack_columns", "pack_transposed"]

Array = Any

RUN = 256  # numbers of the inner axis: a panel of them fills half of a level-1 cache
SPACED = 8  # from the TILE numbers of packed rows to the next: each lies in one cache line
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
    kept: int  # 1 if a thread packs all panels of a block, and keeps them for blocks below
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
    rows_at = panels + (sizes.chunk * width if sizes.kept else min(RUN, sizes.chunk) * PANEL)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        side = task // sizes.down  # a chunk, a matrix and columns of it
        matrix, column = side // sizes.across % sizes.matrices, side % sizes.across * width
        count = min(width, sizes.columns - column)
        start = side // sizes.across // sizes.matrices * sizes.chunk
        end = min(start + sizes.chunk, sizes.inner)
        row = task % sizes.down * sizes.block_rows
        to = side // sizes.across * sizes.rows * sizes.columns
        for begin in range(start, end, RUN):
            length = min(RUN, end - begin)
            run = panels + (begin - start) * width if sizes.kept else panels
            if sizes.kept and packed != side:
                for j in range(0, count, PANEL):
                    _pack(sizes, b, matrix, begin, length, column + j, memory, run + j * length)
            _block(
                sizes, a, b, matrix, row, column, count, begin, length,
                sizes.onto > 0 or begin > start, begin + length == end, bias, y, to, memory,
                memory_in, tile, run, rows_at,
            )  # fmt: skip
        packed = side
        task = next_task(counters, tasks, worker)


@part
def _block(
    sizes: Sizes, a: Array, b: Array, matrix: int, row: int, column: int, count: int, begin: int,
    length: int, continues: bool, ends: bool, bias: Array, y: Array, y_start: int, memory: Array,
    memory_in: Array, tile: int, panels: int, packed: int,
) -> None:  # fmt: skip
    """Write the products of a block's rows with a run of its panels, or add them."""
    last_row = min(row + sizes.block_rows, sizes.rows)
    columns = sizes.columns
    source, at, row_step = a, matrix * sizes.left_step, sizes.inner
    at, tile_step = at + row * sizes.inner + begin, TILE * sizes.inner
    if sizes.transpose_a:
        start = matrix * sizes.left_step + begin * sizes.given
        _pack_rows(a, start, sizes.given, length, row, last_row, memory, packed)
        source, at, row_step = memory_in, packed, 1
        tile_step = SPACED * length + LINE
    share = length * TILE // (last_row - row) + 1  # rows of the next panel for each tile
    for j in range(0, count, PANEL):
        rows_at, some, panel = at, min(PANEL, count - j), panels
        if sizes.kept:
            panel += j * length
        else:
            _pack(sizes, b, matrix, begin, length, column + j, memory, panel)
        next_panel = (matrix * sizes.inner + begin) * columns + column + j + PANEL
        out, to, out_step, down = y, y_start + row * columns + column + j, columns, TILE * columns
        if some < PANEL:
            out, to, out_step, down = memory, tile, PANEL, 0
        a_rows, out_rows = row_starts(0, TILE, row_step), row_starts(0, TILE, out_step)
        for i in range(row, last_row, TILE):
            rows, written = min(TILE, last_row - i), y_start + i * columns + column + j
            if j == 0 and not sizes.transpose_a:
                _prefetch_rows(a, rows_at + tile_step, row_step, length)
            if not (sizes.kept or sizes.transpose_b):
                k = (i - row) // TILE * share
                _prefetch_columns(b, next_panel + k * columns, columns, min(share, length - k))
            if rows < TILE:
                a_rows, out_rows = row_starts(0, rows, row_step), row_starts(0, rows, out_step)
            if some < PANEL and continues:
                _copy(y, written, columns, rows, some, memory, tile, PANEL)
            _tile(
                source, rows_at, a_rows, memory_in, panel, length, bias,
                matrix * sizes.bias_step + column + j, continues, ends, sizes.relu,
                sizes.transpose_a > 0, out, to, out_rows,
            )  # fmt: skip
            if some < PANEL:
                _copy(memory, tile, PANEL, rows, some, y, written, columns)
            rows_at += tile_step
            to += down


@part
def _prefetch_columns(b: Array, start: int, step: int, count: int) -> None:
    """Begin to bring rows of the next panel close, each of which lies far from the one before."""
    for at in range(start, start + count * step, step):
        prefetch(b, at)


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
    """Lay rows of the transpose side by side, tile by tile: (tiles, length * SPACED + LINE).

    The tiles are not a power of two apart, lest they meet in a few sets of the cache. After the
    rows that are there come rows of ones.
    """
    for k in range(length):
        at, to = start + k * rows, packed + k * SPACED
        for i in range(first, last, TILE):
            if i + SPACED <= rows:
                store(memory, to, load(a, at + i, SPACED))
            else:
                for r in range(TILE):
                    put(memory, to + r, get(a, at + i + r) if i + r < rows else _ONE)
            to += length * SPACED + LINE


@helper
def _pack(
    sizes: Sizes, b: Array, matrix: int, begin: int, length: int, column: int, memory: Array,
    to: int,
) -> None:  # fmt: skip
    """Lay up to PANEL columns of a run out as a panel."""
    start, count = matrix * sizes.inner * sizes.columns, min(PANEL, sizes.columns - column)
    if sizes.transpose_b:
        at = start + column * sizes.inner + begin
        pack_transposed(b, at, sizes.inner, length, count, memory, to)
    else:
        at = start + begin * sizes.columns + column
        pack_columns(b, at, sizes.columns, length, count, memory, to)


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
    a: Array, start: int, a_rows: Any, panels: Array, panel: int, length: int, bias: Array,
    column: int, continues: bool, ends: bool, relu: int, apart: bool, out: Array, to: int,
    out_rows: Any,
) -> None:  # fmt: skip
    """Write the products of a tile's rows with a panel to out[to:], or add them to what is there.

    If `apart`, a run's products are summed by themselves first, which rounds less in long sums;
    else the sum goes on from what is there, as that of a convolution does, with the same bits.
    """
    zero = splat(_ZERO, PANEL)
    sums = zero, zero, zero, zero, zero, zero
    if continues and not apart:
        sums = load_rows(out, _moved(out_rows, to))
    if apart:
        sums = add_products(sums, a, _moved(a_rows, start), SPACED, panels, panel, length)
    else:
        sums = add_products(sums, a, _moved(a_rows, start), 1, panels, panel, length)
    if continues and apart:
        sums = add_to_rows(sums, load_rows(out, _moved(out_rows, to)))
    if ends:
        sums = add_to_rows(sums, load(bias, column, PANEL))
        if relu:
            sum0, sum1, sum2, sum3, sum4, sum5 = sums
            sum0, sum1 = where_beats(sum0, zero, sum0, zero), where_beats(sum1, zero, sum1, zero)
            sum2, sum3 = where_beats(sum2, zero, sum2, zero), where_beats(sum3, zero, sum3, zero)
            sum4, sum5 = where_beats(sum4, zero, sum4, zero), where_beats(sum5, zero, sum5, zero)
            sums = sum0, sum1, sum2, sum3, sum4, sum5
    store_rows(out, _moved(out_rows, to), sums)


@part
def _moved(starts: Any, by: int) -> Any:
    """Return where a tile's rows begin, all of them further on."""
    return (
        starts[0] + by, starts[1] + by, starts[2] + by, starts[3] + by, starts[4] + by,
        starts[5] + by,
    )  # fmt: skip


@part
def _copy(
    x: Array, start: int, step: int, rows: int, count: int, out: Array, to: int, out_step: int
) -> None:
    """Copy a tile's rows of less columns than a panel, to or from where whole ones have place."""
    for r in range(rows):
        for j in range(count):
            put(out, to + r * out_step + j, get(x, start + r * step + j))


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
