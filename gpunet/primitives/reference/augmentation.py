"""Augmentation of images in NumPy's array expressions, one image at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import random
from gpunet.primitives.geometry import FARTHEST, Warp
from gpunet.primitives.reference.blocks import Array
from gpunet.primitives.reference.memory import empty

__all__ = ["image_means", "recolor_images", "uniform_like", "warp_images"]


def warp_images(x: Array, matrices: Array, colors: Array | None, warp: Warp) -> Array:
    """Return the images at the places that their matrices name, then colored."""
    y = empty((len(x), *warp.size, x.shape[3]), warp.dtype)
    for image, matrix, out in zip(x, matrices.astype(warp.dtype, copy=False), y, strict=True):
        out[...] = _warped(image, matrix, warp)
    if colors is not None:
        factors = colors.astype(warp.dtype, copy=False)[:, None, None]
        y *= factors[..., 0]
        y += factors[..., 1]
    if warp.value_range is not None:
        np.clip(y, *map(warp.dtype.type, warp.value_range), out=y)
    return y


def _warped(image: Array, matrix: Array, warp: Warp) -> Array:
    """Return one image, before its colors."""
    v, u = _places(matrix, warp)
    if not warp.bilinear:
        return _pixels(image, np.rint(u).astype(int), np.rint(v).astype(int), warp)
    top, left = np.floor(u), np.floor(v)
    down, right = (u - top)[..., None], (v - left)[..., None]
    i, j = top.astype(int), left.astype(int)
    above, below = (
        _between(_pixels(image, row, j, warp), _pixels(image, row, j + 1, warp), right)
        for row in (i, i + 1)
    )
    return _between(above, below, down)


def _places(matrix: Array, warp: Warp) -> tuple[Array, Array]:
    """Return the columns and rows (height, width) of the input, real numbers within reach."""
    rows = np.arange(warp.size[0], dtype=warp.dtype)[:, None]
    columns = np.arange(warp.size[1], dtype=warp.dtype)
    with np.errstate(all="ignore"):
        v = matrix[0] * columns + matrix[1] * rows + matrix[2]
        u = matrix[3] * columns + matrix[4] * rows + matrix[5]
        if len(matrix) == 8:
            depth = matrix[6] * columns + matrix[7] * rows + warp.dtype.type(1)
            v, u = v / depth, u / depth
    return _within_reach(v), _within_reach(u)


def _within_reach(places: Array) -> Array:
    farthest = places.dtype.type(FARTHEST)
    places = np.where(places < farthest, places, farthest)  # also for NaN
    return np.maximum(places, -farthest)


def _pixels(image: Array, i: Array, j: Array, warp: Warp) -> Array:
    """Return the pixels (..., channels) in rows i and columns j, which may be past the border."""
    height, width, _ = image.shape
    found = image[_continued(i, height, warp.fill_mode), _continued(j, width, warp.fill_mode)]
    found = found.astype(warp.dtype, copy=False)
    if warp.fill_mode == "constant":
        inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        found = np.where(inside[..., None], found, warp.dtype.type(warp.fill_value))
    return found


def _continued(places: Array, size: int, fill_mode: str) -> Array:
    """Return the places in range(size) that stand for those past the border."""
    if fill_mode == "wrap":
        return places % size
    if fill_mode == "reflect":
        folded = places % (2 * size)
        return np.minimum(folded, 2 * size - 1 - folded)
    return np.clip(places, 0, size - 1)


def _between(a: Array, b: Array, share: Array) -> Array:
    """Return a (1 - share) + b share; a itself at a share of 0, whatever b is."""
    with np.errstate(invalid="ignore"):
        return np.where(share > 0, a * (1 - share) + b * share, a)


def image_means(x: Array, dtype: np.dtype[Any]) -> Array:
    """Return the mean of each channel of each image."""
    return x.mean(axis=(1, 2), dtype=np.float64).astype(dtype)


def recolor_images(x: Array, colors: Array, low: float, dtype: np.dtype[Any]) -> Array:
    """Return images with their hues turned and their saturations scaled."""
    y, floor = empty(x.shape, dtype), dtype.type(low)
    for image, color, out in zip(x, colors.astype(dtype, copy=False), y, strict=True):
        values = image.astype(dtype, copy=False) - floor
        largest = values.max(axis=2, keepdims=True)
        spread = largest - values.min(axis=2, keepdims=True)
        safe = np.where(spread > 0, spread, 1).astype(dtype, copy=False)
        lacks = largest - values
        if color[0] != 0:
            lacks = spread * _turned(lacks / safe, color[0] * dtype.type(6))
        out[...] = largest - lacks * np.minimum(color[1], largest / safe) + floor
    return y


def _turned(lacks: Array, turn: Any) -> Array:
    """Return what channels lack, as parts of the spread, with the hue `turn` sixths on.

    Along the circle red lacks nothing within 1 of 0, all from 2 to 4; green and blue likewise
    about 2 and 4.
    """
    red, green, blue = np.moveaxis(lacks, -1, 0)
    hue = np.where(red <= 0, blue - green, np.where(green <= 0, red - blue + 2, green - red + 4))
    distance = (hue + turn)[..., None] - np.array([0, 2, 4], lacks.dtype)
    distance = np.where(distance > 3, distance - 6, distance)
    distance = np.where(distance < -3, distance + 6, distance)
    return np.clip(np.abs(distance) - 1, 0, 1)


def uniform_like(x: Array, key: Array) -> Array:
    """Return numbers of [0, 1) in the shape and type of `x`."""
    numbers = random.bits(key, x.size) >> np.uint32(8)
    return (numbers * 2.0**-24).astype(x.dtype).reshape(x.shape)
