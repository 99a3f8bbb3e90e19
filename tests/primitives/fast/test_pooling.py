"""The Numba twins of pooling and of softmax, against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.primitives.geometry import pool2d_geometry
from tests.support.doors import Doors, reference
from tests.support.fast_arrays import EPSILON, Array, check_sums, lay_out, layouts, numbers, seeds

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))

CHECKED = (
    "average_pool2d_backward",
    "average_pool2d_forward",
    "log_softmax_backward",
    "log_softmax_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
)

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
fillings = st.sampled_from([[0.0, 1.0], [-np.inf, -1.0], [-np.inf], [0.0, np.nan, 2.0], None])


@st.composite
def poolings(draw: st.DrawFn) -> tuple[Array, dict[str, Any], str]:
    """Draw an input, the options of a pooling, and how the arrays lie."""
    window = draw(pairs)
    pads = [st.integers(0, size - 1) for size in window]
    padding = draw(
        st.one_of(
            st.sampled_from(["valid", "same"]),
            st.tuples(*(st.tuples(pad, pad) for pad in pads)),
        )
    )
    height, width = (size + draw(st.integers(0, 9)) for size in window)
    channels = draw(st.sampled_from([1, 3, 4, 8, 9, 16, 20, 33]))
    shape = (draw(st.integers(0, 3)), height, width, channels)
    seed, filling = draw(seeds), draw(fillings)
    x = numbers(seed, shape)
    if filling:
        x = np.random.default_rng(seed).choice(filling, shape).astype(np.float32)
    strides = draw(st.one_of(st.none(), pairs))
    options = {"pool_size": window, "strides": strides, "padding": padding}
    return x, options, draw(layouts)


@settings(max_examples=300)
@given(case=poolings(), seed=seeds)
def test_max_pooling(case: tuple[Array, dict[str, Any], str], seed: int) -> None:
    x, options, layout = case
    y, indices = fast.max_pool2d_forward(lay_out(x, layout), **options)
    expected, places = reference.max_pool2d_forward(x.astype(np.float64), **options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, places)
    assert (y.dtype, indices.dtype) == (np.float32, places.dtype)
    grad = numbers(seed, y.shape)
    arrays = lay_out(grad, layout), lay_out(indices, layout)
    found = fast.max_pool2d_backward(*arrays, x.shape, **options)
    wide = grad.astype(np.float64)
    expected = reference.max_pool2d_backward(wide, indices, x.shape, **options)
    sizes = reference.max_pool2d_backward(np.abs(wide), indices, x.shape, **options)
    check_sums(found, expected, 16, sizes)  # a pixel is in at most 16 windows


@settings(max_examples=300)
@given(case=poolings(), seed=seeds)
def test_average_pooling(case: tuple[Array, dict[str, Any], str], seed: int) -> None:
    x, options, layout = case
    x = np.nan_to_num(x, posinf=3, neginf=-3)
    found = fast.average_pool2d_forward(lay_out(x, layout), **options)
    wide = x.astype(np.float64)
    expected = reference.average_pool2d_forward(wide, **options)
    check_sums(found, expected, 16, reference.average_pool2d_forward(np.abs(wide), **options))
    grad = numbers(seed, found.shape)
    found = fast.average_pool2d_backward(lay_out(grad, layout), x.shape, **options)
    wide = grad.astype(np.float64)
    expected = reference.average_pool2d_backward(wide, x.shape, **options)
    sizes = reference.average_pool2d_backward(np.abs(wide), x.shape, **options)
    check_sums(found, expected, 16, sizes)


def test_large_windows_are_summed_row_by_row_or_left_to_the_reference() -> None:
    x = np.full((2, 70, 16, 40), np.float32(0.1))
    mean = fast.average_pool2d_forward(x, pool_size=(16, 16))
    np.testing.assert_allclose(mean, 0.1, rtol=32 * EPSILON)
    window = (70, 16)  # more elements than uint8 can count
    assert pool2d_geometry(x.shape, window).index_dtype == "int32"
    y, indices = fast.max_pool2d_forward(x, pool_size=window)
    assert indices.dtype == np.int32
    grad = fast.max_pool2d_backward(y, indices, x.shape, pool_size=window)
    assert np.count_nonzero(grad) == y.size  # windows do not overlap: each gradient lands once
    np.testing.assert_array_equal(np.sort(grad[grad != 0]), np.sort(y.ravel()))


def test_float64_and_errors_are_those_of_the_reference() -> None:
    x = np.ones((1, 4, 4, 16))
    assert fast.max_pool2d_forward(x, pool_size=2)[0].dtype == np.float64
    assert fast.average_pool2d_forward(x, pool_size=2).dtype == np.float64
    with pytest.raises(ValueError, match="max_pool2d: expected output_grad of shape"):
        fast.max_pool2d_backward(x, x, x.shape, pool_size=2)
    with pytest.raises(ValueError, match="average_pool2d: expected output_grad of shape"):
        fast.average_pool2d_backward(x, x.shape, pool_size=2)


row_shapes = st.one_of(
    st.tuples(st.integers(0, 40), st.integers(1, 70)),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 20)),
    st.tuples(st.integers(1, 90)),
    st.just((3, 3000)),
)


@given(shape=row_shapes, seed=seeds, layout=layouts, axis=st.sampled_from([-1, 0]))
def test_softmax_and_its_logarithm(
    shape: tuple[int, ...], seed: int, layout: str, axis: int
) -> None:
    if shape[axis] == 0:
        return
    x, grad = 4 * numbers(seed, shape), numbers(seed + 1, shape)
    terms = shape[axis] + 40  # as many as are summed; an exponent of up to 40 is off by that much
    for name in ("softmax", "log_softmax"):
        forward, backward = (f"{name}_{way}" for way in ("forward", "backward"))
        y = getattr(fast, forward)(lay_out(x, layout), axis=axis)
        expected = getattr(reference, forward)(x.astype(np.float64), axis=axis)
        check_sums(y, expected, terms, np.abs(expected) + (name == "log_softmax"))
        found = getattr(fast, backward)(lay_out(grad, layout), lay_out(y, layout), axis=axis)
        wide, y_wide = grad.astype(np.float64), y.astype(np.float64)
        expected = getattr(reference, backward)(wide, y_wide, axis=axis)
        total = np.sum(np.abs(wide), axis=axis, keepdims=True)
        check_sums(found, expected, terms, np.abs(wide) + total * np.exp(0 * y_wide))


@st.composite
def labels_of(draw: st.DrawFn, shape: tuple[int, int]) -> Array:
    """Draw class numbers or probabilities for logits of a shape, of any type they may have."""
    generator = np.random.default_rng(draw(seeds))
    if draw(st.booleans()):
        dtype = draw(st.sampled_from(["uint8", "int32", "int64", "uint64"]))
        return generator.integers(0, min(shape[1], 200), shape[:1]).astype(dtype)
    dtype = draw(st.sampled_from(["float32", "float64", "int64", "bool"]))
    return (generator.random(shape) * 1.5).astype(dtype)


@settings(max_examples=200)
@given(data=st.data(), seed=seeds, layout=layouts)
def test_cross_entropy(data: st.DataObject, seed: int, layout: str) -> None:
    shape = data.draw(
        st.tuples(st.sampled_from([0, 1, 5, 33, 900]), st.sampled_from([1, 7, 10, 90]))
    )
    logits, labels = 4 * numbers(seed, shape), lay_out(data.draw(labels_of(shape)), layout)
    losses, probabilities = fast.softmax_cross_entropy_forward(lay_out(logits, layout), labels)
    in_float32 = labels.astype(np.float32) if labels.ndim == 2 else labels
    expected = reference.softmax_cross_entropy_forward(
        logits.astype(np.float64), in_float32.astype(np.float64) if labels.ndim == 2 else labels
    )
    terms = shape[1] + 40
    check_sums(probabilities, expected[1], terms, expected[1])
    weights = np.abs(in_float32).sum(axis=1) if labels.ndim == 2 else 1
    check_sums(losses, expected[0], terms, np.full(shape[0], 40.0) * weights)
    grad = numbers(seed + 1, shape[:1])
    found = fast.softmax_cross_entropy_backward(
        lay_out(grad, layout), lay_out(probabilities, layout), labels
    )
    expected_grad = reference.softmax_cross_entropy_backward(
        grad.astype(np.float64), probabilities.astype(np.float64), labels
    )
    sizes = np.abs(grad * (1 + weights))[:, None] * np.ones(shape)
    check_sums(found, expected_grad, terms, sizes)


def test_infinite_logits_and_nan() -> None:
    inf, nan = np.float32(np.inf), np.float32(np.nan)
    rows = [
        [1, -inf, 2],
        [-inf, -inf, -inf],
        [inf, 0, 0],
        [nan, 0, 1],
        [0, 1, nan],
        [-1e30, 0, 1e30],
    ]
    logits = np.array([row * 5 for row in rows], np.float32)
    with np.errstate(invalid="ignore"):
        for name in ("softmax_forward", "log_softmax_forward"):
            found, expected = getattr(fast, name)(logits), getattr(reference, name)(logits)
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        labels = np.zeros(logits.shape, np.float32)
        labels[:, 0] = 1
        for kind in (labels, np.zeros(len(logits), np.int64)):
            found = fast.softmax_cross_entropy_forward(logits, kind)
            expected = reference.softmax_cross_entropy_forward(logits, kind)
            for each, right in zip(found, expected, strict=True):
                np.testing.assert_allclose(each, right, rtol=1e-6)


@pytest.mark.parametrize("number", [-1, 10, 2**40])
def test_class_numbers_out_of_range(number: int) -> None:
    logits, labels = np.zeros((3, 10), np.float32), np.array([0, number, 9])
    with pytest.raises(ValueError, match=r"expected class numbers in \[0, 10\)"):
        fast.softmax_cross_entropy_forward(logits, labels)
    with pytest.raises(ValueError, match=r"expected class numbers in \[0, 10\)"):
        fast.softmax_cross_entropy_backward(logits[:, 0], logits, labels)
    with pytest.raises(ValueError, match="expected output_grad of shape"):
        fast.softmax_cross_entropy_backward(logits, logits, labels % 10)
