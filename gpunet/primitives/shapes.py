"""Sizes and padding of windows, the same for every kind of array."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from gpunet import naming
from gpunet.arguments import lowered

__all__ = [
    "AxisPadding",
    "Padding",
    "Pair",
    "Shape",
    "Window",
    "frozen",
    "integers",
    "is_integer",
    "mask_steps",
    "matmul_sizes",
    "output_size",
    "output_sizes",
    "pair",
    "resolve_padding",
    "split_axis",
    "split_padding",
    "transposed_size",
    "without_causal",
]

Window = int | Sequence[int]
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]
Pair = tuple[int, int]
AxisPadding = str | Pair  # 'valid', 'same' or (before, after)
Shape = tuple[int, ...]

_PADDING_NAMES = {"valid": "valid", "same": "same"}
_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
_COUNTS = {1: "one integer", 2: "two integers", 3: "three integers"}


def pair(value: Window, name: str, minimum: int = 1) -> Pair:
    """Return `value` as (vertical, horizontal); one integer stands for both.

    >>> pair(2, "strides")
    (2, 2)
    """
    first, second = integers(value, name, 2, minimum)
    return first, second


def integers(value: Window, name: str, rank: int, minimum: int = 1) -> tuple[int, ...]:
    """Return `value` as an integer for each axis; one integer stands for all.

    Arguments:
        value: an integer or `rank` of them.
        name: the value's name in errors, such as ``"strides"``.
        rank: the number of axes, 1 to 3.
        minimum: the least value allowed.

    Raises:
        TypeError: `value` is neither an integer nor `rank` integers.
        ValueError: a value is less than `minimum`, or there are not `rank` of them.

    >>> integers(2, "strides", 3)
    (2, 2, 2)
    """
    expected = f"expected an integer or {_COUNTS[rank]}, received {value!r}"
    values: Any = value if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{name}: {expected}.")
    try:
        if any(isinstance(item, bool) for item in values):
            raise TypeError
        found = tuple(operator.index(item) for item in values)
    except TypeError:
        raise TypeError(f"{name}: {expected}.") from None
    if min(found) < minimum:
        raise ValueError(f"{name}: expected integers of at least {minimum}, received {value!r}.")
    return found


def split_padding(padding: Padding, rank: int = 2) -> tuple[AxisPadding, ...]:
    """Return the padding of each axis, as `output_size` takes it.

    Raises:
        TypeError, ValueError: `padding` has an unknown form.

    >>> split_padding((1, 2))
    ((1, 1), (2, 2))
    """
    if isinstance(padding, str):
        return (naming.find("padding", lowered(padding), _PADDING_NAMES),) * rank
    try:
        if isinstance(padding, (tuple, list)) and any(not is_integer(item) for item in padding):
            if len(padding) != rank:
                raise ValueError
            return tuple(pair(item, "padding", 0) for item in padding)
        sides = integers(padding, "padding", rank, 0)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise type(error)(f"padding: {_padding_forms(rank)}; received {padding!r}.") from None
    return tuple((side, side) for side in sides)


def _padding_forms(rank: int) -> str:
    names = ("(vertical, horizontal)", "((top, bottom), (left, right))")
    each, sides = names if rank == 2 else ("one for each axis", "(before, after) for each axis")
    return f"expected 'valid', 'same', an integer, {each} or {sides}, of integers of at least 0"


def without_causal(padding: Any, window: Sequence[int], dilation: Sequence[int]) -> Any:
    """Return the elements that 'causal' padding of one axis stands for; other padding as it is.

    >>> without_causal("causal", (3,), (2,)), without_causal("same", (3,), (2,))
    (((4, 0),), 'same')
    """
    if padding != "causal" or len(window) != 1:
        return padding
    return ((dilation[0] * (window[0] - 1), 0),)


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
    before, after = resolve_padding(size, window, stride, padding, dilation)
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
) -> tuple[int | None, ...]:
    """Return how many positions a window takes along each axis.

    Arguments:
        sizes: of one to three axes; None where it is not known yet, and then so is the result.
        window: elements of the window; an integer or one for each axis.
        strides: from one position to the next; likewise.
        padding: as in `geometry.conv2d_geometry`.
        dilation: from one element of the window to its next; likewise.

    Raises:
        TypeError, ValueError: an argument is malformed, or the window is larger than the input.

    >>> output_sizes((28, None), (3, 3))
    (26, None)
    """
    rank = len(sizes)
    windows, steps = integers(window, "window", rank), integers(strides, "strides", rank)
    spreads, paddings = integers(dilation, "dilation", rank), split_padding(padding, rank)
    results: list[int | None] = []
    for axis, name in enumerate(_AXES[rank]):
        size = sizes[axis]
        if size is not None and size < 1:
            raise ValueError(f"{name}: expected at least 1 element, received {size}.")
        try:
            results.append(
                output_size(size, windows[axis], steps[axis], paddings[axis], spreads[axis])
            )
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return tuple(results)


def transposed_size(
    size: int, window: int, stride: int, padding: str, output_padding: int | None, dilation: int
) -> tuple[int, Pair]:
    """Return the output size of a transposed convolution along an axis, and its padding.

    The padding is that of the convolution that leads from the output back to `size` positions.

    Arguments:
        size: the length of the axis.
        window, stride, dilation: as in `output_size`.
        padding: 'valid' or 'same'.
        output_padding: elements added to the shortest output, as in Keras; None for an output of
            ``size * stride`` elements, and what the window exceeds the stride by if 'valid'.

    >>> transposed_size(5, 3, 2, "same", None, 1), transposed_size(5, 3, 2, "valid", None, 1)
    ((10, (0, 1)), (11, (0, 0)))
    """
    span, same = dilation * (window - 1) + 1, padding == "same"
    if output_padding is None:
        output = size * stride + (0 if same else max(span - stride, 0))
    else:
        output = (size - 1) * stride + span - (span // 2 * 2 if same else 0) + output_padding
    missing = max((size - 1) * stride + span - output, 0) if same else 0
    return output, (missing // 2, missing - missing // 2)


def split_axis(shape: Shape, axis: int, where: str) -> tuple[int, int, int]:
    """Return how many elements there are before an axis, along it, and after it.

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


def matmul_sizes(a: Shape, b: Shape, transpose_a: bool, transpose_b: bool) -> tuple[int, int, int]:
    """Return the rows, columns and inner size of the product of matrices of shapes `a` and `b`.

    >>> matmul_sizes((2, 3), (4, 3), False, True)
    (2, 4, 3)
    """
    rows, inner = (a[-1], a[-2]) if transpose_a else (a[-2], a[-1])
    return rows, b[-2] if transpose_b else b[-1], inner


def mask_steps(shape: Shape) -> Shape:
    """Return how many elements each axis of a contiguous array steps over, 0 where its size is 1.

    >>> mask_steps((2, 1, 3, 4))
    (12, 0, 4, 1)
    """
    return tuple(0 if n == 1 else math.prod(shape[i + 1 :]) for i, n in enumerate(shape))


def resolve_padding(
    size: int, window: int, stride: int, padding: AxisPadding, dilation: int
) -> Pair:
    """Return (before, after); 'same' is TensorFlow's, which puts the odd element at the end."""
    if not isinstance(padding, str):
        return padding
    if padding == "valid":
        return 0, 0
    end = (-(-size // stride) - 1) * stride + dilation * (window - 1) + 1
    total = max(end - size, 0)
    return total // 2, total - total // 2


def frozen(value: Any) -> Any:
    """Return `value` with lists as tuples, so that it is hashable."""
    return tuple(frozen(item) for item in value) if isinstance(value, list) else value


def is_integer(value: Any) -> bool:
    """Return whether `value` can be an index, and is no bool."""
    return hasattr(value, "__index__") and not isinstance(value, bool)
