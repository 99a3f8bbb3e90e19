"""Sizes of convolutions as kernels take them, and rows of input copied with their padding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import helper, part
from gpunet.primitives.fast.simd import LANES, get, put

__all__ = ["FIELDS", "LINE", "PANEL", "TILE", "Sizes", "copy_rows", "cut_out", "sizes_at"]

Array = Any

PANEL = 2 * LANES  # filters of a tile
LINE = 16  # floats of a cache line
TILE = 6  # outputs of a tile: with them 12 of the 16 vector registers of AVX hold sums


class Sizes(NamedTuple):
    """Sizes of a convolution, as kernels take them; all count elements."""

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
    group: int  # images in a band; more than one if an image is less than a band
    grain: int  # bands in a task
    relu: int  # 1 if outputs below 0 become 0
    indexed: int  # 1 if the place of each maximum in its window is written
    scratch: int  # floats of a thread's scratch memory
    lists: int  # int64 of a thread's lists, for the gradients of a pooled convolution
    copied: int  # input rows that a band with padding copies
    segments: int  # how many
    steps: int  # sums for a filter's weight gradient: numbers in a patch, in whole tiles
    grouped: int  # filters whose weight gradients a task adds up
    winograd: int  # 1 if tiles of 2 x 2 outputs are computed, see `winograd`
    # Where this convolution begins in tables of several:
    first_position: int
    first_segment: int
    first_of_steps: int
    first_weight: int
    first_bias: int


FIELDS = len(Sizes._fields)


@helper
def sizes_at(table: Array, at: int) -> Sizes:
    """Return the Sizes in a table, field by field: Numba knows no other way."""
    return Sizes(
        get(table, at + 0), get(table, at + 1), get(table, at + 2), get(table, at + 3),
        get(table, at + 4), get(table, at + 5), get(table, at + 6), get(table, at + 7),
        get(table, at + 8), get(table, at + 9), get(table, at + 10), get(table, at + 11),
        get(table, at + 12), get(table, at + 13), get(table, at + 14), get(table, at + 15),
        get(table, at + 16), get(table, at + 17), get(table, at + 18), get(table, at + 19),
        get(table, at + 20), get(table, at + 21), get(table, at + 22), get(table, at + 23),
        get(table, at + 24), get(table, at + 25), get(table, at + 26), get(table, at + 27),
        get(table, at + 28), get(table, at + 29), get(table, at + 30), get(table, at + 31),
        get(table, at + 32), get(table, at + 33), get(table, at + 34),
    )  # fmt: skip


@helper
def copy_rows(sizes: Sizes, x: Array, image: int, row: int, scratch: Array, copy: int) -> None:
    """Copy the input rows under a band of outputs, with zeros for what is padding.

    `image` is where in x the image begins.
    """
    first = row * sizes.first_step - sizes.top
    left, inner = sizes.left * sizes.pixel, sizes.width * sizes.pixel
    for i in range(sizes.copied):
        at = copy + i * sizes.row
        if 0 <= first + i < sizes.height:
            start = image + (first + i) * inner
            for j in range(left):
                put(scratch, at + j, np.float32(0))
            for j in range(inner):
                put(scratch, at + left + j, get(x, start + j))
            for j in range(left + inner, sizes.row):
                put(scratch, at + j, np.float32(0))
        else:
            for j in range(sizes.row):
                put(scratch, at + j, np.float32(0))


@part
def cut_out(sizes: Sizes, padded: Array, start: int, result: Array, result_start: int) -> None:
    """Copy an image without its padding."""
    inner = sizes.width * sizes.pixel
    for i in range(sizes.height):
        at = start + (sizes.top + i) * sizes.row + sizes.left * sizes.pixel
        to = result_start + i * inner
        for j in range(inner):
            put(result, to + j, get(padded, at + j))
