"""Sizes and padding of the primitives, the same for every kind of array.

Geometries are worked out once per set of arguments and kept, because they are needed at each step.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from gpunet import naming

__all__ = [
    "Conv2DGeometry",
    "Padding",
    "Pool2DGeometry",
    "Window",
    "conv2d_geometry",
    "conv2d_max_pool_geometry",
    "frozen",
    "output_size",
    "output_sizes",
    "pair",
    "pool2d_geometry",
    "split_axis",
    "split_padding",
]

Window = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]
Pair = tuple[int, int]
AxisPadding = str | Pair  # 'valid', 'same' or (before, after)
Shape = tuple[int, ...]

_PADDING_NAMES = {"valid": "valid", "same": "same"}
_PADDING_FORMS = (
    "expected 'valid', 'same', an integer, (vertical, horizontal) "
    "or ((top, bottom), (left, right)), of integers of at least 0"
)


class Conv2DGeometry(NamedTuple):
    """What a 2-D convolution needs to know, all sizes resolved."""

    input_shape: Shape  # (batch, height, width, channels)
    kernel_shape: Shape  # (height, width, channels / groups, filters)
    output_shape: Shape  # (batch, out_height, out_width, filters)
    strides: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))
    dilation: Pair
    groups: int


class Pool2DGeometry(NamedTuple):
    """What 2-D pooling needs to know, all sizes resolved."""

    input_shape: Shape  # (batch, height, width, channels)
    output_shape: Shape  # (batch, out_height, out_width, channels)
    pool_size: Pair
    strides: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))

    @property
    def index_dtype(self) -> str:
        """The type of numbers that count the elements of a window."""
        return "uint8" if self.pool_size[0] * self.pool_size[1] <= 256 else "int32"


def pair(value: Window, name: str, minimum: int = 1) -> Pair:
    """Return `value` as (vertical, horizontal); one integer stands for both.

    Arguments:
        value: an integer or two of them.
        name: what the value is, as the error shall call it, such as ``"strides"``.
        minimum: the least value allowed.

    Raises:
        TypeError: `value` is neither an integer nor two integers.
        ValueError: a value is less than `minimum`, or there are not two of them.

    >>> pair(2, "strides")
    (2, 2)
    """
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f"{name}: expected an integer or two integers, received {value!r}.")
    try:
        if any(isinstance(item, bool) for item in values):
            raise TypeError
        first, second = (operator.index(item) for item in values)
    except TypeError:
        raise TypeError(
            f"{name}: expected an integer or two integers, received {value!r}."
        ) from None
    if min(first, second) < minimum:
        raise ValueError(f"{name}: expected integers of at least {minimum}, received {value!r}.")
    return first, second


def split_padding(padding: Padding) -> tuple[AxisPadding, AxisPadding]:
    """Return the vertical and the horizontal part of `padding`, each as `output_size` takes it.

    Raises:
        TypeError, ValueError: `padding` has none of the forms that are known.

    >>> split_padding((1, 2))
    ((1, 1), (2, 2))
    """
    if isinstance(padding, str):
        name = naming.find("padding", padding, _PADDING_NAMES)
        return name, name
    try:
        if isinstance(padding, (tuple, list)) and any(not _is_integer(item) for item in padding):
            vertical, horizontal = padding
            return pair(vertical, "padding", 0), pair(horizontal, "padding", 0)
        top, left = pair(padding, "padding", 0)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise type(error)(f"padding: {_PADDING_FORMS}; received {padding!r}.") from None
    return (top, top), (left, left)


def output_size(
    size: int | None,
    window: int,
    stride: int = 1,
    padding: AxisPadding = "valid",
    dilation: int = 1,
) -> int | None:
    """Return how many positions a window takes along one axis.

    Arguments:
        size: the length of the axis; None if it is not known yet, and then so is the result.
        window: elements of the window along the axis.
        stride: elements from one position to the next.
        padding: ``'valid'`` (none), ``'same'`` (ceil(size / stride) positions), or (before, after).
        dilation: elements from one element of the window to its next.

    Raises:
        ValueError: the window is larger than the padded axis.

    >>> output_size(28, 3), output_size(28, 3, 2, "same"), output_size(None, 3)
    (26, 14, None)
    """
    if size is None:
        return None
    if padding == "same":
        return -(-size // stride)
    before, after = _resolve(size, window, stride, padding, dilation)
    span = dilation * (window - 1) + 1
    if span > size + before + after:
        spread = f" ({window} at dilation {dilation})" if dilation > 1 else ""
        padded = f" ({size} + padding {before} + {after})" if before + after else ""
        raise ValueError(
            f"the window spans {span} elements{spread}, more than the {size + before + after} "
            f"of the input{padded}: use a smaller window, or padding='same'."
        )
    return (size + before + after - span) // stride + 1


def output_sizes(
    sizes: Sequence[int | None],
    window: Window,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
) -> tuple[int | None, int | None]:
    """Return how many positions a window takes vertically and horizontally.

    Arguments:
        sizes: (height, width); None where it is not known yet, and then so is the result.
        window: elements of the window; an integer or (vertical, horizontal).
        strides: from one position to the next; likewise.
        padding: as for `conv2d_geometry`.
        dilation: from one element of the window to its next; likewise.

    Raises:
        TypeError, ValueError: an argument is malformed, or the window is larger than the input.

    >>> output_sizes((28, None), (3, 3))
    (26, None)
    """
    windows, steps = pair(window, "window"), pair(strides, "strides")
    spreads, paddings = pair(dilation, "dilation"), split_padding(padding)
    results: list[int | None] = []
    for axis, name in enumerate(("height", "width")):
        size = sizes[axis]
        if size is not None and size < 1:
            raise ValueError(f"{name}: expected at least 1 element, received {size}.")
        try:
            results.append(
                output_size(size, windows[axis], steps[axis], paddings[axis], spreads[axis])
            )
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return results[0], results[1]


def conv2d_geometry(
    input_shape: Shape,
    kernel_shape: Shape,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    where: str = "conv2d",
) -> Conv2DGeometry:
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
        where: the layer or function that the error shall name.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> conv2d_geometry((8, 28, 28, 1), (3, 3, 1, 32)).output_shape
    (8, 26, 26, 32)
    """
    return _conv2d_geometry(
        input_shape,
        kernel_shape,
        frozen(strides),
        frozen(padding),
        frozen(dilation),
        groups,
        where,
    )


def pool2d_geometry(
    input_shape: Shape,
    pool_size: Window,
    strides: Window | None = None,
    padding: Padding = "valid",
    where: str = "pool2d",
) -> Pool2DGeometry:
    """Check the arguments of 2-D pooling and return its geometry.

    Arguments:
        input_shape: (batch, height, width, channels).
        pool_size: an integer or (vertical, horizontal).
        strides: likewise; None for the size of the window.
        padding: as for `conv2d_geometry`, but less than the window, so that none is all padding.
        where: the layer or function that the error shall name.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> pool2d_geometry((8, 26, 26, 32), 2).output_shape
    (8, 13, 13, 32)
    """
    strides = pool_size if strides is None else strides
    return _pool2d_geometry(input_shape, frozen(pool_size), frozen(strides), frozen(padding), where)


def conv2d_max_pool_geometry(
    input_shape: Shape,
    kernel_shape: Shape,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    pool_size: Window = 2,
    where: str = "conv2d_max_pool",
) -> tuple[Conv2DGeometry, Pool2DGeometry]:
    """Return the geometries of a convolution and of the max pooling of its output.

    The windows lie side by side. Rows and columns of the convolution's output that fill no window
    are left out of its `output_shape`: they need not be computed.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> conv, pool = conv2d_max_pool_geometry((8, 13, 13, 32), (3, 3, 32, 64))
    >>> conv.output_shape, pool.output_shape
    ((8, 10, 10, 64), (8, 5, 5, 64))
    """
    window = frozen(strides), frozen(padding), frozen(dilation)
    return _conv2d_max_pool_geometry(
        input_shape, kernel_shape, *window, groups, frozen(pool_size), where
    )


@lru_cache(maxsize=1024)
def _conv2d_max_pool_geometry(
    input_shape: Shape,
    kernel_shape: Shape,
    strides: Window,
    padding: Padding,
    dilation: Window,
    groups: int,
    pool_size: Window,
    where: str,
) -> tuple[Conv2DGeometry, Pool2DGeometry]:
    conv = conv2d_geometry(input_shape, kernel_shape, strides, padding, dilation, groups, where)
    pool = pool2d_geometry(conv.output_shape, pool_size, where=where)
    (batch, height, width, filters), (rows, columns) = pool.output_shape, pool.pool_size
    pooled = (batch, height * rows, width * columns, filters)
    return conv._replace(output_shape=pooled), pool._replace(input_shape=pooled)


def split_axis(shape: Shape, axis: int, where: str) -> tuple[int, int, int]:
    """Return the elements before an axis, along it and after it, which the axis must have some of.

    Raises:
        ValueError: there is no such axis, or its length is 0.

    >>> split_axis((2, 3, 4), -2, "softmax")
    (2, 3, 4)
    """
    if not -len(shape) <= axis < len(shape):
        raise ValueError(
            f"{where}: expected an axis of an array of shape {shape}, received axis={axis}: "
            f"an array of {len(shape)} dimensions has axes from {-len(shape)} to {len(shape) - 1}."
        )
    axis %= len(shape)
    if shape[axis] == 0:
        raise ValueError(
            f"{where}: expected at least one element along axis {axis}, received shape {shape}."
        )
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


@lru_cache(maxsize=1024)
def _conv2d_geometry(
    input_shape: Shape,
    kernel_shape: Shape,
    strides: Window,
    padding: Padding,
    dilation: Window,
    groups: int,
    where: str,
) -> Conv2DGeometry:
    batch, _, _, channels = _images(input_shape, where)
    if len(kernel_shape) != 4 or min(kernel_shape) < 1:
        raise ValueError(
            f"{where}: expected a kernel of 4 dimensions, none of them 0, "
            f"(height, width, channels / groups, filters), received shape {kernel_shape}."
        )
    _check_groups(channels, kernel_shape, groups, where)
    *window, _, filters = kernel_shape
    placed = _place(input_shape, window, strides, padding, dilation, where)
    output_shape = (batch, *placed.sizes, filters)
    return Conv2DGeometry(
        input_shape,
        kernel_shape,
        output_shape,
        placed.strides,
        placed.padding,
        placed.dilation,
        groups,
    )


@lru_cache(maxsize=1024)
def _pool2d_geometry(
    input_shape: Shape, pool_size: Window, strides: Window, padding: Padding, where: str
) -> Pool2DGeometry:
    batch, _, _, channels = _images(input_shape, where)
    placed = _place(input_shape, pool_size, strides, padding, 1, where)
    for sides, size in zip(placed.padding, placed.window, strict=True):
        if max(sides) >= size:
            raise ValueError(
                f"{where}: padding {padding!r} is not less than the window {placed.window}: a "
                "window could hold nothing but padding. Use less padding or a larger window."
            )
    output_shape = (batch, *placed.sizes, channels)
    return Pool2DGeometry(input_shape, output_shape, placed.window, placed.strides, placed.padding)


class _Placed(NamedTuple):
    sizes: Pair
    window: Pair
    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair


def _place(
    input_shape: Shape,
    window: Window,
    strides: Window,
    padding: Padding,
    dilation: Window,
    where: str,
) -> _Placed:
    """Return what the arguments of a window come to; an error names `where`."""
    try:
        sizes = cast(Pair, output_sizes(input_shape[1:3], window, strides, padding, dilation))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: input of shape {input_shape}: {error}") from None
    vertical, horizontal = split_padding(padding)
    (height, width), steps = pair(window, "window"), pair(strides, "strides")
    spreads = pair(dilation, "dilation")
    resolved = (
        _resolve(input_shape[1], height, steps[0], vertical, spreads[0]),
        _resolve(input_shape[2], width, steps[1], horizontal, spreads[1]),
    )
    return _Placed(sizes, (height, width), steps, resolved, spreads)


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
    if not _is_integer(groups) or groups < 1:
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


def _resolve(size: int, window: int, stride: int, padding: AxisPadding, dilation: int) -> Pair:
    """Return (before, after); 'same' is TensorFlow's, which puts the odd element at the end."""
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return 0, 0
    end = (-(-size // stride) - 1) * stride + dilation * (window - 1) + 1
    total = max(end - size, 0)
    return total // 2, total - total // 2


def frozen(value: Any) -> Any:
    """Return `value` with lists as tuples, so that it can be a key."""
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
