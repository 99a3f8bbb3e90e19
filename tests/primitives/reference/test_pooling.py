"""Pooling against loops over its definition, in float64."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet import primitives
from gpunet.primitives.reference import blocks
from tests.support.memory_use import peak_bytes
from tests.support.sums import assert_sums_close

Array = np.ndarray[Any, np.dtype[Any]]

WINDOW = 16  # the most pixels in a window, and the most windows that a pixel is in

NAN, INF = float("nan"), float("inf")

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
# few values, so that most windows hold ties; or any, so that none does
fillings = st.sampled_from([[0.0, 1.0], [-INF, -1.0], [-INF], [0.0, NAN, 2.0], None])
block_sizes = st.sampled_from([1, 2000, blocks.BLOCK_BYTES])


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, dict[str, Any]]:
    """Draw an input and the options of a pooling that fit each other."""
    window = draw(pairs)
    pads = [st.integers(0, size - 1) for size in window]
    padding = draw(
        st.one_of(
            st.sampled_from(["valid", "same"]),
            st.tuples(*pads),
            st.tuples(*(st.tuples(pad, pad) for pad in pads)),
        )
    )
    height, width = (size + draw(st.integers(0, 6)) for size in window)
    shape = (draw(st.integers(0, 3)), height, width, draw(st.integers(1, 3)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    filling = draw(fillings)
    x = generator.choice(filling, shape) if filling else generator.normal(size=shape)
    options = {
        "pool_size": window,
        "strides": draw(st.one_of(st.none(), pairs)),
        "padding": padding,
    }
    return x, options


def windows(x: Array, g: primitives.geometry.Pool2DGeometry) -> list[tuple[Any, Any, Array]]:
    """Return (output place, pixels that are no padding, their place in the window) of each."""
    found = []
    for place in np.ndindex(*g.output_shape[1:3]):
        axes = []
        for axis in (0, 1):
            first = place[axis] * g.strides[axis] - g.padding[axis][0]
            taps = np.arange(g.pool_size[axis])
            inside = (first + taps >= 0) & (first + taps < x.shape[axis + 1])
            axes.append((first + taps[inside], taps[inside]))
        (rows, row_taps), (columns, column_taps) = axes
        taps = np.add.outer(row_taps * g.pool_size[1], column_taps).ravel()
        found.append((place, np.ix_(rows, columns), taps))
    return found


@given(case=cases(), block_bytes=block_sizes)
def test_max_pooling_and_its_gradient(case: tuple[Array, dict[str, Any]], block_bytes: int) -> None:
    x, options = case
    geometry = primitives.geometry.pool2d_geometry(x.shape, **options)
    with mock.patch.object(blocks, "BLOCK_BYTES", block_bytes):
        y, indices = primitives.max_pool2d_forward(x, **options)
        output_grad = np.cos(np.arange(y.size)).reshape(y.shape)
        input_grad = primitives.max_pool2d_backward(output_grad, indices, x.shape, **options)
    assert indices.dtype == np.uint8
    expected_grad = np.zeros(x.shape)
    for (i, j), pixels, taps in windows(x, geometry):
        for image, channel in np.ndindex(x.shape[0], x.shape[3]):
            values = x[image, ..., channel][pixels].ravel()
            first = np.argmax(values)  # the first one; a NaN counts as the largest
            np.testing.assert_equal(y[image, i, j, channel], values[first])
            assert indices[image, i, j, channel] == taps[first]
            row, column = (axis.ravel() for axis in np.broadcast_arrays(*pixels))
            expected_grad[image, row[first], column[first], channel] += output_grad[
                image, i, j, channel
            ]
    sizes = primitives.max_pool2d_backward(np.abs(output_grad), indices, x.shape, **options)
    assert_sums_close(input_grad, expected_grad, WINDOW, sizes, computed=2)


@given(case=cases(), block_bytes=block_sizes)
def test_average_pooling_and_its_gradient(
    case: tuple[Array, dict[str, Any]], block_bytes: int
) -> None:
    x, options = np.nan_to_num(case[0], posinf=3, neginf=-3), case[1]
    geometry = primitives.geometry.pool2d_geometry(x.shape, **options)
    with mock.patch.object(blocks, "BLOCK_BYTES", block_bytes):
        y = primitives.average_pool2d_forward(x, **options)
        output_grad = np.cos(np.arange(y.size)).reshape(y.shape)
        input_grad = primitives.average_pool2d_backward(output_grad, x.shape, **options)
    expected_grad = np.zeros(x.shape)
    for (i, j), (rows, columns), taps in windows(x, geometry):
        pixels = x[:, rows, columns]
        means, sizes = (values.mean(axis=(1, 2)) for values in (pixels, np.abs(pixels)))
        assert_sums_close(y[:, i, j], means, WINDOW, sizes, computed=2)
        expected_grad[:, rows, columns] += output_grad[:, i : i + 1, j : j + 1] / len(taps)
    sizes = primitives.average_pool2d_backward(np.abs(output_grad), x.shape, **options)
    assert_sums_close(input_grad, expected_grad, WINDOW, sizes, computed=2)


def test_ties_go_to_the_first_in_row_major_order() -> None:
    x = np.array([[1.0, 5.0], [5.0, 5.0]]).reshape(1, 2, 2, 1)
    assert primitives.max_pool2d_forward(x, pool_size=2)[1].item() == 1
    x = np.array([[1.0, 4.0], [5.0, 5.0]]).reshape(1, 2, 2, 1)
    assert primitives.max_pool2d_forward(x, pool_size=2)[1].item() == 2


def test_large_windows_have_larger_indices() -> None:
    x = np.random.default_rng(0).permutation(np.arange(760.0)).reshape(2, 20, 19, 1)
    y, indices = primitives.max_pool2d_forward(x, pool_size=(17, 19))
    assert indices.dtype == np.int32
    windows_flat = x[:, :17].reshape(2, -1)
    assert (indices.ravel() == windows_flat.argmax(axis=1)).all()
    grad = primitives.max_pool2d_backward(np.ones_like(y), indices, x.shape, pool_size=(17, 19))
    assert (grad[:, :17].reshape(2, -1).argmax(axis=1) == indices.ravel()).all()
    assert grad.sum() == 2


def test_an_infinite_gradient_reaches_its_maximum_only() -> None:
    x = np.arange(4.0).reshape(1, 2, 2, 1)
    y, indices = primitives.max_pool2d_forward(x, pool_size=2)
    grad = primitives.max_pool2d_backward(np.full_like(y, INF), indices, x.shape, pool_size=2)
    assert grad.ravel().tolist() == [0, 0, 0, INF]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_element_type_stays(dtype: type) -> None:
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3)).astype(dtype)
    y, indices = primitives.max_pool2d_forward(x, pool_size=2, padding="same")
    grad = primitives.max_pool2d_backward(y, indices, x.shape, pool_size=2, padding="same")
    mean = primitives.average_pool2d_forward(x, pool_size=2, padding="same")
    mean_grad = primitives.average_pool2d_backward(mean, x.shape, pool_size=2, padding="same")
    assert {array.dtype for array in (y, grad, mean, mean_grad)} == {np.dtype(dtype)}


def test_no_temporary_is_as_large_as_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((128, 26, 26, 32), np.float32)  # 11 MB
    y = np.zeros((128, 13, 13, 32), np.float32)
    indices = np.zeros(y.shape, np.uint8)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 19)
    limit = 3 << 19
    for run, result in (
        (lambda: primitives.max_pool2d_forward(x, pool_size=2), y.nbytes + indices.nbytes),
        (lambda: primitives.max_pool2d_backward(y, indices, x.shape, pool_size=2), x.nbytes),
        (lambda: primitives.average_pool2d_forward(x, pool_size=2), y.nbytes),
        (lambda: primitives.average_pool2d_backward(y, x.shape, pool_size=2), x.nbytes),
    ):
        assert peak_bytes(run) < result + limit


def test_arguments_that_do_not_fit() -> None:
    x = np.zeros((1, 4, 4, 2))
    y, indices = primitives.max_pool2d_forward(x, pool_size=2)
    with pytest.raises(ValueError, match=r"max_pool2d: expected output_grad of shape \(1, 2, 2, 2"):
        primitives.max_pool2d_backward(x, indices, x.shape, pool_size=2)
    with pytest.raises(ValueError, match=r"max_pool2d: expected indices of shape \(1, 2, 2, 2"):
        primitives.max_pool2d_backward(y, indices[..., :1], x.shape, pool_size=2)
    with pytest.raises(ValueError, match=r"average_pool2d: expected output_grad of shape"):
        primitives.average_pool2d_backward(x, x.shape, pool_size=2)
    with pytest.raises(ValueError, match=r"max_pool2d: .*the window spans 5"):
        primitives.max_pool2d_forward(x, pool_size=5)
