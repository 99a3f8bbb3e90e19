"""The gradient of the weights of 3 x 3 by Winograd's method: F(3 x 3, 2 x 2).

A tile of 4 x 4 inputs d and the gradient g of its 2 x 2 outputs add to the 3 x 3 gradients of a
channel and a filter what 16 multiplications make of them, in place of 36::

    A (U * V) A^T    with    V = B d B^T, as for the outputs,    U = G g G^T

The products of each place are summed up over the tiles; A is applied once, to the sums. A thread's
memory is that of `winograd`, with U where it has the products, and behind it the gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.fast.bands import PANEL, Sizes
from gpunet.primitives.fast.compile import formula, helper, part
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    broadcast,
    load,
    multiply_add,
    splat,
    store,
    subtract,
)
from gpunet.primitives.fast.winograd import PLACES, copied_rows, step

__all__ = ["PLACES", "QUAD", "add_tiles", "expanded_grads", "transform_back"]

Array = Any

QUAD = 4  # channels of a tile of sums: with them 8 vector registers of AVX hold sums


@formula
def expanded_grads(sizes: Sizes, memory: int) -> int:
    """Return where in a thread's memory the gradients of a band are, (outputs, PANEL)."""
    return copied_rows(sizes, memory) + sizes.padded * sizes.group * sizes.copied * sizes.row


@helper
def add_tiles(
    sizes: Sizes, images: int, rows: int, count: int, parts: Array, part: int, scratch: Array,
    scratch_in: Array, memory: int,
) -> None:  # fmt: skip
    """Add what the tiles of a band add to the sums of a panel of filters, at parts[part:].

    They are (place, channels filled up to whole QUADs, PANEL). The transformed inputs are there.
    """
    _transform_grads(sizes, images, rows, scratch, scratch_in, memory)
    inputs, channels = memory + PLACES * step(sizes, PANEL), sizes.steps // PLACES
    for place in range(PLACES):
        for k in range(0, sizes.pixel, QUAD):
            _add_outer(
                scratch_in, inputs + place * step(sizes, sizes.pixel), sizes.pixel, k, count,
                memory + place * step(sizes, PANEL), parts, part + (place * channels + k) * PANEL,
            )  # fmt: skip


@helper
def _transform_grads(
    sizes: Sizes, images: int, rows: int, scratch: Array, scratch_in: Array, memory: int
) -> None:
    """Write G g G^T of the tiles of a band; the gradient of an output that is not there is 0."""
    grads, apart, line = expanded_grads(sizes, memory), step(sizes, PANEL), sizes.columns * PANEL
    zero = splat(np.float32(0), LANES)
    for half in range(0, PANEL, LANES):
        to = memory + half
        for image in range(images):
            for row in range(0, rows, 2):
                at = grads + half + (image * rows + row) * line
                for column in range(0, sizes.columns, 2):
                    right, below = column + 1 < sizes.columns, row + 1 < rows
                    a, b = load(scratch_in, at, LANES), zero
                    c, d = zero, zero
                    if right:
                        b = load(scratch_in, at + PANEL, LANES)
                    if below:
                        c = load(scratch_in, at + line, LANES)
                        if right:
                            d = load(scratch_in, at + line + PANEL, LANES)
                    _transform_row(a, b, scratch, to, apart)
                    _transform_row(add(a, c), add(b, d), scratch, to + 4 * apart, apart)
                    _transform_row(subtract(a, c), subtract(b, d), scratch, to + 8 * apart, apart)
                    _transform_row(c, d, scratch, to + 12 * apart, apart)
                    at += 2 * PANEL
                    to += PANEL


@part
def _transform_row(left: Any, right: Any, out: Array, to: int, apart: int) -> None:
    store(out, to, left)
    store(out, to + apart, add(left, right))
    store(out, to + 2 * apart, subtract(left, right))
    store(out, to + 3 * apart, right)


@part
def _add_outer(
    inputs: Array, at: int, channels: int, first: int, count: int, grads: int, parts: Array, to: int
) -> None:
    """Add the products of a QUAD of channels with the gradients of all tiles to parts[to:]."""
    zero, last = splat(np.float32(0), PANEL), channels - 1
    # Of the last QUAD some channels may be the last one again, for sums that nobody reads.
    k0, k1, k2, k3 = first, min(first + 1, last), min(first + 2, last), min(first + 3, last)
    sum0, sum1, sum2, sum3 = zero, zero, zero, zero
    for _ in range(count):
        grad = load(inputs, grads, PANEL)
        grads += PANEL
        sum0 = multiply_add(broadcast(inputs, at + k0, PANEL), grad, sum0)
        sum1 = multiply_add(broadcast(inputs, at + k1, PANEL), grad, sum1)
        sum2 = multiply_add(broadcast(inputs, at + k2, PANEL), grad, sum2)
        sum3 = multiply_add(broadcast(inputs, at + k3, PANEL), grad, sum3)
        at += channels
    store(parts, to, add(load(parts, to, PANEL), sum0))
    store(parts, to + PANEL, add(load(parts, to + PANEL, PANEL), sum1))
    store(parts, to + 2 * PANEL, add(load(parts, to + 2 * PANEL, PANEL), sum2))
    store(parts, to + 3 * PANEL, add(load(parts, to + 3 * PANEL, PANEL), sum3))


@helper
def transform_back(sizes: Sizes, parts: Array, start: int) -> None:
    """Make the sums of a panel of filters its gradients: those of tap k lie where place k was."""
    apart = sizes.steps // PLACES * PANEL
    for at in range(start, start + sizes.pixel * PANEL, PANEL):
        for column in range(4):
            _transform_sums(parts, at + column * apart, 4 * apart, at + column * apart, 4 * apart)
        for row in range(3):
            _transform_sums(parts, at + 4 * row * apart, apart, at + 3 * row * apart, apart)


@helper
def _transform_sums(parts: Array, at: int, apart: int, to: int, apart_to: int) -> None:
    """Make three numbers of four, `apart_to` from one another: A m."""
    half, minus, zero = (
        splat(np.float32(0.5), PANEL), splat(np.float32(-1), PANEL), splat(np.float32(0), PANEL)
    )  # fmt: skip
    first, second = load(parts, at, PANEL), load(parts, at + apart, PANEL)
    third, last = load(parts, at + 2 * apart, PANEL), load(parts, at + 3 * apart, PANEL)
    middle = multiply_add(add(second, third), half, zero)
    store(parts, to, add(first, middle))
    store(parts, to + apart_to, multiply_add(subtract(second, third), half, zero))
    store(parts, to + 2 * apart_to, multiply_add(last, minus, middle))
