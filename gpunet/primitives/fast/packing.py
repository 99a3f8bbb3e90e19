"""Weights of convolutions, laid out as the kernels take them; for gradients of inputs, turned.

The gradient of an input is a convolution of the output's gradient with the transposed weights of
each tap, the last tap first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives.fast.bands import PANEL
from gpunet.primitives.fast.compile import Floats, FloatsIn, IntsIn, helper, uncounted_kernel
from gpunet.primitives.fast.matrix_kernels import pack_columns, pack_transposed
from gpunet.primitives.fast.simd import add, get, load, multiply_add, put, splat, store, subtract
from gpunet.primitives.fast.winograd import PLACES

__all__ = ["pack_tiles", "pack_turned"]

Array = Any


@uncounted_kernel
def pack_turned(
    channels: int, filters: int, taps: IntsIn, starts: IntsIn, weights: FloatsIn, panels: Floats
) -> None:
    """Lay the transposed weights of taps out in panels of channels, (panel, taps, filters, PANEL).

    Arguments:
        channels, filters: of a tap.
        taps: of some convolutions, one after another.
        starts: for each of them its first tap, and in the end how many taps there are.
        weights: (taps, channels, filters).
        panels: for those of each convolution in turn, the last one filled up with zeros.
    """
    to = 0
    for number in range(starts.size - 1):
        for first in range(0, channels, PANEL):
            count = min(PANEL, channels - first)
            for k in range(get(starts, number), get(starts, number + 1)):
                at = (get(taps, k) * channels + first) * filters
                pack_transposed(weights, at, filters, filters, count, panels, to)
                to += filters * PANEL


@uncounted_kernel
def pack_tiles(
    channels: int, filters: int, turned: bool, weights: FloatsIn, bias: FloatsIn, panels: Floats,
    start: int, biases: Floats, bias_start: int,
) -> None:  # fmt: skip
    """Write G w G^T of weights (3, 3, channels, filters) to panels[start:], as `products.pack`.

    They are (panel, place, channels, PANEL), the last panel filled up with zeros. Turned weights
    are (3, 3, filters, channels), and the last tap is the first.
    """
    apart, size = channels * PANEL, channels * filters
    for first in range(0, filters, PANEL):
        count, to = min(PANEL, filters - first), start + first * PLACES * channels
        for tap in range(9):
            place = to + (tap // 3 * 4 + tap % 3) * apart
            if turned:
                at = (8 - tap) * size + first * channels
                pack_transposed(weights, at, channels, channels, count, panels, place)
            else:
                at = tap * size + first
                pack_columns(weights, at, filters, channels, count, panels, place)
        for at in range(to, to + apart, PANEL):
            for column in range(3):
                _transform_taps(panels, at + column * apart, 4 * apart)
            for row in range(4):
                _transform_taps(panels, at + 4 * row * apart, apart)
        for j in range(first, first + PANEL):
            put(biases, bias_start + j, get(bias, j) if j < bias.size else np.float32(0))


@helper
def _transform_taps(panels: Array, at: int, apart: int) -> None:
    """Make four numbers of three taps: G w, in place."""
    half, zero = splat(np.float32(0.5), PANEL), splat(np.float32(0), PANEL)
    first, middle = load(panels, at, PANEL), load(panels, at + apart, PANEL)
    last = load(panels, at + 2 * apart, PANEL)
    outer = add(first, last)
    store(panels, at + apart, multiply_add(add(outer, middle), half, zero))
    store(panels, at + 2 * apart, multiply_add(subtract(outer, middle), half, zero))
    store(panels, at + 3 * apart, last)
