"""The kernels of attention: blocks of queries by blocks of keys, with an online softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives.fast.attention_tiles import (
    BLOCK,
    HALF_HIDDEN,
    ROWS,
    Sizes,
    hide,
    multiply,
    pack_rows,
    pack_turned,
    score,
    unpack_rows,
    whole_vectors,
)
from gpunet.primitives.fast.compile import (
    BytesIn,
    Floats,
    FloatsIn,
    Ints,
    helper,
    uncounted_kernel,
)
from gpunet.primitives.fast.exponential import exp
from gpunet.primitives.fast.products import PANEL
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    get,
    largest_across,
    load,
    multiply_add,
    put,
    splat,
    sum_across,
    where_beats,
)

__all__ = ["attend", "attend_backward"]

Array = Any

_ZERO, _ONE = np.float32(0), np.float32(1)
_NONE = np.float32(-np.inf)  # the score of what is no key


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
        pack_turned(key, start, row, sizes.keys, sizes.depth, memory, keys_at)
        row = sizes.key_heads * sizes.value_depth
        start = sample * sizes.keys * row + key_head * sizes.value_depth
        pack_rows(value, start, row, sizes.keys, sizes.value_depth, memory, values_at)
        first = task % chunks * chunk
        for i in range(first, min(first + chunk, sizes.queries), ROWS):
            _attend_block(sizes, scale, sample, head, i, query, mask, output, log_sums, memory,
                          memory_in, keys_at, values_at, scores_at)  # fmt: skip
        task = next_task(counters, tasks, worker)


@helper
def _attend_block(
    sizes: Sizes,
    scale: np.float32,
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
    sums_at = scores_at + ROWS * BLOCK  # (panel of columns, rows, PANEL)
    largest_at = sums_at + ROWS * sizes.value_columns
    totals_at = largest_at + ROWS
    for i in range(ROWS * sizes.value_columns):
        put(memory, sums_at + i, _ZERO)
    for i in range(rows):
        put(memory, largest_at + i, _NONE)
        put(memory, totals_at + i, _ZERO)
    at = ((sample * sizes.queries + row) * sizes.heads + head) * sizes.depth
    for first in range(0, sizes.keys, BLOCK):
        count = min(BLOCK, sizes.keys - first)
        # Later keys count for nothing, unless a query sees no key at all.
        if sizes.causal and not (sizes.masked and _is_any_blind(memory, largest_at, rows)):
            count = min(count, row + rows - first)
            if count <= 0:
                break
        score(sizes, scale, query, at, rows, memory_in, keys_at, first, count, memory, scores_at)
        hide(sizes, mask, sample, head, row, rows, first, count, memory, scores_at)
        for i in range(rows):
            _take_in(memory, scores_at + i * BLOCK, count, largest_at + i, totals_at + i,
                     sums_at + i * PANEL, rows * PANEL, sizes.value_columns)  # fmt: skip
        for j in range(0, sizes.value_columns, PANEL):
            panel = values_at + j * sizes.keys + first * PANEL
            multiply(memory_in, scores_at, BLOCK, 1, rows, count, memory_in, panel, memory,
                     sums_at + j * rows, PANEL, True)  # fmt: skip
    log_at = (sample * sizes.heads + head) * sizes.queries + row
    for i in range(rows):
        total = get(memory, totals_at + i)
        put(log_sums, log_at + i, get(memory, largest_at + i) + np.float32(math.log(total)))
        for j in range(0, sizes.value_columns, PANEL):
            for k in range(PANEL):
                place = sums_at + j * rows + i * PANEL + k
                put(memory, place, get(memory, place) / total)
    to = ((sample * sizes.queries + row) * sizes.heads + head) * sizes.value_depth
    unpack_rows(memory, sums_at, rows, sizes.value_depth, output, to,
                 sizes.heads * sizes.value_depth)  # fmt: skip


@helper
def _is_any_blind(memory: Array, largest_at: int, rows: int) -> bool:
    """Return whether one of the queries saw no key so far."""
    blind = False
    for i in range(rows):
        blind = blind or get(memory, largest_at + i) < HALF_HIDDEN
    return blind


@helper
def _take_in(
    memory: Array, at: int, count: int, largest_at: int, total_at: int, sums_at: int, step: int,
    columns: int,
) -> None:  # fmt: skip
    """Replace the scores of a query by exponentials, and bring what was summed to their scale."""
    before = get(memory, largest_at)
    for j in range(at + count, at + whole_vectors(count)):
        put(memory, j, _NONE)
    tops = splat(before, LANES)
    for j in range(at, at + count, LANES):
        scores = load(memory, j, LANES)
        tops = where_beats(scores, tops, scores, tops)
    largest = largest_across(tops)
    # In a slice, so that the loop becomes one of vectors.
    shares = memory[at : at + whole_vectors(count)]
    for j in range(shares.size):
        shares[j] = exp(shares[j] - largest)
    sums = splat(_ZERO, LANES)
    for j in range(at, at + count, LANES):
        sums = add(sums, load(memory, j, LANES))
    total = sum_across(sums)
    change = exp(before - largest) if largest != before else _ONE
    put(memory, largest_at, largest)
    put(memory, total_at, get(memory, total_at) * change + total)
    if change != _ONE:
        for j in range(0, columns, PANEL):
            place = sums_at + j // PANEL * step
            for k in range(place, place + PANEL):
                put(memory, k, get(memory, k) * change)


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
        pack_turned(key, key_start, row, keys, depth, memory, turned_at)
        pack_turned(value, value_start, value_row, keys, value_depth, memory, values_at)
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
    shares_at = block_at  # (rows, BLOCK)
    grads_at = shares_at + ROWS * BLOCK  # likewise, of the scores
    queries_at = grads_at + ROWS * BLOCK  # packed
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
    for first in range(0, keys, BLOCK):
        count = min(BLOCK, keys - first)
        if sizes.causal and not blind:
            count = min(count, row + rows - first)
            if count <= 0:
                break
        score(sizes, scale, query, at, rows, memory_in, turned_at, first, count, memory, shares_at)
        hide(sizes, mask, sample, head, row, rows, first, count, memory, shares_at)
        for j in range(0, count, PANEL):
            panel = values_at + (first + j) * sizes.value_depth
            multiply(output_grad, value_at, value_step, 1, rows, sizes.value_depth, memory_in,
                     panel, memory, grads_at + j, BLOCK, False)  # fmt: skip
        for i in range(rows):
            _share(sizes, scale, memory, shares_at + i * BLOCK, grads_at + i * BLOCK, count,
                   get(log_sums, log_at + i), get(memory, means_at + i))  # fmt: skip
        for j in range(0, sizes.value_columns, PANEL):  # of values: shares.T @ output_grad
            multiply(memory_in, shares_at, 1, BLOCK, count, rows, memory_in, output_at + j * rows,
                     memory, value_sums + j * keys + first * PANEL, PANEL, True)  # fmt: skip
        for j in range(0, sizes.columns, PANEL):  # of keys and of queries
            multiply(memory_in, grads_at, 1, BLOCK, count, rows, memory_in, queries_at + j * rows,
                     memory, key_sums + j * keys + first * PANEL, PANEL, True)  # fmt: skip
            multiply(memory_in, grads_at, BLOCK, 1, rows, count, memory_in,
                     rows_at + j * keys + first * PANEL, memory, sums_at + j * rows, PANEL,
                     True)  # fmt: skip
    unpack_rows(memory, sums_at, rows, sizes.depth, query_grad, at, step)


@helper
def _dot(a: Array, b: Array, at: int, count: int) -> np.float32:
    """Return the sum of the products of two rows that begin at one place."""
    whole, sums, rest = count // LANES * LANES, splat(_ZERO, LANES), _ZERO
    for j in range(at, at + whole, LANES):
        sums = multiply_add(load(a, j, LANES), load(b, j, LANES), sums)
    for j in range(at + whole, at + count):
        rest += get(a, j) * get(b, j)
    return sum_across(sums) + rest


@helper
def _share(
    sizes: Sizes,
    scale: np.float32,
    memory: Array,
    at: int,
    grads_at: int,
    count: int,
    log_sum: np.float32,
    mean: np.float32,
) -> None:
    """Replace the scores of a query by shares, and the gradients of shares by those of scores."""
    count = whole_vectors(count)  # more than there are: they are not used
    shares, grads = memory[at : at + count], memory[grads_at : grads_at + count]
    if log_sum < HALF_HIDDEN:  # it sees no key: the mean of all values, whatever the scores are
        for j in range(count):
            shares[j] = _ONE / np.float32(sizes.keys)
            grads[j] = _ZERO
        return
    for j in range(count):
        shares[j] = exp(shares[j] - log_sum)
    for j in range(count):
        grads[j] = shares[j] * (grads[j] - mean) * scale
