"""The kernels of convolution with max pooling, run on the CPU: shapes at random, ties, memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.primitives import launch as launcher
from gpunet.primitives.cuda import tiling
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.builds import RecordingExecutor
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.doors import cuda, reference
from tests.support.sums import assert_sums_close

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

Array = np.ndarray[Any, np.dtype[Any]]
Drawn = tuple[Array, Array, Array, dict[str, Any]]

NAN = float("nan")

pads = st.integers(0, 2)
# Whole numbers, of which many sums are equal, without or with NaN; or any numbers.
fillings = st.sampled_from([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0, 1.0, 0.0, -1.0, NAN], None])


@pytest.fixture
def executor() -> Iterator[CpuExecutor]:
    with use_executor(executor := CpuExecutor()):
        yield executor


@st.composite
def cases(draw: st.DrawFn) -> Drawn:
    """Draw an input, a kernel, a bias and options that fit each other and make a window."""
    groups, kernel = draw(st.integers(1, 2)), draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(
        st.one_of(st.just("valid"), st.tuples(st.tuples(pads, pads), st.tuples(pads, pads)))
    )
    height, width = (
        (size - 1) * spread + 1 + stride + draw(st.integers(0, 7))
        for size, spread, stride in zip(kernel, dilation, strides, strict=True)
    )
    channels, filters = draw(st.sampled_from([5, 7, 8, 20])), draw(st.sampled_from([1, 3, 4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = (draw(st.integers(0, 3)), height, width, channels * groups), (
        *kernel, channels, filters * groups,
    )  # fmt: skip
    filling = draw(fillings)
    x, weights, bias = (
        rng.normal(size=shape) if filling is None else rng.choice(filling[:3], shape)
        for shape in (*shapes, shapes[1][3:])
    )
    if filling and len(filling) > 3:
        x[rng.random(x.shape) < 0.02] = NAN
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    return x.astype(np.float32), weights.astype(np.float32), bias.astype(np.float32), options


def windows(x: Array, kernel: Array, bias: Array, options: dict[str, Any]) -> Array:
    """Return the outputs of each window, (batch, rows, columns, filters, 4)."""
    y = reference.conv2d_forward(
        x.astype(np.float64), kernel.astype(np.float64), bias.astype(np.float64), **options
    )
    batch, rows, columns, filters = y.shape
    y = y[:, : rows // 2 * 2, : columns // 2 * 2]
    y = y.reshape(batch, rows // 2, 2, columns // 2, 2, filters)
    return y.transpose(0, 1, 3, 5, 2, 4).reshape(batch, rows // 2, columns // 2, filters, 4)


# With one multiprocessor no sum is split, with many those are that have enough terms.
drawn = {
    "case": cases(),
    "activation": st.sampled_from([None, "relu"]),
    "multiprocessors": st.sampled_from([1, 132]),
}


@given(**drawn)
@settings(max_examples=60)
def test_the_largest_of_each_window_and_where_it_is(
    case: Drawn, activation: str | None, multiprocessors: int
) -> None:
    x, kernel, bias, options = case
    with use_executor(CpuExecutor(multiprocessors=multiprocessors)):
        y, indices = cuda.conv2d_max_pool_forward(x, kernel, bias, activation=activation, **options)
    values = windows(x, kernel, bias, options)
    expected = values.max(4)  # NaN if there is one
    sizes = windows(np.abs(x), np.abs(kernel), np.abs(bias), options).max(4)
    largest = expected if activation is None else np.maximum(expected, 0)
    assert_sums_close(y, largest, kernel.size, sizes)
    assert indices.dtype == np.uint8
    assert indices.max(initial=0) < 4
    chosen = np.take_along_axis(values, indices[..., None].astype(int), 4)[..., 0]
    if np.array_equal(kernel, kernel.round()):  # sums are exact, and so is which is the first
        first = np.where(np.isnan(expected), np.isnan(values).argmax(4), values.argmax(4))
        np.testing.assert_array_equal(indices, first)
    else:
        # It may be as far below the largest as both are off.
        assert_sums_close(chosen.astype(np.float32), expected, kernel.size, sizes, computed=2)


@given(**drawn)
@settings(max_examples=60)
def test_gradients(case: Drawn, activation: str | None, multiprocessors: int) -> None:
    x, kernel, bias, options = case
    x, options = np.nan_to_num(x), options | {"activation": activation}
    wide, wide_kernel = x.astype(np.float64), kernel.astype(np.float64)
    y, indices = reference.conv2d_max_pool_forward(
        wide, wide_kernel, bias.astype(np.float64), **options
    )
    grad = np.cos(np.arange(y.size)).reshape(y.shape).astype(np.float32)
    given_grad, output = grad.astype(np.float64), y.astype(np.float32)
    with use_executor(CpuExecutor(multiprocessors=multiprocessors)):
        input_grad = cuda.conv2d_max_pool_backward_input(
            grad, indices, kernel, x.shape, output=output, **options
        )
        found = cuda.conv2d_max_pool_backward_weight(
            grad, indices, x, kernel.shape, output=output, with_bias=True, **options
        )
    options |= {"output": y}
    oracle = gradients(given_grad, indices, wide, wide_kernel, options)
    sizes = gradients(np.abs(given_grad), indices, np.abs(wide), np.abs(wide_kernel), options)
    places = max(1, y.size // y.shape[3])
    terms = (kernel.size, places, places)
    for each in zip((input_grad, *found), oracle, terms, sizes, strict=True):
        assert_sums_close(*each)


def gradients(
    grad: Array, indices: Array, x: Array, kernel: Array, options: dict[str, Any]
) -> list[Any]:
    """Return the gradients of input, weights and bias."""
    return [
        reference.conv2d_max_pool_backward_input(grad, indices, kernel, x.shape, **options),
        *reference.conv2d_max_pool_backward_weight(
            grad, indices, x, kernel.shape, with_bias=True, **options
        ),
    ]


@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
@pytest.mark.parametrize("channels", [3, 4, 5, 8])
def test_one_pass_gives_the_bits_of_two(activation: str | None, channels: int) -> None:
    """Each sum is made in the same order, where none is split and no tile has slices."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 9, 7, channels)).astype(np.float32)
    kernel, bias = rng.normal(size=(3, 3, channels, 8)), rng.normal(size=8)
    kernel, bias = kernel.astype(np.float32) / 4, bias.astype(np.float32)
    with mock.patch.object(tiling, "_SLICED", ()), use_executor(CpuExecutor(multiprocessors=1)):
        y, indices = cuda.conv2d_max_pool_forward(x, kernel, bias, activation=activation)
        conv = cuda.conv2d_forward(x, kernel, bias, activation=activation)
        in_two, in_two_indices = cuda.max_pool2d_forward(conv, pool_size=2)
        grad = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
        saved = {"activation": activation, "output": y}
        before = cuda.activate_backward(grad, y, activation)
        expanded = cuda.max_pool2d_backward(before, indices, conv.shape, pool_size=2)
        input_grad = cuda.conv2d_max_pool_backward_input(grad, indices, kernel, x.shape, **saved)
        expected = cuda.conv2d_backward_input(expanded, kernel, x.shape)
    assert y.tobytes() == in_two.tobytes()
    clear = y != 0 if activation == "relu" else np.ones(y.shape, bool)
    np.testing.assert_array_equal(indices[clear], in_two_indices[clear])
    np.testing.assert_array_equal(input_grad, expected)  # which has sums of zeros beyond windows


@pytest.mark.parametrize(
    ("channels", "launched"),
    [
        (1, ["conv2d_max_pool_small_forward"]),
        (8, ["conv2d_max_pool_forward"]),
        (2000, ["conv2d_max_pool_forward", "sum_windows"]),
    ],
)
def test_the_first_nan_is_the_largest_and_of_equals_the_first(
    channels: int, launched: list[str]
) -> None:
    x = np.array([[1, NAN, 3, 3], [NAN, 9, 3, 2], [-3, -3, 0, -0.0], [-3, -3, 7, 7]], np.float32)
    images = np.zeros((1, 4, 4, channels), np.float32)
    images[..., -1] = x
    kernel = np.ones((1, 1, channels, 1), np.float32)
    executor = CpuExecutor(multiprocessors=132)
    with use_executor(executor):
        y, indices = cuda.conv2d_max_pool_forward(images, kernel)
    np.testing.assert_array_equal(y.ravel(), np.array([NAN, 3, -3, 7], np.float32))
    assert indices.ravel().tolist() == [1, 0, 0, 2]
    assert [launch.kernel.name for launch in executor.launches] == launched


def test_nothing_before_the_pool_is_in_memory() -> None:
    """A step of the program's second layer makes arrays of the results' sizes alone."""
    executor, made = RecordingExecutor(132), []
    empty = executor.empty
    x, kernel = np.zeros((1024, 13, 13, 32), np.float32), np.zeros((3, 3, 32, 64), np.float32)
    bias, options = np.zeros(64, np.float32), {"activation": "relu"}

    def recorded(shape: tuple[int, ...], dtype: Any) -> Array:
        made.append(shape)
        return empty(shape, dtype)

    with mock.patch.object(executor, "empty", recorded), use_executor(executor):
        y, indices = cuda.conv2d_max_pool_forward(x, kernel, bias, **options)
        cuda.conv2d_max_pool_backward_input(y, indices, kernel, x.shape, output=y, **options)
        assert made == [(1024, 5, 5, 64), (1024, 5, 5, 64), x.shape]
        cuda.conv2d_max_pool_backward_weight(y, indices, x, kernel.shape, output=y, **options)
    assert np.prod(made[-1]) < 1024 * 10 * 10 * 64 / 2, "parts of a sum of many terms"
    rows = [launch.arguments for launch in executor.launches if "pool" in launch.kernel.name]
    assert all(arguments[4:6] == (10, 10) for arguments in rows), "outputs that fill no window"


@pytest.mark.parametrize("pool_size", [1, 3, (2, 1), (1, 2)])
def test_other_windows_are_pooled_after_the_convolution(
    executor: CpuExecutor, pool_size: Any
) -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 8, 8, 3)), rng.normal(size=(3, 3, 3, 4))
    found = cuda.conv2d_max_pool_forward(x, kernel, pool_size=pool_size)
    expected = reference.conv2d_max_pool_forward(x, kernel, pool_size=pool_size)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_array_equal(found[1], expected[1])
    names = [launch.kernel.name for launch in executor.launches]
    assert names == ["conv2d_forward", "max_pool2d_forward"]


@given(
    rows=st.integers(1, 5000),
    columns=st.integers(1, 600),
    length=st.integers(0, 10_000),
    dtype=st.sampled_from(["float32", "float64"]),
    vector_a=st.sampled_from([1, 4]),
    multiprocessors=st.sampled_from([1, 14, 132]),
)
def test_plans_keep_windows_together(
    rows: int, columns: int, length: int, dtype: str, vector_a: int, multiprocessors: int
) -> None:
    with mock.patch.object(launcher, "multiprocessors", return_value=multiprocessors):
        plan = tiling.plan_product(4 * rows, columns, length, 1, np.dtype(dtype), vector_a, 4)
        free = tiling.plan_product(4 * rows, columns, length, 1, np.dtype(dtype), vector_a)
    assert plan.tiling.thread_m % 4 == 0
    assert free.tiling != tiling.Tiling(32, 32, 16, 4, 2), "no plan but that of windows is new"


def test_what_does_not_fit_is_refused(executor: CpuExecutor) -> None:
    x, kernel = np.zeros((1, 6, 6, 2), np.float32), np.zeros((3, 3, 2, 4), np.float32)
    y, indices = cuda.conv2d_max_pool_forward(x, kernel)
    executor.launches.clear()
    backward = cuda.conv2d_max_pool_backward_weight
    with pytest.raises(ValueError, match=r"conv2d_max_pool: expected output_grad of shape"):
        backward(x, indices, x, kernel.shape)
    with pytest.raises(TypeError, match=r"expected indices of uint8, received int64"):
        backward(y, indices.astype(np.int64), x, kernel.shape)
    with pytest.raises(ValueError, match=r"activation='relu' needs output"):
        backward(y, indices, x, kernel.shape, activation="relu")
    with pytest.raises(TypeError, match=r"expected arrays of one type, received float32 and"):
        cuda.conv2d_max_pool_backward_input(y.astype(np.float64), indices, kernel, x.shape)
    with pytest.raises(ValueError, match=r"conv2d_max_pool: .*the window spans 5"):
        cuda.conv2d_max_pool_forward(x, kernel, pool_size=5)
    with pytest.raises(TypeError, match=r"expected arrays of one type"):
        cuda.conv2d_max_pool_forward(x, kernel.astype(np.float64))
    assert not executor.launches
