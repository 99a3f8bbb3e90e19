"""The Numba twins of normalization, against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.doors import Doors, reference
from tests.support.fast_arrays import EPSILON, Array, lay_out, layouts, numbers, seeds

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))

CHECKED = (
    "normalize_backward", "normalize_channels", "normalize_channels_backward", "normalize_forward",
    "normalize_inference",
)  # fmt: skip

members = st.sampled_from([1, 2, 5, 16, 21, 70])


@st.composite
def groups(draw: st.DrawFn) -> tuple[tuple[int, int, int], int]:
    """Draw a shape, and a number of groups that divides the channels."""
    count = draw(st.sampled_from([1, 2, 3, 8]))
    shape = (
        draw(st.integers(0, 5)),
        draw(st.sampled_from([1, 2, 7, 48, 300])),
        count * draw(members),
    )
    return shape, count


def close(found: Array, expected: Array, terms: int) -> None:
    """Assert float32's rounding: of sums of `terms` products of numbers of up to about 8."""
    assert found.dtype == np.float32
    scale = 8 * np.abs(expected).max(initial=1.0)
    atol = (8 + 4 * terms**0.5) * EPSILON * scale
    np.testing.assert_allclose(found, expected, rtol=32 * EPSILON, atol=atol)


@settings(max_examples=200)
@given(case=groups(), centered=st.booleans(), weights=st.booleans(), layout=layouts, seed=seeds)
def test_groups(case: Any, centered: bool, weights: bool, layout: str, seed: int) -> None:
    """Of numbers around 3. `epsilon` is large: a group of few numbers may be all alike."""
    shape, count = case
    x, output_grad = numbers(seed, shape) + np.float32(3), numbers(seed + 1, shape)
    gamma, beta = numbers(seed + 2, (2, shape[2])) if weights else (None, None)
    options = {"groups": count, "epsilon": 0.5}
    given = [x, gamma, beta]
    wide = [None if array is None else array.astype(np.float64) for array in given]
    laid = [None if array is None else lay_out(array, layout) for array in given]
    found = fast.normalize_forward(*laid, **options, centered=centered)
    expected = reference.normalize_forward(*wide, **options, centered=centered)
    terms = max(shape[1] * shape[2] // count, shape[0] * shape[1])
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            close(one, other, terms)
    found = fast.normalize_backward(
        lay_out(output_grad, layout), laid[0], laid[1], *found[1:], **options
    )
    expected = reference.normalize_backward(
        output_grad.astype(np.float64), wide[0], wide[1], *expected[1:], **options
    )
    for one, other in zip(found, expected, strict=True):
        close(one, other, terms)


@settings(max_examples=100)
@given(
    rows=st.sampled_from([1, 2, 7, 48, 300]), channels=members, weights=st.booleans(),
    added=st.booleans(), activation=st.sampled_from([None, "relu", "tanh"]), layout=layouts,
    seed=seeds,
)  # fmt: skip
def test_channels(
    rows: int, channels: int, weights: bool, added: bool, activation: Any, layout: str, seed: int
) -> None:
    """Of relu's gradient the reference takes the sign from the output that was found."""
    x, output_grad, other = numbers(seed, (3, rows, channels))
    gamma, beta = numbers(seed + 2, (2, channels)) if weights else (None, None)
    given = [x, gamma, beta, other if added else None]
    wide = [None if array is None else array.astype(np.float64) for array in given]
    laid = [None if array is None else lay_out(array, layout) for array in given]
    options = {"epsilon": 0.5, "activation": activation}
    found = fast.normalize_channels(*laid, **options)
    expected = reference.normalize_channels(*wide, **options)
    for one, other in zip(found, expected, strict=True):
        close(one, other, rows)
    options["with_added"] = added
    y = found[0] if activation == "relu" else expected[0]  # one decides for both
    found = fast.normalize_channels_backward(
        lay_out(output_grad, layout), laid[0], laid[1], *found[1:], output=found[0], **options
    )
    expected = reference.normalize_channels_backward(
        output_grad.astype(np.float64), wide[0], wide[1], *expected[1:],
        output=y.astype(np.float64), **options,
    )  # fmt: skip
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            close(one, other, rows)


@pytest.mark.parametrize("positions", [1, 4096])
def test_a_mean_far_from_0_costs_few_digits(positions: int) -> None:
    """Two passes over the deviations: a sum of squares less a square would leave none."""
    shape = (1, positions, 64) if positions > 1 else (64, 1, 4096)
    x = (numbers(0, shape) + np.float32(1000)).astype(np.float32)
    count = 64 if positions > 1 else 1
    _, mean, variance = fast.normalize_forward(x, None, None, groups=count, epsilon=1e-3)
    axes = (1,) if positions > 1 else (1, 2)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean.ravel(), exact.mean(axes).ravel(), rtol=1e-6)
    np.testing.assert_allclose(variance.ravel(), exact.var(axes).ravel(), rtol=1e-4)


@given(channels=members, rows=st.integers(0, 70), layout=layouts, seed=seeds)
def test_inference(channels: int, rows: int, layout: str, seed: int) -> None:
    x, others = numbers(seed, (rows, 3, channels)), numbers(seed, (3, channels))
    variance = np.abs(numbers(seed + 1, (channels,)))
    mean, gamma, beta = others
    found = fast.normalize_inference(lay_out(x, layout), mean, variance, gamma, beta, epsilon=1e-3)
    wide = (array.astype(np.float64) for array in (x, mean, variance, gamma, beta))
    close(found, reference.normalize_inference(*wide, epsilon=1e-3), 1)


def test_numbers_that_are_not_finite_spread_within_their_group_alone() -> None:
    x = numbers(0, (2, 40, 6))
    x[0, 3, 1], x[1, 7, 5] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        y, mean, variance = fast.normalize_forward(x, None, None, groups=3, epsilon=1e-3)
        expected = reference.normalize_forward(x, None, None, groups=3, epsilon=1e-3)
    assert np.isnan(variance).tolist() == [[True, False, False], [False, False, True]]
    np.testing.assert_array_equal(np.isnan(variance), np.isnan(expected[2]))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected[0]))
    assert np.isfinite(mean[0, 1:]).all()
