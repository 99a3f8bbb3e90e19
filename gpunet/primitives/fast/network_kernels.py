"""The kernel that takes images through all operations of a network.

A table holds a row of integers for each operation: a `Row`, then the sizes that the kernels of its
kind take. Values lie in scratch memory where the rows say; but for the input and the output.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast import depthwise, pooling, products
from gpunet.primitives.fast.bands import Sizes, sizes_at
from gpunet.primitives.fast.compile import Bytes, Floats, FloatsIn, Ints, IntsIn, helper, kernel
from gpunet.primitives.fast.sharing import add_now, next_task, wait_for
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    get,
    load,
    put,
    splat,
    store,
    where_beats,
    where_positive,
)

__all__ = [
    "AVERAGE_POOL", "CHUNK", "CLIP", "DEPTHWISE", "FIELDS", "MAX_POOL", "OUTSIDE", "PRODUCT", "ROW",
    "SUM", "Layout", "Row", "forward",
]  # fmt: skip

Array = Any

# Kinds of operations:
PRODUCT, DEPTHWISE, MAX_POOL, AVERAGE_POOL, SUM, CLIP = range(6)

_ZERO, _LOWEST = np.float32(0), np.float32(-np.inf)
OUTSIDE = -1  # in place of a place: the input or the output of the network
CHUNK = 1 << 12  # numbers of an image in a task of a sum or of clipping


class Row(NamedTuple):
    """What is known of an operation beside the sizes of its kind; places are in scratch memory."""

    kind: int
    source: int  # where the value that it reads begins
    second: int  # and the second, of a sum
    target: int  # where its output begins
    source_size: int  # floats of an image
    target_size: int
    parts: int  # tasks of an image; those of a product are its bands
    weight: int  # where its weights begin
    bias: int  # where its bias begins, or the largest number of `CLIP` is
    relu: int  # 1 if a depthwise convolution ends with relu


FIELDS = len(Row._fields)
ROW = FIELDS + len(Sizes._fields)


class Layout(NamedTuple):
    """What is common to all operations."""

    images: int
    block: int  # images that go through the operations together
    shared: int  # 1 if the threads share the tasks of each operation, 0 if each has its own images
    operations: int
    areas: int  # places for values: one for each thread that has its own images
    values: int  # floats of such a place
    products: int  # floats of scratch memory that each thread has beside them


@kernel
def forward(
    counters: Ints, tasks: int, worker: int,
    layout: Layout, table: IntsIn, x: FloatsIn, weights: FloatsIn, biases: FloatsIn,
    positions: IntsIn, segments: IntsIn, y: Floats, scratch: Floats, scratch_in: FloatsIn,
    progress: Ints, no_indices: Bytes,
) -> None:  # fmt: skip
    """Take blocks of images through all operations; a task is a block.

    Where threads share operations there is one block, and a task is to help with it. `progress`
    has two numbers for each operation: how many of its tasks are taken, and how many are done.
    """
    values = worker % layout.areas * layout.values
    own = layout.areas * layout.values + worker * layout.products
    task = next_task(counters, tasks, worker)
    while task < tasks:
        first = 0 if layout.shared else task * layout.block
        count = min(layout.block, layout.images - first)
        for number in range(layout.operations):
            at = number * ROW
            items = _items(table, at, count)
            taken, done = 2 * number, 2 * number + 1  # places in `progress`
            item = add_now(progress, taken, 1) if layout.shared else 0
            while item < items:
                _operate(
                    table, at, item, first, count, x, weights, biases, positions, segments, y,
                    scratch, scratch_in, values, own, no_indices,
                )  # fmt: skip
                if layout.shared:
                    add_now(progress, done, 1)
                item = add_now(progress, taken, 1) if layout.shared else item + 1
            if layout.shared:
                wait_for(progress, done, items)
        task = next_task(counters, tasks, worker)


@helper
def _items(table: Array, at: int, images: int) -> int:
    """Return into how many tasks an operation on some images is divided."""
    row = _row_at(table, at)
    if row.kind == PRODUCT:
        sizes = sizes_at(table, at + FIELDS)
        return (images + sizes.group - 1) // sizes.group * sizes.bands
    return images * row.parts


@helper
def _operate(
    table: Array, at: int, item: int, first: int, images: int, x: Array, weights: Array,
    biases: Array, positions: Array, segments: Array, y: Array, scratch: Array, scratch_in: Array,
    values: int, own: int, no_indices: Array,
) -> None:  # fmt: skip
    """Do one task of an operation on images from `first`; no thread writes where another does."""
    row = _row_at(table, at)
    source, start = scratch_in, values + row.source
    if row.source == OUTSIDE:
        source, start = x, first * row.source_size
    target, to = scratch, values + row.target
    if row.target == OUTSIDE:
        target, to = y, first * row.target_size
    if row.kind == PRODUCT:
        products.outputs(
            sizes_at(table, at + FIELDS), images, item, source, start, weights, biases, positions,
            segments, target, to, no_indices, 0, scratch, scratch_in, own,
        )  # fmt: skip
    elif row.kind == DEPTHWISE:
        depthwise.outputs_of_row(
            _depthwise_sizes_at(table, at + FIELDS), item, source, start, weights, row.weight,
            biases, row.bias, True, _ZERO if row.relu else _LOWEST, target, to,
        )  # fmt: skip
    elif row.kind == MAX_POOL or row.kind == AVERAGE_POOL:
        pooling.pool_row(
            _pool_sizes_at(table, at + FIELDS), row.kind == MAX_POOL, item, source, start, target,
            to, no_indices,
        )  # fmt: skip
    else:
        part = item % row.parts * CHUNK
        size = min(CHUNK, row.target_size - part)
        part += item // row.parts * row.target_size
        if row.kind == SUM:
            second, other = scratch_in, values + row.second
            if row.second == OUTSIDE:
                second, other = x, first * row.target_size
            _add(size, source, start + part, second, other + part, target, to + part)
        else:
            _clip(size, source, start + part, get(biases, row.bias), target, to + part)


@helper
def _add(size: int, a: Array, a_start: int, b: Array, b_start: int, y: Array, y_start: int) -> None:
    whole = size // LANES * LANES
    for i in range(0, whole, LANES):
        store(y, y_start + i, add(load(a, a_start + i, LANES), load(b, b_start + i, LANES)))
    for i in range(whole, size):
        put(y, y_start + i, get(a, a_start + i) + get(b, b_start + i))


@helper
def _clip(size: int, x: Array, start: int, most: np.float32, y: Array, y_start: int) -> None:
    """Write numbers, but 0 for those below and `most` for those above it; NaN stays."""
    zero, limit, down = splat(np.float32(0), LANES), splat(most, LANES), splat(-most, LANES)
    whole = size // LANES * LANES
    for i in range(0, whole, LANES):
        value = load(x, start + i, LANES)
        value = where_beats(value, zero, value, zero)
        store(y, y_start + i, where_positive(add(value, down), limit, value))
    for i in range(whole, size):
        number = get(x, start + i)
        number = np.float32(0) if number < np.float32(0) else number
        put(y, y_start + i, most if number > most else number)


@helper
def _row_at(table: Array, at: int) -> Row:
    """Return the Row in a table, field by field: Numba knows no other way."""
    return Row(
        get(table, at), get(table, at + 1), get(table, at + 2), get(table, at + 3),
        get(table, at + 4), get(table, at + 5), get(table, at + 6), get(table, at + 7),
        get(table, at + 8), get(table, at + 9),
    )  # fmt: skip


@helper
def _depthwise_sizes_at(table: Array, at: int) -> depthwise.Sizes:
    return depthwise.Sizes(
        get(table, at), get(table, at + 1), get(table, at + 2), get(table, at + 3),
        get(table, at + 4), get(table, at + 5), get(table, at + 6), get(table, at + 7),
        get(table, at + 8), get(table, at + 9), get(table, at + 10), get(table, at + 11),
        get(table, at + 12), get(table, at + 13), get(table, at + 14),
    )  # fmt: skip


@helper
def _pool_sizes_at(table: Array, at: int) -> pooling.Sizes:
    return pooling.Sizes(
        get(table, at), get(table, at + 1), get(table, at + 2), get(table, at + 3),
        get(table, at + 4), get(table, at + 5), get(table, at + 6), get(table, at + 7),
        get(table, at + 8), get(table, at + 9), get(table, at + 10), get(table, at + 11),
    )  # fmt: skip
