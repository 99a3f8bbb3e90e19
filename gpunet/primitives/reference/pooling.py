"""2-D pooling in blocks of images that stay in cache, first along the rows and then across them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from gpunet.primitives.geometry import Pool2DGeometry
from gpunet.primitives.reference.blocks import Array, blocks_of, inside, keep_where, per_block
from gpunet.primitives.reference.memory import empty

__all__ = [
    "average_pool2d_backward",
    "average_pool2d_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]

Beats = Callable[[Array, Array], Array]


def max_pool2d_forward(x: Array, g: Pool2DGeometry) -> tuple[Array, Array]:
    """Return the largest value of each window, and its index."""
    y = empty(g.output_shape, x.dtype)
    indices = empty(g.output_shape, g.index_dtype)
    for images in _blocks(g, x.itemsize):
        _max_block(x[images], y[images], indices[images], g, np.greater)
        if np.isnan(np.max(y[images])):
            _max_block(x[images], y[images], indices[images], g, _greater_or_first_nan)
    return y, indices


def max_pool2d_backward(output_grad: Array, indices: Array, g: Pool2DGeometry) -> Array:
    """Return the gradient of the input."""
    overlap = g.strides[0] < g.pool_size[0] or g.strides[1] < g.pool_size[1]
    # Without padding, overlap or remainder the windows are all there is to write.
    tiled = all(
        stride == window and window * count == size and not any(sides)
        for stride, window, count, size, sides in zip(
            g.strides, g.pool_size, g.output_shape[1:3], g.input_shape[1:3], g.padding, strict=True
        )
    )
    input_grad = empty(g.input_shape, output_grad.dtype)
    taps = list(itertools.product(_axis_taps(g, 0), _axis_taps(g, 1)))
    for images in _blocks(g, output_grad.itemsize):
        if not tiled:
            input_grad[images] = 0
        for index, ((rows, to_rows), (columns, to_columns)) in enumerate(taps):
            grad = output_grad[images, rows, columns]
            came_from_tap = indices[images, rows, columns] == index
            target = input_grad[images, to_rows, to_columns]
            if overlap:
                part = np.empty_like(grad)
                keep_where(came_from_tap, grad, part)
                target += part
            else:
                keep_where(came_from_tap, grad, target)
    return input_grad


def average_pool2d_forward(x: Array, g: Pool2DGeometry) -> Array:
    """Return the mean of each window."""
    y = empty(g.output_shape, x.dtype)
    counts = _counts(g, x.dtype)
    for images in _blocks(g, x.itemsize):
        image_rows = np.zeros((*x[images].shape[:2], *g.output_shape[2:]), x.dtype)
        for windows, pixels in _axis_taps(g, 1):
            image_rows[:, :, windows] += x[images, :, pixels]
        block = y[images]
        block[...] = 0
        for windows, pixels in _axis_taps(g, 0):
            block[:, windows] += image_rows[:, pixels]
        block /= counts
    return y


def average_pool2d_backward(output_grad: Array, g: Pool2DGeometry) -> Array:
    """Return the gradient of the input."""
    input_grad = empty(g.input_shape, output_grad.dtype)
    counts = _counts(g, output_grad.dtype)
    for images in _blocks(g, output_grad.itemsize):
        part = output_grad[images] / counts
        image_rows = np.zeros((len(part), g.input_shape[1], *part.shape[2:]), part.dtype)
        for windows, pixels in _axis_taps(g, 0):
            image_rows[:, pixels] += part[:, windows]
        block = input_grad[images]
        block[...] = 0
        for windows, pixels in _axis_taps(g, 1):
            block[:, :, pixels] += image_rows[:, :, windows]
    return input_grad


def _blocks(g: Pool2DGeometry, itemsize: int) -> Iterator[slice]:
    batch, height, width, channels = g.input_shape
    return blocks_of(batch, per_block(batch, height * width * channels * itemsize))


def _axis_taps(g: Pool2DGeometry, axis: int) -> list[tuple[slice, slice]]:
    """Return for each tap along `axis` (0 or 1) the windows that have it, and their pixels."""
    count, size = g.output_shape[axis + 1], g.input_shape[axis + 1]
    before, stride = g.padding[axis][0], g.strides[axis]
    return [inside(tap - before, stride, count, size) for tap in range(g.pool_size[axis])]


def _counts(g: Pool2DGeometry, dtype: np.dtype[Any]) -> Array:
    """Return how many elements of each window are no padding, (out_height, out_width, 1)."""
    counts = [np.zeros(count, dtype) for count in g.output_shape[1:3]]
    for axis in (0, 1):
        for windows, _ in _axis_taps(g, axis):
            counts[axis][windows] += 1
    return np.multiply.outer(*counts)[..., None]


def _max_block(x: Array, y: Array, indices: Array, g: Pool2DGeometry, beats: Beats) -> None:
    """Write the maxima of a block of images to `y` and their places to `indices`.

    Rows come first, so that of equal values the first in row-major order is found.
    """
    shape = (*x.shape[:2], *y.shape[2:])  # (images, height, out_width, channels)
    row_maxima, row_places = np.empty(shape, x.dtype), np.empty(shape, indices.dtype)
    candidates = ((x[:, :, pixels], places) for pixels, places in _clamped_taps(g, 1))
    _first_maximum(candidates, beats, row_maxima, row_places)
    candidates = (
        (row_maxima[:, rows], row_places[:, rows] + places * indices.dtype.type(g.pool_size[1]))
        for rows, places in _clamped_taps(g, 0)
    )
    _first_maximum(candidates, beats, y, indices)


def _first_maximum(
    candidates: Iterator[tuple[Array, Array]], beats: Beats, maxima: Array, places: Array
) -> None:
    """Write the first maximum of the candidates' values, and the candidate's place."""
    best, place = next(candidates)
    for value, value_place in candidates:
        better = beats(value, best).view(np.uint8)  # 0 or 1
        place = np.add(place, better * (value_place - place), out=places)
        best = np.maximum(best, value, out=maxima)
    if best is not maxima:  # a window of one element
        maxima[...], places[...] = best, place


@lru_cache(maxsize=256)
def _clamped_taps(g: Pool2DGeometry, axis: int) -> list[tuple[Any, Any]]:
    """Return for each tap along `axis` (0 or 1) its pixel of each window, and its place in it.

    A tap in the padding takes the nearest real pixel, and that one's place. It is in the same
    window, so the maximum stays what it is, and its place is never in the padding.
    """
    count, size = g.output_shape[axis + 1], g.input_shape[axis + 1]
    stride, place_type = g.strides[axis], np.dtype(g.index_dtype).type
    starts = np.arange(count) * stride - g.padding[axis][0]
    taps: list[tuple[Any, Any]] = []
    for tap in range(g.pool_size[axis]):
        first, last = starts[0] + tap, starts[-1] + tap
        if first >= 0 and last < size:
            taps.append((slice(first, last + 1, stride), place_type(tap)))
        else:
            places = np.maximum(tap, -starts).astype(place_type)
            places = places.reshape(-1, 1) if axis == 1 else places.reshape(-1, 1, 1)
            taps.append((np.clip(starts + tap, 0, size - 1), places))
    return taps


def _greater_or_first_nan(value: Array, best: Array) -> Array:
    return np.greater(value, best) | (np.isnan(value) & ~np.isnan(best))
