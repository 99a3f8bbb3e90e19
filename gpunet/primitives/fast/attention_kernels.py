"""The kernels of attention: blocks of queries by blocks of keys, with an online softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives.fast.attention_tiles import (
    BLOCK,
    HALF_HIDDEN,
    LINE,
    NONE,
    ROWS,
    STATE,
    STATES,
    TILE,
    Sizes,
    hide,
    is_any_blind,
    multiply_tile,
    pack_rows,
    pack_turned,
    share,
    take_in,
    unpack_rows,
)
from gpunet.primitives.fast.compile import (
    BytesIn,
    Floats,
    FloatsIn,
    Ints,
    helper,
    uncounted_kernel,
)
from gpunet.primitives.fast.products import PANEL
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    divide,
    get,
    load,
    multiply_add,
    put,
    splat,
    store,
    sum_across,
)

__all__ = ["attend", "attend_backward"]

Array = Any

_ZERO, _ONE = np.float32(0), np.float32(1)


@uncounted_kernel
def attend(
    counters: Ints,
    tasks: int,
    worker: int,
    sizes: Sizes,
    chunk: int,
    scale: np.float32,
    query: FloatsIn,
    key: FloatsIn,
    value: FloatsIn,
    mask: BytesIn,
    output: Floats,
    log_sums: Floats,
    memory: Floats,
    memory_in: FloatsIn,
    size: int,
) -> None:
    """Write the output and the logarithms of sums. A task is some queries of one head.

    `memory_in` is `memory`: `size` numbers for each thread.
    """
    chunks = (sizes.queries + chunk - 1) // chunk
    keys_at = worker * size
    values_at = keys_at + sizes.padded_keys * sizes.depth
    scores_at = values_at + sizes.keys * sizes.value_columns
    task = next_task(counters, tasks, worker)
    while task < tasks:
        sample, head = task // chunks // sizes.heads, task // chunks % sizes.heads
        key_head = head * sizes.key_heads // sizes.heads
        row = sizes.key_heads * sizes.depth
        start = sample * sizes.keys * row + key_head * sizes.depth
        pack_turned(key, start, row, sizes.keys, sizes.depth, scale, memory, keys_at)
        row = sizes.key_heads * sizes.value_depth
        start = sample * sizes.keys * row + key_head * sizes.value_depth
        pack_rows(value, start, row, sizes.keys, sizes.value_depth, memory, values_at)
        first = task % chunks * chunk
        for i in range(first, min(first + chunk, sizes.queries), ROWS):
            _attend_block(sizes, sample, head, i, query, mask, output, log_sums, memory, memory_in,
                          keys_at, values_at, scores_at)  # fmt: skip
        task = next_task(counters, tasks, worker)


@helper
def _attend_block(
    sizes: Sizes,
    sample: int,
    head: int,
    row: int,
    query: Array,
    mask: Array,
    output: Array,
    log_sums: Array,
    memory: Array,
    memory_in: Array,
    keys_at: int,
    values_at: int,
    scores_at: int,
) -> None:
    """Write the output of one block of queries."""
    rows = min(ROWS, sizes.queries - row)
    sums_at = scores_at + TILE * LINE  # (panel of columns, rows, PANEL)
    states_at = sums_at + ROWS * sizes.value_columns
    for i in range(states_at, states_at + STATES, 2 * STATE):
        for j in range(i, i + STATE):
            put(memory, j, NONE)
            put(memory, j + STATE, _ZERO)
    at = ((sample * sizes.queries + row) * sizes.heads + head) * sizes.depth
    step = sizes.heads * sizes.depth
    for first in range(0, sizes.keys, BLOCK):
        for i in range(0, rows, TILE):
            tile, count = min(TILE, rows - i), min(BLOCK, sizes.keys - first)
            state_at = states_at + i // TILE * 2 * STATE
            # Later keys count for nothing, unless a query sees no key at all.
            if sizes.causal and not (sizes.masked and is_any_blind(memory, state_at, tile)):
                count = min(count, row + i + tile - first)
            if count <= 0:
                continue
            for j in range(first, first + count, PANEL):
                multiply_tile(query, at + i * step, step, 1, tile, sizes.depth, memory_in,
                              keys_at + j * sizes.depth, memory, scores_at + j - first, LINE,
                              False)  # fmt: skip
            hide(sizes, mask, sample, head, row + i, tile, first, count, memory, scores_at)
            take_in(memory, scores_at, count, state_at, states_at + STATES, sums_at + i * PANEL,
                     rows * PANEL, sizes.value_columns, first > 0)  # fmt: skip
            for j in range(0, sizes.value_columns, PANEL):
                panel = values_at + j * sizes.keys + first * PANEL
                multiply_tile(memory_in, scores_at, LINE, 1, tile, count, memory_in, panel, memory,
                              sums_at + j * rows + i * PANEL, PANEL, first > 0)  # fmt: skip
    log_at = (sample * sizes.heads + head) * sizes.queries + row
    for i in range(rows):
        state_at = states_at + i // TILE * 2 * STATE + i % TILE
        total = get(memory, state_at + STATE)
        put(log_sums, log_at + i, get(memory, state_at) + np.float32(math.log(total)))
        totals = splat(total, PANEL)
        for j in range(sums_at + i * PANEL, states_at, rows * PANEL):
            store(memory, j, divide(load(memory, j, PANEL), totals))
    to = ((sample * sizes.queries + row) * sizes.heads + head) * sizes.value_depth
    unpack_rows(memory, sums_at, rows, sizes.value_depth, output, to,
                 sizes.heads * sizes.value_depth)  # fmt: skip


@uncounted_kernel
def attend_backward(
    counters: Ints,
    tasks: int,
    worker: int,
    sizes: Sizes,
    scale: np.float32,
    output_grad: FloatsIn,
    query: FloatsIn,
    key: FloatsIn,
    value: FloatsIn,
    output: FloatsIn,
    log_sums: FloatsIn,
    mask: BytesIn,
    query_grad: Floats,
    key_grad: Floats,
    value_grad: Floats,
    memory: Floats,
    memory_in: FloatsIn,
    size: int,
) -> None:
    """Write all gradients. A task is one head of the keys, and the heads of queries it serves."""
    depth, value_depth, keys = sizes.depth, sizes.value_depth, sizes.keys
    turned_at = worker * size
    values_at = turned_at + sizes.padded_keys * depth
    rows_at = values_at + sizes.padded_keys * value_depth
    key_sums = rows_at + keys * sizes.columns
    value_sums = key_sums + keys * sizes.columns
    block_at = value_sums + keys * sizes.value_columns
    groups = sizes.heads // sizes.key_heads
    task = next_task(counters, tasks, worker)
    while task < tasks:
        sample, key_head = task // sizes.key_heads, task % sizes.key_heads
        row, value_row = sizes.key_heads * depth, sizes.key_heads * value_depth
        key_start = sample * keys * row + key_head * depth
        value_start = sample * keys * value_row + key_head * value_depth
        pack_turned(key, key_start, row, keys, depth, scale, memory, turned_at)
        pack_turned(value, value_start, value_row, keys, value_depth, _ONE, memory, values_at)
        pack_rows(key, key_start, row, keys, depth, memory, rows_at)
        for i in range(key_sums, block_at):
            put(memory, i, _ZERO)
        for head in range(key_head * groups, (key_head + 1) * groups):
            for i in range(0, sizes.queries, ROWS):
                _backward_block(
                    sizes, scale, sample, head, i, output_grad, query, output, log_sums, mask,
                    query_grad, memory, memory_in, turned_at, values_at, rows_at, key_sums,
                    value_sums, block_at,
                )  # fmt: skip
        unpack_rows(memory, key_sums, keys, depth, key_grad, key_start, row)
        unpack_rows(memory, value_sums, keys, value_depth, value_grad, value_start, value_row)
        task = next_task(counters, tasks, worker)


@helper
def _backward_block(
    sizes: Sizes,
    scale: np.float32,
    sample: int,
    head: int,
    row: int,
    output_grad: Array,
    query: Array,
    output: Array,
    log_sums: Array,
    mask: Array,
    query_grad: Array,
    memory: Array,
    memory_in: Array,
    turned_at: int,
    values_at: int,
    rows_at: int,
    key_sums: int,
    value_sums: int,
    block_at: int,
) -> None:
    """Write the gradients of a block of queries, and add to those of keys and values."""
    rows, keys = min(ROWS, sizes.queries - row), sizes.keys
    shares_at = block_at  # (rows, LINE)
    grads_at = shares_at + ROWS * LINE  # likewise, of the scores
    queries_at = grads_at + ROWS * LINE  # packed
    output_at = queries_at + ROWS * sizes.columns  # gradients of the output, packed
    sums_at = output_at + ROWS * sizes.value_columns  # gradients of the queries, packed
    means_at = sums_at + ROWS * sizes.columns
    step, value_step = sizes.heads * sizes.depth, sizes.heads * sizes.value_depth
    at = ((sample * sizes.queries + row) * sizes.heads + head) * sizes.depth
    value_at = ((sample * sizes.queries + row) * sizes.heads + head) * sizes.value_depth
    log_at = (sample * sizes.heads + head) * sizes.queries + row
    pack_rows(query, at, step, rows, sizes.depth, memory, queries_at)
    pack_rows(output_grad, value_at, value_step, rows, sizes.value_depth, memory, output_at)
    blind = False
    for i in range(rows):
        start = value_at + i * value_step
        put(memory, means_at + i, _dot(output_grad, output, start, sizes.value_depth))
        blind = blind or get(log_sums, log_at + i) < HALF_HIDDEN
    for i in range(sums_at, sums_at + rows * sizes.columns):
        put(memory, i, _ZERO)
    limited = sizes.causal != 0 and not blind  # whether later keys count for nothing
    for first in range(0, keys, BLOCK):
        count = min(BLOCK, keys - first)
        if limited:
            count = min(count, row + rows - first)
            if count <= 0:
                break
        for i in range(0, rows, TILE):
            tile, seen = min(TILE, rows - i), count
            if limited:
                seen = max(0, min(count, row + i + tile - first))
            shares, grads = shares_at + i * LINE, grads_at + i * LINE
            for j in range(0, seen, PANEL):
                multiply_tile(query, at + i * step, step, 1, tile, sizes.depth, memory_in,
                              turned_at + (first + j) * sizes.depth, memory, shares + j, LINE,
                              False)  # fmt: skip
                multiply_tile(output_grad, value_at + i * value_step, value_step, 1, tile,
                              sizes.value_depth, memory_in,
                              values_at + (first + j) * sizes.value_depth, memory, grads + j, LINE,
                              False)  # fmt: skip
            hide(sizes, mask, sample, head, row + i, tile, first, seen, memory, shares)
            share(memory, shares, grads, tile, seen, count, scale, log_sums, log_at + i,
                   means_at + i, sizes.keys)  # fmt: skip
            for j in range(0, sizes.columns, PANEL):  # of queries: grads @ key
                multiply_tile(memory_in, grads, LINE, 1, tile, seen, memory_in,
                              rows_at + j * keys + first * PANEL, memory,
                              sums_at + j * rows + i * PANEL, PANEL, True)  # fmt: skip
        begin = first - row if limited else -keys
        values_to, keys_to = value_sums + first * PANEL, key_sums + first * PANEL
        _add_products(memory, memory_in, shares_at, count, begin, output_at, rows,
                      sizes.value_columns, values_to, keys)  # fmt: skip
        _add_products(memory, memory_in, grads_at, count, begin, queries_at, rows,
                      sizes.columns, keys_to, keys)  # fmt: skip
    unpack_rows(memory, sums_at, rows, sizes.depth, query_grad, at, step)


@helper
def _add_products(
    memory: Array, memory_in: Array, at: int, count: int, begin: int, panels: int, rows: int,
    columns: int, to: int, keys: int,
) -> None:  # fmt: skip
    """Add shares.T @ rows, of a block of queries and keys, to what keys or values have.

    Key k counts for the queries from begin + k on.
    """
    for k in range(0, count, TILE):
        i, tile = max(0, begin + k), min(TILE, count - k)
        for j in range(0, columns, PANEL):
            multiply_tile(memory_in, at + i * LINE + k, 1, LINE, tile, rows - i, memory_in,
                          panels + j * rows + i * PANEL, memory, to + j * keys + k * PANEL, PANEL,
                          True)  # fmt: skip


@helper
def _dot(a: Array, b: Array, at: int, count: int) -> np.float32:
    """Return the sum of the products of two rows that begin at one place."""
    whole, sums, rest = count // LANES * LANES, splat(_ZERO, LANES), _ZERO
    for j in range(at, at + whole, LANES):
        sums = multiply_add(load(a, j, LANES), load(b, j, LANES), sums)
    for j in range(at + whole, at + count):
        rest += get(a, j) * get(b, j)
    return sum_across(sums) + rest
