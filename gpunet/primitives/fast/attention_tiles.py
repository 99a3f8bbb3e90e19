"""Tiles of attention: how queries and keys are packed, their products, scores and shares.

Keys and values are packed once for each head: transposed, in panels of PANEL keys (panel, depth,
PANEL), and as they are, in panels of PANEL columns (panel, keys, PANEL). Everything then is
products of `TILE` rows with panels, `multiply_tile`, of numbers that stay in the caches. Where
queries see no later keys, each tile leaves out those that none of its rows sees.

A key that a query does not see has the score `HIDDEN`. The largest score of a query that sees none
is `HIDDEN` too, so that each of its keys counts as 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import formula, helper
from gpunet.primitives.fast.exponential import exp_of_vector
from gpunet.primitives.fast.matrix_kernels import pack_columns, pack_transposed
from gpunet.primitives.fast.products import PANEL
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    broadcast,
    get,
    larger,
    load,
    multiply,
    multiply_add,
    put,
    splat,
    store,
    subtract,
    sum_across,
    top_across,
)

__all__ = [
    "BLOCK", "HALF_HIDDEN", "HIDDEN", "LINE", "NONE", "ROWS", "STATE", "STATES", "TILE", "Sizes",
    "hide", "is_any_blind", "multiply_tile", "pack_rows", "pack_turned", "share", "take_in",
    "unpack_rows",
]  # fmt: skip

Array = Any

TILE = 6  # queries, or keys, whose products with a panel stay in registers
ROWS = 8 * TILE  # queries of a block
BLOCK = 128  # keys of a block: whole panels
LINE = BLOCK + LANES  # from the scores of one query to the next: room for a vector beyond them
STATE = -(-TILE // LANES) * LANES  # a number of each query of a tile, in whole vectors
STATES = ROWS // TILE * 2 * STATE  # two numbers of each query of a block

HIDDEN, HALF_HIDDEN = np.float32(-1e30), np.float32(-5e29)
NONE = np.float32(-np.inf)  # the score of what is no key
_ZERO, _ONE = np.float32(0), np.float32(1)


class Sizes(NamedTuple):
    """Sizes of attention, as kernels take them."""

    batch: int
    heads: int  # of the queries
    key_heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int
    padded_keys: int  # filled up to whole panels
    columns: int  # of keys, likewise
    value_columns: int
    causal: int
    # Elements from one sample, head, query and key of the mask to the next; 0 if it is the same.
    masked: int
    mask_batch: int
    mask_head: int
    mask_query: int
    mask_key: int


@formula
def multiply_tile(
    a: Array,
    start: int,
    row: int,
    step: int,
    rows: int,
    inner: int,
    b: Array,
    panel: int,
    out: Array,
    to: int,
    out_row: int,
    add: bool,
) -> None:
    """Write the products of up to `TILE` rows with one panel, or add them.

    Row i of `a` begins at start + i * row, and its numbers are `step` apart. The panel is
    (inner, PANEL) at b[panel:]; row i of the result is out[to + i * out_row:], PANEL numbers.
    """
    zero, last = splat(_ZERO, PANEL), rows - 1
    # Of a tile of fewer rows the last one is computed several times.
    i1, i2, i3, i4, i5 = min(1, last), min(2, last), min(3, last), min(4, last), min(5, last)
    a0, a1, a2 = start, start + i1 * row, start + i2 * row
    a3, a4, a5 = start + i3 * row, start + i4 * row, start + i5 * row
    t0, t1, t2 = to, to + i1 * out_row, to + i2 * out_row
    t3, t4, t5 = to + i3 * out_row, to + i4 * out_row, to + i5 * out_row
    sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
    if add:
        sum0, sum1, sum2 = load(out, t0, PANEL), load(out, t1, PANEL), load(out, t2, PANEL)
        sum3, sum4, sum5 = load(out, t3, PANEL), load(out, t4, PANEL), load(out, t5, PANEL)
    at = 0
    for k in range(panel, panel + inner * PANEL, PANEL):
        w = load(b, k, PANEL)
        sum0 = multiply_add(broadcast(a, a0 + at, PANEL), w, sum0)
        sum1 = multiply_add(broadcast(a, a1 + at, PANEL), w, sum1)
        sum2 = multiply_add(broadcast(a, a2 + at, PANEL), w, sum2)
        sum3 = multiply_add(broadcast(a, a3 + at, PANEL), w, sum3)
        sum4 = multiply_add(broadcast(a, a4 + at, PANEL), w, sum4)
        sum5 = multiply_add(broadcast(a, a5 + at, PANEL), w, sum5)
        at += step
    store(out, t0, sum0)
    store(out, t1, sum1)
    store(out, t2, sum2)
    store(out, t3, sum3)
    store(out, t4, sum4)
    store(out, t5, sum5)


@helper
def pack_rows(x: Array, start: int, row: int, rows: int, depth: int, out: Array, to: int) -> None:
    """Pack rows as they are: (panel of columns, rows, PANEL), filled up with zeros."""
    for first in range(0, depth, PANEL):
        pack_columns(x, start + first, row, rows, min(PANEL, depth - first), out, to + first * rows)


@helper
def pack_turned(
    x: Array, start: int, row: int, rows: int, depth: int, scale: np.float32, out: Array, to: int
) -> None:
    """Pack rows times `scale` as columns: (panel of rows, depth, PANEL), filled up with zeros."""
    for first in range(0, rows, PANEL):
        count = min(PANEL, rows - first)
        pack_transposed(x, start + first * row, row, depth, count, out, to + first * depth)
    if scale != _ONE:
        scales = splat(scale, PANEL)
        for i in range(to, to + whole_panels(rows) * depth, PANEL):
            store(out, i, multiply(load(out, i, PANEL), scales))


@helper
def unpack_rows(x: Array, start: int, rows: int, depth: int, out: Array, to: int, row: int) -> None:
    """Write rows that are packed as they are to rows of an array, `row` numbers apart."""
    for first in range(0, depth, PANEL):
        count = min(PANEL, depth - first)
        for i in range(rows):
            at, place = start + first * rows + i * PANEL, to + i * row + first
            if count == PANEL:
                store(out, place, load(x, at, PANEL))
            else:
                for j in range(count):
                    put(out, place + j, get(x, at + j))


@helper
def hide(
    sizes: Sizes,
    mask: Array,
    sample: int,
    head: int,
    row: int,
    rows: int,
    first: int,
    count: int,
    scores: Array,
    at: int,
) -> None:
    """Set the scores of keys that are not seen to `HIDDEN`, and those beyond the last to `NONE`."""
    if sizes.masked:
        start = sample * sizes.mask_batch + head * sizes.mask_head + first * sizes.mask_key
        for i in range(rows):
            here = start + (row + i) * sizes.mask_query
            for j in range(count):
                if get(mask, here + j * sizes.mask_key) == 0:
                    put(scores, at + i * LINE + j, HIDDEN)
    if sizes.causal and first + count > row + 1:
        hidden = splat(HIDDEN, LANES)
        for i in range(rows):
            for j in range(max(0, row + i + 1 - first), count, LANES):
                store(scores, at + i * LINE + j, hidden)
    if count % LANES:
        for i in range(rows):
            store(scores, at + i * LINE + count, splat(NONE, LANES))


@helper
def is_any_blind(memory: Array, state_at: int, rows: int) -> bool:
    """Return whether one of the queries saw no key so far."""
    blind = False
    for i in range(rows):
        blind = blind or get(memory, state_at + i) < HALF_HIDDEN
    return blind


@helper
def take_in(
    memory: Array, at: int, count: int, state_at: int, new_at: int, sums_at: int, step: int,
    columns: int, continues: bool,
) -> None:  # fmt: skip
    """Replace a tile's scores by exponentials, and bring what was summed to their scale.

    The tile's state is the largest score of each query so far and the sum of its exponentials.
    Rows that a tile lacks are computed with it, of any numbers, and not used.
    """
    for i in range(TILE):
        row, tops = at + i * LINE, broadcast(memory, state_at + i, LANES)
        for j in range(row, row + count, LANES):
            tops = larger(load(memory, j, LANES), tops)
        put(memory, new_at + i, top_across(tops))
    for i in range(TILE):
        row, top, sums = at + i * LINE, broadcast(memory, new_at + i, LANES), splat(_ZERO, LANES)
        for j in range(row, row + count, LANES):
            shares = exp_of_vector(subtract(load(memory, j, LANES), top))
            store(memory, j, shares)
            sums = add(sums, shares)
        put(memory, new_at + STATE + i, sum_across(sums))
    for i in range(0, STATE, LANES):
        tops = load(memory, new_at + i, LANES)
        changes = exp_of_vector(subtract(load(memory, state_at + i, LANES), tops))
        totals, sums = (
            load(memory, state_at + STATE + i, LANES),
            load(memory, new_at + STATE + i, LANES),
        )
        store(memory, state_at + i, tops)
        store(memory, state_at + STATE + i, multiply_add(totals, changes, sums))
        store(memory, new_at + i, changes)
    if continues:
        for i in range(TILE):
            change, row = broadcast(memory, new_at + i, PANEL), sums_at + i * PANEL
            for j in range(row, row + columns // PANEL * step, step):
                store(memory, j, multiply(load(memory, j, PANEL), change))


@helper
def share(
    memory: Array,
    at: int,
    grads_at: int,
    rows: int,
    seen: int,
    count: int,
    scale: np.float32,
    log_sums: Array,
    log_at: int,
    means_at: int,
    keys: int,
) -> None:
    """Replace a tile's scores by shares, and the gradients of shares by those of scores.

    From `seen` to `count` both are made 0.
    """
    scales, zero, whole = splat(scale, LANES), splat(_ZERO, LANES), whole_vectors(seen)
    equal = splat(_ONE / np.float32(keys), LANES)
    for i in range(rows):
        log_sum, mean = (
            broadcast(log_sums, log_at + i, LANES),
            broadcast(memory, means_at + i, LANES),
        )
        for j in range(i * LINE, i * LINE + whole, LANES):
            shares = exp_of_vector(subtract(load(memory, at + j, LANES), log_sum))
            store(memory, at + j, shares)
            grad = multiply(shares, subtract(load(memory, grads_at + j, LANES), mean))
            store(memory, grads_at + j, multiply(grad, scales))
        for j in range(i * LINE + whole, i * LINE + count, LANES):
            store(memory, at + j, zero)
            store(memory, grads_at + j, zero)
        if get(log_sums, log_at + i) < HALF_HIDDEN:
            # It sees no key: the mean of all values, whatever the scores are.
            for j in range(i * LINE, i * LINE + whole, LANES):
                store(memory, at + j, equal)
                store(memory, grads_at + j, zero)


@helper
def whole_vectors(count: int) -> int:
    """Return the numbers of whole vectors."""
    return (count + LANES - 1) // LANES * LANES


@helper
def whole_panels(count: int) -> int:
    """Return the numbers of whole panels."""
    return (count + PANEL - 1) // PANEL * PANEL
