"""Softmax over the last axis, its logarithm, and its cross-entropy, a few rows at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, IntsIn, kernel, part
from gpunet.primitives.fast.elementwise import LEAST_TASK
from gpunet.primitives.fast.exponential import exp
from gpunet.primitives.fast.memory import NO_FLOATS, NO_INTS, flat
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    divide,
    load,
    multiply_add,
    splat,
    store,
)
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty

__all__ = [
    "log_softmax_backward",
    "log_softmax_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
]

Array = Any

_ZERO = np.float32(0)
_TASK = LEAST_TASK // 4  # numbers forwards: an exponential of each
_BLOCK = 1 << 11  # numbers that are gone through several times, in a level-1 cache

# What the kernels can do.
_SOFTMAX, _LOG_SOFTMAX, _ENTROPY_OF_NUMBERS, _ENTROPY_OF_PROBABILITIES = range(4)


def softmax_forward(x: Array, axis: int) -> Array:
    """Return exp(x) divided by its sum over `axis`."""
    if not _supports(x, axis):
        return reference.softmax_forward(x, axis)
    return _forward(_SOFTMAX, x)[1]


def softmax_backward(output_grad: Array, y: Array, axis: int) -> Array:
    """Return the gradient of the input of softmax."""
    if not _supports(y, axis):
        return reference.softmax_backward(output_grad, y, axis)
    return _backward(_SOFTMAX, output_grad, y)


def log_softmax_forward(x: Array, axis: int) -> Array:
    """Return the logarithm of softmax(x)."""
    if not _supports(x, axis):
        return reference.log_softmax_forward(x, axis)
    return _forward(_LOG_SOFTMAX, x)[1]


def log_softmax_backward(output_grad: Array, y: Array, axis: int) -> Array:
    """Return the gradient of the input of log_softmax."""
    if not _supports(y, axis):
        return reference.log_softmax_backward(output_grad, y, axis)
    return _backward(_LOG_SOFTMAX, output_grad, y)


def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each sample's cross-entropy, and softmax(logits)."""
    found = _as_labels(labels, logits.shape[1]) if logits.dtype == np.float32 else None
    if found is None:
        return reference.softmax_cross_entropy_forward(logits, labels)
    operation, numbers, floats = found
    return _forward(operation, logits, numbers, floats)


def softmax_cross_entropy_backward(
    output_grad: Array, probabilities: Array, labels: Array
) -> Array:
    """Return the gradient of the logits."""
    supported = probabilities.dtype == output_grad.dtype == np.float32
    found = _as_labels(labels, probabilities.shape[1]) if supported else None
    if found is None:
        return reference.softmax_cross_entropy_backward(output_grad, probabilities, labels)
    operation, numbers, floats = found
    return _backward(operation, output_grad, probabilities, numbers, floats)


def _supports(x: Array, axis: int) -> bool:
    return x.dtype == np.float32 and axis in (-1, x.ndim - 1)


def _as_labels(labels: Array, classes: int) -> tuple[int, Array, Array] | None:
    """Return the operation, class numbers and probabilities; None if a number is out of range."""
    if labels.ndim == 2:
        floats = flat(labels.astype(np.float32, copy=False))
        return _ENTROPY_OF_PROBABILITIES, NO_INTS, floats
    numbers = flat(labels.astype(np.int64, copy=False))
    if numbers.size and numbers.view(np.uint64).max() >= classes:  # as unsigned, -1 is the largest
        return None
    return _ENTROPY_OF_NUMBERS, numbers, NO_FLOATS


def _forward(
    operation: int, x: Array, numbers: Array = NO_INTS, labels: Array = NO_FLOATS
) -> tuple[Array, Array]:
    """Return the losses, if the operation has some, and what else a kernel makes of `x`."""
    classes = x.shape[-1]
    rows, y = x.size // classes, empty(x.shape, x.dtype)
    losses = np.empty(rows, np.float32)
    tasks = max(1, min(x.size // _TASK, rows))
    run(
        _rows_forward, tasks, operation, rows, classes, flat(x), numbers, labels, losses,
        y.reshape(-1),
    )  # fmt: skip
    return losses, y


def _backward(
    operation: int, output_grad: Array, y: Array, numbers: Array = NO_INTS,
    labels: Array = NO_FLOATS,
) -> Array:  # fmt: skip
    """Return the gradient of the input that a kernel makes."""
    classes, input_grad = y.shape[-1], empty(y.shape, y.dtype)
    rows = y.size // classes
    tasks = max(1, min(y.size // LEAST_TASK, rows))
    run(
        _rows_backward, tasks, operation, rows, classes, flat(output_grad), flat(y), numbers,
        labels, input_grad.reshape(-1),
    )  # fmt: skip
    return input_grad


@kernel
def _rows_forward(
    counters: Ints, tasks: int, worker: int,
    operation: int, rows: int, classes: int, x: FloatsIn, numbers: IntsIn, labels: FloatsIn,
    losses: Floats, y: Floats,
) -> None:  # fmt: skip
    """Write softmax of rows or its logarithm to `y`, and cross-entropies to `losses`.

    Until they are written `losses` holds the rows' largest numbers. The exponentials of several
    rows are taken at once: a row alone may be less than a vector.
    """
    block = max(1, _BLOCK // classes)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        end = (task + 1) * rows // tasks
        for first in range(task * rows // tasks, end, block):
            last = min(first + block, end)
            for i in range(first, last):
                losses[i] = _largest(x, i * classes, classes)
                _move(x, i * classes, classes, -losses[i], y)
            block_y = y[first * classes : last * classes]
            for j in range(block_y.size):
                block_y[j] = exp(block_y[j])
            for i in range(first, last):
                largest, total = losses[i], _total(y, i * classes, classes)
                log_total = math.log(total)
                if operation == _LOG_SOFTMAX:
                    _move(x, i * classes, classes, -largest, y)
                    _move(y, i * classes, classes, -log_total, y)
                else:
                    _divide(y, i * classes, classes, total)
                if operation == _ENTROPY_OF_NUMBERS:
                    losses[i] = log_total - (x[i * classes + numbers[i]] - largest)
                elif operation == _ENTROPY_OF_PROBABILITIES:
                    losses[i] = _entropy(x, i * classes, classes, largest, log_total, labels)
        task = next_task(counters, tasks, worker)


@part
def _largest(x: Array, start: int, count: int) -> np.float32:
    """Return the largest of some numbers; of NaN the exponentials become NaN by themselves."""
    a, b, c, d = x[start], x[start], x[start], x[start]
    whole = start + count // 4 * 4
    for j in range(start, whole, 4):  # four at once: each waits for the one before
        a = x[j] if x[j] > a else a
        b = x[j + 1] if x[j + 1] > b else b
        c = x[j + 2] if x[j + 2] > c else c
        d = x[j + 3] if x[j + 3] > d else d
    for j in range(whole, start + count):
        a = x[j] if x[j] > a else a
    a, c = (b if b > a else a), (d if d > c else c)
    return c if c > a else a


@part
def _total(x: Array, start: int, count: int) -> np.float32:
    """Return the sum of some numbers."""
    a, b, c, d = _ZERO, _ZERO, _ZERO, _ZERO
    whole = start + count // 4 * 4
    for j in range(start, whole, 4):
        a, b, c, d = a + x[j], b + x[j + 1], c + x[j + 2], d + x[j + 3]
    for j in range(whole, start + count):
        a += x[j]
    return (a + b) + (c + d)


@part
def _move(x: Array, start: int, count: int, by: np.float32, out: Array) -> None:
    """Write some numbers, each plus another, to where they are in `out`."""
    whole = start + count // LANES * LANES
    for j in range(start, whole, LANES):
        store(out, j, add(load(x, j, LANES), splat(by, LANES)))
    for j in range(whole, start + count):
        out[j] = x[j] + by


@part
def _divide(x: Array, start: int, count: int, by: np.float32) -> None:
    """Divide some numbers in place."""
    whole = start + count // LANES * LANES
    for j in range(start, whole, LANES):
        store(x, j, divide(load(x, j, LANES), splat(by, LANES)))
    for j in range(whole, start + count):
        x[j] = x[j] / by


@part
def _entropy(
    x: Array, start: int, count: int, largest: np.float32, log_total: np.float32, labels: Array
) -> np.float32:
    """Return the cross-entropy of a row of logits with the labels at the same place."""
    chosen, total = _ZERO, _ZERO
    for j in range(start, start + count):
        label = labels[j]
        product = label * (x[j] - largest)
        # A logit of minus infinity counts for nothing where the label is 0.
        chosen += _ZERO if label == _ZERO else product
        total += label
    return log_total * total - chosen


@kernel
def _rows_backward(
    counters: Ints, tasks: int, worker: int,
    operation: int, rows: int, classes: int, output_grad: FloatsIn, y: FloatsIn, numbers: IntsIn,
    labels: FloatsIn, input_grad: Floats,
) -> None:  # fmt: skip
    """Write the gradient of the input, row by row."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        first, last = task * rows // tasks, (task + 1) * rows // tasks
        if operation == _LOG_SOFTMAX:
            value = y[first * classes : last * classes]
            grad = input_grad[first * classes : last * classes]
            for j in range(grad.size):
                grad[j] = exp(value[j])
        for i in range(first, last):
            start, factor, total = i * classes, _ZERO, _ZERO
            if operation == _SOFTMAX:
                total = -_total_of_products(output_grad, y, start, classes)
            elif operation == _LOG_SOFTMAX:
                total = -_total(output_grad, start, classes)
            else:
                factor = output_grad[i]
                if operation == _ENTROPY_OF_PROBABILITIES:
                    total = _total(labels, start, classes)
            _grads(operation, start, classes, factor, total, output_grad, y, labels, input_grad)
            if operation == _ENTROPY_OF_NUMBERS:
                input_grad[start + numbers[i]] -= factor
        task = next_task(counters, tasks, worker)


@part
def _total_of_products(x: Array, y: Array, start: int, count: int) -> np.float32:
    """Return the sum of the products of numbers at the same places."""
    a, b, c, d = _ZERO, _ZERO, _ZERO, _ZERO
    whole = start + count // 4 * 4
    for j in range(start, whole, 4):
        a, b = a + x[j] * y[j], b + x[j + 1] * y[j + 1]
        c, d = c + x[j + 2] * y[j + 2], d + x[j + 3] * y[j + 3]
    for j in range(whole, start + count):
        a += x[j] * y[j]
    return (a + b) + (c + d)


@part
def _grads(
    operation: int, start: int, count: int, factor: np.float32, total: np.float32,
    output_grad: Array, y: Array, labels: Array, out: Array,
) -> None:  # fmt: skip
    """Write the gradients of a row, given the one of its loss and the total that each formula has.

    In `out` are the exponentials of `y` if that is the logarithm of softmax.
    """
    factors, totals, zero = splat(factor, LANES), splat(total, LANES), splat(_ZERO, LANES)
    whole = start + count // LANES * LANES
    for j in range(start, whole, LANES):
        value = load(y, j, LANES)
        if operation == _SOFTMAX:
            value = multiply_add(add(load(output_grad, j, LANES), totals), value, zero)
        elif operation == _LOG_SOFTMAX:
            value = multiply_add(load(out, j, LANES), totals, load(output_grad, j, LANES))
        elif operation == _ENTROPY_OF_NUMBERS:
            value = multiply_add(value, factors, zero)
        else:
            value = multiply_add(value, totals, zero)
            value = multiply_add(load(labels, j, LANES), splat(np.float32(-1), LANES), value)
            value = multiply_add(value, factors, zero)
        store(out, j, value)
    for j in range(whole, start + count):
        if operation == _SOFTMAX:
            out[j] = (output_grad[j] + total) * y[j]
        elif operation == _LOG_SOFTMAX:
            out[j] = output_grad[j] + out[j] * total
        elif operation == _ENTROPY_OF_NUMBERS:
            out[j] = y[j] * factor
        else:
            out[j] = (y[j] * total - labels[j]) * factor
