"""Gradients of inputs phase by phase, against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet.primitives.geometry import conv2d_geometry
from tests.support.doors import Doors, reference
from tests.support.fast_arrays import check_sums, numbers

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))
strided = pytest.importorskip("gpunet.primitives.fast.strided")

Padding = str | tuple[tuple[int, int], tuple[int, int]]

SHAPES = [
    (2, 9, 11, 5, 7),
    (3, 17, 16, 17, 33),
    (2, 33, 5, 8, 24),
    (1, 1, 1, 3, 2),
    (1, 40, 70, 3, 5),
]
KERNELS = [(1, 1), (3, 3), (2, 3), (5, 4), (1, 3)]
STRIDES = [(1, 1), (2, 2), (3, 2), (1, 4), (5, 5)]
PADDINGS: list[Padding] = ["same", ((1, 0), (0, 2)), ((3, 4), (5, 1))]  # also more than the kernel


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("size", KERNELS)
def test_gradient_of_the_input(
    size: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> None:
    for seed, (images, height, width, channels, filters) in enumerate(SHAPES):
        x_shape, kernel_shape = (images, height, width, channels), (*size, channels, filters)
        options: dict[str, Any] = {"strides": strides, "padding": padding}
        try:
            g = conv2d_geometry(x_shape, kernel_shape, **options, dilation=1, groups=1)
        except ValueError:  # the kernel is larger than the padded input
            continue
        assert strided.plan(g) is not None
        kernel, output_grad = numbers(seed, kernel_shape), numbers(seed + 9, g.output_shape)
        found = fast.conv2d_backward_input(output_grad, kernel, x_shape, **options)
        wide = [array.astype(np.float64) for array in (output_grad, kernel)]
        expected = reference.conv2d_backward_input(*wide, x_shape, **options)
        sizes = reference.conv2d_backward_input(*map(np.abs, wide), x_shape, **options)
        check_sums(found, expected, size[0] * size[1] * filters, sizes)


def test_a_pixel_that_no_tap_reaches_has_a_gradient_of_0() -> None:
    output_grad, kernel = numbers(1, (2, 4, 4, 16)), numbers(2, (1, 1, 24, 16))
    found = fast.conv2d_backward_input(output_grad, kernel, (2, 10, 11, 24), strides=3)
    reached = np.zeros(found.shape, bool)
    reached[:, :10:3, :11:3] = True
    assert not found[~reached].any()
    assert found[reached].all()


def test_a_band_of_many_rows_is_divided() -> None:
    x_shape, kernel_shape = (2, 301, 19, 4), (3, 3, 4, 6)
    g = conv2d_geometry(x_shape, kernel_shape, strides=2, padding="same", dilation=1, groups=1)
    assert strided.plan(g).bands.bands > 1
    output_grad, kernel = (
        numbers(1, g.output_shape, whole=True),
        numbers(2, kernel_shape, whole=True),
    )
    options: dict[str, Any] = {"strides": 2, "padding": "same"}
    found = fast.conv2d_backward_input(output_grad, kernel, x_shape, **options)
    expected = reference.conv2d_backward_input(output_grad, kernel, x_shape, **options)
    np.testing.assert_array_equal(found, expected)
