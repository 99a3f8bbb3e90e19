"""Augmentation of images as CUDA kernels, kernels/augmentation.cu."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.primitives import launch
from gpunet.primitives.geometry import FILL_MODES, Warp
from gpunet.primitives.launch import Kernel

__all__ = ["image_means", "recolor_images", "uniform_like", "warp_images"]

Array = Any

_WARP = Kernel("augmentation.cu", "warp_images")
_MEANS = Kernel("augmentation.cu", "image_means")
_RECOLOR = Kernel("augmentation.cu", "recolor_images")
_UNIFORM = Kernel("augmentation.cu", "uniform")

_BLOCK = 256
_UNIFORM_BLOCK = 128
_NUMBERS = 8  # of a thread, as many as a block of random numbers has


def warp_images(x: Array, matrices: Array, colors: Array | None, warp: Warp) -> Array:
    """Return the images at the places that their matrices name, then colored."""
    batch, height, width, channels = x.shape
    y = launch.empty((batch, *warp.size, channels), warp.dtype)
    exact = launch.accumulator(warp.dtype)
    matrices = launch.contiguous(matrices.astype(exact, copy=False))
    if colors is not None:
        colors = launch.contiguous(colors.astype(exact, copy=False))
    pixels = batch * math.prod(warp.size)
    macros = {
        "ENTRIES": matrices.shape[1],
        "BILINEAR": int(warp.bilinear),
        "FILL_MODE": FILL_MODES.index(warp.fill_mode),
    }
    x = _readable(x)
    _WARP(
        launch.blocks_for(pixels, _BLOCK), _BLOCK, pixels, height, width, channels, *warp.size,
        warp.fill_value, *(warp.value_range or (-math.inf, math.inf)), x, matrices, colors, y,
        types={"T": warp.dtype, "D": x.dtype}, **macros,
    )  # fmt: skip
    return y


def image_means(x: Array, dtype: np.dtype[Any]) -> Array:
    """Return the mean of each channel of each image."""
    batch, height, width, channels = x.shape
    means = launch.empty((batch, channels), dtype)
    x = _readable(x)
    types = {"T": dtype, "D": x.dtype}
    _MEANS(batch * channels, _BLOCK, height * width, channels, x, means, types=types, **_NO_WARP)
    return means


def recolor_images(x: Array, colors: Array, low: float, dtype: np.dtype[Any]) -> Array:
    """Return images with their hues turned and their saturations scaled."""
    y, x = launch.empty(x.shape, dtype), _readable(x)
    colors = launch.contiguous(colors.astype(launch.accumulator(dtype), copy=False))
    image = x.shape[1] * x.shape[2]
    grid = launch.blocks_for(len(x) * image, _BLOCK)
    types = {"T": dtype, "D": x.dtype}
    _RECOLOR(grid, _BLOCK, len(x) * image, image, low, x, colors, y, types=types, **_NO_WARP)
    return y


def uniform_like(x: Array, key: Array) -> Array:
    """Return numbers of [0, 1) in the shape and type of `x`."""
    y, key = launch.empty(x.shape, x.dtype), launch.contiguous(key)
    grid = launch.blocks_for(launch.ceil_div(x.size, _NUMBERS), _UNIFORM_BLOCK)
    types = {"T": x.dtype, "D": x.dtype}
    _UNIFORM(grid, _UNIFORM_BLOCK, x.size, key, y, types=types, **_NO_WARP)
    return y


# For kernels of the file that read no macro of warps.
_NO_WARP = {"ENTRIES": 6, "BILINEAR": 0, "FILL_MODE": 0}


def _readable(x: Array) -> Array:
    """Return images that a kernel can read: contiguous, bools as bytes of 0 and 1."""
    x = launch.contiguous(x)
    return x.view("u1") if x.dtype.kind == "b" else x
