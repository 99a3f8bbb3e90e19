"""Geometries of convolution and pooling: all sizes that a primitive needs, resolved and checked.

They are computed once per set of arguments and cached, because every step needs them again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

from gpunet.primitives.shapes import (
    Padding,
    Pair,
    Shape,
    Window,
    frozen,
    is_integer,
    output_sizes,
    pair,
    resolve_padding,
    split_padding,
)

__all__ = [
    "FARTHEST",
    "FILL_MODES",
    "INTERPOLATIONS",
    "NO_PADDING",
    "Conv2DGeometry",
    "Pool2DGeometry",
    "Warp",
    "conv2d_geometry",
    "conv2d_max_pool_geometry",
    "pool2d_geometry",
]

P = ParamSpec("P")
T = TypeVar("T")

NO_PADDING = ((0, 0), (0, 0))

FILL_MODES = ("constant", "nearest", "wrap", "reflect")
INTERPOLATIONS = ("nearest", "bilinear")

# Pixels from an image's start that a warp reaches at most, where the distance fits an int32.
FARTHEST = 2.0**30


class Warp(NamedTuple):
    """How images are warped, all resolved; see `primitives.warp_images`."""

    size: Pair  # (height, width) of the result
    bilinear: bool  # else the nearest pixel
    fill_mode: str
    fill_value: float
    value_range: tuple[float, float] | None
    dtype: Any  # of the result


class Conv2DGeometry(NamedTuple):
    """Sizes of a 2-D convolution, all resolved."""

    input_shape: Shape  # (batch, height, width, channels)
    kernel_shape: Shape  # (height, width, channels / groups, filters)
    output_shape: Shape  # (batch, out_height, out_width, filters)
    strides: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))
    dilation: Pair
    groups: int

    def for_images(self, count: int) -> Conv2DGeometry:
        """Return the geometry for another batch size."""
        return self._replace(
            input_shape=(count, *self.input_shape[1:]), output_shape=(count, *self.output_shape[1:])
        )


class Pool2DGeometry(NamedTuple):
    """Sizes of 2-D pooling, all resolved."""

    input_shape: Shape  # (batch, height, width, channels)
    output_shape: Shape  # (batch, out_height, out_width, channels)
    pool_size: Pair
    strides: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))

    @property
    def index_dtype(self) -> str:
        """The type of the indices of a window's elements."""
        return "uint8" if self.pool_size[0] * self.pool_size[1] <= 256 else "int32"

    def for_images(self, count: int) -> Pool2DGeometry:
        """Return the geometry for another batch size."""
        return self._replace(
            input_shape=(count, *self.input_shape[1:]), output_shape=(count, *self.output_shape[1:])
        )


def _cached(function: Callable[P, T]) -> Callable[P, T]:
    """Compute the result of a function once for equal arguments, of which some may be lists."""
    cached = cast(Callable[P, T], functools.lru_cache(maxsize=1024)(function))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return cached(*args, **kwargs)
        except TypeError:  # of a list, or of an argument that is checked again below
            pass
        hashable: Any = map(frozen, args), {key: frozen(x) for key, x in kwargs.items()}
        return cached(*hashable[0], **hashable[1])

    return call


@_cached
def conv2d_geometry(
    input_shape: Shape, kernel_shape: Shape,
    strides: Window = 1, padding: Padding = "valid", dilation: Window = 1, groups: int = 1,
    where: str = "conv2d",
) -> Conv2DGeometry:  # fmt: skip
    """Check the arguments of a 2-D convolution and return its geometry.

    Arguments:
        input_shape: (batch, height, width, channels).
        kernel_shape: (height, width, channels / groups, filters).
        strides: pixels from one output to the next; an integer or (vertical, horizontal).
        padding: ``'valid'``, ``'same'``, an integer, (vertical, horizontal) or
            ((top, bottom), (left, right)).
        dilation: pixels from one tap of the kernel to the next; as `strides`.
        groups: parts into which the channels and the filters are divided; part i of the filters
            sees part i of the channels.
        where: the layer or function named in errors.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> conv2d_geometry((8, 28, 28, 1), (3, 3, 1, 32)).output_shape
    (8, 26, 26, 32)
    """
    batch, _, _, channels = _images(input_shape, where)
    if len(kernel_shape) != 4 or min(kernel_shape) < 1:
        raise ValueError(
            f"{where}: expected a kernel of 4 dimensions, none of them 0, "
            f"(height, width, channels / groups, filters), received shape {kernel_shape}."
        )
    _check_groups(channels, kernel_shape, groups, where)
    *window, _, filters = kernel_shape
    sizes, _, steps, sides, spreads = _place(input_shape, window, strides, padding, dilation, where)
    output_shape = (batch, *sizes, filters)
    return Conv2DGeometry(input_shape, kernel_shape, output_shape, steps, sides, spreads, groups)


@_cached
def pool2d_geometry(
    input_shape: Shape, pool_size: Window, strides: Window | None = None,
    padding: Padding = "valid", where: str = "pool2d",
) -> Pool2DGeometry:  # fmt: skip
    """Check the arguments of 2-D pooling and return its geometry.

    Arguments:
        input_shape: (batch, height, width, channels).
        pool_size: pixels of the window; an integer or (vertical, horizontal).
        strides: from one window to the next, likewise; None for the size of the window.
        padding: as for `conv2d_geometry`, but less than the window, so that none is all padding.
        where: the layer or function named in errors.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> pool2d_geometry((8, 26, 26, 32), 2).output_shape
    (8, 13, 13, 32)
    """
    strides = pool_size if strides is None else strides
    batch, _, _, channels = _images(input_shape, where)
    sizes, window, steps, sides, _ = _place(input_shape, pool_size, strides, padding, 1, where)
    if max(sides[0]) >= window[0] or max(sides[1]) >= window[1]:
        raise ValueError(
            f"{where}: padding {padding!r} is not less than the window {window}: a "
            "window could hold nothing but padding. Use less padding or a larger window."
        )
    return Pool2DGeometry(input_shape, (batch, *sizes, channels), window, steps, sides)


@_cached
def conv2d_max_pool_geometry(
    input_shape: Shape, kernel_shape: Shape,
    strides: Window = 1, padding: Padding = "valid", dilation: Window = 1, groups: int = 1,
    pool_size: Window = 2, where: str = "conv2d_max_pool",
) -> tuple[Conv2DGeometry, Pool2DGeometry]:  # fmt: skip
    """Return the geometries of a convolution and of the max pooling of its output.

    The windows lie side by side. Rows and columns of the convolution's output that fill no window
    are left out of its `output_shape`: they need not be computed.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> conv, pool = conv2d_max_pool_geometry((8, 13, 13, 32), (3, 3, 32, 64))
    >>> conv.output_shape, pool.output_shape
    ((8, 10, 10, 64), (8, 5, 5, 64))
    """
    conv = conv2d_geometry(input_shape, kernel_shape, strides, padding, dilation, groups, where)
    pool = pool2d_geometry(conv.output_shape, pool_size, where=where)
    (batch, height, width, filters), (rows, columns) = pool.output_shape, pool.pool_size
    pooled = (batch, height * rows, width * columns, filters)
    return conv._replace(output_shape=pooled), pool._replace(input_shape=pooled)


def _place(
    input_shape: Shape,
    window: Window,
    strides: Window,
    padding: Padding,
    dilation: Window,
    where: str,
) -> tuple[Pair, Pair, Pair, tuple[Pair, Pair], Pair]:
    """Return the sizes of the output, and the window, strides, padding and dilation, resolved."""
    try:
        sizes = cast(Pair, output_sizes(input_shape[1:3], window, strides, padding, dilation))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: input of shape {input_shape}: {error}") from None
    vertical, horizontal = split_padding(padding)
    (height, width), steps = pair(window, "window"), pair(strides, "strides")
    spreads = pair(dilation, "dilation")
    resolved = (
        resolve_padding(input_shape[1], height, steps[0], vertical, spreads[0]),
        resolve_padding(input_shape[2], width, steps[1], horizontal, spreads[1]),
    )
    return sizes, (height, width), steps, resolved, spreads


def _images(shape: tuple[Any, ...], where: str) -> tuple[Any, Any, Any, Any]:
    if len(shape) != 4:
        raise ValueError(
            f"{where}: expected an input of 4 dimensions (batch, height, width, channels), "
            f"received shape {shape}: reshape it; images of one channel end in a dimension of 1."
        )
    if min(shape[1:]) < 1:
        raise ValueError(f"{where}: expected images with pixels and channels, received {shape}.")
    return shape


def _check_groups(channels: int, kernel_shape: Shape, groups: int, where: str) -> None:
    if not is_integer(groups) or groups < 1:
        raise ValueError(
            f"{where}: expected groups to be an integer of at least 1, not {groups!r}."
        )
    filters = kernel_shape[3]
    if channels % groups or filters % groups:
        raise ValueError(
            f"{where}: groups={groups} does not divide the {channels} channels of the input and "
            f"the {filters} filters: choose a divisor of both."
        )
    if kernel_shape[2] * groups != channels:
        raise ValueError(
            f"{where}: the kernel of shape {kernel_shape} with groups={groups} expects "
            f"{kernel_shape[2] * groups} input channels, received {channels}: the last dimension "
            "of the input is that of the channels."
        )
