"""The kernels of normalization where a group's elements lie apart: sums of columns of a table.

Both kernels have two phases. A task of the first takes sums over a chunk of rows; the thread that
ends the last of them brings the sums of all chunks together. A task of the second writes the
results of a chunk, once that is done. Tasks are taken in order, so that a thread waits only for
tasks that other threads have begun.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.fast.compile import (
    Doubles,
    Floats,
    FloatsIn,
    Ints,
    part,
    uncounted_kernel,
)
from gpunet.primitives.fast.normalization_statistics import Columns, backward_rows, forward_rows
from gpunet.primitives.fast.sharing import add_now, next_task, wait_for
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    get,
    load,
    multiply_add,
    put,
    splat,
    store,
    where_beats,
    where_positive,
)

__all__ = ["BLOCK", "columns_backward", "columns_forward"]

Array = Any

BLOCK = 4 * LANES  # columns whose sums stay in registers
_ZERO, _ONE = np.float32(0), np.float32(1)


@uncounted_kernel
def columns_forward(
    counters: Ints, tasks: int, worker: int,
    s: Columns, epsilon: float, centered: bool, relu: bool, x: FloatsIn, gamma: FloatsIn,
    beta: FloatsIn, added: FloatsIn, means: Floats, variances: Floats, y: Floats, parts: Floats,
    wide: Floats, sums: Doubles, done: Ints, ready: Ints,
) -> None:  # fmt: skip
    """Write means, variances and ``(x - mean) * scale + shift + added``, after relu if wanted.

    `wide` has rows of means, scales and shifts, one of each for each sample. They are given where
    `ready` is 1 already; then there are tasks of the second phase alone.
    """
    line, chunks = s.fold * s.groups * s.members, s.batch * s.chunks
    task = next_task(counters, tasks, worker)
    while task < tasks:
        # The second phase begins with the chunks that the first ended with: they are in cache.
        chunk = task if task < tasks - chunks else tasks - 1 - task
        sample, first = chunk // s.chunks, chunk % s.chunks * s.chunk
        count, start = min(s.chunk, s.rows - first), (sample * s.rows + first) * line
        if task < tasks - chunks:
            _moments(x, start, count, line, centered, parts, 2 * chunk * line)
            if add_now(done, 0, 1) == chunks - 1:
                forward_rows(s, epsilon, parts, gamma, beta, means, variances, sums, wide)
                add_now(ready, 0, 1)
        else:
            wait_for(ready, 0, 1)
            _normalize(x, start, count, line, added, relu, y, wide, sample * line, s.batch * line)
        task = next_task(counters, tasks, worker)


@part
def _moments(
    x: Array, start: int, rows: int, line: int, centered: bool, parts: Array, at: int
) -> None:
    """Write the means of columns to parts[at:], then the sums of squares of deviations from them.

    A mean that is not wanted is 0. The last block of columns may begin in the one before.
    """
    zero, minus = splat(_ZERO, LANES), splat(-_ONE, LANES)
    share = splat(_ONE / np.float32(rows), LANES)
    end = start + rows * line
    for j in range(0, line if line >= LANES else 0, BLOCK):
        j1, j2 = min(j + LANES, line - LANES), min(j + 2 * LANES, line - LANES)
        j0, j3 = min(j, line - LANES), min(j + 3 * LANES, line - LANES)
        m0, m1, m2, m3 = zero, zero, zero, zero
        if centered:
            for i in range(start, end, line):
                m0, m1 = add(m0, load(x, i + j0, LANES)), add(m1, load(x, i + j1, LANES))
                m2, m3 = add(m2, load(x, i + j2, LANES)), add(m3, load(x, i + j3, LANES))
        m0, m1 = multiply_add(m0, share, zero), multiply_add(m1, share, zero)
        m2, m3 = multiply_add(m2, share, zero), multiply_add(m3, share, zero)
        s0, s1, s2, s3 = zero, zero, zero, zero
        for i in range(start, end, line):
            d0 = multiply_add(m0, minus, load(x, i + j0, LANES))
            d1 = multiply_add(m1, minus, load(x, i + j1, LANES))
            d2 = multiply_add(m2, minus, load(x, i + j2, LANES))
            d3 = multiply_add(m3, minus, load(x, i + j3, LANES))
            s0, s1 = multiply_add(d0, d0, s0), multiply_add(d1, d1, s1)
            s2, s3 = multiply_add(d2, d2, s2), multiply_add(d3, d3, s3)
        _store_four(parts, at, j0, j1, j2, j3, m0, m1, m2, m3)
        _store_four(parts, at + line, j0, j1, j2, j3, s0, s1, s2, s3)
    for j in range(line if line < LANES else 0):
        mean, squares = _ZERO, _ZERO
        for i in range(start + j, end if centered else start, line):
            mean += get(x, i)
        mean /= np.float32(rows)
        for i in range(start + j, end, line):
            squares += (get(x, i) - mean) * (get(x, i) - mean)
        put(parts, at + j, mean)
        put(parts, at + line + j, squares)


@part
def _store_four(
    out: Array, at: int, j0: int, j1: int, j2: int, j3: int, a: Any, b: Any, c: Any, d: Any
) -> None:
    store(out, at + j0, a)
    store(out, at + j1, b)
    store(out, at + j2, c)
    store(out, at + j3, d)


@part
def _normalize(
    x: Array, start: int, rows: int, line: int, added: Array, relu: bool, y: Array, wide: Array,
    mean: int, apart: int,
) -> None:  # fmt: skip
    """Write the results of some rows; means, scales and shifts are `apart` from one another."""
    whole, minus, zero = line // LANES * LANES, splat(-_ONE, LANES), splat(_ZERO, LANES)
    scale, shift = mean + apart, mean + 2 * apart
    for i in range(start, start + rows * line, line):
        for j in range(0, whole, LANES):
            value = multiply_add(load(wide, mean + j, LANES), minus, load(x, i + j, LANES))
            # Rounded before the shift is added, so that an infinite shift stays one.
            value = multiply_add(value, load(wide, scale + j, LANES), zero)
            value = add(value, load(wide, shift + j, LANES))
            if added.size:
                value = add(value, load(added, i + j, LANES))
            if relu:
                value = where_beats(value, zero, value, zero)
            store(y, i + j, value)
        for j in range(whole, line):
            number = (get(x, i + j) - get(wide, mean + j)) * get(wide, scale + j)
            number += get(wide, shift + j)
            if added.size:
                number += get(added, i + j)
            put(y, i + j, _ZERO if relu and number <= 0 else number)


@uncounted_kernel
def columns_backward(
    counters: Ints, tasks: int, worker: int,
    s: Columns, epsilon: float, centered: bool, output_grad: FloatsIn, output: FloatsIn,
    x: FloatsIn, means: FloatsIn, variances: FloatsIn, gamma: FloatsIn, gamma_grad: Floats,
    beta_grad: Floats, input_grad: Floats, added_grad: Floats, parts: Floats, wide: Floats,
    sums: Doubles, done: Ints, ready: Ints,
) -> None:  # fmt: skip
    """Write all gradients; that of what was added to `added_grad`, unless that is empty.

    Where `output` is given, gradients of the output are 0 where it is not positive. `wide` has
    rows of means, scales, slopes and shifts, one of each for each sample.
    """
    line, chunks = s.fold * s.groups * s.members, s.batch * s.chunks
    task = next_task(counters, tasks, worker)
    while task < tasks:
        chunk = task if task < chunks else tasks - 1 - task
        sample, first = chunk // s.chunks, chunk % s.chunks * s.chunk
        count, start = min(s.chunk, s.rows - first), (sample * s.rows + first) * line
        if task < chunks:
            at = 3 * chunk * line  # the chunk's own means lie behind its sums
            for j in range(line):
                group = sample * s.groups + j % (s.groups * s.members) // s.members
                put(parts, at + 2 * line + j, get(means, group) if centered else _ZERO)
            _sum_grads(output_grad, output, x, start, count, line, parts, at)
            if add_now(done, 0, 1) == chunks - 1:
                backward_rows(
                    s, epsilon, centered, parts, means, variances, gamma, gamma_grad, beta_grad,
                    sums, wide,
                )  # fmt: skip
                add_now(ready, 0, 1)
        else:
            wait_for(ready, 0, 1)
            _grads(
                output_grad, output, x, start, count, line, input_grad, added_grad, wide,
                sample * line, s.batch * line,
            )  # fmt: skip
        task = next_task(counters, tasks, worker)


@part
def _sum_grads(
    output_grad: Array, output: Array, x: Array, start: int, rows: int, line: int, parts: Array,
    at: int,
) -> None:  # fmt: skip
    """Write sums of columns to parts[at:]: of gradients, then of ``output_grad * (x - mean)``.

    The means lie behind them. The last block of columns may begin in the one before.
    """
    zero, minus = splat(_ZERO, LANES), splat(-_ONE, LANES)
    end, mean = start + rows * line, at + 2 * line
    for j in range(0, line if line >= LANES else 0, 2 * LANES):
        j0, j1 = min(j, line - LANES), min(j + LANES, line - LANES)
        m0, m1 = load(parts, mean + j0, LANES), load(parts, mean + j1, LANES)
        grads0, grads1, products0, products1 = zero, zero, zero, zero
        for i in range(start, end, line):
            grad0, grad1 = load(output_grad, i + j0, LANES), load(output_grad, i + j1, LANES)
            if output.size:
                grad0 = where_positive(load(output, i + j0, LANES), grad0, zero)
                grad1 = where_positive(load(output, i + j1, LANES), grad1, zero)
            grads0, grads1 = add(grads0, grad0), add(grads1, grad1)
            apart0 = multiply_add(m0, minus, load(x, i + j0, LANES))
            apart1 = multiply_add(m1, minus, load(x, i + j1, LANES))
            products0 = multiply_add(grad0, apart0, products0)
            products1 = multiply_add(grad1, apart1, products1)
        store(parts, at + j0, grads0)
        store(parts, at + j1, grads1)
        store(parts, at + line + j0, products0)
        store(parts, at + line + j1, products1)
    for j in range(line if line < LANES else 0):
        grads, products = _ZERO, _ZERO
        for i in range(start + j, end, line):
            if not output.size or get(output, i) > 0:
                grads += get(output_grad, i)
                products += get(output_grad, i) * (get(x, i) - get(parts, mean + j))
        put(parts, at + j, grads)
        put(parts, at + line + j, products)


@part
def _grads(
    output_grad: Array, output: Array, x: Array, start: int, rows: int, line: int,
    input_grad: Array, added_grad: Array, wide: Array, mean: int, apart: int,
) -> None:  # fmt: skip
    """Write ``grad * scale + (x - mean) * slope + shift``, and `grad` where that is wanted too."""
    whole, minus, zero = line // LANES * LANES, splat(-_ONE, LANES), splat(_ZERO, LANES)
    scale, slope, shift = mean + apart, mean + 2 * apart, mean + 3 * apart
    for i in range(start, start + rows * line, line):
        for j in range(0, whole, LANES):
            value = multiply_add(load(wide, mean + j, LANES), minus, load(x, i + j, LANES))
            value = multiply_add(
                value, load(wide, slope + j, LANES), load(wide, shift + j, LANES)
            )  # fmt: skip
            grad = load(output_grad, i + j, LANES)
            if output.size:
                grad = where_positive(load(output, i + j, LANES), grad, zero)
            if added_grad.size:
                store(added_grad, i + j, grad)
            store(input_grad, i + j, multiply_add(grad, load(wide, scale + j, LANES), value))
        for j in range(whole, line):
            number = (get(x, i + j) - get(wide, mean + j)) * get(wide, slope + j)
            number = number + get(wide, shift + j)
            one = get(output_grad, i + j)
            if output.size and not get(output, i + j) > 0:
                one = _ZERO
            if added_grad.size:
                put(added_grad, i + j, one)
            put(input_grad, i + j, one * get(wide, scale + j) + number)
