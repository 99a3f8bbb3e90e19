"""The Numba twins of convolution, of it with max pooling, and of products, by the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gpunet.primitives import OUTPUT_ACTIVATIONS
from gpunet.primitives.geometry import conv2d_geometry, conv2d_max_pool_geometry
from tests.support.doors import Doors, reference
from tests.support.fast_arrays import Array, check_sums, lay_out, layouts, numbers, seeds

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))

CHECKED = (
    "bias_backward",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
    "matmul",
)
many = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.one_of(
    st.sampled_from(["valid", "same"]),
    st.integers(0, 3),
    st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
)
activations = st.sampled_from([None, "relu", *OUTPUT_ACTIVATIONS])
# fewer and more than the panels of all processors, 8 to 32 filters, and not multiples of them
channel_counts = st.sampled_from([1, 2, 3, 5, 8, 16, 24])
filter_counts = st.sampled_from([1, 3, 8, 15, 17, 32, 33, 40])


class Case:
    """A convolution, the arrays for it, and its options."""

    def __init__(self, draw: st.DrawFn, pooled: bool) -> None:
        self.groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
        channels, filters = draw(channel_counts), self.groups * draw(filter_counts)
        window, strides, dilation = draw(pairs), draw(pairs), draw(pairs)
        pool = draw(pairs) if pooled else (1, 1)
        height, width = (
            (size - 1) * apart + 1 + (windows - 1) * stride + draw(st.integers(0, 9))
            for size, apart, windows, stride in zip(window, dilation, pool, strides, strict=True)
        )
        self.x_shape = (draw(st.sampled_from([0, 1, 2, 9])), height, width, channels * self.groups)
        self.kernel_shape = (*window, channels, filters)
        self.options: dict[str, Any] = {
            "strides": strides,
            "padding": draw(paddings),
            "dilation": dilation,
            "groups": self.groups,
        }
        if pooled:
            self.options["pool_size"] = pool
        try:
            self.shape = self._output_shape(pooled)
        except ValueError:  # such as no padding that gives the same size
            assume(False)
        self.terms = window[0] * window[1] * channels
        self.activation = draw(activations)
        self.layout, self.seed, self.whole = draw(layouts), draw(seeds), draw(st.booleans())
        self.x, self.kernel = self.array(self.x_shape), self.array(self.kernel_shape)
        self.bias = draw(st.sampled_from([None, self.array((filters,))]))

    def _output_shape(self, pooled: bool) -> tuple[int, ...]:
        geometry = conv2d_max_pool_geometry if pooled else conv2d_geometry
        found: Any = geometry(self.x_shape, self.kernel_shape, **self.options)
        return (found[1] if pooled else found).output_shape

    def array(self, shape: tuple[int, ...]) -> Array:
        """Return an array for the case; all of them differ."""
        self.seed += 1
        return lay_out(numbers(self.seed, shape, whole=self.whole), self.layout)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """Draw a convolution."""
    return Case(draw, pooled=False)


@st.composite
def pooled_convolutions(draw: st.DrawFn) -> Case:
    """Draw a convolution with max pooling."""
    return Case(draw, pooled=True)


def wide(*arrays: Array | None) -> list[Any]:
    """Return arrays in float64, None as it is."""
    return [None if array is None else array.astype(np.float64) for array in arrays]


def sizes(*arrays: Array | None) -> list[Any]:
    """Return the absolute values in float64, None as it is."""
    return [None if array is None else np.abs(array) for array in wide(*arrays)]


# The activations change no more than 1.76 times as much as what they are applied to.
STEEPEST = 2


@many
@given(case=convolutions())
def test_convolution(case: Case) -> None:
    x, kernel, bias, options = case.x, case.kernel, case.bias, case.options
    y = fast.conv2d_forward(x, kernel, bias, **options, activation=case.activation)
    expected = reference.conv2d_forward(
        *wide(x, kernel, bias), **options, activation=case.activation
    )
    bound = STEEPEST * reference.conv2d_forward(*sizes(x, kernel, bias), **options) + 1
    check_sums(y, expected, case.terms, bound)
    output, output_grad = lay_out(y, case.layout), case.array(y.shape)
    fused = options | {"activation": case.activation}
    given_, given_wide = {"output": output}, {"output": output.astype(np.float64)}

    found = fast.conv2d_backward_weight(
        output_grad, x, kernel.shape, **fused, **given_, with_bias=True
    )
    expected = reference.conv2d_backward_weight(
        *wide(output_grad, x), kernel.shape, **fused, **given_wide, with_bias=True
    )
    bound = reference.conv2d_backward_weight(
        *sizes(output_grad, x), kernel.shape, **options, with_bias=True
    )
    outputs = y.size // max(1, y.shape[3])
    for each, right, size in zip(found, expected, bound, strict=True):
        check_sums(each, right, outputs, STEEPEST * size)

    input_grad = fast.conv2d_backward_input(output_grad, kernel, x.shape, **fused, **given_)
    expected = reference.conv2d_backward_input(
        *wide(output_grad, kernel), x.shape, **fused, **given_wide
    )
    bound = reference.conv2d_backward_input(*sizes(output_grad, kernel), x.shape, **options)
    check_sums(input_grad, expected, kernel.size, STEEPEST * bound)


def check_places(indices: Array, places: Array, y: Array, activation: str | None) -> None:
    """Assert that of equal outputs the first one was taken.

    The kernels find the largest before an activation, which may make equal what is not; but only
    where it does not rise, and so whichever is taken gets no gradient.
    """
    slopes = reference.activate_backward(np.ones_like(y), y, activation)
    np.testing.assert_array_equal(indices[slopes != 0], places[slopes != 0])


@many
@given(case=pooled_convolutions())
def test_convolution_with_max_pooling(case: Case) -> None:
    x, kernel, bias, options = case.x, case.kernel, case.bias, case.options
    fused = options | {"activation": case.activation}
    y, indices = fast.conv2d_max_pool_forward(x, kernel, bias, **fused)
    expected, places = reference.conv2d_max_pool_forward(*wide(x, kernel, bias), **fused)
    bound, _ = reference.conv2d_max_pool_forward(*sizes(x, kernel, bias), **options)
    check_sums(y, expected, case.terms, STEEPEST * bound + 1)
    assert indices.dtype == places.dtype
    if case.whole:  # and so without error
        check_places(indices, places, y, case.activation)
    output, output_grad = lay_out(y, case.layout), case.array(y.shape)
    indices = lay_out(indices, case.layout)
    given_, given_wide = {"output": output}, {"output": output.astype(np.float64)}

    found = fast.conv2d_max_pool_backward_weight(
        output_grad, indices, x, kernel.shape, **fused, **given_, with_bias=True
    )
    expected = reference.conv2d_max_pool_backward_weight(
        *wide(output_grad), indices, *wide(x), kernel.shape, **fused, **given_wide, with_bias=True
    )
    bound = reference.conv2d_max_pool_backward_weight(
        *sizes(output_grad), indices, *sizes(x), kernel.shape, **options, with_bias=True
    )
    outputs = y.size // max(1, y.shape[3])
    for each, right, size in zip(found, expected, bound, strict=True):
        check_sums(each, right, outputs, STEEPEST * size)

    input_grad = fast.conv2d_max_pool_backward_input(
        output_grad, indices, kernel, x.shape, **fused, **given_
    )
    expected = reference.conv2d_max_pool_backward_input(
        *wide(output_grad), indices, *wide(kernel), x.shape, **fused, **given_wide
    )
    bound = reference.conv2d_max_pool_backward_input(
        *sizes(output_grad), indices, *sizes(kernel), x.shape, **options
    )
    check_sums(input_grad, expected, kernel.size, STEEPEST * bound)


@given(seed=seeds, channels=channel_counts, filters=filter_counts, pool=pairs)
def test_nan_goes_where_the_reference_has_it(
    seed: int, channels: int, filters: int, pool: tuple[int, int]
) -> None:
    x = numbers(seed, (2, 9, 8, channels), whole=True)
    x[np.random.default_rng(seed).random(x.shape) < 0.02] = np.nan
    kernel = numbers(seed + 1, (3, 2, channels, filters), whole=True)
    for activation in (None, "relu"):
        options: dict[str, Any] = {"activation": activation, "padding": 1}
        np.testing.assert_array_equal(
            fast.conv2d_forward(x, kernel, **options),
            reference.conv2d_forward(x, kernel, **options),
        )
        found = fast.conv2d_max_pool_forward(x, kernel, pool_size=pool, **options)
        expected = reference.conv2d_max_pool_forward(x, kernel, pool_size=pool, **options)
        np.testing.assert_array_equal(found[0], expected[0])
        check_places(found[1], expected[1], expected[0], activation)


@many
@given(
    shape=st.tuples(*[st.sampled_from([0, 1, 2, 5, 10, 31, 64, 130])] * 3),
    transposed=st.tuples(st.booleans(), st.booleans()),
    with_bias=st.booleans(),
    activation=activations,
    layout=layouts,
    seed=seeds,
)
def test_products(
    shape: tuple[int, int, int],
    transposed: tuple[bool, bool],
    with_bias: bool,
    activation: str | None,
    layout: str,
    seed: int,
) -> None:
    rows, inner, columns = shape
    options: dict[str, Any] = {"transpose_a": transposed[0], "transpose_b": transposed[1]}
    a = numbers(seed, (inner, rows) if transposed[0] else (rows, inner))
    b = numbers(seed + 1, (columns, inner) if transposed[1] else (inner, columns))
    bias = numbers(seed + 2, (columns,)) if with_bias else None
    laid_out = [None if each is None else lay_out(each, layout) for each in (a, b, bias)]
    found = fast.matmul(*laid_out, **options, activation=activation)
    expected = reference.matmul(*wide(a, b, bias), **options, activation=activation)
    bound = reference.matmul(*sizes(a, b, bias), **options)
    check_sums(found, expected, inner, STEEPEST * bound + 1)


@given(
    shape=st.lists(st.sampled_from([0, 1, 3, 20, 150]), min_size=1, max_size=3),
    layout=layouts,
    seed=seeds,
)
def test_sum_of_rows(shape: list[int], layout: str, seed: int) -> None:
    grad = lay_out(numbers(seed, tuple(shape)), layout)
    expected = reference.bias_backward(*wide(grad))
    bound = reference.bias_backward(*sizes(grad))
    check_sums(fast.bias_backward(grad), expected, grad.size // max(1, shape[-1]), bound)


@given(
    shape=st.tuples(*[st.sampled_from([0, 1, 2, 7, 17, 40])] * 3),
    count=st.integers(0, 3),
    transposed=st.tuples(st.booleans(), st.booleans()),
    layout=layouts,
    seed=seeds,
)
def test_stacks_of_products(
    shape: tuple[int, int, int], count: int, transposed: tuple[bool, bool], layout: str, seed: int
) -> None:
    rows, inner, columns = shape
    options: dict[str, Any] = {"transpose_a": transposed[0], "transpose_b": transposed[1]}
    a = numbers(seed, (count, *((inner, rows) if transposed[0] else (rows, inner))))
    b = numbers(seed + 1, (count, *((columns, inner) if transposed[1] else (inner, columns))))
    found = fast.matmul(lay_out(a, layout), lay_out(b, layout), **options)
    expected = reference.matmul(*wide(a, b), **options)
    check_sums(found, expected, inner, reference.matmul(*sizes(a, b), **options))


def test_stacks_with_a_bias_and_float64_go_to_the_reference() -> None:
    a, b, bias = numbers(1, (2, 3, 4)), numbers(2, (2, 4, 5)), numbers(3, (5,))
    assert fast.matmul(a, b, bias).tolist() == reference.matmul(a, b, bias).tolist()
    x, kernel = (
        each.astype(np.float64) for each in (numbers(1, (2, 5, 5, 3)), numbers(2, (3, 3, 3, 4)))
    )
    y = fast.conv2d_forward(x, kernel)
    assert y.dtype == np.float64
    assert y.tolist() == reference.conv2d_forward(x, kernel).tolist()
