"""The kernels of normalization of rows of numbers that lie together."""

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
)

__all__ = [
    "rows_backward",
    "rows_forward",
]

Array = Any

_ZERO = np.float32(0)
_ROWS = 8  # that are normalized together


@helper
def _fill(out: Array, start: int, count: int) -> None:
    for j in range(start, start + count):
        put(out, j, _ZERO)


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
