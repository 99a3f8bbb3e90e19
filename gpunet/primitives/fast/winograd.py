"""Convolutions of 3 x 3 with strides of 1 by Winograd's method: F(2 x 2, 3 x 3).

A tile of 2 x 2 outputs is made from 4 x 4 inputs d by 16 multiplications for each channel and
filter, where the sum of products takes 36::

    A (U * V) A^T    with    V = B d B^T,    U = G w G^T

U, the transformed weights, are made once a call, by `packing`. V is made for the tiles of a band of
rows, a vector of channels at a time: only additions. At each of the 16 places of a tile, the sums
over the channels are a product of matrices, (tiles, channels) by (channels, filters). B, G and A
add and halve, and a sum has a ninth of the terms: errors are smaller than those of direct sums of
inputs and weights of like sizes. An output is made of its own nine inputs alone, so a NaN goes no
further than in direct sums; an infinite input becomes a NaN.

A thread's memory holds U * V of a panel of filters, (16, tiles, PANEL), then V,
(16, tiles, channels), then the rows of the band with their padding. `LINE` numbers lie unused
behind each place's: at distances of powers of two, all places would meet in few cache lines.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.fast.bands import LINE, PANEL, TILE, Sizes, copy_rows
from gpunet.primitives.fast.compile import formula, helper, part
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
    subtract,
    where_beats,
)

__all__ = ["PLACES", "copied_rows", "outputs", "step", "tiles", "transform_inputs"]

Array = Any

PLACES = 16  # in a tile of inputs


@formula
def tiles(sizes: Sizes) -> int:
    """Return how many tiles a band has at most."""
    return sizes.group * (sizes.band // 2) * ((sizes.columns + 1) // 2)


@formula
def step(sizes: Sizes, depth: int) -> int:
    """Return the floats from a place's numbers to the next one's, of `depth` numbers a tile."""
    return tiles(sizes) * depth + LINE


@formula
def copied_rows(sizes: Sizes, memory: int) -> int:
    """Return where in a thread's memory the rows of a band are, with their padding."""
    return memory + PLACES * (step(sizes, PANEL) + step(sizes, sizes.pixel))


@helper
def outputs(
    sizes: Sizes, images: int, item: int, x: Array, x_start: int, panels: Array, bias: Array,
    y: Array, y_start: int, scratch: Array, scratch_in: Array, memory: int,
) -> None:  # fmt: skip
    """Write one band of outputs: of a part of an image, or of a group of images."""
    image, row = item // sizes.bands * sizes.group, (item % sizes.bands) * sizes.band
    together, rows = min(sizes.group, images - image), min(sizes.band, sizes.rows - row)
    count = transform_inputs(
        sizes, together, row, rows, x, x_start + image * sizes.image, scratch, scratch_in, memory
    )
    inputs, apart = memory + PLACES * step(sizes, PANEL), step(sizes, sizes.pixel)
    for first in range(0, sizes.filters, PANEL):
        weights = sizes.first_weight + first * PLACES * sizes.pixel
        to = y_start + (image * sizes.rows + row) * sizes.columns * sizes.filters + first
        pixels = together * rows * sizes.columns
        for place in range(PLACES):
            for pixel in range(place * pixels // PLACES, (place + 1) * pixels // PLACES):
                prefetch(y, to + pixel * sizes.filters)
            _multiply(
                scratch_in, inputs + place * apart, count, sizes.pixel, panels,
                weights + place * sizes.pixel * PANEL, scratch, memory + place * step(sizes, PANEL),
            )  # fmt: skip
        _finish(sizes, together, rows, first, bias, scratch, scratch_in, memory, y, to)


@helper
def transform_inputs(
    sizes: Sizes, images: int, row: int, rows: int, x: Array, x_start: int, scratch: Array,
    scratch_in: Array, memory: int,
) -> int:  # fmt: skip
    """Write the transformed tiles of a band, its rows first copied if need be; return how many."""
    to, copy = memory + PLACES * step(sizes, PANEL), copied_rows(sizes, memory)
    for image in range(images):
        start = x_start + image * sizes.image
        if sizes.padded:
            at = copy + image * sizes.copied * sizes.row
            copy_rows(sizes, x, start, row, scratch, at)
            to = _transform_rows(sizes, rows, scratch_in, at, scratch, to)
        else:
            to = _transform_rows(sizes, rows, x, start + row * sizes.row, scratch, to)
    return images * ((rows + 1) // 2) * ((sizes.columns + 1) // 2)


@helper
def _transform_rows(sizes: Sizes, rows: int, x: Array, start: int, out: Array, to: int) -> int:
    """Write B d B^T of the tiles under `rows` output rows to out[to:]; return where they end."""
    apart = step(sizes, sizes.pixel)
    for row in range(0, rows, 2):
        for column in range(0, sizes.columns, 2):
            at = start + row * sizes.row + column * sizes.pixel
            for j in range(0, sizes.pixel, LANES):
                # The last vector of channels may begin in the one before.
                channel = min(j, sizes.pixel - LANES)
                _transform(x, at + channel, sizes.row, sizes.pixel, out, to + channel, apart)
            to += sizes.pixel
    return to


@part
def _transform(x: Array, at: int, row: int, pixel: int, out: Array, to: int, apart: int) -> None:
    """Write B d B^T of a tile at x[at:], of a vector of channels."""
    first, last = at, at + 2 * row
    a0, a1 = load(x, first, LANES), load(x, first + pixel, LANES)
    a2, a3 = load(x, first + 2 * pixel, LANES), load(x, first + 3 * pixel, LANES)
    c0, c1 = load(x, last, LANES), load(x, last + pixel, LANES)
    c2, c3 = load(x, last + 2 * pixel, LANES), load(x, last + 3 * pixel, LANES)
    _transform_row(
        subtract(a0, c0), subtract(a1, c1), subtract(a2, c2), subtract(a3, c3), out, to, apart
    )
    first = at + row
    b0, b1 = load(x, first, LANES), load(x, first + pixel, LANES)
    b2, b3 = load(x, first + 2 * pixel, LANES), load(x, first + 3 * pixel, LANES)
    _transform_row(add(b0, c0), add(b1, c1), add(b2, c2), add(b3, c3), out, to + 4 * apart, apart)
    _transform_row(
        subtract(c0, b0), subtract(c1, b1), subtract(c2, b2), subtract(c3, b3),
        out, to + 8 * apart, apart,
    )  # fmt: skip
    last = at + 3 * row
    a0, a1 = load(x, last, LANES), load(x, last + pixel, LANES)
    a2, a3 = load(x, last + 2 * pixel, LANES), load(x, last + 3 * pixel, LANES)
    _transform_row(
        subtract(b0, a0), subtract(b1, a1), subtract(b2, a2), subtract(b3, a3),
        out, to + 12 * apart, apart,
    )  # fmt: skip


@part
def _transform_row(t0: Any, t1: Any, t2: Any, t3: Any, out: Array, to: int, apart: int) -> None:
    store(out, to, subtract(t0, t2))
    store(out, to + apart, add(t1, t2))
    store(out, to + 2 * apart, subtract(t2, t1))
    store(out, to + 3 * apart, subtract(t1, t3))


@helper
def _multiply(
    a: Array, start: int, count: int, channels: int, panels: Array, panel: int, out: Array, to: int
) -> None:
    """Write the products of (count, channels) with (channels, PANEL) to out[to:]."""
    zero, last = splat(np.float32(0), PANEL), count - 1
    for p in range(0, count, TILE):
        # Of the last tile's outputs some are the last one again, written again.
        p1, p2, p3 = min(p + 1, last), min(p + 2, last), min(p + 3, last)
        p4, p5 = min(p + 4, last), min(p + 5, last)
        a0, a1, a2 = start + p * channels, start + p1 * channels, start + p2 * channels
        a3, a4, a5 = start + p3 * channels, start + p4 * channels, start + p5 * channels
        sum0, sum1, sum2, sum3, sum4, sum5 = zero, zero, zero, zero, zero, zero
        at = panel
        for k in range(channels):
            w = load(panels, at, PANEL)
            at += PANEL
            sum0 = multiply_add(broadcast(a, a0 + k, PANEL), w, sum0)
            sum1 = multiply_add(broadcast(a, a1 + k, PANEL), w, sum1)
            sum2 = multiply_add(broadcast(a, a2 + k, PANEL), w, sum2)
            sum3 = multiply_add(broadcast(a, a3 + k, PANEL), w, sum3)
            sum4 = multiply_add(broadcast(a, a4 + k, PANEL), w, sum4)
            sum5 = multiply_add(broadcast(a, a5 + k, PANEL), w, sum5)
        store(out, to + p * PANEL, sum0)
        store(out, to + p1 * PANEL, sum1)
        store(out, to + p2 * PANEL, sum2)
        store(out, to + p3 * PANEL, sum3)
        store(out, to + p4 * PANEL, sum4)
        store(out, to + p5 * PANEL, sum5)


@helper
def _finish(
    sizes: Sizes, images: int, rows: int, first: int, bias: Array, products: Array,
    products_in: Array, start: int, y: Array, to: int,
) -> None:  # fmt: skip
    """Write A m A^T of a panel's products, with the bias and relu, to y[to:]."""
    apart, line = step(sizes, PANEL), sizes.columns * sizes.filters
    for half in range(0, PANEL, LANES):
        filters = min(LANES, sizes.filters - first - half)
        if filters <= 0:
            return
        added = load(bias, sizes.first_bias + first + half, LANES)
        at = start + half
        for image in range(images):
            for row in range(0, rows, 2):
                for column in range(0, sizes.columns, 2):
                    out = to + half + (image * sizes.rows + row) * line + column * sizes.filters
                    right, below = column + 1 < sizes.columns, row + 1 < rows
                    # An array that is passed on within a branch would be counted as one more.
                    top0, bottom0 = _sums(products_in, at, 4 * apart)
                    top1, bottom1 = _sums(products_in, at + apart, 4 * apart)
                    top2, bottom2 = _sums(products_in, at + 2 * apart, 4 * apart)
                    top3, bottom3 = _sums(products_in, at + 3 * apart, 4 * apart)
                    a, b = _outputs_of_row(top0, top1, top2, top3, added, sizes.relu)
                    c, d = _outputs_of_row(bottom0, bottom1, bottom2, bottom3, added, sizes.relu)
                    if filters == LANES:
                        store(y, out, a)
                        if right:
                            store(y, out + sizes.filters, b)
                        if below:
                            store(y, out + line, c)
                            if right:
                                store(y, out + line + sizes.filters, d)
                    else:
                        store(products, at, a)
                        store(products, at + apart, b)
                        store(products, at + 2 * apart, c)
                        store(products, at + 3 * apart, d)
                        _put_some(
                            products_in, at, apart, filters, y, out, sizes.filters, line,
                            right, below,
                        )  # fmt: skip
                    at += PANEL


@helper
def _put_some(
    tile: Array, at: int, apart: int, filters: int, y: Array, to: int, pixel: int, line: int,
    right: bool, below: bool,
) -> None:  # fmt: skip
    """Write the outputs of a tile, of fewer filters than a vector has."""
    for j in range(filters):
        put(y, to + j, get(tile, at + j))
        if right:
            put(y, to + pixel + j, get(tile, at + apart + j))
        if below:
            put(y, to + line + j, get(tile, at + 2 * apart + j))
        if below and right:
            put(y, to + line + pixel + j, get(tile, at + 3 * apart + j))


@part
def _sums(m: Array, at: int, apart: int) -> tuple[Any, Any]:
    """Return A m of a column of products: what the upper and the lower row are made of."""
    middle, other = load(m, at + apart, LANES), load(m, at + 2 * apart, LANES)
    upper = add(add(load(m, at, LANES), middle), other)
    return upper, subtract(subtract(middle, other), load(m, at + 3 * apart, LANES))


@part
def _outputs_of_row(
    m0: Any, m1: Any, m2: Any, m3: Any, added: Any, relu: int
) -> tuple[Any, Any]:  # fmt: skip
    """Return the left and the right output, with the bias and after relu."""
    zero = splat(np.float32(0), LANES)
    left, right = add(add(add(m0, m1), m2), added), add(subtract(subtract(m1, m2), m3), added)
    if relu:
        left, right = where_beats(left, zero, left, zero), where_beats(right, zero, right, zero)
    return left, right
