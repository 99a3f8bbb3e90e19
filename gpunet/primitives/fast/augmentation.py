"""Augmentation of images, a row of the result after another; the same bits as by NumPy.

Warps that only move whole pixels, as flips and crops do, copy them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.fast.augmentation_kernels import (
    Sizes,
    recolor_bytes,
    recolor_floats,
    sum_bytes,
    sum_floats,
    warp_bytes,
    warp_floats,
)
from gpunet.primitives.fast.elementwise import LEAST_TASK
from gpunet.primitives.fast.memory import NO_FLOATS, flat, scratch
from gpunet.primitives.fast.plans import whole_lines
from gpunet.primitives.fast.threads import run
from gpunet.primitives.geometry import FILL_MODES, Warp
from gpunet.primitives.reference.memory import empty

__all__ = ["image_means", "recolor_images", "warp_images"]

Array = Any


def warp_images(x: Array, matrices: Array, colors: Array | None, warp: Warp) -> Array:
    """Return the images at the places that their matrices name, then colored."""
    run_warp = _kernel_for(x, warp_bytes, warp_floats)
    if run_warp is None or warp.dtype != np.float32:
        return reference.warp_images(x, matrices, colors, warp)
    y = empty((len(x), *warp.size, x.shape[3]), np.float32)
    if y.size == 0:
        return y
    low, high = warp.value_range or (-np.inf, np.inf)
    line = warp.size[1] * x.shape[3]
    memory = whole_lines(4 * warp.size[1] + (0 if colors is None else 2 * line))
    sizes = Sizes(
        len(x), *x.shape[1:], *warp.size, matrices.shape[1], int(warp.bilinear),
        FILL_MODES.index(warp.fill_mode), memory,
    )  # type: ignore[call-arg]  # fmt: skip
    run(
        run_warp, _tasks(y.size, len(x) * warp.size[0]), sizes, np.float32(warp.fill_value),
        np.float32(low), np.float32(high), flat(x), _floats(matrices),
        NO_FLOATS if colors is None else _floats(colors), y.reshape(-1), scratch(memory),
    )  # fmt: skip
    return y


def image_means(x: Array, dtype: np.dtype[Any]) -> Array:
    """Return the mean of each channel of each image."""
    run_sums = _kernel_for(x, sum_bytes, sum_floats)
    if run_sums is None or x.size == 0:
        return reference.image_means(x, dtype)
    batch, height, width, channels = x.shape
    sums = np.empty((batch, height, channels))
    run(
        run_sums, _tasks(x.size, batch * height), batch * height, width, channels, flat(x),
        sums.reshape(-1),
    )  # fmt: skip
    return (sums.sum(axis=1) / (height * width)).astype(dtype)


def recolor_images(x: Array, colors: Array, low: float, dtype: np.dtype[Any]) -> Array:
    """Return images with their hues turned and their saturations scaled."""
    recolor = _kernel_for(x, recolor_bytes, recolor_floats)
    if recolor is None or dtype != np.float32 or x.size == 0:
        return reference.recolor_images(x, colors, low, dtype)
    y, rows = empty(x.shape, np.float32), len(x) * x.shape[1]
    run(
        recolor, _tasks(x.size, rows), rows, x.shape[1], x.shape[2], np.float32(low), flat(x),
        _floats(colors), y.reshape(-1),
    )  # fmt: skip
    return y


def _kernel_for(
    x: Array, of_bytes: Callable[..., None], of_floats: Callable[..., None]
) -> Callable[..., None] | None:
    """Return the kernel that reads such images, None if there is none."""
    return {"uint8": of_bytes, "float32": of_floats}.get(x.dtype.name)


def _floats(array: Array) -> Array:
    return flat(array.astype(np.float32, copy=False))


def _tasks(elements: int, rows: int) -> int:
    return max(1, min(elements // LEAST_TASK, rows))
