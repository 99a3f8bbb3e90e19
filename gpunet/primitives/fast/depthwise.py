"""Depthwise convolution: each channel has filters of its own. Float32, a row of pixels a task.

Filter f reads channel f // multiplier. The loops run over the channels of a pixel, which lie next
to each other; where each has one filter, the sums of a vector of them stay in registers. Each sum
has a fixed order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, helper, kernel, part
from gpunet.primitives.fast.memory import NO_FLOATS, flat, workspace
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    LANES,
    add,
    get,
    load,
    multiply_add,
    put,
    splat,
    store,
    where_beats,
)
from gpunet.primitives.fast.threads import run
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.reference.memory import empty

__all__ = [
    "Sizes",
    "backward_input",
    "backward_weight",
    "forward",
    "outputs_of_row",
    "sizes_of",
    "supports",
]

Array = Any

_LEAST_TASK = 1 << 18  # products: some 20 microseconds
_LOWEST = np.float32(-np.inf)
_CHUNKS = 16  # parts of the gradient of the kernel: of as many images each, however many threads


class Sizes(NamedTuple):
    """Sizes of a depthwise convolution, as the kernels take them."""

    images: int
    height: int  # of the input
    width: int
    channels: int
    rows: int  # of the output
    columns: int
    filters: int
    kernel_rows: int
    kernel_columns: int
    row_stride: int
    column_stride: int
    top: int  # rows of padding above, columns of it to the left
    left: int
    row_dilation: int
    column_dilation: int


def supports(g: Conv2DGeometry, x: Array) -> bool:
    """Return whether these kernels compute a convolution of this geometry and type."""
    return (
        x.dtype == np.float32 and g.groups > 1 and g.kernel_shape[2] == 1 and g.output_shape[0] > 0
    )


def forward(x: Array, kernel: Array, bias: Array | None, g: Conv2DGeometry) -> Array:
    """Return the cross-correlation of `x` with `kernel`, plus the bias."""
    y = empty(g.output_shape, x.dtype)
    given = NO_FLOATS if bias is None else flat(bias)
    tasks = _tasks(g, g.output_shape[1])
    run(_forward, tasks, sizes_of(g), flat(x), flat(kernel), given, y.reshape(-1))
    return y


def backward_input(grad: Array, kernel: Array, g: Conv2DGeometry) -> Array:
    """Return the gradient of the input, for that of the output."""
    input_grad = empty(g.input_shape, grad.dtype)
    tasks = _tasks(g, g.input_shape[1])
    run(_backward_input, tasks, sizes_of(g), flat(grad), flat(kernel), input_grad.reshape(-1))
    return input_grad


def backward_weight(
    grad: Array, x: Array, g: Conv2DGeometry, with_bias: bool
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias."""
    sizes = sizes_of(g)
    chunks = min(_CHUNKS, sizes.images)
    size = (sizes.kernel_rows * sizes.kernel_columns + 1) * sizes.filters
    parts = workspace("parts", chunks * size)
    run(_backward_weight, chunks, sizes, flat(grad), flat(x), parts)
    total = parts.reshape(chunks, size).sum(0)
    bias_grad = total[-sizes.filters :] if with_bias else None
    return total[: -sizes.filters].reshape(g.kernel_shape), bias_grad


def _tasks(g: Conv2DGeometry, rows: int) -> int:
    """Return into how many tasks all images' rows, of input or output, are divided."""
    images, height, width, filters = g.output_shape
    products = images * height * width * filters * g.kernel_shape[0] * g.kernel_shape[1]
    return max(1, min(products // _LEAST_TASK, images * rows))


def sizes_of(g: Conv2DGeometry) -> Sizes:
    """Return the sizes of a convolution."""
    (top, _), (left, _) = g.padding
    return Sizes(
        *g.input_shape, *g.output_shape[1:], *g.kernel_shape[:2], *g.strides, top, left,
        *g.dilation,
    )  # type: ignore[call-arg]  # fmt: skip


@helper
def _in_vectors(s: Any) -> int:
    """Return how many filters, from the first, are computed in vectors."""
    return s.filters // LANES * LANES if s.filters == s.channels else 0


@helper
def _taps(place: int, stride: int, before: int, dilation: int, window: int, size: int) -> Any:
    """Return where a window begins, and the first of its taps inside the input, and the end."""
    start = place * stride - before
    if dilation == 1:  # divisions take longer than the products of a pixel
        return start, max(0, -start), min(window, size - start)
    first = (-start + dilation - 1) // dilation if start < 0 else 0
    end = min(window, (size - start + dilation - 1) // dilation) if size > start else 0
    return start, first, end


@kernel
def _forward(
    counters: Ints, tasks: int, worker: int,
    s: Sizes, x: FloatsIn, weights: FloatsIn, bias: FloatsIn, y: Floats,
) -> None:  # fmt: skip
    """Write the outputs, a row of pixels after another."""
    rows = s.images * s.rows
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            outputs_of_row(s, row, x, 0, weights, 0, bias, 0, bias.size > 0, _LOWEST, y, 0)
        task = next_task(counters, tasks, worker)


@helper
def outputs_of_row(
    s: Sizes, row: int, x: Array, x_start: int, weights: Array, first_weight: int, bias: Array,
    first_bias: int, has_bias: bool, least: np.float32, y: Array, y_start: int,
) -> None:  # fmt: skip
    """Write a row of output pixels to y[y_start:], of images at x[x_start:].

    Outputs below `least`, 0 or minus infinity, become `least`.
    """
    image, i = row // s.rows, row % s.rows
    top, first_row, end_row = _taps(i, s.row_stride, s.top, s.row_dilation, s.kernel_rows, s.height)
    line = x_start + (image * s.height + top) * s.width * s.channels
    at = y_start + row * s.columns * s.filters
    whole, low = _in_vectors(s), splat(least, LANES)
    for j in range(s.columns if whole else 0):
        left, first, end = _taps(
            j, s.column_stride, s.left, s.column_dilation, s.kernel_columns, s.width
        )
        taps = Taps(first_row, end_row, first, end)
        for f in range(0, whole - 3 * LANES, 4 * LANES):
            _sum_four(
                s, taps, x, line + left * s.channels + f, weights, first_weight + f, bias,
                first_bias + f, has_bias, low, y, at + j * s.filters + f,
            )  # fmt: skip
        for f in range(whole // (4 * LANES) * 4 * LANES, whole, LANES):
            _sum_one(
                s, taps, x, line + left * s.channels + f, weights, first_weight + f, bias,
                first_bias + f, has_bias, low, y, at + j * s.filters + f,
            )  # fmt: skip
    if whole < s.filters:
        _one_by_one(
            s, whole, first_row, end_row, x, line, weights, first_weight, bias, first_bias,
            has_bias, least, y, at,
        )  # fmt: skip


class Taps(NamedTuple):
    """Which rows and columns of a kernel are inside the input."""

    first_row: int
    end_row: int
    first: int
    end: int


@part
def _sum_four(
    s: Any, taps: Any, x: Array, corner: int, weights: Array, tap: int, bias: Array, at_bias: int,
    has_bias: bool, low: Any, y: Array, to: int,
) -> None:  # fmt: skip
    """Write four vectors of an output pixel: sums over the taps, from where x[corner:] begins."""
    if has_bias:
        a, b = load(bias, at_bias, LANES), load(bias, at_bias + LANES, LANES)
        c, d = load(bias, at_bias + 2 * LANES, LANES), load(bias, at_bias + 3 * LANES, LANES)
    else:
        a = splat(np.float32(0), LANES)
        b, c, d = a, a, a
    for k in range(taps.first_row, taps.end_row):
        for m in range(taps.first, taps.end):
            here = corner + (k * s.row_dilation * s.width + m * s.column_dilation) * s.channels
            w = tap + (k * s.kernel_columns + m) * s.filters
            a = multiply_add(load(x, here, LANES), load(weights, w, LANES), a)
            b = multiply_add(load(x, here + LANES, LANES), load(weights, w + LANES, LANES), b)
            c = multiply_add(
                load(x, here + 2 * LANES, LANES), load(weights, w + 2 * LANES, LANES), c
            )
            d = multiply_add(
                load(x, here + 3 * LANES, LANES), load(weights, w + 3 * LANES, LANES), d
            )
    store(y, to, where_beats(a, low, a, low))
    store(y, to + LANES, where_beats(b, low, b, low))
    store(y, to + 2 * LANES, where_beats(c, low, c, low))
    store(y, to + 3 * LANES, where_beats(d, low, d, low))


@part
def _sum_one(
    s: Any, taps: Any, x: Array, corner: int, weights: Array, tap: int, bias: Array, at_bias: int,
    has_bias: bool, low: Any, y: Array, to: int,
) -> None:  # fmt: skip
    """Write one vector of an output pixel."""
    total = load(bias, at_bias, LANES) if has_bias else splat(np.float32(0), LANES)
    for k in range(taps.first_row, taps.end_row):
        for m in range(taps.first, taps.end):
            here = corner + (k * s.row_dilation * s.width + m * s.column_dilation) * s.channels
            w = tap + (k * s.kernel_columns + m) * s.filters
            total = multiply_add(load(x, here, LANES), load(weights, w, LANES), total)
    store(y, to, where_beats(total, low, total, low))


@helper
def _one_by_one(
    s: Any, whole: int, first_row: int, end_row: int, x: Array, line: int, weights: Array,
    first_weight: int, bias: Array, first_bias: int, has_bias: bool, least: np.float32, y: Array,
    at: int,
) -> None:  # fmt: skip
    """Write the outputs of a row for the filters from `whole`."""
    multiplier = s.filters // s.channels
    for j in range(s.columns):
        left, first, end = _taps(
            j, s.column_stride, s.left, s.column_dilation, s.kernel_columns, s.width
        )
        to = at + j * s.filters
        for f in range(whole, s.filters):
            put(y, to + f, get(bias, first_bias + f) if has_bias else np.float32(0))
        for k in range(first_row, end_row):
            for m in range(first, end):
                pixel = k * s.row_dilation * s.width + left + m * s.column_dilation
                place = line + pixel * s.channels
                tap = first_weight + (k * s.kernel_columns + m) * s.filters
                for f in range(whole, s.filters):
                    product = get(x, place + f // multiplier) * get(weights, tap + f)
                    put(y, to + f, get(y, to + f) + product)
        for f in range(whole, s.filters):
            value = get(y, to + f)
            put(y, to + f, least if value < least else value)


@helper
def _columns_of(s: Any, tap: int) -> Any:
    """Return the output columns that a column of taps makes of the input, from first to end.

    Column j reads the input column ``j * stride - before``.
    """
    before = s.left - tap * s.column_dilation
    first = max(0, (before + s.column_stride - 1) // s.column_stride)
    return before, first, min(s.columns, (s.width + before - 1) // s.column_stride + 1)


@kernel
def _backward_input(
    counters: Ints, tasks: int, worker: int,
    s: Sizes, grad: FloatsIn, weights: FloatsIn, input_grad: Floats,
) -> None:  # fmt: skip
    """Write the gradients of the input, a row of pixels after another."""
    rows, multiplier = s.images * s.height, s.filters // s.channels
    whole = _in_vectors(s)
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            image, i = row // s.height, row % s.height
            input_grad[row * s.width * s.channels : (row + 1) * s.width * s.channels] = 0
            for k in range(s.kernel_rows):
                above = i + s.top - k * s.row_dilation  # the output row times the stride
                if above < 0 or above % s.row_stride or above // s.row_stride >= s.rows:
                    continue
                line = (image * s.rows + above // s.row_stride) * s.columns
                for m in range(s.kernel_columns):
                    tap = (k * s.kernel_columns + m) * s.filters
                    before, first, end = _columns_of(s, m)
                    for column in range(first, end):
                        at = (row * s.width + column * s.column_stride - before) * s.channels
                        place = (line + column) * s.filters
                        for c in range(0, whole, LANES):
                            factor, total = (
                                load(weights, tap + c, LANES),
                                load(input_grad, at + c, LANES),
                            )
                            total = multiply_add(load(grad, place + c, LANES), factor, total)
                            store(input_grad, at + c, total)
                        for c in range(whole, s.channels):
                            for f in range(c * multiplier, (c + 1) * multiplier):
                                product = get(grad, place + f) * get(weights, tap + f)
                                put(input_grad, at + c, get(input_grad, at + c) + product)
        task = next_task(counters, tasks, worker)


@kernel
def _backward_weight(
    counters: Ints, chunks: int, worker: int, s: Sizes, grad: FloatsIn, x: FloatsIn, parts: Floats
) -> None:
    """Write for each chunk of images its part of the gradients of the kernel and the bias."""
    taps, multiplier = s.kernel_rows * s.kernel_columns, s.filters // s.channels
    whole = _in_vectors(s)
    task = next_task(counters, chunks, worker)
    while task < chunks:
        own = parts[task * (taps + 1) * s.filters : (task + 1) * (taps + 1) * s.filters]
        own[:] = 0
        first_row = task * s.images // chunks * s.rows
        for row in range(first_row, (task + 1) * s.images // chunks * s.rows):
            image, i = row // s.rows, row % s.rows
            top, first_tap, end_tap = _taps(
                i, s.row_stride, s.top, s.row_dilation, s.kernel_rows, s.height
            )
            for k in range(first_tap, end_tap):
                line = (image * s.height + top + k * s.row_dilation) * s.width
                for m in range(s.kernel_columns):
                    tap = (k * s.kernel_columns + m) * s.filters
                    before, first, end = _columns_of(s, m)
                    for f in range(0, whole, LANES):
                        total = load(own, tap + f, LANES)
                        for j in range(first, end):
                            place = (line + j * s.column_stride - before) * s.channels + f
                            at = (row * s.columns + j) * s.filters + f
                            total = multiply_add(
                                load(x, place, LANES), load(grad, at, LANES), total
                            )
                        store(own, tap + f, total)
                    for j in range(first, end if whole < s.filters else first):
                        place = (line + j * s.column_stride - before) * s.channels
                        at = (row * s.columns + j) * s.filters
                        for f in range(whole, s.filters):
                            own[tap + f] += x[place + f // multiplier] * grad[at + f]
            _add_columns(grad, row * s.columns * s.filters, s.columns, own, taps * s.filters)
        task = next_task(counters, chunks, worker)


@part
def _add_columns(grad: Array, start: int, rows: int, sums: Array, to: int) -> None:
    """Add rows, from grad[start:], to sums[to:], up to its end."""
    size = sums.size - to
    whole, end = size // LANES * LANES, start + rows * size
    for j in range(0, whole, LANES):
        total = load(sums, to + j, LANES)
        for at in range(start + j, end, size):
            total = add(total, load(grad, at, LANES))
        store(sums, to + j, total)
    for j in range(whole, size):
        for at in range(start + j, end, size):
            put(sums, to + j, get(sums, to + j) + get(grad, at))
