"""The kernels of convolution of few channels with max pooling, run on the CPU: sizes at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.primitives.cuda import conv_pool_small
from gpunet.primitives.geometry import conv2d_max_pool_geometry
from gpunet.primitives.launch import use_executor
from tests.primitives.cuda.test_conv_pool import windows
from tests.support.cuda_on_cpu.builds import RecordingExecutor
from tests.support.cuda_on_cpu.cpu_executor import ORDERS, CpuExecutor, compiler
from tests.support.doors import cuda, reference
from tests.support.sums import assert_sums_close

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

Array = np.ndarray[Any, np.dtype[Any]]
Drawn = tuple[Array, Array, Array, dict[str, Any]]

pads = st.integers(0, 5)  # more than a kernel reaches: outputs that see no pixel
# Height, width and channels of the kernel, and strides: each has builds of its own.
builds = st.sampled_from([(3, 3, 1, (1, 1)), (2, 3, 3, (2, 1)), (1, 1, 2, (2, 2))])


@st.composite
def cases(draw: st.DrawFn) -> Drawn:
    """Draw an input, a kernel, a bias and options that fit each other and make a window."""
    height, width, channels, strides = draw(builds)
    padding = (draw(st.tuples(pads, pads)), draw(st.tuples(pads, pads)))
    size = (
        height + strides[0] + draw(st.integers(0, 9)),
        width + strides[1] + draw(st.integers(0, 70)),
    )
    filters = draw(st.sampled_from([1, 3, 32, 33, 70]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = (draw(st.integers(0, 3)), *size, channels), (height, width, channels, filters)
    whole = draw(st.booleans())  # numbers, of which many sums are equal
    x, kernel, bias = (
        (rng.integers(-1, 2, shape) if whole else rng.normal(size=shape)).astype(np.float32)
        for shape in (*shapes, (filters,))
    )
    return x, kernel, bias, {"strides": strides, "padding": padding}


drawn = {"case": cases(), "multiprocessors": st.sampled_from([1, 3, 132])}


@given(**drawn)
@settings(max_examples=60)
def test_the_largest_of_each_window_and_where_it_is(case: Drawn, multiprocessors: int) -> None:
    x, kernel, bias, options = case
    executor = CpuExecutor(multiprocessors=multiprocessors)
    with use_executor(executor):
        y, indices = cuda.conv2d_max_pool_forward(x, kernel, bias, **options)
    assert all("small" in launch.kernel.name for launch in executor.launches)
    values = windows(x, kernel, bias, options)
    sizes = windows(np.abs(x), np.abs(kernel), np.abs(bias), options).max(4)
    assert_sums_close(y, values.max(4), kernel.size, sizes)
    chosen = np.take_along_axis(values, indices[..., None].astype(int), 4)[..., 0]
    # It may be as far below the largest as both are off.
    assert_sums_close(chosen.astype(np.float32), values.max(4), kernel.size, sizes, computed=2)
    if np.array_equal(kernel, kernel.round()):  # sums are exact, and so is which is the first
        np.testing.assert_array_equal(indices, values.argmax(4))


@given(**drawn)
@settings(max_examples=60)
def test_gradients_of_weights(case: Drawn, multiprocessors: int) -> None:
    x, kernel, bias, options = case
    wide = [array.astype(np.float64) for array in (x, kernel, bias)]
    y, indices = reference.conv2d_max_pool_forward(*wide, activation="relu", **options)
    grad = np.cos(np.arange(y.size)).reshape(y.shape).astype(np.float32)
    options |= {"activation": "relu", "with_bias": True}
    with use_executor(CpuExecutor(multiprocessors=multiprocessors)):
        found = cuda.conv2d_max_pool_backward_weight(
            grad, indices, x, kernel.shape, output=y.astype(np.float32), **options
        )
    oracle, sizes = (
        reference.conv2d_max_pool_backward_weight(
            each(grad.astype(np.float64)), indices, each(wide[0]), kernel.shape, output=y, **options
        )
        for each in (np.array, np.abs)
    )
    for ours, expected, size in zip(found, oracle, sizes, strict=True):
        assert_sums_close(ours, expected, max(1, y.size // y.shape[3]), size)


@pytest.mark.parametrize("multiprocessors", [1, 3, 132])
def test_how_many_parts_there_are_changes_with_the_device_alone(multiprocessors: int) -> None:
    """The parts fill the shape that is told, and have equal bits in every order of threads."""
    rng = np.random.default_rng(0)
    x, grad = rng.normal(size=(5, 28, 28, 1)), rng.normal(size=(5, 13, 13, 32))
    x, grad = x.astype(np.float32), grad.astype(np.float32)
    indices = rng.integers(0, 4, grad.shape, np.uint8)
    geometry, _ = conv2d_max_pool_geometry(x.shape, (3, 3, 1, 32))
    runs = []
    for order in ORDERS:
        with use_executor(executor := CpuExecutor(order, multiprocessors)):
            shape = conv_pool_small.weight_parts_shape(x, geometry, True)
            partial = executor.empty(shape, np.float32)
            conv_pool_small.backward_weight_parts(
                (grad, None, indices), x, geometry, None, True, partial
            )
        assert 1 <= shape[0] <= multiprocessors
        assert shape[1:] == (10, 32)
        assert np.isfinite(partial).all()
        runs.append(partial.tobytes())
    assert runs[0] == runs[1] == runs[2]
    expected = grad.astype(np.float64).sum((0, 1, 2))
    sizes = np.abs(grad.astype(np.float64)).sum((0, 1, 2))
    assert_sums_close(partial[:, 9].sum(0), expected, 5 * 13 * 13, sizes)


def launched(
    shape: tuple[int, ...], kernel: tuple[int, ...], dtype: str = "float32", **options: Any
) -> str:
    x, weights = np.zeros(shape, dtype), np.zeros(kernel, dtype)
    with use_executor(executor := RecordingExecutor()):
        cuda.conv2d_max_pool_forward(x, weights, **options)
    return executor.launches[0].kernel.name.removeprefix("conv2d_max_pool_")


def test_what_the_kernels_know() -> None:
    assert launched((1, 9, 9, 4), (5, 5, 4, 2)) == "small_forward"
    assert launched((1, 9, 9, 4), (5, 5, 4, 2), strides=2) == "small_forward"
    assert launched((1, 9, 9, 2), (5, 5, 2, 2), "float64") == "small_forward"
    assert launched((1, 9, 9, 3), (5, 5, 3, 2), "float64") == "forward", "too many registers"
    assert launched((1, 9, 9, 5), (3, 3, 5, 2)) == "forward"
    assert launched((1, 9, 9, 1), (6, 3, 1, 2)) == "forward"
    assert launched((1, 9, 9, 1), (3, 3, 1, 2), strides=(1, 3)) == "forward"
    assert launched((1, 9, 9, 1), (3, 3, 1, 2), dilation=2) == "forward"
    assert launched((1, 9, 9, 4), (3, 3, 2, 2), groups=2) == "forward"
