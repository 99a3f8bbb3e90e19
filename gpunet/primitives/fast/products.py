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

from typing import Any

import numpy as np

from gpunet.primitives.fast import winograd
from gpunet.primitives.fast.bands import LINE, PANEL, TILE, Sizes, copy_rows, sizes_at
from gpunet.primitives.fast.compile import (
    Bytes,
    Floats,
    FloatsIn,
    Ints,
    IntsIn,
    helper,
    kernel,
    part,
    uncounted_kernel,
)
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    broadcast,
    get,
    load,
    multiply_add,
    prefetch,
    put,
    splat,
    store,
    store_bytes,
    where_beats,
)

__all__ = [
    "PANEL",
    "TILE",
    "forward",
    "multiply_patches",
    "outputs",
    "pack",
    "sum_up",
    "transpose",
]

Array = Any


@kernel
def pack(
    patch: int, filters: int, weights: FloatsIn, bias: FloatsIn, panels: Floats, start: int,
    biases: Floats, bias_start: int,
) -> None:  # fmt: skip
    """Lay weights (patch, filters) out in panels[start:], the last one filled up with zeros.

    The bias goes to biases[bias_start:], filled up likewise; it is 0 if `bias` is empty.
    """
    for first in range(0, filters, PANEL):
        to, count = start + first * patch, min(PANEL, filters - first)
        for k in range(patch):
            at = k * filters + first
            if count == PANEL:
                store(panels, to, load(weights, at, PANEL))
            else:
                for j in range(PANEL):
                    put(panels, to + j, get(weights, at + j) if j < count else np.float32(0))
            to += PANEL
        for j in range(first, first + PANEL):
            put(biases, bias_start + j, get(bias, j) if j < bias.size else np.float32(0))


@kernel
def transpose(rows: int, columns: int, matrix: FloatsIn, out: Floats, start: int) -> None:
    """Write the transpose of a matrix (rows, columns) to out[start:]."""
    for first in range(0, rows, LINE):
        last = min(first + LINE, rows)
        for j in range(columns):
            for i in range(first, last):
                put(out, start + j * rows + i, get(matrix, i * columns + j))


@uncounted_kernel
def forward(
    counters: Ints, tasks: int, worker: int,
    table: IntsIn, x: FloatsIn, panels: FloatsIn, bias: FloatsIn, positions: IntsIn,
    segments: IntsIn, y: Floats, indices: Bytes, scratch: Floats, scratch_in: FloatsIn,
) -> None:  # fmt: skip
    """Write the outputs of a convolution, or the largest of each window and where in it that is.

    `table` has the Sizes. `bias` is filled up to whole panels. `scratch_in` is `scratch`, for a
    band copied there with its padding.
    """
    sizes = sizes_at(table, 0)
    products = worker * sizes.scratch
    items = (sizes.images + sizes.group - 1) // sizes.group * sizes.bands
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for item in range(task * sizes.grain, min((task + 1) * sizes.grain, items)):
            outputs(
                sizes, sizes.images, item, x, 0, panels, bias, positions, segments, y, 0,
                indices, 0, scratch, scratch_in, products,
            )  # fmt: skip
        task = next_task(counters, tasks, worker)


@helper
def outputs(
    sizes: Sizes, images: int, item: int, x: Array, x_start: int, panels: Array, bias: Array,
    positions: Array, segments: Array, y: Array, y_start: int, indices: Array, index_start: int,
    scratch: Array, scratch_in: Array, products: int,
) -> None:  # fmt: skip
    """Write one band of outputs: of a part of an image, or of a group of images."""
    if sizes.winograd:
        winograd.outputs(
            sizes, images, item, x, x_start, panels, bias, y, y_start, scratch, scratch_in, products
        )
        return
    image, row = item // sizes.bands * sizes.group, (item % sizes.bands) * sizes.band
    rows = min(sizes.band, sizes.rows - row) * min(sizes.group, images - image)
    count = rows * sizes.columns
    written = (image * sizes.rows + row) * sizes.columns // sizes.window
    start = x_start + image * sizes.image + row * sizes.stride
    copy = products + (sizes.group * sizes.band * sizes.columns + 1) * PANEL
    if sizes.padded:
        copy_rows(sizes, x, x_start + image * sizes.image, row, scratch, copy)
    source = x
    if sizes.padded:
        source, start = scratch_in, copy
    for first in range(0, sizes.filters, PANEL):
        at_once = sizes.window == 1 and sizes.filters - first >= PANEL
        added, target, to, step = splat(np.float32(0), PANEL), scratch, products, PANEL
        if at_once:
            added = load(bias, sizes.first_bias + first, PANEL)
            target, to, step = y, y_start + written * sizes.filters + first, sizes.filters
        multiply_patches(
            sizes, source, start, positions, count, segments, panels, first, added,
            at_once and sizes.relu > 0, target, to, step,
        )  # fmt: skip
        if not at_once:
            _finish(
                sizes, scratch, products, count, bias, first, y, y_start, indices, index_start,
                written,
            )  # fmt: skip


@part
def multiply_patches(
    sizes: Sizes, x: Array, start: int, positions: Array, count: int, segments: Array,
    panels: Array, first: int, added: Any, relu: bool, y: Array, to: int, step: int,
) -> None:  # fmt: skip
    """Write the products of patches with one panel, after relu if wanted: PANEL at each `step`.

    `added` is added to them. Where a tile's products go is brought close while they are summed.
    """
    zero, last = splat(np.float32(0), PANEL), count - 1
    table, length = sizes.first_position, sizes.length
    weights = sizes.first_weight + first * sizes.patch
    for p in range(0, count, TILE):
        # Of the last tile's outputs some are the last one again, written again.
        p1, p2, p3 = min(p + 1, last), min(p + 2, last), min(p + 3, last)
        p4, p5 = min(p + 4, last), min(p + 5, last)
        x0, x1 = get(positions, table + p), get(positions, table + p1)
        x2, x3 = get(positions, table + p2), get(positions, table + p3)
        x4, x5 = get(positions, table + p4), get(positions, table + p5)
        y0, y1, y2 = to + p * step, to + p1 * step, to + p2 * step
        y3, y4, y5 = to + p3 * step, to + p4 * step, to + p5 * step
        for j in range(0, PANEL, LINE):
            prefetch(y, y0 + j)
            prefetch(y, y1 + j)
            prefetch(y, y2 + j)
            prefetch(y, y3 + j)
            prefetch(y, y4 + j)
            prefetch(y, y5 + j)
        sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
        at = weights
        for s in range(sizes.segments):
            run = start + get(segments, sizes.first_segment + s)
            for k in range(run, run + length):
                w = load(panels, at, PANEL)
                at += PANEL
                sum0 = multiply_add(broadcast(x, x0 + k, PANEL), w, sum0)
                sum1 = multiply_add(broadcast(x, x1 + k, PANEL), w, sum1)
                sum2 = multiply_add(broadcast(x, x2 + k, PANEL), w, sum2)
                sum3 = multiply_add(broadcast(x, x3 + k, PANEL), w, sum3)
                sum4 = multiply_add(broadcast(x, x4 + k, PANEL), w, sum4)
                sum5 = multiply_add(broadcast(x, x5 + k, PANEL), w, sum5)
        sum0, sum1, sum2 = add(sum0, added), add(sum1, added), add(sum2, added)
        sum3, sum4, sum5 = add(sum3, added), add(sum4, added), add(sum5, added)
        if relu:
            sum0, sum1 = where_beats(sum0, zero, sum0, zero), where_beats(sum1, zero, sum1, zero)
            sum2, sum3 = where_beats(sum2, zero, sum2, zero), where_beats(sum3, zero, sum3, zero)
            sum4, sum5 = where_beats(sum4, zero, sum4, zero), where_beats(sum5, zero, sum5, zero)
        store(y, y0, sum0)
        store(y, y1, sum1)
        store(y, y2, sum2)
        store(y, y3, sum3)
        store(y, y4, sum4)
        store(y, y5, sum5)


@part
def _finish(
    sizes: Sizes, products: Array, start: int, count: int, bias: Array, first: int,
    y: Array, y_start: int, indices: Array, index_start: int, written: int,
) -> None:  # fmt: skip
    """Pool a band's outputs of one panel, add the bias, apply relu and write them to y."""
    for half in range(0, PANEL, LANES):
        filters = min(LANES, sizes.filters - first - half)
        if filters <= 0:
            return
        added, zero = (
            load(bias, sizes.first_bias + first + half, LANES),
            splat(np.float32(0), LANES),
        )
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
                store(y, y_start + to, best)
                if sizes.indexed:
                    store_bytes(indices, index_start + to, place)
            else:  # the last filters are less than a vector
                _store_some(products, at, best, y, y_start + to, filters)
                if sizes.indexed:
                    store(products, at, place)
                    for j in range(filters):
                        indices[index_start + to + j] = np.uint8(products[at + j])


@part
def _store_some(scratch: Array, at: int, value: Any, y: Array, to: int, count: int) -> None:
    store(scratch, at, value)
    for j in range(count):
        y[to + j] = scratch[at + j]


@helper
def sum_up(parts: Array, start: int, size: int, chunks: int, step: int) -> None:
    """Add to `size` numbers from parts[start] those `step` further on, as many times as chunks."""
    whole = size // LANES * LANES
    for i in range(start, start + whole, LANES):
        total = load(parts, i, LANES)
        for chunk in range(1, chunks):
            total = add(total, load(parts, i + chunk * step, LANES))
        store(parts, i, total)
    for i in range(start + whole, start + size):
        for chunk in range(1, chunks):
            put(parts, i, get(parts, i) + get(parts, i + chunk * step))
