"""Sizes and padding against counting by hand, and the errors of malformed arguments."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet.primitives import checks, geometry, shapes

sizes = st.integers(1, 30)
small = st.integers(1, 5)


@given(size=sizes, window=small, stride=small, dilation=small, before=small, after=small)
def test_output_size_counts_the_positions_of_a_window(
    size: int, window: int, stride: int, dilation: int, before: int, after: int
) -> None:
    span = dilation * (window - 1) + 1
    starts = [
        s for s in range(0, size + before + after, stride) if s + span <= size + before + after
    ]
    if starts:
        found = shapes.output_size(size, window, stride, (before, after), dilation)
        assert found == len(starts)
    else:
        with pytest.raises(ValueError, match="use a smaller window"):
            shapes.output_size(size, window, stride, (before, after), dilation)


@given(size=sizes, window=small, stride=small, dilation=small)
def test_same_padding_gives_size_over_stride_with_the_odd_pixel_at_the_end(
    size: int, window: int, stride: int, dilation: int
) -> None:
    conv = geometry.conv2d_geometry(
        (1, size, 1, 1), (window, 1, 1, 1), (stride, 1), "same", (dilation, 1)
    )
    count = math.ceil(size / stride)
    assert conv.output_shape[1] == count
    assert shapes.output_size(size, window, stride, "same", dilation) == count
    top, bottom = conv.padding[0]
    assert bottom - top in (0, 1)
    # the windows reach the end of the padding exactly, and none is there without need
    reach = (count - 1) * stride + dilation * (window - 1) + 1
    assert top + bottom == max(reach - size, 0)


@pytest.mark.parametrize(
    ("padding", "resolved"),
    [
        ("valid", ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
    ],
)
def test_forms_of_padding(padding: object, resolved: object) -> None:
    conv = geometry.conv2d_geometry((1, 9, 9, 1), (3, 3, 1, 1), 1, padding)
    assert conv.padding == resolved
    assert geometry.pool2d_geometry((1, 9, 9, 1), 4, 1, padding).padding == resolved
    assert shapes.output_sizes((9, 9), 3, 1, padding) == conv.output_shape[1:3]


def test_unknown_sizes_stay_unknown() -> None:
    assert shapes.output_size(None, 3) is None
    assert shapes.output_sizes((None, 8), (3, 3), (2, 2), "same") == (None, 4)


def test_geometry_is_kept_and_takes_lists() -> None:
    first = geometry.conv2d_geometry((2, 9, 9, 4), (3, 3, 2, 6), [2, 1], "same", [1, 2], 2)
    again = geometry.conv2d_geometry((2, 9, 9, 4), (3, 3, 2, 6), (2, 1), "same", (1, 2), 2)
    assert first is again
    assert first.output_shape == (2, 5, 9, 6)
    assert (first.strides, first.dilation, first.groups) == ((2, 1), (1, 2), 2)
    pool = geometry.pool2d_geometry((2, 9, 9, 4), [3, 2])
    assert (pool.strides, pool.output_shape) == ((3, 2), (2, 3, 4, 4))


def test_pair() -> None:
    assert shapes.pair(3, "strides") == (3, 3)
    assert shapes.pair([1, 2], "strides") == (1, 2)
    for value, error in [
        ((1, 2, 3), ValueError),
        (0, ValueError),
        (1.5, TypeError),
        (True, TypeError),
        ("2", TypeError),
        (None, TypeError),
    ]:
        with pytest.raises(error, match="strides: expected"):
            shapes.pair(value, "strides")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("padding", "error"),
    [
        (-1, ValueError),
        ((1, -1), ValueError),
        (((1, 2), (3, -4)), ValueError),
        ((1, 2, 3), ValueError),
        (((1, 2), (3, 4), (5, 6)), ValueError),
        (1.5, TypeError),
        (None, TypeError),
    ],
)
def test_malformed_padding(padding: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"padding: expected 'valid', 'same', an integer.*received"):
        shapes.split_padding(padding)  # type: ignore[arg-type]


def test_unknown_padding_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'valid'"):
        shapes.split_padding("vaild")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((9, 9, 1), (3, 3, 1, 1)), r"4 dimensions .*received shape \(9, 9, 1\)"),
        (((1, 9, 9, 0), (3, 3, 1, 1)), "pixels and channels"),
        (((1, 9, 9, 1), (3, 3, 1)), r"kernel of 4 dimensions.*\(3, 3, 1\)"),
        (((1, 9, 9, 1), (3, 0, 1, 1)), "none of them 0"),
        (((1, 9, 9, 3), (3, 3, 1, 1)), "expects 1 input channels, received 3"),
        (((1, 9, 9, 4), (3, 3, 2, 3), 1, "valid", 1, 2), "groups=2 does not divide"),
        (((1, 9, 9, 4), (3, 3, 2, 4), 1, "valid", 1, 0), "groups to be an integer"),
        (((1, 9, 9, 4), (3, 3, 2, 4), 1, "valid", 1, 2.0), "groups to be an integer"),
        (((1, 2, 9, 1), (3, 3, 1, 1)), r"height: the window spans 3 elements.* 2 of the input"),
        (((1, 9, 4, 1), (3, 3, 1, 1), 1, "valid", 2), r"width: .* 5 elements \(3 at dilation 2\)"),
        (((1, 9, 2, 1), (3, 5, 1, 1), 1, (0, 1)), r"\(2 \+ padding 1 \+ 1\)"),
        (((1, 9, 9, 1), (3, 3, 1, 1), 0), "strides: expected integers of at least 1"),
        (((1, 9, 9, 1), (3, 3, 1, 1), 1, "vaild"), "did you mean 'valid'"),
        (((1, 9, 9, 1), (3, 3, 1, 1), 1, "valid", (1, 2, 3)), "dilation: expected"),
    ],
)
def test_conv2d_errors_name_the_place_and_the_argument(
    arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^Conv2D 'first': .*{message}"):
        geometry.conv2d_geometry(*arguments, where="Conv2D 'first'")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((9, 9, 1), 2), "4 dimensions"),
        (((1, 0, 9, 1), 2), "pixels and channels"),
        (((1, 9, 9, 1), 10), "height: the window spans 10"),
        (((1, 9, 9, 1), (2, 10)), "width: the window spans 10"),
        (((1, 9, 9, 1), 2, 1, 2), "nothing but padding"),
        (((1, 9, 9, 1), 2, 1, ((0, 0), (0, 2))), "nothing but padding"),
    ],
)
def test_pool2d_errors_name_the_place_and_the_argument(
    arguments: tuple[object, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^MaxPooling2D 'second': .*{message}"):
        geometry.pool2d_geometry(*arguments, where="MaxPooling2D 'second'")  # type: ignore[arg-type]


def test_check_activation() -> None:
    for name in (None, *checks.OUTPUT_ACTIVATIONS):
        checks.check_activation(name)
    with pytest.raises(ValueError, match="Unknown fused activation 'gelu'"):
        checks.check_activation("gelu")
