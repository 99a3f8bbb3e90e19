"""The gradients of a pooled convolution, as products of a sparse matrix with rows of numbers.

Of the outputs in a pooling window only the largest has a gradient, for each filter another, and
behind relu many have none: at most a quarter of the numbers that a dense product would go through
are not 0. They are listed once for an image; then

- the gradient of the input, where the patch of an output lies, is the sum of the weights of the
  filters that have a gradient there, each times it;
- the gradient of a filter's weights is the sum of the patches where it has a gradient, each times
  it.

Either is `_add_rows`: neighbouring numbers in registers, and a list to go through. It wants
segments (see `products`) of whole vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpunet.primitives.fast.compile import (
    BYTES_IN,
    FLOATS,
    FLOATS_IN,
    INTS,
    INTS_IN,
    helper,
    kernel,
)
from gpunet.primitives.fast.products import PANEL, SIZES, Sizes, copy_rows
from gpunet.primitives.fast.simd import (
    LANES,
    broadcast,
    get,
    load,
    multiply_add,
    put,
    store,
    take_task,
)

__all__ = ["input_grad", "sum_parts", "transpose", "weight_grad"]

Array = Any

WIDE = 6 * PANEL  # numbers of a row that are summed up in registers


@kernel(types.int64, types.int64, FLOATS_IN, FLOATS)
def transpose(rows: int, columns: int, matrix: Array, out: Array) -> None:
    """Write the transpose of a matrix (rows, columns)."""
    for i in range(rows):
        for j in range(columns):
            out[j * rows + i] = matrix[i * columns + j]


@kernel(
    INTS, types.int64, types.int64, SIZES, FLOATS_IN, FLOATS_IN, BYTES_IN, FLOATS_IN, INTS_IN,
    INTS_IN, FLOATS, FLOATS, FLOATS_IN, INTS,
)  # fmt: skip
def input_grad(
    counters: Array,
    tasks: int,
    worker: int,
    sizes: Sizes,
    output_grad: Array,
    output: Array,
    indices: Array,
    weights: Array,
    positions: Array,
    segments: Array,
    result: Array,
    scratch: Array,
    scratch_in: Array,
    lists: Array,
) -> None:
    """Write the gradient of the input; a task is an image.

    `weights` are (filters, patch), `positions` those of all outputs of an image.
    """
    outputs = positions.size
    padded = worker * sizes.scratch
    values = padded + sizes.padded * sizes.copied * sizes.row
    keys = worker * sizes.lists
    counts = keys + outputs * sizes.filters
    task = take_task(counters)
    while task < tasks:
        _list_by_output(
            sizes, output_grad, output, indices, task, outputs, scratch, values, lists, keys, counts
        )
        target, start, size = result, task * sizes.image, sizes.image
        if sizes.padded:
            target, start, size = scratch, padded, sizes.copied * sizes.row
        for i in range(start, start + size):
            put(target, i, np.float32(0))
        for s in range(segments.size):  # outside, so that a segment of all weights stays in cache
            for p in range(outputs):
                first = p * sizes.filters
                _add_rows(
                    target, start + get(positions, p) + get(segments, s), sizes.length,
                    weights, s * sizes.length, lists, keys + first, scratch, values + first,
                    get(lists, counts + p),
                )  # fmt: skip
        if sizes.padded:
            _cut_out(sizes, scratch_in, padded, result, task)
        task = take_task(counters)


@helper
def _list_by_output(
    sizes: Sizes,
    output_grad: Array,
    output: Array,
    indices: Array,
    image: int,
    outputs: int,
    values: Array,
    value_start: int,
    lists: Array,
    keys: int,
    counts: int,
) -> None:
    """List for each output of an image the filters that have a gradient there, and that."""
    for p in range(outputs):
        put(lists, counts + p, 0)
    at = image * outputs // sizes.window * sizes.filters
    for first in range(0, outputs, sizes.window):
        for f in range(sizes.filters):
            grad = get(output_grad, at)
            if sizes.relu:
                grad = grad if get(output, at) > 0 else np.float32(0)
            p = first + np.int64(get(indices, at))
            count = get(lists, counts + p)
            entry = p * sizes.filters + count
            put(lists, keys + entry, f * sizes.patch)
            put(values, value_start + entry, grad)
            put(lists, counts + p, count + (grad != 0))
            at += 1


@helper
def _cut_out(sizes: Sizes, padded: Array, start: int, result: Array, image: int) -> None:
    """Copy an image without its padding."""
    inner = sizes.width * sizes.pixel
    for i in range(sizes.height):
        at = start + (sizes.top + i) * sizes.row + sizes.left * sizes.pixel
        to = image * sizes.image + i * inner
        for j in range(inner):
            result[to + j] = padded[at + j]


@kernel(
    INTS, types.int64, types.int64, SIZES, types.int64, types.int64, FLOATS_IN, FLOATS_IN,
    FLOATS_IN, BYTES_IN, INTS_IN, INTS_IN, FLOATS, FLOATS, FLOATS_IN, INTS,
)  # fmt: skip
def weight_grad(
    counters: Array,
    tasks: int,
    worker: int,
    sizes: Sizes,
    chunk: int,
    block: int,
    x: Array,
    output_grad: Array,
    output: Array,
    indices: Array,
    positions: Array,
    segments: Array,
    parts: Array,
    scratch: Array,
    scratch_in: Array,
    lists: Array,
) -> None:
    """Add up the gradients of weights and bias over chunks of images, `block` images at a time.

    A task is PANEL filters over `chunk` images. `parts` is (chunks, filters, patch + LANES), the
    gradient of the bias behind those of the weights.
    """
    groups = (sizes.filters + PANEL - 1) // PANEL
    padded = worker * sizes.scratch
    values = padded + sizes.padded * block * sizes.copied * sizes.row
    keys = worker * sizes.lists
    capacity = block * positions.size // sizes.window
    counts = keys + PANEL * capacity
    part_row = sizes.patch + LANES
    task = take_task(counters)
    while task < tasks:
        first = (task % groups) * PANEL
        filters = min(PANEL, sizes.filters - first)
        part = (task // groups * sizes.filters + first) * part_row
        for i in range(part, part + filters * part_row):
            parts[i] = np.float32(0)
        start = task // groups * chunk
        end = min(start + chunk, sizes.images)
        for image in range(start, end, block):
            images = min(block, end - image)
            _list_by_filter(
                sizes, output_grad, output, indices, image, images, first, filters, positions,
                scratch, values, lists, keys, counts, capacity,
            )  # fmt: skip
            for f in range(filters):
                at = part + f * part_row + sizes.patch
                for e in range(get(lists, counts + f)):
                    put(parts, at, get(parts, at) + get(scratch, values + f * capacity + e))
            if sizes.padded:
                for i in range(images):
                    to = padded + i * sizes.copied * sizes.row
                    copy_rows(sizes, x, (image + i) * sizes.image, 0, scratch, to)
            for s in range(segments.size):
                for f in range(filters):
                    to = part + f * part_row + s * sizes.length
                    key, value, count = (
                        keys + f * capacity,
                        values + f * capacity,
                        lists[counts + f],
                    )
                    if sizes.padded:
                        _add_rows(
                            parts, to, sizes.length, scratch_in, padded + segments[s],
                            lists, key, scratch, value, count,
                        )  # fmt: skip
                    else:
                        _add_rows(
                            parts, to, sizes.length, x, image * sizes.image + segments[s],
                            lists, key, scratch, value, count,
                        )  # fmt: skip
        task = take_task(counters)


@helper
def _list_by_filter(
    sizes: Sizes,
    output_grad: Array,
    output: Array,
    indices: Array,
    image: int,
    images: int,
    first: int,
    filters: int,
    positions: Array,
    values: Array,
    value_start: int,
    lists: Array,
    keys: int,
    counts: int,
    capacity: int,
) -> None:
    """List for each filter where in a block of images it has a gradient, and that."""
    for f in range(filters):
        put(lists, counts + f, 0)
    size = sizes.copied * sizes.row if sizes.padded else sizes.image
    windows = positions.size // sizes.window
    for i in range(images):
        for window in range(windows):
            at = ((image + i) * windows + window) * sizes.filters + first
            for f in range(filters):
                grad = get(output_grad, at + f)
                if sizes.relu:
                    grad = grad if get(output, at + f) > 0 else np.float32(0)
                p = window * sizes.window + np.int64(get(indices, at + f))
                count = get(lists, counts + f)
                entry = f * capacity + count
                put(lists, keys + entry, i * size + get(positions, p))
                put(values, value_start + entry, grad)
                put(lists, counts + f, count + (grad != 0))


@helper
def _add_rows(
    result: Array,
    to: int,
    length: int,
    rows: Array,
    start: int,
    lists: Array,
    key: int,
    values: Array,
    value: int,
    count: int,
) -> None:
    """Add to result[to : to + length] the listed rows, each times its value."""
    k = 0
    while k + WIDE <= length:
        to0, to1, to2 = to + k, to + k + PANEL, to + k + 2 * PANEL
        to3, to4, to5 = to + k + 3 * PANEL, to + k + 4 * PANEL, to + k + 5 * PANEL
        sum0, sum1 = load(result, to0, PANEL), load(result, to1, PANEL)
        sum2, sum3 = load(result, to2, PANEL), load(result, to3, PANEL)
        sum4, sum5 = load(result, to4, PANEL), load(result, to5, PANEL)
        for e in range(count):
            at, times = start + k + get(lists, key + e), broadcast(values, value + e, PANEL)
            sum0 = multiply_add(times, load(rows, at, PANEL), sum0)
            sum1 = multiply_add(times, load(rows, at + PANEL, PANEL), sum1)
            sum2 = multiply_add(times, load(rows, at + 2 * PANEL, PANEL), sum2)
            sum3 = multiply_add(times, load(rows, at + 3 * PANEL, PANEL), sum3)
            sum4 = multiply_add(times, load(rows, at + 4 * PANEL, PANEL), sum4)
            sum5 = multiply_add(times, load(rows, at + 5 * PANEL, PANEL), sum5)
        store(result, to0, sum0), store(result, to1, sum1), store(result, to2, sum2)
        store(result, to3, sum3), store(result, to4, sum4), store(result, to5, sum5)
        k += WIDE
    while k < length:
        narrow = load(result, to + k, LANES)
        for e in range(count):
            at = start + k + get(lists, key + e)
            narrow = multiply_add(
                broadcast(values, value + e, LANES), load(rows, at, LANES), narrow
            )
        store(result, to + k, narrow)
        k += LANES


@kernel(types.int64, types.int64, types.int64, FLOATS_IN, FLOATS, FLOATS)
def sum_parts(
    chunks: int, patch: int, filters: int, parts: Array, kernel_grad: Array, bias_grad: Array
) -> None:
    """Write the sums of what `weight_grad` left, to (patch, filters) and (filters,)."""
    row = patch + LANES
    for f in range(filters):
        for k in range(patch):
            total = parts[f * row + k]
            for chunk in range(1, chunks):
                total += parts[(chunk * filters + f) * row + k]
            kernel_grad[k * filters + f] = total
        if bias_grad.size:
            total = parts[f * row + patch]
            for chunk in range(1, chunks):
                total += parts[(chunk * filters + f) * row + patch]
            bias_grad[f] = total
