"""Augmentation of arrays of images (batch, height, width, channels), by the numbers of a key.

The numbers of an image are drawn where the images are, so that a captured step draws anew in each
replay; image n of k numbers has those from number n k on, whatever images are with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, Result, differentiable
from gpunet.backend import asarray, get_array_module

__all__ = [
    "blend", "box_bounds", "box_masks", "brightness", "constant_color", "contrast",
    "crop_and_resize", "crop_matrices", "drawn_beta", "drawn_boxes", "drawn_normal",
    "drawn_numbers", "drawn_order", "drawn_starts", "flip_matrices", "grayscale",
    "hue_and_saturation", "linear_colors", "posterize", "rotation_matrices", "shear_matrices",
    "solarize", "transformed", "translation_matrices", "zoom_matrices",
]  # fmt: skip

Bounds = tuple[float, float]

_GRAY = (0.2989, 0.587, 0.114)  # ITU-R BT.601, of red, green and blue
_TRIES = 8  # of a draw of which one in twenty is refused at most


@differentiable
def transformed(x: Array, *, transform: Callable[[Array], Array], where: str) -> Result:
    """Return ``transform(x)``, through which no gradient passes.

    Arguments:
        x: images.
        transform: takes an array and returns one.
        where: named in the error where a gradient is asked for.
    """

    def backward(output_grad: Array) -> Array:
        raise ValueError(
            f"{where} has no gradient in training: put it before the layers that are trained, or "
            "call it with training=False."
        )

    return transform(x), backward


# Numbers


def drawn_numbers(x: Array, key: Array, *bounds: Bounds, once: bool = False) -> list[Array]:
    """Return float64 numbers (batch,) of each of the `bounds`, low included, high not.

    Arguments:
        x: images; the array library and the batch size count.
        key: uint64 (2,).
        bounds: (low, high) of each of the numbers of an image.
        once: whether to draw for the batch as one image; the numbers are (1,).
    """
    xp = get_array_module(x)
    batch = 1 if once else len(x)
    unit = primitives.uniform_like(xp.zeros((batch, len(bounds)), "float64"), asarray(key, like=x))
    return [low + unit[:, i] * (high - low) for i, (low, high) in enumerate(bounds)]


def drawn_normal(x: Array, key: Array, shape: Sequence[int], dtype: Any) -> Array:
    """Return numbers of the standard normal distribution."""
    return primitives.normal_like(
        get_array_module(x).zeros(tuple(shape), dtype), asarray(key, like=x)
    )


def drawn_order(x: Array, key: Array) -> Array:
    """Return 0 to batch - 1 in random order: the rank of each of as many numbers."""
    return _ranks(*drawn_numbers(x, key, (0.0, 1.0)))


def _ranks(numbers: Array) -> Array:
    places = get_array_module(numbers).arange(len(numbers))
    before = numbers[None, :] < numbers[:, None]
    equal = (numbers[None, :] == numbers[:, None]) & (places[None, :] < places[:, None])
    return (before | equal).sum(axis=1)


def drawn_boxes(x: Array, key: Array) -> tuple[Array, Array, Array]:
    """Return places of boxes down and to the right, from 0 to 1, and images in random order."""
    down, right, numbers = drawn_numbers(x, key, (0.0, 1.0), (0.0, 1.0), (0.0, 1.0))
    return down, right, _ranks(numbers)


def drawn_beta(x: Array, keys: tuple[Array, Array], alpha: Any) -> Array:
    """Return float64 (batch,) of the distribution Beta(alpha, alpha), a ratio of gamma numbers.

    Arguments:
        x: images.
        keys: two keys.
        alpha: a positive number, or an array of one.

    Source: Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; a gamma
    number below 1 by its logarithm, which does not underflow.
    """
    xp, batch = get_array_module(x), len(x)
    normal = drawn_normal(x, keys[0], (batch, 2, _TRIES), "float64")
    uniform = primitives.uniform_like(
        xp.zeros((batch, 2, _TRIES + 1), "float64"), asarray(keys[1], like=x)
    )
    uniform = uniform + 2.0**-25  # never 0
    center = alpha + 1 - 1 / 3
    cubes = (1 + normal / (9 * center) ** 0.5) ** 3
    logs = xp.log(xp.maximum(cubes, 1e-300))
    accepted = xp.log(uniform[..., :_TRIES]) < (
        0.5 * normal**2 + center - center * cubes + center * logs
    )
    accepted = accepted & (cubes > 0)
    found = logs[..., _TRIES - 1]  # refused or not: 1 of 2e10 times all are
    for k in range(_TRIES - 2, -1, -1):
        found = xp.where(accepted[..., k], logs[..., k], found)
    gammas = found + xp.log(uniform[..., _TRIES]) / alpha
    return 1 / (1 + xp.exp(xp.minimum(gammas[:, 1] - gammas[:, 0], 700.0)))


# Matrices of `primitives.warp_images`


def _matrices(x: Array, *entries: Any) -> Array:
    """Return float64 (batch, 6) of numbers and of arrays (batch,)."""
    xp = get_array_module(x)
    made = xp.zeros((len(x), len(entries)), "float64")
    for i, entry in enumerate(entries):
        if not (isinstance(entry, float | int) and entry == 0):
            made[:, i] = entry
    return made


def rotation_matrices(x: Array, turns: Array) -> Array:
    """Return the matrices of counter-clockwise rotations about the center, by parts of a turn."""
    xp = get_array_module(x)
    sine, cosine = xp.sin(2 * pi * turns), xp.cos(2 * pi * turns)
    i, j = (x.shape[1] - 1) / 2, (x.shape[2] - 1) / 2
    return _matrices(
        x, cosine, -sine, j - j * cosine + i * sine, sine, cosine, i - j * sine - i * cosine
    )


def zoom_matrices(x: Array, height: Array, width: Array) -> Array:
    """Return the matrices of images drawn `height` and `width` times as small."""
    i, j = (x.shape[1] - 1) / 2, (x.shape[2] - 1) / 2
    return _matrices(x, width, 0, j * (1 - width), 0, height, i * (1 - height))


def translation_matrices(x: Array, down: Array, right: Array) -> Array:
    """Return the matrices of moves by parts of the height and the width."""
    return _matrices(x, 1, 0, right * -x.shape[2], 0, 1, down * -x.shape[1])


def shear_matrices(x: Array, along_x: Array, along_y: Array) -> Array:
    """Return the matrices that move rows by `along_x` of their place, columns by `along_y`."""
    return _matrices(x, 1, along_x, 0, along_y, 1, 0)


def flip_matrices(x: Array, upside_down: Any, mirrored: Any) -> Array:
    """Return the matrices of flips, by arrays of 1 for a flip and 0 for none, or 0 for all."""
    height, width = x.shape[1:3]
    return _matrices(
        x, 1 - 2 * mirrored, 0, mirrored * (width - 1),
        0, 1 - 2 * upside_down, upside_down * (height - 1),
    )  # fmt: skip


def crop_matrices(x: Array, top: Array, left: Array) -> Array:
    """Return the matrices that move a window's corner to the images' own."""
    return _matrices(x, 1, 0, left, 0, 1, top)


def drawn_starts(x: Array, key: Array, free: tuple[int, int]) -> tuple[Array, Array]:
    """Return a row and a column for the batch, float64 (1,), from 0 to those of `free`."""
    xp = get_array_module(x)
    bounds = [(0.0, float(size + 1)) for size in free]
    numbers = drawn_numbers(x, key, *bounds, once=True)
    top, left = (xp.floor_divide(each, 1) for each in numbers)
    return top, left


def crop_and_resize(x: Array, size: tuple[int, int], dtype: Any) -> Array:
    """Return the largest window of the images' center with the shape of `size`, resized to it.

    A window of the size is copied; else pixels are interpolated, centers at halves.
    """
    (height, width), (rows, columns) = x.shape[1:3], size
    rows_of_window = max(min(height, int(width * rows / columns)), 1)
    columns_of_window = max(min(width, int(height * columns / rows)), 1)
    top, left = (height - rows_of_window) // 2, (width - columns_of_window) // 2
    window = x[:, top : top + rows_of_window, left : left + columns_of_window]
    down, right = rows_of_window / rows, columns_of_window / columns
    matrices = _matrices(x, right, 0, (right - 1) / 2, 0, down, (down - 1) / 2)
    return primitives.warp_images(window, matrices, size=size, fill_mode="nearest", dtype=dtype)


# Colors


def linear_colors(
    x: Array, factors: Any, offsets: Any, value_range: Bounds | None, dtype: Any
) -> Array:
    """Return x * factors + offsets, clipped; each a number, (batch,) or (batch, channels)."""
    xp = get_array_module(x)
    colors = xp.zeros((len(x), x.shape[3], 2), "float64")
    for i, each in enumerate((factors, offsets)):
        colors[..., i] = each[:, None] if getattr(each, "ndim", 2) == 1 else each
    still = _matrices(x, 1, 0, 0, 0, 1, 0)
    return primitives.warp_images(
        x, still, colors, interpolation="nearest", value_range=value_range, dtype=dtype
    )


def contrast(x: Array, factors: Array, value_range: Bounds, dtype: Any) -> Array:
    """Return ``(x - mean) * factor + mean`` with each channel's mean, clipped."""
    means = primitives.image_means(x, dtype="float64")
    return linear_colors(x, factors, means * (1 - factors[:, None]), value_range, dtype)


def brightness(x: Array, shares: Array, value_range: Bounds, dtype: Any) -> Array:
    """Return `x` plus shares of the range of values, clipped to it."""
    offsets = shares * (value_range[1] - value_range[0])
    return linear_colors(x, 1.0, offsets, value_range, dtype)


def grayscale(x: Array, chosen: Array, dtype: Any) -> Array:
    """Return the luminance of images of three channels, in each of them, where `chosen`."""
    x, xp = x.astype(dtype, copy=False), get_array_module(x)
    red, green, blue = (x[..., c : c + 1] * weight for c, weight in enumerate(_GRAY))
    return xp.where(_per_image(chosen), red + green + blue, x)


def hue_and_saturation(
    x: Array, hues: Array | None, saturations: Array | None, low: float, dtype: Any
) -> Array:
    """Return images of red, green and blue with other hues and saturations.

    Arguments:
        x: (batch, height, width, 3), at least `low`.
        hues: turns of the circle of colors, (batch,), or None.
        saturations: factors of the saturation, which is 1 at most, (batch,), or None.
        low: the value of black.
        dtype: of the result.
    """
    colors = _matrices(x, 0 if hues is None else hues, 1 if saturations is None else saturations)
    return primitives.recolor_images(x, colors, low=low, dtype=dtype)


def posterize(x: Array, bits: Array, value_range: Bounds, dtype: Any) -> Array:
    """Return images with `bits` (batch,) of 8 left of each value."""
    xp, (low, high) = get_array_module(x), value_range
    scaled = xp.clip((x.astype(dtype, copy=False) - low) * (255 / (high - low)), 0, 255)
    steps = _per_image(2.0 ** (8 - xp.floor_divide(bits, 1))).astype(scaled.dtype)
    return xp.floor_divide(scaled, steps) * steps * ((high - low) / 255) + low


def solarize(
    x: Array, additions: Array, thresholds: Array, value_range: Bounds, dtype: Any
) -> Array:
    """Return images with additions, inverted from thresholds on, both of a range up to 255."""
    xp, (low, high) = get_array_module(x), value_range
    scale = 255 / (high - low)
    y = linear_colors(x, scale, additions - low * scale, (0.0, 255.0), dtype)
    y = xp.where(y < _per_image(thresholds.astype(y.dtype)), y, 255 - y)
    return y if value_range == (0, 255) else y * (1 / scale) + low


# Boxes and mixtures


def box_bounds(size: int, shares: Array, places: Array) -> tuple[Array, Array]:
    """Return the bounds of `shares` of an axis, at `places` from 0 to 1 of the rest."""
    length = shares * size
    start = places * (size - length)
    return start, start + length


def box_masks(x: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
    """Return whether each pixel is in its image's box, (batch, height, width, 1)."""
    xp = get_array_module(x)
    inside = []
    for size, (start, end) in zip(x.shape[1:3], (rows, columns), strict=True):
        places = xp.arange(size)[None]
        inside.append((places >= start[:, None]) & (places < end[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None])[..., None]


def blend(x: Array, weights: Array, order: Array, dtype: Any) -> Array:
    """Return ``weight * x + (1 - weight) * x[order]``."""
    x = x.astype(dtype, copy=False)
    weights = weights.astype(dtype).reshape(-1, *[1] * (x.ndim - 1))
    return weights * x + (1 - weights) * x.take(order, axis=0)


def constant_color(x: Array, color: Sequence[float]) -> Array:
    """Return the numbers of a color, (channels,), which must be as many as images have."""
    if len(color) != x.shape[3]:
        raise ValueError(
            f"expected images of {len(color)} channels, as the color {tuple(color)} has, received "
            f"{x.shape[3]}: shape {x.shape}."
        )
    made = get_array_module(x).zeros(len(color), x.dtype)
    for channel, value in enumerate(color):
        made[channel] = value  # each a kernel: nothing is copied from the host
    return made


def _per_image(values: Array) -> Array:
    return values[:, None, None, None]
