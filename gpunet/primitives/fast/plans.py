"""Sizes and tables of a shape for the kernels of `products`, made once and cached."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpunet.primitives.fast.bands import LINE, PANEL, TILE, Sizes
from gpunet.primitives.fast.memory import NO_INTS
from gpunet.primitives.fast.simd import LANES
from gpunet.primitives.fast.winograd import PLACES
from gpunet.primitives.fast.winograd_grads import QUAD
from gpunet.primitives.geometry import Conv2DGeometry

__all__ = [
    "BAND",
    "GRAIN",
    "Plan",
    "SparsePlan",
    "direct_plan",
    "plan",
    "sparse_plan",
    "whole_lines",
]

Table = NDArray[np.int64]

BAND = 256  # outputs whose products, PANEL each, fill about half of a level-1 cache
_SPARSE_BLOCK = 1 << 15  # floats of the images that lists of gradients refer to at a time
_TILES = 48  # of 2 x 2 outputs in a band: a whole number of TILEs
_TILE_ROW = 1 << 17  # floats of a row of transformed tiles: as many fill a level-2 cache
_WEIGHTS = 1 << 20  # floats of transformed weights: more are read from memory for few tiles
GRAIN = 1 << 21  # multiplications in a task: some 40 microseconds


class Plan(NamedTuple):
    """Sizes and tables of a convolution, and of the tasks it is divided into."""

    sizes: Sizes
    table: Table  # the numbers of these
    positions: Table  # where the patch of each output of a band begins
    segments: Table  # where in a patch each run of neighbouring numbers begins
    steps: Table  # where each number of a patch lies, filled up to whole tiles
    panels: int
    weights: int  # floats of all panels
    tasks: int  # of the forward kernel
    chunk: int  # images in a task of the weight gradient
    chunks: int
    groups: int  # of filters, in these tasks


@lru_cache(maxsize=256)
def plan(g: Conv2DGeometry, window: tuple[int, int], relu: bool, most: int = BAND) -> Plan:
    """Return the plan of a convolution without groups.

    Arguments:
        g: the geometry; its output is what windows cover.
        window: (rows, columns) of outputs in a pooling window; (1, 1) without pooling.
        relu: whether outputs below 0 become 0.
        most: outputs in a band, if a row of windows has not more.
    """
    made = direct_plan(g, window, relu, most)
    made = _winograd(made, g) if _suits_winograd(g, window) else made
    return made._replace(table=np.array(made.sizes, np.int64))


def _suits_winograd(g: Conv2DGeometry, window: tuple[int, int]) -> bool:
    """Return whether tiles of 2 x 2 outputs take less time than outputs one by one.

    The multiplications of both are compared, for one image, so that a sample's bits are the same in
    each batch. To transform a channel of a tile, or a filter's results, takes as long as some 60;
    to transform a weight, once for all images, as long as some 50.
    """
    height, width, channels, filters = g.kernel_shape
    if (height, width, *g.strides, *g.dilation, *window) != (3, 3, 1, 1, 1, 1, 1, 1):
        return False
    rows, columns = g.output_shape[1:3]
    across, weights = -(-columns // 2), channels * filters
    tiles = -(-rows // 2) * across
    if channels < LANES or PLACES * across * channels > _TILE_ROW:
        return False
    if PLACES * weights > _WEIGHTS:
        return False
    cost = tiles * (PLACES * weights + 60 * (channels + filters)) + 50 * weights
    return cost < 9 * rows * columns * weights


def direct_plan(g: Conv2DGeometry, window: tuple[int, int], relu: bool, most: int = BAND) -> Plan:
    """Return the plan for outputs one by one, see `products`."""
    images, height, width, channels = g.input_shape
    _, rows, columns, filters = g.output_shape
    kernel_height, kernel_width = g.kernel_shape[:2]
    padded = any(map(any, g.padding))
    row = (width + sum(g.padding[1])) * channels
    band = min(rows, max(1, most // (columns * window[0])) * window[0])
    bands = -(-rows // band)
    patch = kernel_height * kernel_width * channels
    segments, length = _segments(g, row)
    steps = (segments[:, None] + np.arange(length)).reshape(-1)
    copied = (band - 1) * g.strides[0] + (kernel_height - 1) * g.dilation[0] + 1
    outputs = rows * columns
    group = 1 if padded or outputs > most // 2 else min(images, most // outputs)
    items = -(-images // group) * bands
    grain = max(1, min(GRAIN // (group * band * columns * patch * filters), items))
    panels = -(-filters // PANEL)
    chunk = _chunk(images, panels)
    sizes = Sizes(
        images=images, image=height * width * channels, row=row, pixel=channels, height=height,
        width=width, top=g.padding[0][0], left=g.padding[1][0], padded=int(padded),
        stride=row * g.strides[0], first_step=g.strides[0], patch=patch, length=length,
        filters=filters, window=window[0] * window[1], band=band, bands=bands, rows=rows,
        columns=columns, group=group, grain=grain, relu=int(relu), indexed=int(window != (1, 1)),
        scratch=whole_lines((group * band * columns + 1) * PANEL + (copied * row if padded else 0)),
        copied=copied, lists=0, segments=len(segments), steps=-(-patch // TILE) * TILE,
        grouped=PANEL, winograd=0,
        first_position=0, first_segment=0, first_of_steps=0, first_weight=0, first_bias=0,
    )  # fmt: skip
    places = _positions(g, band, columns, window, row)
    positions = (np.arange(group)[:, None] * sizes.image + places).reshape(-1)
    steps = np.concatenate([steps, np.full(-steps.size % TILE, steps[-1])])
    tasks, chunks = -(-items // grain), -(-images // chunk)
    weights = panels * PANEL * patch
    return Plan(
        sizes, NO_INTS, positions, segments, steps, panels, weights, tasks, chunk, chunks, panels
    )


def _winograd(direct: Plan, g: Conv2DGeometry) -> Plan:
    """Return the plan for tiles of 2 x 2 outputs, see `winograd`."""
    sizes = direct.sizes
    rows, columns, channels = sizes.rows, sizes.columns, sizes.pixel
    down, across = -(-rows // 2), -(-columns // 2)
    tile_rows = min(down, max(1, _TILES // across))
    bands = -(-down // tile_rows)
    group = min(sizes.images, max(1, _TILES // (down * across)))
    tiles = group * tile_rows * across
    padded = any(map(any, g.padding)) or rows % 2 or columns % 2
    row, copied = (2 * across + 2) * channels, 2 * tile_rows + 2
    items = -(-sizes.images // group) * bands
    grain = max(1, min(GRAIN // (tiles * PLACES * channels * sizes.filters), items))
    scratch = PLACES * (tiles * (PANEL + channels) + 2 * LINE)
    scratch += group * (2 * tile_rows * columns * PANEL + (copied * row if padded else 0))
    sizes = sizes._replace(
        row=row, padded=int(bool(padded)), stride=row, band=2 * tile_rows, bands=bands, group=group,
        grain=grain, scratch=whole_lines(scratch), copied=copied, segments=0,
        steps=PLACES * -(-channels // QUAD) * QUAD, grouped=direct.panels * PANEL, winograd=1,
    )  # fmt: skip
    chunk = _chunk(sizes.images, 1)
    return direct._replace(
        sizes=sizes, positions=NO_INTS, segments=NO_INTS, steps=NO_INTS, tasks=-(-items // grain),
        weights=direct.panels * PANEL * PLACES * channels, chunk=chunk,
        chunks=-(-sizes.images // chunk), groups=1,
    )  # fmt: skip


class SparsePlan(NamedTuple):
    """A `Plan` for the gradients of a pooled convolution; the band is an image."""

    sizes: Sizes
    positions: Table  # of all outputs of an image
    segments: Table
    block: int  # images whose inputs are read at a time
    chunk: int
    chunks: int


@lru_cache(maxsize=256)
def sparse_plan(
    g: Conv2DGeometry, window: tuple[int, int], relu: bool, block: int | None = None
) -> SparsePlan | None:
    """Return the plan for the kernels of `sparse`; None where segments are no multiple of vectors.

    Arguments:
        g, window, relu: as in `plan`.
        block: images at a time; by default as many as fit the cache.
    """
    sizes = direct_plan(g, window, relu).sizes
    if sizes.length % LANES:
        return None
    outputs = sizes.rows * sizes.columns
    copied = sizes.height + sum(g.padding[0])
    image = copied * sizes.row
    if block is None:
        block = max(1, min(_SPARSE_BLOCK // image, sizes.images))
    entries = max(outputs * sizes.filters, PANEL * block * outputs // sizes.window)
    padded = block * image if sizes.padded else 0
    lists = whole_lines(entries + max(outputs, PANEL) + 1)
    sizes = sizes._replace(copied=copied, scratch=whole_lines(padded + entries + 1), lists=lists)
    positions = _positions(g, sizes.rows, sizes.columns, window, sizes.row)
    chunk = _chunk(sizes.images, -(-sizes.filters // PANEL))
    chunks = -(-sizes.images // chunk)
    return SparsePlan(sizes, positions, _segments(g, sizes.row)[0], block, chunk, chunks)


def _segments(g: Conv2DGeometry, row: int) -> tuple[Table, int]:
    """Return where in a patch each run of neighbouring numbers begins, and its length."""
    kernel_height, kernel_width = g.kernel_shape[:2]
    channels = g.input_shape[3]
    rows = np.arange(kernel_height) * (g.dilation[0] * row)
    if g.dilation[1] == 1:
        return rows, kernel_width * channels
    taps = np.arange(kernel_width) * (g.dilation[1] * channels)
    return (rows[:, None] + taps).reshape(-1), channels


def _positions(
    g: Conv2DGeometry, band: int, columns: int, window: tuple[int, int], row: int
) -> Table:
    """Return where the patch of each output of a band begins, window by window."""
    lines = np.arange(band) * (g.strides[0] * row)
    pixels = np.arange(columns) * (g.strides[1] * g.input_shape[3])
    places = lines[:, None] + pixels
    if window == (1, 1):
        return places.reshape(-1)
    split = places.reshape(band // window[0], window[0], columns // window[1], window[1])
    return split.transpose(0, 2, 1, 3).reshape(-1)


def _chunk(images: int, panels: int) -> int:
    """Return the images whose weight gradients are added up by one task.

    It must not depend on the number of threads: that would change the order of the sums.
    """
    chunks = max(1, min(16 // panels, images // 8))
    return max(1, -(-images // chunks))


def whole_lines(count: int) -> int:
    """Return the floats of whole cache lines, so that no two threads write into one."""
    return -(-count // 16) * 16
