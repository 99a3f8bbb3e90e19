"""The kernels of the gradients of a convolution's weights and bias, and of a product's.

Tables and panels are those of `products`. The sums of a tile, TILE numbers of a patch by a panel of
filters, stay in registers while the outputs are gone through.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
from gpunet.primitives.fast.products import PANEL, TILE, Sizes, copy_rows, sum_up
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
    take_task,
    where_equal,
    where_positive,
)

__all__ = ["add_weight_grads", "sum_parts", "weight_grad", "write_panel"]

Array = Any


@kernel
def weight_grad(
    counters: Ints, tasks: int, worker: int,
    sizes: Sizes, chunk: int, x: FloatsIn, output_grad: FloatsIn, output: FloatsIn,
    indices: BytesIn, positions: IntsIn, steps: IntsIn, parts: Floats, scratch: Floats,
    scratch_in: FloatsIn,
) -> None:  # fmt: skip
    """Add up the gradients of the weights and the bias over chunks of images.

    A task is a panel of filters over `chunk` images; what it adds up goes to its part of `parts`,
    (chunks, panels, patch + 1 filled up to tiles, PANEL), the gradient of the bias last.
    `steps` says where each number of a patch lies, relative to the first, and is filled up with
    the last one to whole tiles. `output` is read where relu was applied, `indices` where a window
    is more than one output.
    """
    panels = (sizes.filters + PANEL - 1) // PANEL
    size = sizes.rows * sizes.columns // sizes.window * sizes.filters
    part_size = (sizes.steps + 1) * PANEL
    task = take_task(counters)
    while task < tasks:
        part = task * part_size
        for i in range(part, part + part_size):
            put(parts, i, np.float32(0))
        image = task // panels * chunk
        at = image * size
        add_weight_grads(
            sizes, min(chunk, sizes.images - image), (task % panels) * PANEL,
            x, image * sizes.image, output_grad, at, output, at, indices, at,
            positions, steps, parts, part, scratch, scratch_in, worker * sizes.scratch,
        )  # fmt: skip
        task = take_task(counters)


@helper
def add_weight_grads(
    sizes: Sizes, images: int, first: int, x: Array, x_start: int, grads: Array, grad_start: int,
    output: Array, output_start: int, indices: Array, index_start: int, positions: Array,
    steps: Array, parts: Array, part: int, scratch: Array, scratch_in: Array, memory: int,
) -> None:  # fmt: skip
    """Add the gradients of one panel of filters, from `first`, over some images to parts[part:]."""
    copy = memory + (sizes.group * sizes.band * sizes.columns + 1) * PANEL
    for image in range(0, images, sizes.group):
        together = min(sizes.group, images - image)
        for row in range(0, sizes.rows, sizes.band):
            count = min(sizes.band, sizes.rows - row) * sizes.columns * together
            at = (image * sizes.rows + row) * sizes.columns // sizes.window * sizes.filters + first
            _expand(
                sizes, grads, grad_start + at, output, output_start + at, indices, index_start + at,
                count, first, scratch, memory, parts, part + sizes.steps * PANEL,
            )  # fmt: skip
            source, start = x, x_start + image * sizes.image + row * sizes.stride
            if sizes.padded:
                copy_rows(sizes, x, x_start + image * sizes.image, row, scratch, copy)
                source, start = scratch_in, copy
            _add_outer(sizes, source, start, positions, count, steps, scratch, memory, parts, part)


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


@part
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
    patch: int, steps: int, filters: int, first: int, parts: Array, start: int, grads: Array,
    kernel_grad: int, bias_grad: int,
) -> None:  # fmt: skip
    """Write the sums at parts[start:] of the panel of filters from `first` to where they belong.

    That is grads[kernel_grad:], (patch, filters), and grads[bias_grad:], (filters,).
    """
    panel, count = start + first * (steps + 1), min(PANEL, filters - first)
    for k in range(patch):
        for j in range(count):
            at = panel + k * PANEL + j
            put(grads, kernel_grad + k * filters + first + j, get(parts, at))
    for j in range(count):
        put(grads, bias_grad + first + j, get(parts, panel + steps * PANEL + j))


@kernel
def sum_parts(
    chunks: int, patch: int, steps: int, filters: int, parts: Floats, grads: Floats
) -> None:
    """Write the sums of what `weight_grad` left: (patch, filters), then (filters,)."""
    size = (filters + PANEL - 1) // PANEL * (steps + 1) * PANEL
    sum_up(parts, 0, size, chunks, size)
    for first in range(0, filters, PANEL):
        write_panel(patch, steps, filters, first, parts, 0, grads, 0, patch * filters)
