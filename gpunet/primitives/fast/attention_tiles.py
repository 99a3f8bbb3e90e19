"""Tiles of attention: how blocks of queries and keys are packed, their products and scores.

Keys and values are packed once for each head: transposed, in panels of PANEL keys (panel, depth,
PANEL), and as they are, in panels of PANEL columns (panel, keys, PANEL). Everything then is
products of `ROWS` rows with panels, `multiply`, of numbers that stay in the caches.

A key that a query does not see has the score `HIDDEN`. The largest score of a query that sees none
is `HIDDEN` too, so that each of its keys counts as 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import helper
from gpunet.primitives.fast.matrix_kernels import pack_columns, pack_transposed
from gpunet.primitives.fast.products import PANEL
from gpunet.primitives.fast.simd import (
    LANES,
    broadcast,
    get,
    load,
    multiply_add,
    put,
    splat,
    store,
)

__all__ = [
    "BLOCK", "HALF_HIDDEN", "HIDDEN", "ROWS", "Sizes", "hide", "multiply", "pack_rows",
    "pack_turned", "score", "unpack_rows", "whole_vectors",
]  # fmt: skip

Array = Any

ROWS = 48  # queries of a block: 8 tiles
BLOCK = 64  # keys of a block: whole panels
_TILE = 6

HIDDEN, HALF_HIDDEN = np.float32(-1e30), np.float32(-5e29)
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


@helper
def multiply(
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
    """Write the products of rows with one panel, or add them.

    Row i of `a` begins at start + i * row, and its numbers are `step` apart. The panel is
    (inner, PANEL) at b[panel:]; row i of the result is out[to + i * out_row:], PANEL numbers.
    """
    zero, last = splat(_ZERO, PANEL), rows - 1
    for i in range(0, rows, _TILE):
        # Of the last tile's rows some are the last one again.
        i1, i2, i3 = min(i + 1, last), min(i + 2, last), min(i + 3, last)
        i4, i5 = min(i + 4, last), min(i + 5, last)
        a0, a1, a2 = start + i * row, start + i1 * row, start + i2 * row
        a3, a4, a5 = start + i3 * row, start + i4 * row, start + i5 * row
        t0, t1, t2 = to + i * out_row, to + i1 * out_row, to + i2 * out_row
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
def pack_turned(x: Array, start: int, row: int, rows: int, depth: int, out: Array, to: int) -> None:
    """Pack rows as columns: (panel of rows, depth, PANEL), filled up with zeros."""
    for first in range(0, rows, PANEL):
        count = min(PANEL, rows - first)
        pack_transposed(x, start + first * row, row, depth, count, out, to + first * depth)


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
def score(
    sizes: Sizes,
    scale: np.float32,
    query: Array,
    at: int,
    rows: int,
    turned: Array,
    keys_at: int,
    first: int,
    count: int,
    out: Array,
    to: int,
) -> None:
    """Write scores of rows of queries and a block of keys, (rows, BLOCK), before hiding any."""
    for j in range(0, count, PANEL):
        panel = keys_at + (first + j) * sizes.depth
        step = sizes.heads * sizes.depth
        multiply(query, at, step, 1, rows, sizes.depth, turned, panel, out, to + j, BLOCK, False)
    for i in range(rows):
        scores = out[to + i * BLOCK : to + i * BLOCK + whole_vectors(count)]
        for j in range(scores.size):
            scores[j] *= scale


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
    """Set the scores of keys that are not seen to `HIDDEN`."""
    if sizes.masked:
        start = sample * sizes.mask_batch + head * sizes.mask_head + first * sizes.mask_key
        for i in range(rows):
            here = start + (row + i) * sizes.mask_query
            for j in range(count):
                if get(mask, here + j * sizes.mask_key) == 0:
                    put(scores, at + i * BLOCK + j, HIDDEN)
    if sizes.causal:
        for i in range(rows):
            for j in range(max(0, row + i + 1 - first), count):
                put(scores, at + i * BLOCK + j, HIDDEN)


@helper
def whole_vectors(count: int) -> int:
    """Return the numbers of whole vectors."""
    return (count + LANES - 1) // LANES * LANES
