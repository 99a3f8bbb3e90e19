"""The kernels of the gradients of a convolution's weights and bias, and of a product's.

Tables and panels are those of `products`. The sums of a tile, TILE numbers of a patch by a panel of
filters, stay in registers while the outputs are gone through.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.fast import winograd_grads
from gpunet.primitives.fast.bands import PANEL, TILE, Sizes, copy_rows, sizes_at
from gpunet.primitives.fast.compile import (
    BytesIn,
    Floats,
    FloatsIn,
    Ints,
    IntsIn,
    helper,
    part,
    uncounted_kernel,
)
from gpunet.primitives.fast.products import sum_up
from gpunet.primitives.fast.sharing import add_now, next_task, wait_for
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
    where_equal,
    where_positive,
)
from gpunet.primitives.fast.winograd import transform_inputs

__all__ = ["add_weight_grads", "weight_grad", "write_panel"]

Array = Any


@uncounted_kernel
def weight_grad(
    counters: Ints, tasks: int, worker: int,
    table: IntsIn, chunk: int, chunks: int, x: FloatsIn, output_grad: FloatsIn, output: FloatsIn,
    indices: BytesIn, positions: IntsIn, steps: IntsIn, parts: Floats, grads: Floats,
    scratch: Floats, scratch_in: FloatsIn, done: Ints,
) -> None:  # fmt: skip
    """Write the gradients of the weights, (patch, filters), then those of the bias, (filters,).

    First, a task adds up those of `sizes.grouped` filters over `chunk` images, in its part of
    `parts`, (chunks, panels, sums filled up to tiles and one of the bias, PANEL). When all are
    `done`, a task brings the parts of a panel of filters together, in order.
    `steps` says where each number of a patch lies, relative to the first, and is filled up with
    the last one to whole tiles. `output` is read where relu was applied, `indices` where a window
    is more than one output.
    """
    sizes = sizes_at(table, 0)
    groups = (sizes.filters + sizes.grouped - 1) // sizes.grouped
    size = sizes.rows * sizes.columns // sizes.window * sizes.filters
    row = (sizes.filters + PANEL - 1) // PANEL * PANEL  # floats of the sums of all filters
    task = next_task(counters, tasks, worker)
    while task < tasks:
        if task < chunks * groups:
            image, first = task // groups * chunk, task % groups * sizes.grouped
            last = min(first + sizes.grouped, row)
            part = (task // groups * row + first) * (sizes.steps + 1)
            for i in range(part, part + (last - first) * (sizes.steps + 1)):
                put(parts, i, np.float32(0))
            at = image * size
            add_weight_grads(
                sizes, min(chunk, sizes.images - image), first, last,
                x, image * sizes.image, output_grad, at, output, at, indices, at,
                positions, steps, parts, part, scratch, scratch_in, worker * sizes.scratch,
            )  # fmt: skip
            add_now(done, 0, 1)
        else:
            wait_for(done, 0, chunks * groups)
            first = (task - chunks * groups) * PANEL
            start, panel = first * (sizes.steps + 1), PANEL * (sizes.steps + 1)
            sum_up(parts, start, panel, chunks, row * (sizes.steps + 1))
            write_panel(sizes, first, parts, 0, grads, 0, sizes.patch * sizes.filters)
        task = next_task(counters, tasks, worker)


@helper
def add_weight_grads(
    sizes: Sizes, images: int, first: int, last: int, x: Array, x_start: int, grads: Array,
    grad_start: int, output: Array, output_start: int, indices: Array, index_start: int,
    positions: Array, steps: Array, parts: Array, part: int, scratch: Array, scratch_in: Array,
    memory: int,
) -> None:  # fmt: skip
    """Add the gradients of filters, whole panels, over some images to parts[part:]."""
    copy = memory + (sizes.group * sizes.band * sizes.columns + 1) * PANEL
    expanded = winograd_grads.expanded_grads(sizes, memory) if sizes.winograd else memory
    for image in range(0, images, sizes.group):
        together, start = min(sizes.group, images - image), x_start + image * sizes.image
        for row in range(0, sizes.rows, sizes.band):
            rows = min(sizes.band, sizes.rows - row)
            count, tiles = rows * sizes.columns * together, 0
            if sizes.winograd:
                tiles = transform_inputs(
                    sizes, together, row, rows, x, start, scratch, scratch_in, memory
                )
            elif sizes.padded:
                copy_rows(sizes, x, start, row, scratch, copy)
            for panel in range(first, last, PANEL):
                at = (image * sizes.rows + row) * sizes.columns // sizes.window * sizes.filters
                to = part + (panel - first) * (sizes.steps + 1)
                _expand(
                    sizes, grads, grad_start + at + panel, output, output_start + at + panel,
                    indices, index_start + at + panel, count, panel, scratch, expanded,
                    parts, to + sizes.steps * PANEL,
                )  # fmt: skip
                if sizes.winograd:
                    winograd_grads.add_tiles(
                        sizes, together, rows, tiles, parts, to, scratch, scratch_in, memory
                    )
                elif sizes.padded:
                    _add_outer(
                        sizes, scratch_in, copy, positions, count, steps, scratch, memory, parts, to
                    )
                else:
                    _add_outer(
                        sizes, x, start + row * sizes.stride, positions, count, steps,
                        scratch, memory, parts, to,
                    )  # fmt: skip


@part
def _expand(
    sizes: Sizes, output_grad: Array, grad_start: int, output: Array, output_start: int,
    indices: Array, index_start: int, count: int, first: int, grads: Array, start: int,
    parts: Array, bias_grad: int,
) -> None:  # fmt: skip
    """Write the gradient of a band's outputs before pooling and relu, (count, PANEL).

    What it sums up to is added to parts[bias_grad:].
    """
    zero = splat(np.float32(0), LANES)
    for half in range(0, PANEL, LANES):
        filters = min(LANES, sizes.filters - first - half)
        total = load(parts, bias_grad + half, LANES)
        for window in range(count // sizes.window):
            at = window * sizes.filters + half
            to = start + window * sizes.window * PANEL + half
            if filters == LANES:
                grad = load(output_grad, grad_start + at, LANES)
                if sizes.relu:
                    grad = where_positive(load(output, output_start + at, LANES), grad, zero)
                total = add(total, grad)
                if sizes.window == 1:
                    store(grads, to, grad)
                else:
                    place = load_bytes(indices, index_start + at, LANES)
                    for s in range(sizes.window):
                        here = where_equal(place, splat(np.float32(s), LANES), grad, zero)
                        store(grads, to + s * PANEL, here)
            else:
                for s in range(sizes.window):
                    store(grads, to + s * PANEL, zero)
                for j in range(max(0, filters)):
                    if not sizes.relu or get(output, output_start + at + j) > 0:
                        chosen = np.int64(0)
                        if sizes.window > 1:
                            chosen = np.int64(get(indices, index_start + at + j))
                        grads[to + chosen * PANEL + j] = get(output_grad, grad_start + at + j)
                        parts[bias_grad + half + j] += get(output_grad, grad_start + at + j)
        if filters == LANES:
            store(parts, bias_grad + half, total)


@helper
def _add_outer(
    sizes: Sizes, x: Array, start: int, positions: Array, count: int, steps: Array,
    grads: Array, grad_start: int, parts: Array, part: int,
) -> None:  # fmt: skip
    """Add the products of the patches, transposed, with the gradients of a band to parts[part:]."""
    zero = splat(np.float32(0), PANEL)
    for k in range(0, sizes.steps, TILE):
        at = sizes.first_of_steps + k
        k0, k1, k2 = get(steps, at), get(steps, at + 1), get(steps, at + 2)
        k3, k4, k5 = get(steps, at + 3), get(steps, at + 4), get(steps, at + 5)
        sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
        at = grad_start
        for p in range(count):
            position = start + get(positions, sizes.first_position + p)
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


@part
def write_panel(
    sizes: Sizes, first: int, parts: Array, start: int, grads: Array, kernel_grad: int,
    bias_grad: int,
) -> None:  # fmt: skip
    """Write the sums at parts[start:] of the panel of filters from `first` to where they belong.

    That is grads[kernel_grad:], (patch, filters), and grads[bias_grad:], (filters,).
    """
    panel, count = start + first * (sizes.steps + 1), min(PANEL, sizes.filters - first)
    length, apart = sizes.patch, sizes.steps
    if sizes.winograd:
        winograd_grads.transform_back(sizes, parts, panel)
        length, apart = sizes.pixel, sizes.steps // winograd_grads.PLACES
    for k in range(sizes.patch):
        at, to = panel + (k // length * apart + k % length) * PANEL, k * sizes.filters + first
        for j in range(count):
            put(grads, kernel_grad + to + j, get(parts, at + j))
    for j in range(count):
        put(grads, bias_grad + first + j, get(parts, panel + sizes.steps * PANEL + j))
