"""Depthwise convolution: each channel has filters of its own. Float32, a row of pixels a task.

Filter f reads channel f // multiplier. The loops run over the channels of a pixel, which lie next
to each other; where each has one filter, the sums of a vector of them stay in registers. Each sum
has a fixed order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import Floats, FloatsIn, Ints, helper, kernel
from gpunet.primitives.fast.memory import NO_FLOATS, flat, workspace
from gpunet.primitives.fast.simd import LANES, load, multiply_add, splat, store, take_task
from gpunet.primitives.fast.threads import run
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.reference.memory import empty

__all__ = ["backward_input", "backward_weight", "forward", "supports"]

Array = Any

_LEAST_TASK = 1 << 18  # products: some 20 microseconds
_CHUNKS = 16  # parts of the gradient of the kernel: of as many images each, however many threads


class _Sizes(NamedTuple):
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
    run(_forward, tasks, _sizes(g), flat(x), flat(kernel), given, y.reshape(-1))
    return y


def backward_input(grad: Array, kernel: Array, g: Conv2DGeometry) -> Array:
    """Return the gradient of the input, for that of the output."""
    input_grad = empty(g.input_shape, grad.dtype)
    tasks = _tasks(g, g.input_shape[1])
    run(_backward_input, tasks, _sizes(g), flat(grad), flat(kernel), input_grad.reshape(-1))
    return input_grad


def backward_weight(
    grad: Array, x: Array, g: Conv2DGeometry, with_bias: bool
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias."""
    sizes = _sizes(g)
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


def _sizes(g: Conv2DGeometry) -> _Sizes:
    (top, _), (left, _) = g.padding
    return _Sizes(
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
    first = (-start + dilation - 1) // dilation if start < 0 else 0
    end = min(window, (size - start + dilation - 1) // dilation) if size > start else 0
    return start, first, end


@kernel
def _forward(
    counters: Ints, tasks: int, worker: int,
    s: _Sizes, x: FloatsIn, weights: FloatsIn, bias: FloatsIn, y: Floats,
) -> None:  # fmt: skip
    """Write the outputs, a row of pixels after another."""
    rows, multiplier = s.images * s.rows, s.filters // s.channels
    whole, zero = _in_vectors(s), splat(np.float32(0), LANES)
    task = take_task(counters)
    while task < tasks:
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            image, i = row // s.rows, row % s.rows
            top, first_row, end_row = _taps(
                i, s.row_stride, s.top, s.row_dilation, s.kernel_rows, s.height
            )
            for j in range(s.columns):
                at = (row * s.columns + j) * s.filters
                left, first, end = _taps(
                    j, s.column_stride, s.left, s.column_dilation, s.kernel_columns, s.width
                )
                for f in range(0, whole, LANES):
                    total = load(bias, f, LANES) if bias.size else zero
                    for k in range(first_row, end_row):
                        line = (image * s.height + top + k * s.row_dilation) * s.width + left
                        for m in range(first, end):
                            place = (line + m * s.column_dilation) * s.channels + f
                            factor = load(
                                weights, (k * s.kernel_columns + m) * s.filters + f, LANES
                            )
                            total = multiply_add(load(x, place, LANES), factor, total)
                    store(y, at + f, total)
                for f in range(whole, s.filters):
                    y[at + f] = bias[f] if bias.size else np.float32(0)
                for k in range(first_row, end_row if whole < s.filters else first_row):
                    line = (image * s.height + top + k * s.row_dilation) * s.width + left
                    for m in range(first, end):
                        place = (line + m * s.column_dilation) * s.channels
                        tap = (k * s.kernel_columns + m) * s.filters
                        for f in range(whole, s.filters):
                            y[at + f] += x[place + f // multiplier] * weights[tap + f]
        task = take_task(counters)


@kernel
def _backward_input(
    counters: Ints, tasks: int, worker: int,
    s: _Sizes, grad: FloatsIn, weights: FloatsIn, input_grad: Floats,
) -> None:  # fmt: skip
    """Write the gradients of the input, a row of pixels after another."""
    rows, multiplier = s.images * s.height, s.filters // s.channels
    whole = _in_vectors(s)
    task = take_task(counters)
    while task < tasks:
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            image, i = row // s.height, row % s.height
            input_grad[row * s.width * s.channels : (row + 1) * s.width * s.channels] = 0
            for k in range(s.kernel_rows):
                above = i + s.top - k * s.row_dilation  # the output row times the stride
                if above < 0 or above % s.row_stride or above // s.row_stride >= s.rows:
                    continue
                line = (image * s.rows + above // s.row_stride) * s.columns
                for j in range(s.width):
                    at = (row * s.width + j) * s.channels
                    for m in range(s.kernel_columns):
                        before = j + s.left - m * s.column_dilation
                        column = before // s.column_stride
                        if before < 0 or before % s.column_stride or column >= s.columns:
                            continue
                        place = (line + column) * s.filters
                        tap = (k * s.kernel_columns + m) * s.filters
                        for c in range(0, whole, LANES):
                            factor, total = (
                                load(weights, tap + c, LANES),
                                load(input_grad, at + c, LANES),
                            )
                            total = multiply_add(load(grad, place + c, LANES), factor, total)
                            store(input_grad, at + c, total)
                        for c in range(whole, s.channels):
                            for f in range(c * multiplier, (c + 1) * multiplier):
                                input_grad[at + c] += grad[place + f] * weights[tap + f]
        task = take_task(counters)


@kernel
def _backward_weight(
    counters: Ints, chunks: int, worker: int, s: _Sizes, grad: FloatsIn, x: FloatsIn, parts: Floats
) -> None:
    """Write for each chunk of images its part of the gradients of the kernel and the bias."""
    taps, multiplier = s.kernel_rows * s.kernel_columns, s.filters // s.channels
    whole = _in_vectors(s)
    task = take_task(counters)
    while task < chunks:
        part = parts[task * (taps + 1) * s.filters : (task + 1) * (taps + 1) * s.filters]
        part[:] = 0
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
                    before = s.left - m * s.column_dilation  # of column j: the input column 0
                    first = max(0, (before + s.column_stride - 1) // s.column_stride)
                    end = min(s.columns, (s.width + before - 1) // s.column_stride + 1)
                    for f in range(0, whole, LANES):
                        total = load(part, tap + f, LANES)
                        for j in range(first, end):
                            place = (line + j * s.column_stride - before) * s.channels + f
                            at = (row * s.columns + j) * s.filters + f
                            total = multiply_add(
                                load(x, place, LANES), load(grad, at, LANES), total
                            )
                        store(part, tap + f, total)
                    for j in range(first, end if whole < s.filters else first):
                        place = (line + j * s.column_stride - before) * s.channels
                        at = (row * s.columns + j) * s.filters
                        for f in range(whole, s.filters):
                            part[tap + f] += x[place + f // multiplier] * grad[at + f]
            for j in range(s.columns):
                at = (row * s.columns + j) * s.filters
                for f in range(s.filters):
                    part[taps * s.filters + f] += grad[at + f]
        task = take_task(counters)
