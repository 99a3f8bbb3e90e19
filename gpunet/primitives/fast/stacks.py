"""Products of stacks of matrices, as attention has many: a task is a panel of one of them.

The columns of a panel are packed side by side, from the matrix or its transpose; rows are read
where they lie. The sums of a tile, `TILE` rows by a panel, stay in registers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, kernel, part
from gpunet.primitives.fast.memory import flat, scratch
from gpunet.primitives.fast.products import PANEL, TILE
from gpunet.primitives.fast.simd import (
    broadcast,
    get,
    load,
    multiply_add,
    put,
    splat,
    store,
    take_task,
)
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.shapes import matmul_sizes

__all__ = ["multiply_stacks"]

Array = Any

_LEAST_TASK = 1 << 17  # products that are worth a task


def multiply_stacks(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> Array:
    """Return the products of two stacks of float32 matrices, (count, rows, columns)."""
    rows, columns, inner = matmul_sizes(a.shape, b.shape, transpose_a, transpose_b)
    y = empty((len(a), rows, columns), np.float32)
    panels = len(a) * -(-columns // PANEL)
    tasks = max(1, min(panels, math.prod((len(a), rows, columns, inner)) // _LEAST_TASK))
    size = (inner + TILE) * PANEL
    memory = scratch(size)
    run(
        _multiply, tasks, panels, rows, columns, inner, transpose_a, transpose_b, flat(a), flat(b),
        y.reshape(-1), memory, memory, size,
    )  # fmt: skip
    return y


@kernel
def _multiply(
    counters: Ints,
    tasks: int,
    worker: int,
    panels: int,
    rows: int,
    columns: int,
    inner: int,
    transpose_a: bool,
    transpose_b: bool,
    a: FloatsIn,
    b: FloatsIn,
    y: Floats,
    memory: Floats,
    memory_in: FloatsIn,
    size: int,
) -> None:
    """Write the products. `memory_in` is `memory`, (inner, PANEL) and a tile for each thread."""
    across = (columns + PANEL - 1) // PANEL
    row_step, step = (1, rows) if transpose_a else (inner, 1)
    packed = worker * size
    task = take_task(counters)
    while task < tasks:
        for item in range(task * panels // tasks, (task + 1) * panels // tasks):
            matrix, first = item // across, item % across * PANEL
            count = min(PANEL, columns - first)
            _pack(b, matrix * inner * columns, inner, columns, first, count, transpose_b, memory,
                  packed)  # fmt: skip
            to = matrix * rows * columns + first
            _rows(a, matrix * rows * inner, rows, inner, row_step, step, memory_in, packed, memory,
                  packed + inner * PANEL, y, to, columns, count)  # fmt: skip
        task = take_task(counters)


@part
def _pack(
    b: Array,
    start: int,
    inner: int,
    columns: int,
    first: int,
    count: int,
    transposed: bool,
    memory: Array,
    packed: int,
) -> None:
    """Lay the columns of a panel out side by side, filled up with zeros."""
    step, across = (1, inner) if transposed else (columns, 1)
    for k in range(inner):
        at, to = start + k * step + first * across, packed + k * PANEL
        for j in range(count):
            put(memory, to + j, get(b, at + j * across))
        for j in range(count, PANEL):
            put(memory, to + j, np.float32(0))


@part
def _rows(
    a: Array,
    start: int,
    rows: int,
    inner: int,
    row_step: int,
    step: int,
    panel: Array,
    packed: int,
    memory: Array,
    tile: int,
    y: Array,
    to: int,
    columns: int,
    count: int,
) -> None:
    """Write the products of all rows with one panel."""
    zero, last = splat(np.float32(0), PANEL), rows - 1
    for i in range(0, rows, TILE):
        # Of the last tile's rows some are the last one again.
        a0, a1 = start + i * row_step, start + min(i + 1, last) * row_step
        a2, a3 = start + min(i + 2, last) * row_step, start + min(i + 3, last) * row_step
        a4, a5 = start + min(i + 4, last) * row_step, start + min(i + 5, last) * row_step
        sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
        at = 0
        for k in range(packed, packed + inner * PANEL, PANEL):
            w = load(panel, k, PANEL)
            sum0 = multiply_add(broadcast(a, a0 + at, PANEL), w, sum0)
            sum1 = multiply_add(broadcast(a, a1 + at, PANEL), w, sum1)
            sum2 = multiply_add(broadcast(a, a2 + at, PANEL), w, sum2)
            sum3 = multiply_add(broadcast(a, a3 + at, PANEL), w, sum3)
            sum4 = multiply_add(broadcast(a, a4 + at, PANEL), w, sum4)
            sum5 = multiply_add(broadcast(a, a5 + at, PANEL), w, sum5)
            at += step
        store(memory, tile, sum0)
        store(memory, tile + PANEL, sum1)
        store(memory, tile + 2 * PANEL, sum2)
        store(memory, tile + 3 * PANEL, sum3)
        store(memory, tile + 4 * PANEL, sum4)
        store(memory, tile + 5 * PANEL, sum5)
        for r in range(min(TILE, rows - i)):
            for j in range(count):
                put(y, to + (i + r) * columns + j, get(memory, tile + r * PANEL + j))
