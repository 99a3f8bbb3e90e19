"""The kernels of normalization. A task of those of columns is a chunk of the rows of a sample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, helper, kernel, part
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    get,
    load,
    multiply_add,
    put,
    splat,
    store,
    sum_across,
    where_beats,
    where_positive,
)

__all__ = [
    "column_grads",
    "column_moments",
    "columns_backward",
    "columns_forward",
    "rows_backward",
    "rows_forward",
]

Array = Any

_ZERO, _ONE = np.float32(0), np.float32(1)
_ROWS = 8  # that are normalized together


@kernel
def column_moments(
    counters: Ints,
    tasks: int,
    worker: int,
    rows: int,
    line: int,
    chunk: int,
    chunks: int,
    centered: bool,
    x: FloatsIn,
    parts: Floats,
) -> None:
    """Write the means of the columns of chunks, and the sums of squares of deviations from them.

    They follow one another for each task; a mean that is not wanted is 0.
    """
    task = next_task(counters, tasks, worker)
    while task < tasks:
        first = task % chunks * chunk
        count = min(chunk, rows - first)
        start, at = (task // chunks * rows + first) * line, 2 * task * line
        _fill(parts, at, 2 * line)
        if centered:
            for i in range(count):
                _add_to(parts, at, x, start + i * line, line)
            for j in range(at, at + line):
                put(parts, j, get(parts, j) / np.float32(count))
        for i in range(count):
            _add_squares(parts, at, x, start + i * line, line)
        task = next_task(counters, tasks, worker)


@helper
def _fill(out: Array, start: int, count: int) -> None:
    for j in range(start, start + count):
        put(out, j, _ZERO)


@part
def _add_to(out: Array, at: int, x: Array, start: int, count: int) -> None:
    """Add numbers to others."""
    whole = count // LANES * LANES
    for j in range(0, whole, LANES):
        store(out, at + j, add(load(out, at + j, LANES), load(x, start + j, LANES)))
    for j in range(whole, count):
        put(out, at + j, get(out, at + j) + get(x, start + j))


@part
def _add_squares(parts: Array, at: int, x: Array, start: int, count: int) -> None:
    """Add the squares of deviations from the means, which lie before the sums."""
    whole, minus = count // LANES * LANES, splat(-_ONE, LANES)
    for j in range(0, whole, LANES):
        difference = multiply_add(load(parts, at + j, LANES), minus, load(x, start + j, LANES))
        total = multiply_add(difference, difference, load(parts, at + count + j, LANES))
        store(parts, at + count + j, total)
    for j in range(whole, count):
        apart = get(x, start + j) - get(parts, at + j)
        put(parts, at + count + j, get(parts, at + count + j) + apart * apart)


@kernel
def columns_forward(
    counters: Ints,
    tasks: int,
    worker: int,
    rows: int,
    line: int,
    chunk: int,
    chunks: int,
    x: FloatsIn,
    mean: FloatsIn,
    scale: FloatsIn,
    shift: FloatsIn,
    added: FloatsIn,
    relu: bool,
    y: Floats,
) -> None:
    """Write ``(x - mean) * scale + shift + added``, after relu if it is wanted.

    Each sample has a row of means, scales and shifts; `added` may be empty.
    """
    whole, minus, zero = line // LANES * LANES, splat(-_ONE, LANES), splat(_ZERO, LANES)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        sample, first = task // chunks, task % chunks * chunk
        own = sample * line
        for i in range(first, min(first + chunk, rows)):
            start = (sample * rows + i) * line
            for j in range(0, whole, LANES):
                apart = multiply_add(load(mean, own + j, LANES), minus, load(x, start + j, LANES))
                # Rounded before the shift is added, so that an infinite shift stays one.
                value = add(
                    multiply_add(apart, load(scale, own + j, LANES), zero),
                    load(shift, own + j, LANES),
                )
                if added.size:
                    value = add(value, load(added, start + j, LANES))
                if relu:
                    value = where_beats(value, zero, value, zero)
                store(y, start + j, value)
            for j in range(whole, line):
                value = (get(x, start + j) - get(mean, own + j)) * get(scale, own + j)
                value += get(shift, own + j)
                if added.size:
                    value += get(added, start + j)
                put(y, start + j, _ZERO if relu and value <= 0 else value)
        task = next_task(counters, tasks, worker)


@kernel
def column_grads(
    counters: Ints,
    tasks: int,
    worker: int,
    rows: int,
    line: int,
    chunk: int,
    chunks: int,
    output_grad: FloatsIn,
    output: FloatsIn,
    x: FloatsIn,
    mean: FloatsIn,
    parts: Floats,
) -> None:
    """Write the sums of columns of chunks: of gradients, then of ``output_grad * (x - mean)``.

    Where `output` is given, gradients are 0 where it is not positive.
    """
    whole, minus = line // LANES * LANES, splat(-_ONE, LANES)
    zero = splat(_ZERO, LANES)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        sample, first = task // chunks, task % chunks * chunk
        own, at = sample * line, 2 * task * line
        _fill(parts, at, 2 * line)
        for i in range(first, min(first + chunk, rows)):
            start = (sample * rows + i) * line
            for j in range(0, whole, LANES):
                apart = multiply_add(load(mean, own + j, LANES), minus, load(x, start + j, LANES))
                grad = load(output_grad, start + j, LANES)
                if output.size:
                    grad = where_positive(load(output, start + j, LANES), grad, zero)
                store(parts, at + j, add(load(parts, at + j, LANES), grad))
                total = multiply_add(grad, apart, load(parts, at + line + j, LANES))
                store(parts, at + line + j, total)
            for j in range(whole, line):
                grad = get(output_grad, start + j)
                if output.size and not get(output, start + j) > 0:
                    grad = _ZERO
                put(parts, at + j, get(parts, at + j) + grad)
                product = grad * (get(x, start + j) - get(mean, own + j))
                put(parts, at + line + j, get(parts, at + line + j) + product)
        task = next_task(counters, tasks, worker)


@kernel
def columns_backward(
    counters: Ints,
    tasks: int,
    worker: int,
    rows: int,
    line: int,
    chunk: int,
    chunks: int,
    output_grad: FloatsIn,
    output: FloatsIn,
    x: FloatsIn,
    mean: FloatsIn,
    scale: FloatsIn,
    slope: FloatsIn,
    shift: FloatsIn,
    input_grad: Floats,
    added_grad: Floats,
) -> None:
    """Write ``grad * scale + (x - mean) * slope + shift``; a sample has a row of each.

    The gradient is that of the output, or where `output` is given, 0 where that is not positive;
    it is written to `added_grad` too, unless that is empty.
    """
    whole, minus = line // LANES * LANES, splat(-_ONE, LANES)
    zero = splat(_ZERO, LANES)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        sample, first = task // chunks, task % chunks * chunk
        own = sample * line
        for i in range(first, min(first + chunk, rows)):
            start = (sample * rows + i) * line
            for j in range(0, whole, LANES):
                apart = multiply_add(load(mean, own + j, LANES), minus, load(x, start + j, LANES))
                value = load(shift, own + j, LANES)
                value = multiply_add(apart, load(slope, own + j, LANES), value)
                grad = load(output_grad, start + j, LANES)
                if output.size:
                    grad = where_positive(load(output, start + j, LANES), grad, zero)
                if added_grad.size:
                    store(added_grad, start + j, grad)
                store(input_grad, start + j, multiply_add(grad, load(scale, own + j, LANES), value))
            for j in range(whole, line):
                value = (get(x, start + j) - get(mean, own + j)) * get(slope, own + j)
                value = value + get(shift, own + j)
                grad = get(output_grad, start + j)
                if output.size and not get(output, start + j) > 0:
                    grad = _ZERO
                if added_grad.size:
                    put(added_grad, start + j, grad)
                put(input_grad, start + j, grad * get(scale, own + j) + value)
        task = next_task(counters, tasks, worker)


@kernel
def rows_forward(
    counters: Ints,
    tasks: int,
    worker: int,
    rows: int,
    groups: int,
    members: int,
    epsilon: float,
    centered: bool,
    x: FloatsIn,
    gamma: FloatsIn,
    beta: FloatsIn,
    y: Floats,
    means: Floats,
    variances: Floats,
) -> None:
    """Write normalized rows of `members` numbers, their means and their variances."""
    whole, zero = members // LANES * LANES, splat(_ZERO, LANES)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        begin, end = task * rows // tasks, (task + 1) * rows // tasks
        # A few rows at a time, so that the sum of one need not wait for that of another.
        for first in range(begin, end, _ROWS):
            last = min(first + _ROWS, end)
            for row in range(first, last):
                means[row] = _ZERO
                if centered:
                    means[row] = _sum_of(x, row * members, members) / np.float32(members)
            for row in range(first, last):
                squares = _sum_of_squares(x, row * members, members, means[row])
                variances[row] = squares / np.float32(members)
            for row in range(first, last):
                start, own, mean = row * members, row % groups * members, means[row]
                scale = np.float32(1 / math.sqrt(np.float64(variances[row]) + epsilon))
                less, scales = splat(-mean, LANES), splat(scale, LANES)
                for j in range(0, whole, LANES):
                    value = multiply_add(add(load(x, start + j, LANES), less), scales, zero)
                    weight = load(gamma, own + j, LANES)
                    store(y, start + j, multiply_add(value, weight, load(beta, own + j, LANES)))
                for j in range(whole, members):
                    value = (get(x, start + j) - mean) * scale
                    put(y, start + j, value * get(gamma, own + j) + get(beta, own + j))
        task = next_task(counters, tasks, worker)


@part
def _sum_of(x: Array, start: int, count: int) -> np.float32:
    """Return the sum of numbers that lie together."""
    whole, total, rest = count // LANES * LANES, splat(_ZERO, LANES), _ZERO
    for j in range(start, start + whole, LANES):
        total = add(total, load(x, j, LANES))
    for j in range(start + whole, start + count):
        rest += get(x, j)
    return sum_across(total) + rest


@part
def _sum_of_squares(x: Array, start: int, count: int, mean: np.float32) -> np.float32:
    """Return the sum of the squares of numbers' deviations from their mean."""
    whole, total, rest = count // LANES * LANES, splat(_ZERO, LANES), _ZERO
    less = splat(-mean, LANES)
    for j in range(start, start + whole, LANES):
        apart = add(load(x, j, LANES), less)
        total = multiply_add(apart, apart, total)
    for j in range(start + whole, start + count):
        rest += (get(x, j) - mean) * (get(x, j) - mean)
    return sum_across(total) + rest


@kernel
def rows_backward(
    counters: Ints,
    tasks: int,
    worker: int,
    batch: int,
    groups: int,
    members: int,
    epsilon: float,
    centered: bool,
    output_grad: FloatsIn,
    x: FloatsIn,
    gamma: FloatsIn,
    means: FloatsIn,
    variances: FloatsIn,
    input_grad: Floats,
    parts: Floats,
) -> None:
    """Write the gradient of rows, and what the rows of each task add to those of beta and gamma."""
    channels = groups * members
    whole, zero, count = members // LANES * LANES, splat(_ZERO, LANES), np.float32(members)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        _fill(parts, 2 * task * channels, 2 * channels)
        first, last = task * batch // tasks * groups, (task + 1) * batch // tasks * groups
        for row in range(first, last):
            start, own, mean = row * members, row % groups * members, means[row]
            scale = np.float32(1 / math.sqrt(np.float64(variances[row]) + epsilon))
            less, scales = splat(-mean, LANES), splat(scale, LANES)
            beta_at = 2 * task * channels + own
            gamma_at = beta_at + channels
            grads, products, rest, rest_of_products = zero, zero, _ZERO, _ZERO
            for j in range(0, whole, LANES):
                value = multiply_add(add(load(x, start + j, LANES), less), scales, zero)
                grad = load(output_grad, start + j, LANES)
                store(parts, beta_at + j, add(load(parts, beta_at + j, LANES), grad))
                total = multiply_add(grad, value, load(parts, gamma_at + j, LANES))
                store(parts, gamma_at + j, total)
                grad = multiply_add(grad, load(gamma, own + j, LANES), zero)
                grads, products = add(grads, grad), multiply_add(grad, value, products)
            for j in range(whole, members):
                value, grad = (get(x, start + j) - mean) * scale, get(output_grad, start + j)
                put(parts, beta_at + j, get(parts, beta_at + j) + grad)
                put(parts, gamma_at + j, get(parts, gamma_at + j) + grad * value)
                grad *= get(gamma, own + j)
                rest, rest_of_products = rest + grad, rest_of_products + grad * value
            grad_mean = (sum_across(grads) + rest) / count if centered else _ZERO
            product_mean = (sum_across(products) + rest_of_products) / count
            minus_grad, minus_product = splat(-grad_mean, LANES), splat(-product_mean, LANES)
            for j in range(0, whole, LANES):
                value = multiply_add(add(load(x, start + j, LANES), less), scales, zero)
                grad = load(output_grad, start + j, LANES)
                grad = multiply_add(grad, load(gamma, own + j, LANES), minus_grad)
                value = multiply_add(value, minus_product, grad)
                store(input_grad, start + j, multiply_add(value, scales, zero))
            for j in range(whole, members):
                value = (get(x, start + j) - mean) * scale
                grad = get(output_grad, start + j) * get(gamma, own + j)
                put(input_grad, start + j, (grad - grad_mean - value * product_mean) * scale)
        task = next_task(counters, tasks, worker)
