"""The gradient of the input of a convolution with strides, phase by phase.

Input pixels that lie a stride apart are a phase: the same taps of the kernel reach all of them, and
their gradient is a convolution with strides of 1 of the output's gradient with these taps. So no
zeros are multiplied, as they would be with the gradient spread out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, IntsIn, kernel
from gpunet.primitives.fast.memory import workspace
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import get, put
from gpunet.primitives.fast.threads import run
from gpunet.primitives.geometry import Conv2DGeometry

__all__ = ["Phase", "fill", "phases"]

Array = Any


class Phase(NamedTuple):
    """Pixels that lie a stride apart, and the convolution that makes their gradient."""

    first: tuple[int, int]  # row and column of the first pixel
    size: tuple[int, int]  # rows and columns of pixels
    taps: tuple[slice, slice]  # of the kernel
    read: tuple[slice, slice]  # rows and columns of the output's gradient
    geometry: Conv2DGeometry | None  # None where no tap reaches the pixels: their gradient is 0


class _Axis(NamedTuple):
    first: int
    size: int
    taps: slice
    reached: int  # by how many taps
    read: slice
    length: int  # of what is read
    padding: tuple[int, int]


@lru_cache(maxsize=64)
def phases(g: Conv2DGeometry) -> list[Phase] | None:
    """Return the phases of a convolution's input; None if it is dilated, or has groups."""
    if g.dilation != (1, 1) or g.groups != 1 or 0 in g.output_shape:
        return None
    images, _, _, channels = g.input_shape
    found = []
    for row in _along(g, 0):
        for column in _along(g, 1):
            sizes = (images, row.length, column.length, g.kernel_shape[3])
            kernel_shape = (row.reached, column.reached, g.kernel_shape[3], channels)
            result = (images, row.size, column.size, channels)
            geometry = None
            if row.reached and column.reached and row.length and column.length:
                padding = (row.padding, column.padding)
                geometry = Conv2DGeometry(
                    sizes, kernel_shape, result, (1, 1), padding, (1, 1), 1
                )  # fmt: skip
            found.append(
                Phase(
                    (row.first, column.first), (row.size, column.size), (row.taps, column.taps),
                    (row.read, column.read), geometry,
                )
            )  # fmt: skip
    return found


def _along(g: Conv2DGeometry, axis: int) -> list[_Axis]:
    """Return the phases along rows or columns.

    Output o is reached from input i by the tap ``i + padding - o * stride``.
    """
    stride, before = g.strides[axis], g.padding[axis][0]
    inputs, outputs, taps = g.input_shape[1 + axis], g.output_shape[1 + axis], g.kernel_shape[axis]
    found = []
    for first in range(min(stride, inputs)):
        least = (first + before) % stride
        count, size = len(range(least, taps, stride)), -(-(inputs - first) // stride)
        last = (first + before - least) // stride  # the output that the first tap reaches first
        start, stop = last - (count - 1), last + size  # the outputs that are read
        read = slice(max(start, 0), max(min(stop, outputs), max(start, 0)))
        padding = max(-start, 0), max(stop - outputs, 0)
        length = read.stop - read.start
        found.append(_Axis(first, size, slice(least, taps, stride), count, read, length, padding))
    return found


def fill(
    input_grad: Array, phases: list[Phase], g: Conv2DGeometry,
    write: Callable[[Phase, Conv2DGeometry, Array], None],
) -> None:  # fmt: skip
    """Write the gradients of all phases, by `write`, and put them where they belong."""
    images, height, width, channels = input_grad.shape
    table, size = _places(g)
    parts = workspace("phases", size)
    for phase, (start, rows, columns) in zip(phases, table.tolist(), strict=True):
        if phase.geometry is not None:
            shape = images, rows, columns, channels
            write(phase, phase.geometry, parts[start : start + math.prod(shape)].reshape(shape))
    run(
        _interleave, images * height, height, width, channels, *g.strides, table.reshape(-1), parts,
        input_grad.reshape(-1),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _places(g: Conv2DGeometry) -> tuple[NDArray[np.int64], int]:
    """Return where each phase is, -1 where all is 0, with its rows and columns; and all floats."""
    places, size = [], 0
    for phase in phases(g) or ():
        places.append((-1 if phase.geometry is None else size, *phase.size))
        if phase.geometry is not None:
            size += math.prod(phase.geometry.output_shape)
    return np.array(places, np.int64), size


@kernel
def _interleave(
    counters: Ints, tasks: int, worker: int,
    height: int, width: int, channels: int, down: int, across: int, places: IntsIn,
    parts: FloatsIn, whole: Floats,
) -> None:  # fmt: skip
    """Write the pixels of all phases where they belong; a task is a row of an image."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        image, row = task // height, task % height
        for first in range(min(across, width)):
            place = 3 * (row % down * min(across, width) + first)
            start, rows, columns = (
                get(places, place),
                get(places, place + 1),
                get(places, place + 2),
            )
            at = start + (image * rows + row // down) * columns * channels
            for column in range(first, width, across):
                to = (task * width + column) * channels
                if start >= 0:
                    for j in range(channels):
                        put(whole, to + j, get(parts, at + j))
                else:
                    for j in range(channels):
                        put(whole, to + j, np.float32(0))
                at += channels
        task = next_task(counters, tasks, worker)
