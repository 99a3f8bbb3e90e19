"""The kernels of augmentation: a row of the result after another; the same bits as by NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from gpunet.primitives.fast.compile import (
    BytesIn,
    Doubles,
    Floats,
    FloatsIn,
    Ints,
    helper,
    kernel,
    part,
)
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import (
    add,
    get,
    load,
    load_bytes,
    multiply,
    put,
    splat,
    store,
    where_positive,
)
from gpunet.primitives.geometry import FARTHEST

__all__ = [
    "Sizes", "recolor_bytes", "recolor_floats", "sum_bytes", "sum_floats", "warp_bytes",
    "warp_floats",
]  # fmt: skip

Array = Any

QUAD = 4  # numbers of a vector that holds a pixel
CONSTANT, NEAREST, WRAP, REFLECT = range(4)  # the places of their names in FILL_MODES


class Sizes(NamedTuple):
    """Sizes and options of a warp, as the kernels take them."""

    images: int
    height: int  # of the input
    width: int
    channels: int
    rows: int  # of the result
    columns: int
    entries: int  # of a matrix: 6 or 8
    bilinear: int
    fill_mode: int
    scratch: int  # floats of a thread: places of a row, and colors for each of its numbers


def _warp(
    counters: Ints, tasks: int, worker: int,
    sizes: Sizes, fill: np.float32, low: np.float32, high: np.float32,
    x: Array, matrices: FloatsIn, colors: FloatsIn, y: Floats, memory: Floats,
) -> None:  # fmt: skip
    """Write the warped images; a task is some of their rows."""
    total, line = sizes.images * sizes.rows, sizes.columns * sizes.channels
    start, end = worker * sizes.scratch, worker * sizes.scratch + 4 * sizes.columns
    own, factors, offsets = (
        memory[start:end], memory[end : end + line], memory[end + line : end + 2 * line],
    )  # fmt: skip
    colored = -1  # the image whose colors are spread
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for item in range(task * total // tasks, (task + 1) * total // tasks):
            image, row = item // sizes.rows, item % sizes.rows
            matrix = matrices[image * sizes.entries : (image + 1) * sizes.entries]
            out = y[item * line : (item + 1) * line]
            picture = x[image * sizes.height * sizes.width * sizes.channels :]
            if _moves_pixels(matrix):
                _copy_row(sizes, fill, picture, matrix, row, out)
            else:
                _sample_row(sizes, fill, picture, matrix, row, out, own)
            if colors.size:
                if image != colored:
                    _spread_colors(sizes.channels, colors, image, factors, offsets)
                    colored = image
                for k in range(line):
                    out[k] = out[k] * factors[k] + offsets[k]
            if low > -np.inf or high < np.inf:
                for k in range(line):
                    out[k] = _clipped(out[k], low, high)
        task = next_task(counters, tasks, worker)


@helper
def _clipped(value: np.float32, low: np.float32, high: np.float32) -> np.float32:
    value = low if value < low else value
    return high if value > high else value


@part
def _spread_colors(
    channels: int, colors: Array, image: int, factors: Array, offsets: Array
) -> None:  # fmt: skip
    """Write an image's colors for each number of a row: vectors then need no look at channels."""
    for c in range(channels):
        at = (image * channels + c) * 2
        for k in range(c, factors.size, channels):
            put(factors, k, get(colors, at))
            put(offsets, k, get(colors, at + 1))


@helper
def _moves_pixels(matrix: Array) -> bool:
    """Return whether each pixel of the result is one of the input's, in rows or reversed rows."""
    if matrix.size > 6 and (matrix[6] != 0 or matrix[7] != 0):
        return False
    straight = matrix[1] == 0 and matrix[3] == 0 and abs(matrix[0]) == 1 and abs(matrix[4]) == 1
    return straight and _is_whole(matrix[2]) and _is_whole(matrix[5])


@helper
def _is_whole(number: np.float32) -> bool:
    return bool(abs(number) < np.float32(1 << 22) and np.floor(number) == number)


@helper
def _continued(place: int, size: int, fill_mode: int) -> int:
    """Return the place in range(size) that stands for one past the border."""
    if 0 <= place < size:  # a division takes longer than the rest
        return place
    if fill_mode == WRAP:
        return place % size
    if fill_mode == REFLECT:
        if -size <= place < 0:
            return -1 - place
        if size <= place < 2 * size:
            return 2 * size - 1 - place
        folded = place % (2 * size)
        return min(folded, 2 * size - 1 - folded)
    return min(max(place, 0), size - 1)


@helper
def _copy_row(
    sizes: Sizes, fill: np.float32, x: Array, matrix: Array, row: int, out: Array
) -> None:  # fmt: skip
    """Write a row of whole pixels."""
    i = np.int64(matrix[4]) * row + np.int64(matrix[5])
    step, start, channels = np.int64(matrix[0]), np.int64(matrix[2]), sizes.channels
    if sizes.fill_mode == CONSTANT and not 0 <= i < sizes.height:
        out[:] = fill
        return
    line = _continued(i, sizes.height, sizes.fill_mode) * sizes.width
    if step == 1 and start >= 0 and start + sizes.columns <= sizes.width:
        at = (line + start) * channels
        for k in range(out.size):
            out[k] = np.float32(x[at + k])
        return
    for column in range(sizes.columns):
        j, to = start + step * column, column * channels
        if not 0 <= j < sizes.width:
            if sizes.fill_mode == CONSTANT:
                out[to : to + channels] = fill
                continue
            j = _continued(j, sizes.width, sizes.fill_mode)
        at = (line + j) * channels
        for c in range(channels):
            put(out, to + c, np.float32(get(x, at + c)))


@helper
def _within_reach(place: np.float32) -> np.float32:
    place = place if place < np.float32(FARTHEST) else np.float32(FARTHEST)  # also NaN
    return place if place > np.float32(-FARTHEST) else np.float32(-FARTHEST)


@part
def _sample_row(
    sizes: Sizes, fill: np.float32, x: Array, matrix: Array, row: int, out: Array, memory: Array
) -> None:  # fmt: skip
    """Write a row of pixels between the input's, or nearest to them."""
    channels, height, width, bilinear = sizes.channels, sizes.height, sizes.width, sizes.bilinear
    lefts, tops = memory[: sizes.columns], memory[sizes.columns : 2 * sizes.columns]
    rights, downs = memory[2 * sizes.columns : 3 * sizes.columns], memory[3 * sizes.columns :]
    _find_places(matrix, row, lefts, tops, rights, downs)
    for column in range(sizes.columns):
        to, right, down = column * channels, get(rights, column), get(downs, column)
        j, i = np.int64(get(lefts, column)), np.int64(get(tops, column))
        if not bilinear:
            j, i = _nearest(j, right), _nearest(i, down)
            right, down = np.float32(0), np.float32(0)
        if 0 <= i < height - 1 and 0 <= j < width - 1:
            p = (i * width + j) * channels
            q, r = p + channels, p + width * channels
            s = r + channels
            least, most = p, s
        else:
            p, q = _place(sizes, i, j), _place(sizes, i, j + bilinear)
            r, s = _place(sizes, i + bilinear, j), _place(sizes, i + bilinear, j + bilinear)
            least, most = min(p, q, r, s), max(p, q, r, s)
        if channels <= QUAD and least >= 0 and most + QUAD <= x.size and to + QUAD <= out.size:
            _sample_quad(x, p, q, r, s, right, down, out, to)
        else:
            for c in range(channels):
                first = _between(_at(x, p, c, fill), _at(x, q, c, fill), right)
                second = _between(_at(x, r, c, fill), _at(x, s, c, fill), right)
                put(out, to + c, _between(first, second, down))


@part
def _find_places(
    matrix: Array, row: int, lefts: Array, tops: Array, rights: Array, downs: Array
) -> None:
    """Write the input's pixel above and to the left of each place of a row, and how far that is."""
    one, line = np.float32(1), np.float32(row)
    a, b, shift_v = matrix[0], matrix[1] * line, matrix[2]
    d, e, shift_u = matrix[3], matrix[4] * line, matrix[5]
    for column in range(lefts.size):
        place = np.float32(column)
        lefts[column], tops[column] = a * place + b + shift_v, d * place + e + shift_u
    if matrix.size > 6:
        f, g = matrix[6], matrix[7] * line
        for column in range(lefts.size):
            depth = f * np.float32(column) + g + one
            lefts[column], tops[column] = lefts[column] / depth, tops[column] / depth
    for column in range(lefts.size):
        v, u = _within_reach(lefts[column]), _within_reach(tops[column])
        lefts[column], tops[column] = np.floor(v), np.floor(u)
        rights[column], downs[column] = v - np.floor(v), u - np.floor(u)


@part
def _sample_quad(
    x: Array, p: int, q: int, r: int, s: int, right: np.float32, down: np.float32, out: Array,
    to: int,
) -> None:  # fmt: skip
    """Write a pixel between four as a vector; what it has too much the next pixels write over."""
    share, rest = splat(right, QUAD), splat(np.float32(1) - right, QUAD)
    first = _mix(_quad(x, p), _quad(x, q), share, rest)
    second = _mix(_quad(x, r), _quad(x, s), share, rest)
    share, rest = splat(down, QUAD), splat(np.float32(1) - down, QUAD)
    store(out, to, _mix(first, second, share, rest))


def _quad(x: Array, at: int) -> Any:
    """Return QUAD numbers, of bytes or of floats, as a vector; compiled code alone calls it."""


@overload(_quad, inline="always", strict=False)  # lambdas have no annotations
def _quad_of(x: Any, at: Any) -> Callable[[Array, int], Any]:
    if x.dtype == types.uint8:
        return lambda x, at: load_bytes(x, at, QUAD)
    return lambda x, at: load(x, at, QUAD)


@part
def _mix(a: Any, b: Any, share: Any, rest: Any) -> Any:
    """Return what `_between` does, of vectors."""
    return where_positive(share, add(multiply(a, rest), multiply(b, share)), a)


@helper
def _nearest(below: int, rest: np.float32) -> int:
    """Return the nearest integer, of two the even one."""
    half = np.float32(0.5)
    return int(below + np.int64(rest > half or (rest == half and below % 2 != 0)))


@helper
def _place(sizes: Sizes, i: int, j: int) -> int:
    """Return where a pixel that may be past the border is, -1 for the constant."""
    if not (0 <= i < sizes.height and 0 <= j < sizes.width):
        if sizes.fill_mode == CONSTANT:
            return -1
        i = _continued(i, sizes.height, sizes.fill_mode)
        j = _continued(j, sizes.width, sizes.fill_mode)
    return (i * sizes.width + j) * sizes.channels


@helper
def _at(x: Array, place: int, c: int, fill: np.float32) -> np.float32:
    return fill if place < 0 else np.float32(get(x, place + c))


@helper
def _between(a: Any, b: Any, share: np.float32) -> np.float32:
    """Return a (1 - share) + b share; a itself at a share of 0."""
    a, b = np.float32(a), np.float32(b)
    return a * (np.float32(1) - share) + b * share if share > 0 else a


def _sum_rows(
    counters: Ints, tasks: int, worker: int,
    rows: int, width: int, channels: int, x: Array, sums: Doubles,
) -> None:  # fmt: skip
    """Write the sum of each channel over each row; a task is some rows."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            start = row * width * channels
            for c in range(channels):
                even, odd = 0.0, 0.0  # two chains of sums overlap
                for at in range(start + c, start + (width - 1) * channels, 2 * channels):
                    even += np.float64(x[at])
                    odd += np.float64(x[at + channels])
                if width % 2:
                    even += np.float64(x[start + (width - 1) * channels + c])
                sums[row * channels + c] = even + odd
        task = next_task(counters, tasks, worker)


def _recolor(
    counters: Ints, tasks: int, worker: int,
    rows: int, height: int, width: int, low: np.float32, x: Array, colors: FloatsIn, y: Floats,
) -> None:  # fmt: skip
    """Write recolored images; a task is some rows."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            turn = colors[2 * (row // height)] * np.float32(6)
            factor = colors[2 * (row // height) + 1]
            for at in range(row * width * 3, (row + 1) * width * 3, 3):
                red = np.float32(get(x, at)) - low
                green = np.float32(get(x, at + 1)) - low
                blue = np.float32(get(x, at + 2)) - low
                largest = max(red, green, blue)
                spread = largest - min(red, green, blue)
                if not spread > 0:
                    put(y, at, red + low)
                    put(y, at + 1, green + low)
                    put(y, at + 2, blue + low)
                    continue
                red, green, blue = largest - red, largest - green, largest - blue
                scale = min(factor, largest / spread)
                if turn != 0:
                    hue = _hue(red / spread, green / spread, blue / spread) + turn
                    red = spread * _lack(hue)
                    green = spread * _lack(hue - np.float32(2))
                    blue = spread * _lack(hue - np.float32(4))
                put(y, at, largest - red * scale + low)
                put(y, at + 1, largest - green * scale + low)
                put(y, at + 2, largest - blue * scale + low)
        task = next_task(counters, tasks, worker)


@helper
def _hue(red: np.float32, green: np.float32, blue: np.float32) -> np.float32:
    """Return sixths of the circle from red, by what each channel lacks, as parts of the spread."""
    if red <= 0:
        return blue - green
    if green <= 0:
        return red - blue + np.float32(2)
    return green - red + np.float32(4)


@helper
def _lack(distance: np.float32) -> np.float32:
    """Return what a channel lacks that is `distance` sixths from its own hue."""
    if distance > 3:
        distance -= np.float32(6)
    if distance < -3:
        distance += np.float32(6)
    return min(max(abs(distance) - np.float32(1), np.float32(0)), np.float32(1))


recolor_bytes, recolor_floats = kernel(_recolor, x=BytesIn), kernel(_recolor, x=FloatsIn)
warp_bytes, warp_floats = kernel(_warp, x=BytesIn), kernel(_warp, x=FloatsIn)
sum_bytes, sum_floats = kernel(_sum_rows, x=BytesIn), kernel(_sum_rows, x=FloatsIn)
