"""The gradient of the input of a convolution, phase by phase.

Input pixels that lie a stride apart are a phase: the same taps of the kernel reach all of them, and
their gradient is a convolution with strides of 1 of the output's gradient with these taps. So no
zeros are multiplied, as they would be with the gradient spread out. A task takes a band of rows of
all phases, which lie side by side, and writes their gradients where they belong.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpunet.primitives.fast.bands import FIELDS, PANEL, Sizes, copy_rows, sizes_at
from gpunet.primitives.fast.compile import (
    Floats,
    FloatsIn,
    Ints,
    IntsIn,
    part,
    uncounted_kernel,
)
from gpunet.primitives.fast.memory import flat, scratch, workspace
from gpunet.primitives.fast.packing import pack_turned
from gpunet.primitives.fast.plans import BAND, GRAIN, direct_plan, whole_lines
from gpunet.primitives.fast.products import multiply_patches
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import LANES, get, load, put, splat, store
from gpunet.primitives.fast.threads import run
from gpunet.primitives.geometry import Conv2DGeometry

__all__ = ["Plan", "backward_input", "plan"]

Array = Any
Table = NDArray[np.int64]

_WRITE = 20  # multiplications that take as long as to write a number


class _Axis(NamedTuple):
    """A phase along rows or columns: its pixel i reads outputs from ``i - before``, one a tap."""

    first: int  # pixel of the input
    size: int  # pixels
    taps: tuple[int, ...]  # that reach them, the last one first
    before: int

    def after(self, outputs: int) -> int:
        """Return how many outputs behind the last one are read."""
        return self.size + len(self.taps) - 1 - self.before - outputs


def _along(g: Conv2DGeometry, axis: int) -> list[_Axis]:
    """Return the phases along rows or columns.

    Output o is reached from input i by the tap ``i + padding - o * stride``.
    """
    stride, before = g.strides[axis], g.padding[axis][0]
    inputs, taps = g.input_shape[1 + axis], g.kernel_shape[axis]
    found = []
    for first in range(min(stride, inputs)):
        least = (first + before) % stride
        reaching = tuple(range(least, taps, stride))[::-1]
        last = (first + before - least) // stride  # the output that the first tap reaches first
        size = -(-(inputs - first) // stride)
        found.append(_Axis(first, size, reaching, len(reaching) - 1 - last if reaching else 0))
    return found


def _padding(axes: list[_Axis], outputs: int) -> tuple[int, int]:
    """Return the padding of the output's gradient that all phases read."""
    reading = [axis for axis in axes if axis.taps]
    before = max((axis.before for axis in reading), default=0)
    return max(before, 0), max(0, *(axis.after(outputs) for axis in reading), 0)


class _Bands(NamedTuple):
    """How all phases are divided, and where gradients lie; the numbers count floats."""

    phases: int
    bands: int  # of an image
    band: int  # rows of a phase
    grain: int  # bands in a task
    copy: int  # where in a thread's memory the padded rows of a band are
    scratch: int
    image: int
    row: int  # from a pixel of a phase to that below
    pixel: int  # from a pixel of a phase to the next


class Plan(NamedTuple):
    """Sizes and tables for all phases."""

    bands: _Bands
    table: Table  # for each phase its Sizes, and where its first pixel lies
    taps: Table  # of all phases, as `pack_turned` takes them
    starts: Table
    positions: Table
    segments: Table
    weights: int  # floats of all panels
    items: int  # bands of all images
    tasks: int


@lru_cache(maxsize=64)
def plan(g: Conv2DGeometry) -> Plan | None:
    """Return the plan of a convolution's phases; None if it is dilated, or has groups."""
    if g.dilation != (1, 1) or g.groups != 1 or 0 in (*g.output_shape, *g.input_shape):
        return None
    down, across = _along(g, 0), _along(g, 1)
    padding = _padding(down, g.output_shape[1]), _padding(across, g.output_shape[2])
    columns, most = (max(axis.size for axis in axes) for axes in (across, down))
    band = min(most, max(1, BAND // columns))
    copied = band - 1 + max(padding[0][0] - axis.before + len(axis.taps) for axis in down)
    tables = _Tables(g, padding, band, copied)
    for i in down:
        for j in across:
            tables.add(i, j)
    items = g.input_shape[0] * -(-most // band)
    grain = max(1, min(GRAIN // tables.work, items))
    copy = whole_lines((band * columns + 1) * PANEL)
    _, height, width, channels = g.input_shape
    bands = _Bands(
        len(tables.rows), -(-most // band), band, grain, copy, copy + tables.copy,
        height * width * channels, g.strides[0] * width * channels, g.strides[1] * channels,
    )  # fmt: skip
    rows, taps, starts = (
        np.array(numbers, np.int64).reshape(-1)
        for numbers in (tables.rows, tables.taps, tables.starts)
    )
    positions, segments = np.concatenate(tables.positions), np.concatenate(tables.segments)
    return Plan(
        bands, rows, taps, starts, positions, segments, tables.weights, items, -(-items // grain)
    )  # fmt: skip


Padding = tuple[tuple[int, int], tuple[int, int]]


class _Tables:
    """Sizes and tables of phases, which read the padded gradient; they are added in turn."""

    def __init__(self, g: Conv2DGeometry, padding: Padding, band: int, copied: int) -> None:
        self.geometry, self.padding, self.band, self.copied = g, padding, band, copied
        self.rows: list[tuple[int, ...]] = []
        self.positions: list[Table] = []
        self.segments: list[Table] = []
        self.taps: list[int] = []
        self.starts = [0]
        self.weights = 0  # floats of all panels
        self.work = 0  # multiplications of a band
        self.copy = 0  # floats of the padded rows of a band

    def add(self, i: _Axis, j: _Axis) -> None:
        """Add a phase of rows i and columns j; without taps, its gradient is 0."""
        g, padding = self.geometry, self.padding
        filters, channels = g.kernel_shape[3], g.input_shape[3]
        geometry = Conv2DGeometry(
            g.output_shape, (len(i.taps) or 1, len(j.taps) or 1, filters, channels),
            (g.input_shape[0], i.size, j.size, channels), (1, 1), padding, (1, 1), 1,
        )  # fmt: skip
        p = direct_plan(geometry, (1, 1), False, self.band * j.size)
        patch = len(i.taps) * len(j.taps) * filters
        sizes = p.sizes._replace(
            patch=patch, segments=p.sizes.segments if patch else 0, group=1, copied=self.copied,
            first_position=sum(map(len, self.positions)),
            first_segment=sum(map(len, self.segments)), first_weight=self.weights,
        )  # fmt: skip
        # The floats of the padded gradient before what the phase reads first:
        skipped = (padding[0][0] - i.before) * sizes.row + (padding[1][0] - j.before) * filters
        self.positions.append(p.positions[: sizes.band * j.size] + skipped)
        self.segments.append(p.segments)
        self.rows.append((*sizes, (i.first * g.input_shape[2] + j.first) * channels))
        self.taps += [u * g.kernel_shape[1] + v for u in i.taps for v in j.taps]
        self.starts.append(len(self.taps))
        self.weights += p.panels * PANEL * patch
        self.work += self.band * j.size * channels * (patch + _WRITE)
        self.copy = whole_lines(self.copied * sizes.row) if sizes.padded else 0


def backward_input(p: Plan, output_grad: Array, kernel: Array, input_grad: Array) -> None:
    """Write the gradient of the input."""
    *_, channels, filters = kernel.shape
    panels, memory = workspace("panels", p.weights), scratch(p.bands.scratch)
    pack_turned(channels, filters, p.taps, p.starts, flat(kernel), panels)
    run(
        _backward_input, p.tasks, p.bands, p.items, p.table, flat(output_grad), panels, p.positions,
        p.segments, input_grad.reshape(-1), memory, memory,
    )  # fmt: skip


@uncounted_kernel
def _backward_input(
    counters: Ints, tasks: int, worker: int,
    bands: _Bands, items: int, table: IntsIn, output_grad: FloatsIn, panels: FloatsIn,
    positions: IntsIn, segments: IntsIn, input_grad: Floats, scratch: Floats, scratch_in: FloatsIn,
) -> None:  # fmt: skip
    """Write the gradients of bands of all phases."""
    memory = worker * bands.scratch
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for item in range(task * bands.grain, min((task + 1) * bands.grain, items)):
            image, row = item // bands.bands, item % bands.bands * bands.band
            for phase in range(bands.phases):
                sizes = sizes_at(table, phase * (FIELDS + 1))
                source, start = output_grad, image * sizes.image + row * sizes.stride
                if sizes.padded:
                    source, start = scratch_in, memory + bands.copy
                    if phase == 0:
                        copy_rows(sizes, output_grad, image * sizes.image, row, scratch, start)
                rows = max(0, min(bands.band, sizes.rows - row))
                to = image * bands.image + row * bands.row
                to += get(table, phase * (FIELDS + 1) + FIELDS)
                for first in range(0, sizes.filters if rows else 0, PANEL):
                    multiply_patches(
                        sizes, source, start, positions, rows * sizes.columns, segments, panels,
                        first, splat(np.float32(0), PANEL), False, scratch, memory, PANEL,
                    )  # fmt: skip
                    _put_apart(bands, sizes, rows, first, scratch_in, memory, input_grad, to)
        task = next_task(counters, tasks, worker)


@part
def _put_apart(
    bands: _Bands, sizes: Sizes, rows: int, first: int, products: Array, at: int, y: Array, to: int
) -> None:
    """Write the products of one panel to the pixels of a phase."""
    count = min(PANEL, sizes.filters - first)
    whole = count // LANES * LANES
    for row in range(rows):
        out = to + row * bands.row + first
        for _ in range(sizes.columns):
            for j in range(0, whole, LANES):
                store(y, out + j, load(products, at + j, LANES))
            for j in range(whole, count):
                put(y, out + j, get(products, at + j))
            out += bands.pixel
            at += PANEL
