"""The kernels of convolution and of matrix products; a product is a convolution of 1 x 1.

The sums of a tile, `TILE` outputs by two vectors of filters, stay in registers while the inputs
under the kernel are gone through; the input is read where it lies, no matrix of patches is made.

Tables, made once for each shape (see `plans`), say where things lie: `positions`, for each output
of a band of rows, where its patch begins, relative to the band's; `segments`, where in a patch
each run of `length` neighbouring numbers begins. Outputs come in the order of the pooling windows,
those of one window together; without pooling a window is one output.

Weights are laid out in panels: (panel, patch, PANEL), PANEL filters side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from gpunet.primitives.fast.compile import (
    BYTES,
    BYTES_IN,
    FLOATS,
    FLOATS_IN,
    INTS,
    INTS_IN,
    helper,
    kernel,
)
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    broadcast,
    get,
    load,
    load_bytes,
    multiply_add,
    put,
    splat,
    store,
    store_bytes,
    take_task,
    where_beats,
    where_equal,
    where_positive,
)

__all__ = [
    "PANEL",
    "SIZES",
    "TILE",
    "Sizes",
    "copy_rows",
    "forward",
    "pack",
    "sum_parts",
    "weight_grad",
]

Array = Any

PANEL = 2 * LANES  # filters of a tile
TILE = 6  # outputs of a tile: with them 12 of the 16 vector registers of AVX hold sums


class Sizes(NamedTuple):
    """What a kernel needs to know of a convolution; all are numbers of elements."""

    images: int
    image: int  # floats of an image of the input
    row: int  # floats of a row of it, padding included if there is some
    pixel: int  # floats of a pixel: channels
    height: int  # rows and pixels of an image, without padding
    width: int
    top: int  # rows of zeros above, pixels of zeros to the left
    left: int
    padded: int  # 1 if there is padding
    stride: int  # floats from the first patch of an output row to that of the next
    first_step: int  # input rows from an output row to the next
    patch: int  # numbers in a patch
    length: int  # of a segment
    filters: int
    window: int  # outputs in a pooling window
    band: int  # output rows in a band
    bands: int  # bands in an image
    rows: int  # output rows in an image
    columns: int  # outputs in a row
    grain: int  # bands in a task
    relu: int  # 1 if outputs below 0 become 0
    scratch: int  # floats of a thread's scratch memory
    lists: int  # int64 of a thread's lists, for the gradients of a pooled convolution
    copied: int  # input rows that a band with padding copies


SIZES = types.NamedUniTuple(types.int64, len(Sizes._fields), Sizes)


@kernel(types.int64, types.int64, FLOATS_IN, FLOATS)
def pack(patch: int, filters: int, weights: Array, panels: Array) -> None:
    """Lay weights (patch, filters) out in panels, the last one filled up with zeros."""
    for first in range(0, filters, PANEL):
        to, count = first * patch, min(PANEL, filters - first)
        for k in range(patch):
            at = k * filters + first
            if count == PANEL:
                store(panels, to, load(weights, at, PANEL))
            else:
                for j in range(PANEL):
                    put(panels, to + j, get(weights, at + j) if j < count else np.float32(0))
            to += PANEL


@kernel(
    INTS, types.int64, types.int64, SIZES, FLOATS_IN, FLOATS_IN, FLOATS_IN, INTS_IN, INTS_IN,
    FLOATS, BYTES, FLOATS, FLOATS_IN,
)  # fmt: skip
def forward(
    counters: Array,
    tasks: int,
    worker: int,
    sizes: Sizes,
    x: Array,
    panels: Array,
    bias: Array,
    positions: Array,
    segments: Array,
    y: Array,
    indices: Array,
    scratch: Array,
    scratch_in: Array,
) -> None:
    """Write the outputs of a convolution, or the largest of each window and where in it that is.

    `bias` is filled up to whole panels. `scratch_in` is `scratch`, for a band copied there with
    its padding. `indices` is not written where a window is one output.
    """
    products = worker * sizes.scratch
    copy = products + (sizes.band * sizes.columns + 1) * PANEL
    task = take_task(counters)
    while task < tasks:
        end = min((task + 1) * sizes.grain, sizes.images * sizes.bands)
        for item in range(task * sizes.grain, end):
            image, row = item // sizes.bands, (item % sizes.bands) * sizes.band
            count = min(sizes.band, sizes.rows - row) * sizes.columns
            written = (image * sizes.rows + row) * sizes.columns // sizes.window
            for first in range(0, sizes.filters, PANEL):
                weights = first * sizes.patch
                if sizes.padded:
                    if first == 0:
                        copy_rows(sizes, x, image, row, scratch, copy)
                    _multiply(
                        scratch_in, copy, positions, count, segments, sizes.length,
                        panels, weights, scratch, products,
                    )  # fmt: skip
                else:
                    start = image * sizes.image + row * sizes.stride
                    _multiply(
                        x, start, positions, count, segments, sizes.length,
                        panels, weights, scratch, products,
                    )  # fmt: skip
                _finish(sizes, scratch, products, count, bias, first, y, indices, written)
        task = take_task(counters)


@helper
def copy_rows(sizes: Sizes, x: Array, image: int, row: int, scratch: Array, copy: int) -> None:
    """Copy the input rows under a band of outputs, with zeros for what is padding."""
    first = row * sizes.first_step - sizes.top
    left, inner = sizes.left * sizes.pixel, sizes.width * sizes.pixel
    for i in range(sizes.copied):
        at = copy + i * sizes.row
        if 0 <= first + i < sizes.height:
            start = image * sizes.image + (first + i) * inner
            for j in range(left):
                put(scratch, at + j, np.float32(0))
            for j in range(inner):
                put(scratch, at + left + j, get(x, start + j))
            for j in range(left + inner, sizes.row):
                put(scratch, at + j, np.float32(0))
        else:
            for j in range(sizes.row):
                put(scratch, at + j, np.float32(0))


@helper
def _multiply(
    x: Array,
    start: int,
    positions: Array,
    count: int,
    segments: Array,
    length: int,
    panels: Array,
    weights: int,
    products: Array,
    out: int,
) -> None:
    """Write the products of patches with one panel to products[out:], (count, PANEL)."""
    zero, last = splat(np.float32(0), PANEL), count - 1
    for p in range(0, count, TILE):
        # Of the last tile's outputs some are the last one again, written again.
        p1, p2, p3 = min(p + 1, last), min(p + 2, last), min(p + 3, last)
        p4, p5 = min(p + 4, last), min(p + 5, last)
        x0, x1, x2 = get(positions, p), get(positions, p1), get(positions, p2)
        x3, x4, x5 = get(positions, p3), get(positions, p4), get(positions, p5)
        sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
        at = weights
        for s in range(segments.size):
            first = start + get(segments, s)
            for k in range(first, first + length):
                w = load(panels, at, PANEL)
                at += PANEL
                sum0 = multiply_add(broadcast(x, x0 + k, PANEL), w, sum0)
                sum1 = multiply_add(broadcast(x, x1 + k, PANEL), w, sum1)
                sum2 = multiply_add(broadcast(x, x2 + k, PANEL), w, sum2)
                sum3 = multiply_add(broadcast(x, x3 + k, PANEL), w, sum3)
                sum4 = multiply_add(broadcast(x, x4 + k, PANEL), w, sum4)
                sum5 = multiply_add(broadcast(x, x5 + k, PANEL), w, sum5)
        store(products, out + p * PANEL, sum0)
        store(products, out + p1 * PANEL, sum1)
        store(products, out + p2 * PANEL, sum2)
        store(products, out + p3 * PANEL, sum3)
        store(products, out + p4 * PANEL, sum4)
        store(products, out + p5 * PANEL, sum5)


@helper
def _finish(
    sizes: Sizes,
    products: Array,
    start: int,
    count: int,
    bias: Array,
    first: int,
    y: Array,
    indices: Array,
    written: int,
) -> None:
    """Pool a band's outputs of one panel, add the bias, apply relu and write them to y."""
    for half in range(0, PANEL, LANES):
        filters = min(LANES, sizes.filters - first - half)
        if filters <= 0:
            return
        added, zero = load(bias, first + half, LANES), splat(np.float32(0), LANES)
        for window in range(count // sizes.window):
            at = start + window * sizes.window * PANEL + half
            best, place = load(products, at, LANES), zero
            for s in range(1, sizes.window):
                value = load(products, at + s * PANEL, LANES)
                place = where_beats(value, best, splat(np.float32(s), LANES), place)
                best = where_beats(value, best, value, best)
            best = add(best, added)
            if sizes.relu:
                best = where_beats(best, zero, best, zero)
            to = (written + window) * sizes.filters + first + half
            if filters == LANES:
                store(y, to, best)
                if sizes.window > 1:
                    store_bytes(indices, to, place)
            else:  # the last filters are less than a vector
                _store_some(products, at, best, y, to, filters)
                if sizes.window > 1:
                    store(products, at, place)
                    for j in range(filters):
                        indices[to + j] = np.uint8(products[at + j])


@helper
def _store_some(scratch: Array, at: int, value: Any, y: Array, to: int, count: int) -> None:
    store(scratch, at, value)
    for j in range(count):
        y[to + j] = scratch[at + j]


@kernel(
    INTS, types.int64, types.int64, SIZES, types.int64, FLOATS_IN, FLOATS_IN, FLOATS_IN, BYTES_IN,
    INTS_IN, INTS_IN, FLOATS, FLOATS, FLOATS_IN,
)  # fmt: skip
def weight_grad(
    counters: Array,
    tasks: int,
    worker: int,
    sizes: Sizes,
    chunk: int,
    x: Array,
    output_grad: Array,
    output: Array,
    indices: Array,
    positions: Array,
    steps: Array,
    parts: Array,
    scratch: Array,
    scratch_in: Array,
) -> None:
    """Add up the gradients of the weights and the bias over chunks of images.

    A task is a panel of filters over `chunk` images; what it adds up goes to its part of `parts`,
    (chunks, panels, patch + 1 filled up to tiles, PANEL), the gradient of the bias last.
    `steps` says where each number of a patch lies, relative to the first, and is filled up with
    the last one to whole tiles. `output` is read where relu was applied, `indices` where a window
    is more than one output.
    """
    panels = (sizes.filters + PANEL - 1) // PANEL
    grads = worker * sizes.scratch
    copy = grads + (sizes.band * sizes.columns + 1) * PANEL
    part_size = (steps.size + 1) * PANEL
    task = take_task(counters)
    while task < tasks:
        part, first = task * part_size, (task % panels) * PANEL
        for i in range(part, part + part_size):
            parts[i] = np.float32(0)
        images = task // panels * chunk
        for image in range(images, min(images + chunk, sizes.images)):
            for row in range(0, sizes.rows, sizes.band):
                count = min(sizes.band, sizes.rows - row) * sizes.columns
                read = (image * sizes.rows + row) * sizes.columns // sizes.window
                _expand(
                    sizes, output_grad, output, indices, read, count, first,
                    scratch, grads, parts, part + steps.size * PANEL,
                )  # fmt: skip
                if sizes.padded:
                    copy_rows(sizes, x, image, row, scratch, copy)
                    _add_outer(
                        scratch_in, copy, positions, count, steps, scratch, grads, parts, part
                    )
                else:
                    start = image * sizes.image + row * sizes.stride
                    _add_outer(x, start, positions, count, steps, scratch, grads, parts, part)
        task = take_task(counters)


@helper
def _expand(
    sizes: Sizes,
    output_grad: Array,
    output: Array,
    indices: Array,
    read: int,
    count: int,
    first: int,
    grads: Array,
    start: int,
    parts: Array,
    bias_grad: int,
) -> None:
    """Write the gradient of a band's outputs before pooling and relu, (count, PANEL).

    What it sums up to is added to parts[bias_grad:].
    """
    zero = splat(np.float32(0), LANES)
    for half in range(0, PANEL, LANES):
        filters = min(LANES, sizes.filters - first - half)
        total = load(parts, bias_grad + half, LANES)
        for window in range(count // sizes.window):
            at = (read + window) * sizes.filters + first + half
            to = start + window * sizes.window * PANEL + half
            if filters == LANES:
                grad = load(output_grad, at, LANES)
                if sizes.relu:
                    grad = where_positive(load(output, at, LANES), grad, zero)
                total = add(total, grad)
                if sizes.window == 1:
                    store(grads, to, grad)
                else:
                    place = load_bytes(indices, at, LANES)
                    for s in range(sizes.window):
                        here = where_equal(place, splat(np.float32(s), LANES), grad, zero)
                        store(grads, to + s * PANEL, here)
            else:
                for s in range(sizes.window):
                    store(grads, to + s * PANEL, zero)
                for j in range(max(0, filters)):
                    if not sizes.relu or output[at + j] > 0:
                        s = 0 if sizes.window == 1 else np.int64(indices[at + j])
                        grads[to + s * PANEL + j] = output_grad[at + j]
                        parts[bias_grad + half + j] += output_grad[at + j]
        if filters == LANES:
            store(parts, bias_grad + half, total)


@helper
def _add_outer(
    x: Array,
    start: int,
    positions: Array,
    count: int,
    steps: Array,
    grads: Array,
    grad_start: int,
    parts: Array,
    part: int,
) -> None:
    """Add the products of the patches, transposed, with the gradients of a band to parts[part:]."""
    zero = splat(np.float32(0), PANEL)
    for k in range(0, steps.size, TILE):
        k0, k1, k2 = get(steps, k), get(steps, k + 1), get(steps, k + 2)
        k3, k4, k5 = get(steps, k + 3), get(steps, k + 4), get(steps, k + 5)
        sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
        at = grad_start
        for p in range(count):
            position = start + get(positions, p)
            grad = load(grads, at, PANEL)
            at += PANEL
            sum0 = multiply_add(broadcast(x, k0 + position, PANEL), grad, sum0)
            sum1 = multiply_add(broadcast(x, k1 + position, PANEL), grad, sum1)
            sum2 = multiply_add(broadcast(x, k2 + position, PANEL), grad, sum2)
            sum3 = multiply_add(broadcast(x, k3 + position, PANEL), grad, sum3)
            sum4 = multiply_add(broadcast(x, k4 + position, PANEL), grad, sum4)
            sum5 = multiply_add(broadcast(x, k5 + position, PANEL), grad, sum5)
        to = part + k * PANEL
        store(parts, to, add(load(parts, to, PANEL), sum0))
        store(parts, to + PANEL, add(load(parts, to + PANEL, PANEL), sum1))
        store(parts, to + 2 * PANEL, add(load(parts, to + 2 * PANEL, PANEL), sum2))
        store(parts, to + 3 * PANEL, add(load(parts, to + 3 * PANEL, PANEL), sum3))
        store(parts, to + 4 * PANEL, add(load(parts, to + 4 * PANEL, PANEL), sum4))
        store(parts, to + 5 * PANEL, add(load(parts, to + 5 * PANEL, PANEL), sum5))


@kernel(types.int64, types.int64, types.int64, types.int64, FLOATS_IN, FLOATS, FLOATS)
def sum_parts(
    chunks: int, patch: int, steps: int, filters: int, parts: Array, kernel_grad: Array,
    bias_grad: Array,
) -> None:  # fmt: skip
    """Write the sums of what `weight_grad` left, to (patch, filters) and (filters,)."""
    panels = (filters + PANEL - 1) // PANEL
    size = (steps + 1) * PANEL
    for first in range(0, filters, PANEL):
        count = min(PANEL, filters - first)
        for chunk in range(chunks):
            part = (chunk * panels + first // PANEL) * size
            for k in range(patch):
                at, to = part + k * PANEL, k * filters + first
                for j in range(count):
                    before = np.float32(0) if chunk == 0 else get(kernel_grad, to + j)
                    put(kernel_grad, to + j, before + get(parts, at + j))
            at = part + steps * PANEL
            for j in range(min(count, bias_grad.size)):
                before = np.float32(0) if chunk == 0 else get(bias_grad, first + j)
                put(bias_grad, first + j, before + get(parts, at + j))
