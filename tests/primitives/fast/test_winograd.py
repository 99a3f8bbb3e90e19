"""Convolutions by Winograd's method, against the reference, and the rule that chooses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gpunet.primitives.geometry import Conv2DGeometry, conv2d_geometry
from tests.support.doors import Doors, reference
from tests.support.fast_arrays import Array, check_sums, lay_out, layouts, numbers, seeds

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))
plans = pytest.importorskip("gpunet.primitives.fast.plans")

# Roundings of a term besides those of the sum over channels: each of the three transforms adds two
# numbers to it along rows, and two along columns; weights are halved twice.
TRANSFORMS = 14

# At each place |V| is at most 4 times the largest |input| that the output sees, and what an output
# takes from U adds up to at most (2 + 1 + 1)^2 / 4 = 4 times the sum of the |weights|.
GROWTH = 16

many = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
paddings = st.one_of(
    st.sampled_from(["valid", "same"]),
    st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
)


class Case:
    """A convolution of 3 x 3, its arrays and its options."""

    def __init__(self, draw: st.DrawFn) -> None:
        images, channels = draw(st.integers(1, 9)), draw(st.sampled_from([16, 17, 24, 33]))
        filters = draw(st.sampled_from([7, 8, 15, 16, 17, 40]))
        height, width = draw(st.integers(3, 21)), draw(st.integers(3, 21))
        self.seed, self.whole = draw(seeds), draw(st.booleans())
        self.options: dict[str, Any] = {"padding": draw(paddings)}
        self.x_shape = (images, height, width, channels)
        self.kernel_shape = (3, 3, channels, filters)
        assume(is_by_winograd(self.x_shape, self.kernel_shape, **self.options))
        layout = draw(layouts)
        self.x = lay_out(self.array(self.x_shape), layout)
        self.kernel = lay_out(self.array(self.kernel_shape), layout)
        self.bias = draw(st.sampled_from([None, self.array((filters,))]))
        self.activation = draw(st.sampled_from([None, "relu"]))

    def array(self, shape: tuple[int, ...]) -> Array:
        """Return an array for the case; all of them differ."""
        self.seed += 1
        return numbers(self.seed, shape, whole=self.whole)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a convolution that is computed by Winograd's method."""
    return Case(draw)


def geometry(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], **options: Any) -> Any:
    given_: dict[str, Any] = {
        "strides": 1,
        "padding": "valid",
        "dilation": 1,
        "groups": 1,
    } | options
    return conv2d_geometry(x_shape, kernel_shape, **given_)


def is_by_winograd(x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], **options: Any) -> bool:
    found: Conv2DGeometry = geometry(x_shape, kernel_shape, **options)
    return bool(plans.plan(found, (1, 1), False).sizes.winograd)


def largest_seen(x: Array, padding: Any) -> Array:
    """Return the largest |input| of each channel that each output sees."""
    padded = np.pad(np.abs(x.astype(np.float64)), ((0, 0), *padding, (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2)).max((-2, -1))


def sums_of_weights(kernel: Array) -> Array:
    """Return the sums of the |weights| of each channel and filter."""
    return np.abs(kernel.astype(np.float64)).sum((0, 1))


def wide(*arrays: Array | None) -> list[Any]:
    return [None if array is None else array.astype(np.float64) for array in arrays]


def check(case: Case, found: Array, expected: Array, terms: int, sizes: Array) -> None:
    """Compare; sums of small whole numbers are exact."""
    if case.whole:
        np.testing.assert_array_equal(found, expected)
    check_sums(found, expected, terms + TRANSFORMS, sizes)


@many
@given(case=cases())
def test_outputs(case: Case) -> None:
    options = case.options | {"activation": case.activation}
    found = fast.conv2d_forward(case.x, case.kernel, case.bias, **options)
    expected = reference.conv2d_forward(*wide(case.x, case.kernel, case.bias), **options)
    padding = geometry(case.x_shape, case.kernel_shape, **case.options).padding
    sizes = GROWTH * largest_seen(case.x, padding) @ sums_of_weights(case.kernel)
    bias = 0 if case.bias is None else np.abs(case.bias)
    check(case, found, expected, case.x_shape[3], sizes + bias)


@many
@given(case=cases())
def test_gradient_of_the_input(case: Case) -> None:
    g = geometry(case.x_shape, case.kernel_shape, **case.options)
    output_grad = case.array(g.output_shape)
    found = fast.conv2d_backward_input(output_grad, case.kernel, case.x_shape, **case.options)
    expected = reference.conv2d_backward_input(
        *wide(output_grad, case.kernel), case.x_shape, **case.options
    )
    (top, _), (left, _) = g.padding
    _, height, width, _ = case.x_shape
    seen = largest_seen(output_grad, ((2, 2), (2, 2)))[:, top : top + height, left : left + width]
    sizes = GROWTH * seen @ sums_of_weights(case.kernel).T
    # With too much padding the sums are direct ones, of 9 terms a filter.
    check(case, found, expected, 9 * case.kernel_shape[3], sizes)


@many
@given(case=cases())
def test_gradients_of_the_weights(case: Case) -> None:
    y_shape = geometry(case.x_shape, case.kernel_shape, **case.options).output_shape
    output, output_grad = case.array(y_shape), case.array(y_shape)
    options = case.options | {"activation": case.activation, "with_bias": True}
    kernel_grad, bias_grad = fast.conv2d_backward_weight(
        output_grad, case.x, case.kernel_shape, **options, output=output
    )
    expected, expected_bias = reference.conv2d_backward_weight(
        *wide(output_grad, case.x), case.kernel_shape, **options, output=output.astype(np.float64)
    )
    outputs = output.size // y_shape[3]
    sizes = np.abs(output_grad.astype(np.float64)).sum((0, 1, 2))
    check_sums(bias_grad, expected_bias, outputs, sizes)
    # Of each tile |V| is at most 4 times the largest |input|; a gradient is in each row of U at
    # most once, and the three places of a row that count are weighted by 1, 1/2 and 1/2.
    inputs = 4 * np.abs(case.x.astype(np.float64)).max((1, 2))
    grads = 4 * np.abs(output_grad.astype(np.float64)).sum((1, 2))
    bound = np.broadcast_to(inputs.T @ grads, case.kernel_shape)
    check(case, kernel_grad, expected, outputs, bound)


@pytest.mark.parametrize("shape", [(3, 3), (8, 8), (9, 14), (32, 5)])
def test_a_sample_has_the_same_bits_in_each_batch(shape: tuple[int, int]) -> None:
    x, kernel = numbers(1, (7, *shape, 16)), numbers(2, (3, 3, 16, 20))
    y = fast.conv2d_forward(x, kernel, padding="same")
    for first, last in ((0, 1), (2, 5), (6, 7)):
        few = fast.conv2d_forward(x[first:last], kernel, padding="same")
        np.testing.assert_array_equal(few, y[first:last])


@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_nan_goes_no_further_than_the_outputs_that_see_it(activation: str | None) -> None:
    x, kernel = numbers(1, (2, 9, 10, 16), whole=True), numbers(2, (3, 3, 16, 20), whole=True)
    x[np.random.default_rng(3).random(x.shape) < 0.002] = np.nan
    options: dict[str, Any] = {"padding": "same", "activation": activation}
    found = fast.conv2d_forward(x, kernel, **options)
    assert 0 < np.isnan(found).mean() < 0.5
    np.testing.assert_array_equal(found, reference.conv2d_forward(x, kernel, **options))


@pytest.mark.parametrize("shape", [(3, 3), (9, 14), (32, 32)])
def test_an_error_is_no_larger_than_that_of_a_sum_of_all_products(shape: tuple[int, int]) -> None:
    x, kernel = numbers(1, (4, *shape, 32)), numbers(2, (3, 3, 32, 32))
    y = fast.conv2d_forward(x, kernel, padding="same")
    expected = reference.conv2d_forward(*wide(x, kernel), padding="same")
    in_order = np.zeros(y.shape, np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for row in range(3):
        for column in range(3):
            seen = padded[:, row : row + shape[0], column : column + shape[1]]
            for channel in range(32):
                in_order += seen[..., channel, None] * kernel[row, column, channel]
    assert np.abs(y - expected).max() <= np.abs(in_order - expected).max()


def test_small_products_few_channels_and_other_kernels_are_direct() -> None:
    assert is_by_winograd((1, 8, 8, 64), (3, 3, 64, 64), padding="same")
    assert is_by_winograd((1, 32, 32, 16), (3, 3, 16, 16), padding="same")
    assert not is_by_winograd((1, 3, 3, 64), (3, 3, 64, 64))  # one output of a tile
    assert not is_by_winograd((1, 32, 32, 3), (3, 3, 3, 64))
    assert not is_by_winograd((1, 32, 32, 64), (3, 3, 64, 1))
    assert not is_by_winograd((1, 32, 32, 64), (3, 3, 64, 64), strides=2)
    assert not is_by_winograd((1, 32, 32, 64), (3, 3, 64, 64), dilation=2)
    assert not is_by_winograd((1, 32, 32, 64), (5, 5, 64, 64))
    assert not is_by_winograd((1, 4, 9000, 64), (3, 3, 64, 64))  # a row of tiles fills no cache
