"""Augmentation of images: warps, colors, means of channels, and the numbers they are drawn by."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import random
from gpunet.arguments import check_choice
from gpunet.primitives.checks import check_shape
from gpunet.primitives.geometry import FILL_MODES, INTERPOLATIONS, Warp
from gpunet.primitives.twins import twins_of

__all__ = ["image_means", "recolor_images", "uniform_like", "warp_images"]

Array = Any


def warp_images(
    x: Array, matrices: Array, colors: Array | None = None, *,
    size: tuple[int, int] | None = None, interpolation: str = "bilinear",
    fill_mode: str = "constant", fill_value: float = 0.0,
    value_range: tuple[float, float] | None = None, dtype: Any = None,
) -> Array:  # fmt: skip
    """Return images whose pixel (row i, column j) is the input's at (u, v), then colored.

    With ``a, b, c, d, e, f, g, h`` of the image's matrix (g and h are 0 where there are 6 numbers)
    ``v = (a j + b i + c) / (g j + h i + 1)`` and ``u = (d j + e i + f) / (g j + h i + 1)``, the
    order of `keras.ops.image.affine_transform`. Sums, products and coordinates are rounded one by
    one in the type of the result, so that every device gives the same bits.

    Arguments:
        x: (batch, height, width, channels), of any type of numbers.
        matrices: (batch, 6) or (batch, 8), floating-point.
        colors: (batch, channels, 2), a factor and an offset for each channel; None for 1 and 0.
        size: (height, width) of the result; by default the input's.
        interpolation: 'bilinear' or 'nearest' (of halves, to the even pixel).
        fill_mode: how the image continues past its border: 'constant' by `fill_value`, 'nearest'
            by its last pixel (a a | a b c | c c), 'wrap' from the start again (b c | a b c | a b),
            'reflect' backwards (b a | a b c | c b).
        fill_value: for 'constant'.
        value_range: (low, high) that the result is clipped to.
        dtype: of the result; by default that of `x`, for integers float32.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> x = np.arange(4.0).reshape(1, 2, 2, 1)
    >>> mirror = np.array([[-1.0, 0, 1, 0, 1, 0]])
    >>> warp_images(x, mirror)[0, :, :, 0]
    array([[1., 0.],
           [3., 2.]])
    """
    where = "warp_images"
    twins = twins_of(where, x, matrices, colors, any_numbers=True)
    if x.ndim != 4:
        raise ValueError(
            f"{where}: expected images of shape (batch, height, width, channels), received "
            f"{x.shape}."
        )
    entries = matrices.shape[-1] if matrices.ndim == 2 else 0
    if matrices.shape != (len(x), entries) or entries not in (6, 8):
        raise ValueError(
            f"{where}: expected matrices of shape ({len(x)}, 6) or ({len(x)}, 8), one for each "
            f"image, received {matrices.shape}."
        )
    if colors is not None:
        check_shape(where, "colors", colors.shape, (len(x), x.shape[3], 2))
    options = Warp(
        (x.shape[1], x.shape[2]) if size is None else (size[0], size[1]),
        check_choice(interpolation, INTERPOLATIONS, "interpolation", where) == "bilinear",
        check_choice(fill_mode, FILL_MODES, "fill_mode", where),
        float(fill_value),
        None if value_range is None else (float(value_range[0]), float(value_range[1])),
        result_dtype(where, x, dtype),
    )
    if 0 in x.shape[1:3] and 0 not in (*options.size, len(x)):
        raise ValueError(f"{where}: expected images with pixels, received shape {x.shape}.")
    return twins.warp_images(x, matrices, colors, options)


def result_dtype(where: str, x: Array, dtype: Any) -> np.dtype[Any]:
    """Return the type of a result: as chosen, that of `x`, or for integers float32."""
    if dtype is None:
        return np.dtype("float32") if x.dtype.kind in "biu" else x.dtype
    chosen = np.dtype(dtype)
    if chosen.kind != "f" and chosen.name != "bfloat16":
        raise TypeError(f"{where}: expected a floating-point dtype, received {chosen}.")
    return chosen


def image_means(x: Array, *, dtype: Any = None) -> Array:
    """Return the mean of each channel of each image, (batch, channels); sums are of float64.

    Arguments:
        x: (batch, height, width, channels), of any type of numbers.
        dtype: of the result; by default that of `x`, for integers float32.

    Raises:
        TypeError, ValueError: an argument is malformed.

    >>> import numpy as np
    >>> image_means(np.arange(4, dtype="uint8").reshape(1, 2, 2, 1))
    array([[1.5]], dtype=float32)
    """
    twins = twins_of("image_means", x, any_numbers=True)
    if x.ndim != 4 or 0 in x.shape[1:3]:
        raise ValueError(
            "image_means: expected images of shape (batch, height, width, channels), received "
            f"{x.shape}."
        )
    return twins.image_means(x, result_dtype("image_means", x, dtype))


def recolor_images(x: Array, colors: Array, *, low: float = 0.0, dtype: Any = None) -> Array:
    """Return images of red, green and blue with other hues and saturations.

    Arguments:
        x: (batch, height, width, 3), of any type of numbers.
        colors: (batch, 2): how far to turn the hue, in turns of the circle of colors from -1/2 to
            1/2; and the factor of the saturation, which is 1 at most.
        low: the value of black; white is any larger one.
        dtype: of the result; by default that of `x`, for integers float32.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> red = np.array([[[[8.0, 0.0, 0.0]]]])
    >>> recolor_images(red, np.array([[1 / 3, 0.5]])).ravel()
    array([4., 8., 4.])
    """
    twins = twins_of("recolor_images", x, colors, any_numbers=True)
    if x.ndim != 4 or x.shape[3] != 3:
        raise ValueError(
            "recolor_images: expected images of shape (batch, height, width, 3), received "
            f"{x.shape}."
        )
    check_shape("recolor_images", "colors", colors.shape, (len(x), 2))
    return twins.recolor_images(x, colors, float(low), result_dtype("recolor_images", x, dtype))


def uniform_like(x: Array, key: Array) -> Array:
    """Return numbers spread evenly over [0, 1), of the shape and type of `x`.

    Element i is the high 24 bits of 32-bit number i of `key`, times 2**-24: the same on every
    device.

    Arguments:
        x: any shape; its elements do not count.
        key: uint64 (2,), from `gpunet.random.next_key`.

    Raises:
        TypeError: `key` is no key.

    >>> import numpy as np
    >>> uniform_like(np.zeros(2), np.array([0, 0], dtype=np.uint64)).round(4)
    array([0.0347, 0.0115])
    """
    twins = twins_of("uniform_like", x, key)
    random.check_key(key)
    return twins.uniform_like(x, key)
