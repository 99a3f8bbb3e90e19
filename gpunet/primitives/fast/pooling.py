"""2-D pooling, a vector of channels at a time.

Windows of more than 256 elements are left to NumPy, and gradients of fewer channels than a vector.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.fast.compile import Bytes, BytesIn, Floats, FloatsIn, Ints, helper, kernel
from gpunet.primitives.fast.elementwise import LEAST_TASK
from gpunet.primitives.fast.memory import NO_BYTES, flat
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    divide,
    get,
    load,
    load_bytes,
    put,
    splat,
    store,
    store_bytes,
    where_beats,
    where_equal,
)
from gpunet.primitives.fast.threads import run
from gpunet.primitives.geometry import Pool2DGeometry
from gpunet.primitives.reference.memory import empty

__all__ = [
    "average_pool2d_backward",
    "average_pool2d_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]

Array = Any


def max_pool2d_forward(x: Array, g: Pool2DGeometry) -> tuple[Array, Array]:
    """Return the largest value of each window, and its index."""
    if not _supports(g, x):
        return reference.max_pool2d_forward(x, g)
    y, indices = empty(g.output_shape, x.dtype), empty(g.output_shape, np.uint8)
    tasks = _tasks(g, g.output_shape[1])
    run(_pool, tasks, sizes_of(g), True, flat(x), y.reshape(-1), indices.reshape(-1))
    return y, indices


def max_pool2d_backward(output_grad: Array, indices: Array, g: Pool2DGeometry) -> Array:
    """Return the gradient of the input."""
    if not _supports_grad(g, output_grad) or indices.dtype != np.uint8:
        return reference.max_pool2d_backward(output_grad, indices, g)
    return _input_grad(g, output_grad, flat(indices))


def average_pool2d_forward(x: Array, g: Pool2DGeometry) -> Array:
    """Return the mean of each window."""
    if not _supports(g, x):
        return reference.average_pool2d_forward(x, g)
    y = empty(g.output_shape, x.dtype)
    tasks = _tasks(g, g.output_shape[1])
    run(_pool, tasks, sizes_of(g), False, flat(x), y.reshape(-1), NO_BYTES)
    return y


def average_pool2d_backward(output_grad: Array, g: Pool2DGeometry) -> Array:
    """Return the gradient of the input."""
    if not _supports_grad(g, output_grad):
        return reference.average_pool2d_backward(output_grad, g)
    return _input_grad(g, output_grad, NO_BYTES)


def _input_grad(g: Pool2DGeometry, output_grad: Array, indices: Array) -> Array:
    """Return the gradient of the input; of average pooling if there are no indices."""
    input_grad = empty(g.input_shape, output_grad.dtype)
    tasks = _tasks(g, g.input_shape[1])
    run(_spread, tasks, sizes_of(g), flat(output_grad), indices, input_grad.reshape(-1))
    return input_grad


def _supports(g: Pool2DGeometry, array: Array) -> bool:
    return array.dtype == np.float32 and g.index_dtype == "uint8" and g.output_shape[0] > 0


def _supports_grad(g: Pool2DGeometry, array: Array) -> bool:
    return _supports(g, array) and g.output_shape[3] >= LANES


def _tasks(g: Pool2DGeometry, rows: int) -> int:
    """Return into how many tasks all images' rows, of input or output, are divided."""
    images, height, width, channels = g.input_shape
    return max(1, min(images * height * width * channels // LEAST_TASK, images * rows))


class Sizes(NamedTuple):
    """Sizes of a pooling, as the kernels take them."""

    images: int
    height: int  # of the input
    width: int
    channels: int
    rows: int  # of the output
    columns: int
    window_rows: int
    window_columns: int
    row_stride: int
    column_stride: int
    top: int  # rows of padding above, columns of it to the left
    left: int


def sizes_of(g: Pool2DGeometry) -> Sizes:
    """Return the sizes of a pooling."""
    (top, _), (left, _) = g.padding
    shape, output_shape = g.input_shape, g.output_shape
    return Sizes(*shape, *output_shape[1:3], *g.pool_size, *g.strides, top, left)  # type: ignore[call-arg]


@helper
def _inside(place: int, stride: int, before: int, window: int, size: int) -> tuple[int, int, int]:
    """Return where a window begins, and the first of its elements in range(size), and the end."""
    start = place * stride - before
    return start, max(0, -start), min(window, size - start)


@helper
def _vector_at(c: int, channels: int) -> int:
    """Return where a vector of channels begins: the last one may overlap the one before."""
    return min(c, channels - LANES)


@kernel
def _pool(
    counters: Ints, tasks: int, worker: int,
    sizes: Sizes, largest: bool, x: FloatsIn, y: Floats, indices: Bytes,
) -> None:  # fmt: skip
    """Write the largest of each window and its place, or its mean; a task is some output rows."""
    total = sizes.images * sizes.rows
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for row in range(task * total // tasks, (task + 1) * total // tasks):
            pool_row(sizes, largest, row, x, 0, y, 0, indices)
        task = next_task(counters, tasks, worker)


@helper
def pool_row(
    sizes: Sizes, largest: bool, row: int, x: Array, x_start: int, y: Array, y_start: int,
    indices: Array,
) -> None:  # fmt: skip
    """Write a row of outputs to y[y_start:], of images at x[x_start:], and the places of maxima.

    Without `indices` the places are not written.
    """
    channels = sizes.channels
    start, first, last = _inside(
        row % sizes.rows, sizes.row_stride, sizes.top, sizes.window_rows, sizes.height
    )
    line = row // sizes.rows * sizes.height + start + first
    for column in range(sizes.columns):
        left, before, end = _inside(
            column, sizes.column_stride, sizes.left, sizes.window_columns, sizes.width
        )
        at = x_start + (line * sizes.width + left + before) * channels
        to = (row * sizes.columns + column) * channels
        tap, rows, columns = first * sizes.window_columns + before, last - first, end - before
        for step in range(0, channels if channels >= LANES else 0, LANES):
            c = _vector_at(step, channels)
            if largest:
                best, place = _largest(sizes, rows, columns, tap, x, at + c)
                store(y, y_start + to + c, best)
                if indices.size:
                    store_bytes(indices, to + c, place)
            else:
                store(y, y_start + to + c, _mean(sizes, rows, columns, x, at + c))
        for c in range(channels if channels < LANES else 0):
            if largest:
                value, number = _largest_of_channel(sizes, rows, columns, tap, x, at + c)
                put(y, y_start + to + c, value)
                if indices.size:
                    indices[to + c] = np.uint8(number)
            else:
                put(y, y_start + to + c, _mean_of_channel(sizes, rows, columns, x, at + c))


@helper
def _largest(sizes: Sizes, rows: int, columns: int, tap: int, x: Array, at: int) -> tuple[Any, Any]:
    """Return the largest numbers of rows and columns from x[at], and their places, from `tap`."""
    best, place = load(x, at, LANES), splat(np.float32(tap), LANES)
    for _ in range(rows):
        here, number = at, np.float32(tap)
        for _ in range(columns):
            value = load(x, here, LANES)
            place = where_beats(value, best, splat(number, LANES), place)
            best = where_beats(value, best, value, best)
            here += sizes.channels
            number += np.float32(1)
        at += sizes.width * sizes.channels
        tap += sizes.window_columns
    return best, place


@helper
def _mean(sizes: Sizes, rows: int, columns: int, x: Array, at: int) -> Any:
    """Return the means of rows and columns from x[at]; rows are summed for themselves first."""
    total = splat(np.float32(0), LANES)
    for _ in range(rows):
        here, part = at, splat(np.float32(0), LANES)
        for _ in range(columns):
            part = add(part, load(x, here, LANES))
            here += sizes.channels
        total = add(total, part)
        at += sizes.width * sizes.channels
    return divide(total, splat(np.float32(rows * columns), LANES))


@helper
def _largest_of_channel(
    sizes: Sizes, rows: int, columns: int, tap: int, x: Array, at: int
) -> tuple[np.float32, int]:
    """Return the largest number of rows and columns from x[at], or the first NaN, and its place."""
    best, place = get(x, at), tap
    for i in range(rows):
        for j in range(columns):
            value = get(x, at + (i * sizes.width + j) * sizes.channels)
            if value > best or (value != value and best == best):
                best, place = value, tap + i * sizes.window_columns + j
    return best, place


@helper
def _mean_of_channel(sizes: Sizes, rows: int, columns: int, x: Array, at: int) -> np.float32:
    """Return the mean of rows and columns from x[at]; rows are summed for themselves first."""
    total = np.float32(0)
    for i in range(rows):
        part = np.float32(0)
        for j in range(columns):
            part += get(x, at + (i * sizes.width + j) * sizes.channels)
        total += part
    return total / np.float32(rows * columns)


@kernel
def _spread(
    counters: Ints, tasks: int, worker: int,
    sizes: Sizes, output_grad: FloatsIn, indices: BytesIn, input_grad: Floats,
) -> None:  # fmt: skip
    """Write the gradient of the input; a task is some of its rows, taken from all windows there.

    Without indices each gradient is spread evenly over its window.
    """
    total, size = sizes.images * sizes.height, sizes.width * sizes.channels
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for item in range(task * total // tasks, (task + 1) * total // tasks):
            image, line = item // sizes.height, item % sizes.height
            input_grad[item * size : (item + 1) * size] = np.float32(0)
            below = line + sizes.top  # from where the first window begins
            newest = min(below // sizes.row_stride, sizes.rows - 1)
            oldest = max(0, (below - sizes.window_rows) // sizes.row_stride + 1)
            for row in range(newest, oldest - 1, -1):
                start, first, last = _inside(
                    row, sizes.row_stride, sizes.top, sizes.window_rows, sizes.height
                )
                at = (image * sizes.rows + row) * sizes.columns * sizes.channels
                tap = (line - start) * sizes.window_columns
                _spread_row(
                    sizes, output_grad, indices, at, tap, last - first, input_grad, item * size
                )
        task = next_task(counters, tasks, worker)


@helper
def _spread_row(
    sizes: Sizes, output_grad: Array, indices: Array, at: int, tap: int, rows: int,
    input_grad: Array, to: int,
) -> None:  # fmt: skip
    """Add to a row of the input what it gets of a row of gradients.

    It is where the windows count their elements from `tap` on, and one of their `rows`.
    """
    channels, zero = sizes.channels, splat(np.float32(0), LANES)
    whole = channels // LANES * LANES
    for column in range(sizes.columns):
        left, before, end = _inside(
            column, sizes.column_stride, sizes.left, sizes.window_columns, sizes.width
        )
        here, corner = at + column * channels, to + (left + before) * channels
        count = np.float32(rows * (end - before))
        for c in range(0, whole, LANES):
            target, grad = corner + c, load(output_grad, here + c, LANES)
            if indices.size:
                place, number = (load_bytes(indices, here + c, LANES), np.float32(tap + before))
                for _ in range(before, end):
                    value = where_equal(place, splat(number, LANES), grad, zero)
                    store(input_grad, target, add(load(input_grad, target, LANES), value))
                    target += channels
                    number += np.float32(1)
            else:
                share = divide(grad, splat(count, LANES))
                for _ in range(before, end):
                    store(input_grad, target, add(load(input_grad, target, LANES), share))
                    target += channels
        for c in range(whole, channels):
            target, value = corner + c, output_grad[here + c]
            for j in range(before, end):
                if indices.size == 0:
                    input_grad[target] += value / count
                elif np.int64(indices[here + c]) == tap + j:
                    input_grad[target] += value
                target += channels
