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

from gpunet.primitives.fast.bands import LINE, PANEL, Sizes, copy_rows, cut_out
from gpunet.primitives.fast.compile import (
    BytesIn,
    Floats,
    FloatsIn,
    Ints,
    IntsIn,
    helper,
    kernel,
    part,
)
from gpunet.primitives.fast.products import sum_up
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    broadcast,
    get,
    load,
    multiply_add,
    put,
    store,
)

__all__ = [
    "add_weight_grads",
    "image_grad",
    "input_grad",
    "sum_parts",
    "weight_grad",
    "write_filters",
]

Array = Any

WIDE = 6 * PANEL  # numbers of a row that are summed up in registers


@kernel
def input_grad(
    counters: Ints, tasks: int, worker: int,
    sizes: Sizes, output_grad: FloatsIn, output: FloatsIn, indices: BytesIn, weights: FloatsIn,
    positions: IntsIn, segments: IntsIn, result: Floats, scratch: Floats, scratch_in: FloatsIn,
    lists: Ints,
) -> None:  # fmt: skip
    """Write the gradient of the input; a task is an image.

    `weights` are (filters, patch), `positions` those of all outputs of an image.
    """
    size = sizes.rows * sizes.columns // sizes.window * sizes.filters
    task = next_task(counters, tasks, worker)
    while task < tasks:
        at = task * size
        image_grad(
            sizes, output_grad, at, output, at, indices, at, weights, 0, positions, segments,
            result, task * sizes.image, scratch, scratch_in, worker * sizes.scratch,
            lists, worker * sizes.lists,
        )  # fmt: skip
        task = next_task(counters, tasks, worker)


@helper
def image_grad(
    sizes: Sizes, grads: Array, grad_start: int, output: Array, output_start: int,
    indices: Array, index_start: int, weights: Array, weight_start: int, positions: Array,
    segments: Array, result: Array, result_start: int, scratch: Array,
    scratch_in: Array, memory: int, lists: Array, keys: int,
) -> None:  # fmt: skip
    """Write the gradient of one image to result[result_start:]; the others begin likewise."""
    outputs = sizes.rows * sizes.columns
    size = sizes.copied * sizes.row if sizes.padded else sizes.image
    values = memory + sizes.padded * size
    counts = keys + outputs * sizes.filters
    _list_by_output(
        sizes, grads, grad_start, output, output_start, indices, index_start,
        scratch, values, lists, keys, counts,
    )  # fmt: skip
    target, start = result, result_start
    if sizes.padded:
        target, start = scratch, memory
    for i in range(start, start + size):
        put(target, i, np.float32(0))
    for s in range(sizes.segments):  # outside, so that a segment of all weights stays in cache
        segment = start + get(segments, sizes.first_segment + s)
        for p in range(outputs):
            first = p * sizes.filters
            _add_rows(
                target, segment + get(positions, sizes.first_position + p), sizes.length,
                weights, weight_start + s * sizes.length,
                lists, keys + first, scratch, values + first, get(lists, counts + p),
            )  # fmt: skip
    if sizes.padded:
        cut_out(sizes, scratch_in, memory, result, result_start)


@part
def _list_by_output(
    sizes: Sizes, grads: Array, grad_start: int, output: Array, output_start: int,
    indices: Array, index_start: int, values: Array, value_start: int, lists: Array, keys: int,
    counts: int,
) -> None:  # fmt: skip
    """List for each output of an image the filters that have a gradient there, and that."""
    outputs, at = sizes.rows * sizes.columns, 0
    for p in range(outputs):
        put(lists, counts + p, 0)
    for first in range(0, outputs, sizes.window):
        for f in range(sizes.filters):
            grad = get(grads, grad_start + at)
            if sizes.relu:
                grad = grad if get(output, output_start + at) > 0 else np.float32(0)
            place = first + np.int64(get(indices, index_start + at))
            count = get(lists, counts + place)
            entry = place * sizes.filters + count
            put(lists, keys + entry, f * sizes.patch)
            put(values, value_start + entry, grad)
            put(lists, counts + place, count + (grad != 0))
            at += 1


@kernel
def weight_grad(
    counters: Ints, tasks: int, worker: int,
    sizes: Sizes, chunk: int, block: int, x: FloatsIn, output_grad: FloatsIn, output: FloatsIn,
    indices: BytesIn, positions: IntsIn, segments: IntsIn, parts: Floats, scratch: Floats,
    scratch_in: FloatsIn, lists: Ints,
) -> None:  # fmt: skip
    """Add up the gradients of weights and bias over chunks of images, `block` images at a time.

    A task is PANEL filters over `chunk` images. `parts` is (chunks, filters, patch + LANES), the
    gradient of the bias behind those of the weights.
    """
    groups = (sizes.filters + PANEL - 1) // PANEL
    size = sizes.rows * sizes.columns // sizes.window * sizes.filters
    part_row = sizes.patch + LANES
    task = next_task(counters, tasks, worker)
    while task < tasks:
        first = (task % groups) * PANEL
        part = (task // groups * sizes.filters + first) * part_row
        for i in range(part, part + min(PANEL, sizes.filters - first) * part_row):
            put(parts, i, np.float32(0))
        start = task // groups * chunk
        end = min(start + chunk, sizes.images)
        for image in range(start, end, block):
            at = image * size
            add_weight_grads(
                sizes, min(block, end - image), block, first, x, image * sizes.image,
                output_grad, at, output, at, indices, at, positions, segments, parts, part,
                scratch, scratch_in, worker * sizes.scratch, lists, worker * sizes.lists,
            )  # fmt: skip
        task = next_task(counters, tasks, worker)


@helper
def add_weight_grads(
    sizes: Sizes, images: int, block: int, first: int, x: Array, x_start: int,
    grads: Array, grad_start: int, output: Array, output_start: int,
    indices: Array, index_start: int, positions: Array, segments: Array, parts: Array, part: int,
    scratch: Array, scratch_in: Array, memory: int, lists: Array, keys: int,
) -> None:  # fmt: skip
    """Add the gradients of PANEL filters, from `first`, over some images to parts[part:]."""
    filters, part_row = min(PANEL, sizes.filters - first), sizes.patch + LANES
    size = sizes.copied * sizes.row
    values = memory + sizes.padded * block * size
    capacity = block * sizes.rows * sizes.columns // sizes.window
    counts = keys + PANEL * capacity
    _list_by_filter(
        sizes, grads, grad_start, output, output_start, indices, index_start, images, first,
        filters, positions, scratch, values, lists, keys, counts, capacity,
    )  # fmt: skip
    for f in range(filters):
        total = get(parts, part + f * part_row + sizes.patch)
        for e in range(get(lists, counts + f)):
            total += get(scratch, values + f * capacity + e)
        put(parts, part + f * part_row + sizes.patch, total)
    source, start = x, x_start
    if sizes.padded:
        source, start = scratch_in, memory
        for i in range(images):
            copy_rows(sizes, x, x_start + i * sizes.image, 0, scratch, memory + i * size)
    for s in range(sizes.segments):
        segment = start + get(segments, sizes.first_segment + s)
        for f in range(filters):
            _add_rows(
                parts, part + f * part_row + s * sizes.length, sizes.length, source, segment,
                lists, keys + f * capacity, scratch, values + f * capacity, get(lists, counts + f),
            )  # fmt: skip


@part
def _list_by_filter(
    sizes: Sizes, grads: Array, grad_start: int, output: Array, output_start: int,
    indices: Array, index_start: int, images: int, first: int, filters: int, positions: Array,
    values: Array, value_start: int, lists: Array, keys: int, counts: int, capacity: int,
) -> None:  # fmt: skip
    """List for each filter where in a block of images it has a gradient, and that."""
    for f in range(filters):
        put(lists, counts + f, 0)
    size = sizes.copied * sizes.row if sizes.padded else sizes.image
    windows = sizes.rows * sizes.columns // sizes.window
    for i in range(images):
        for window in range(windows):
            at = (i * windows + window) * sizes.filters + first
            for f in range(filters):
                grad = get(grads, grad_start + at + f)
                if sizes.relu:
                    grad = grad if get(output, output_start + at + f) > 0 else np.float32(0)
                p = window * sizes.window + np.int64(get(indices, index_start + at + f))
                count = get(lists, counts + f)
                entry = f * capacity + count
                put(lists, keys + entry, i * size + get(positions, sizes.first_position + p))
                put(values, value_start + entry, grad)
                put(lists, counts + f, count + (grad != 0))


@helper
def _add_rows(
    result: Array, to: int, length: int, rows: Array, start: int, lists: Array, key: int,
    values: Array, value: int, count: int,
) -> None:  # fmt: skip
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


@part
def write_filters(
    patch: int, filters: int, first: int, parts: Array, start: int, grads: Array, kernel_grad: int,
    bias_grad: int,
) -> None:  # fmt: skip
    """Write the sums at parts[start:] of PANEL filters, those from `first`, to where they belong.

    That is grads[kernel_grad:], (patch, filters), and grads[bias_grad:], (filters,).
    """
    row, last_filter = patch + LANES, min(first + PANEL, filters)
    for begin in range(0, patch, LINE):
        end = min(begin + LINE, patch)
        for f in range(first, last_filter):
            for k in range(begin, end):
                put(grads, kernel_grad + k * filters + f, get(parts, start + f * row + k))
    for f in range(first, last_filter):
        put(grads, bias_grad + f, get(parts, start + f * row + patch))


@kernel
def sum_parts(chunks: int, patch: int, filters: int, parts: Floats, grads: Floats) -> None:
    """Write the sums of what `weight_grad` left: (patch, filters), then (filters,)."""
    size = filters * (patch + LANES)
    sum_up(parts, 0, size, chunks, size)
    for first in range(0, filters, PANEL):
        write_filters(patch, filters, first, parts, 0, grads, 0, patch * filters)
