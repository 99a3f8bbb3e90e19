"""The kernels of pooling, run on the CPU: shapes at random, and what they do with NaN and ties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpunet.primitives.cuda import pooling
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.doors import cuda, reference
from tests.support.sums import assert_sums_close

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

Array = np.ndarray[Any, np.dtype[Any]]

WINDOW = 25  # the most pixels in a window, and the most windows that a pixel is in

NAN, INF = float("nan"), float("inf")

pairs = st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 5), st.integers(1, 5)))
# Few values, so that most windows hold ties; or any, so that none does.
fillings = st.sampled_from([[0.0, 1.0], [-INF, -1.0], [-INF], [0.0, NAN, 2.0], None])


@pytest.fixture(autouse=True)
def executor() -> Iterator[CpuExecutor]:
    with use_executor(executor := CpuExecutor()):
        yield executor


@st.composite
def cases(draw: st.DrawFn) -> tuple[Array, dict[str, Any]]:
    """Draw an input and the options of a pooling that fit each other."""
    window = draw(pairs)
    height, width = (window, window) if isinstance(window, int) else window
    paddings = st.tuples(*(st.tuples(*[st.integers(0, size - 1)] * 2) for size in (height, width)))
    shape = (
        draw(st.integers(0, 3)),
        height + draw(st.integers(0, 9)),
        width + draw(st.integers(0, 9)),
        draw(st.sampled_from([1, 3, 4, 8])),
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    filling = draw(fillings)
    x = generator.choice(filling, shape) if filling else generator.normal(size=shape)
    options = {
        "pool_size": window,
        "strides": draw(st.one_of(st.none(), pairs)),
        "padding": draw(st.one_of(st.sampled_from(["valid", "same"]), paddings)),
    }
    return x.astype(np.float32), options


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_max_pooling_is_that_of_the_reference(case: tuple[Array, dict[str, Any]]) -> None:
    x, options = case
    y, indices = cuda.max_pool2d_forward(x, **options)
    expected, expected_indices = reference.max_pool2d_forward(x, **options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    output_grad = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
    input_grad = cuda.max_pool2d_backward(output_grad, indices, x.shape, **options)
    wide = output_grad.astype(np.float64)
    expected = reference.max_pool2d_backward(wide, indices, x.shape, **options)
    sizes = reference.max_pool2d_backward(np.abs(wide), indices, x.shape, **options)
    assert_sums_close(input_grad, expected, WINDOW, sizes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_average_pooling_is_that_of_the_reference(case: tuple[Array, dict[str, Any]]) -> None:
    x, options = np.nan_to_num(case[0], posinf=3, neginf=-3), case[1]
    y = cuda.average_pool2d_forward(x, **options)
    wide = x.astype(np.float64)
    sizes = reference.average_pool2d_forward(np.abs(wide), **options)
    assert_sums_close(y, reference.average_pool2d_forward(wide, **options), WINDOW, sizes)
    output_grad = np.cos(np.arange(y.size, dtype=np.float32)).reshape(y.shape)
    input_grad = cuda.average_pool2d_backward(output_grad, x.shape, **options)
    wide = output_grad.astype(np.float64)
    expected = reference.average_pool2d_backward(wide, x.shape, **options)
    sizes = reference.average_pool2d_backward(np.abs(wide), x.shape, **options)
    assert_sums_close(input_grad, expected, WINDOW, sizes)


def results(x: Array, options: dict[str, Any]) -> list[bytes]:
    """Return what all four give, bit for bit."""
    y, indices = cuda.max_pool2d_forward(x, **options)
    mean = cuda.average_pool2d_forward(x, **options)
    found = [
        *(y, indices, mean),
        cuda.max_pool2d_backward(mean, indices, x.shape, **options),
        cuda.average_pool2d_backward(y, x.shape, **options),
    ]
    return [array.tobytes() for array in found]


@pytest.mark.parametrize(
    ("name", "value", "macro"),
    [
        ("_LARGE", 0, ("I", "int64")),
        ("_KNOWN_WINDOWS", (), ("WINDOW", "0")),
    ],
)
@pytest.mark.parametrize(
    "options", [{"pool_size": 2}, {"pool_size": 3, "strides": 2, "padding": 1}]
)
def test_every_build_gives_the_same_bits(
    executor: CpuExecutor,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: Any,
    macro: tuple[str, str],
    options: dict[str, Any],
) -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 8)).astype(np.float32)
    before = results(x, options)
    assert all(macro not in launch.build.macros for launch in executor.launches)
    executor.launches.clear()
    monkeypatch.setattr(pooling, name, value)
    assert results(x, options) == before
    assert all(macro in launch.build.macros for launch in executor.launches)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_windows_apart_need_no_sums(
    executor: CpuExecutor, monkeypatch: pytest.MonkeyPatch, padding: str
) -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 9, 4)).astype(np.float32)
    options = {"pool_size": 2, "padding": padding}
    before = results(x, options)
    assert sum(launch.kernel.name.endswith("_apart") for launch in executor.launches) == 2
    executor.launches.clear()
    monkeypatch.setattr(pooling, "_LARGEST_CELL", 0)
    assert results(x, options) == before  # counts of pixels are powers of two: exact either way
    assert not any(launch.kernel.name.endswith("_apart") for launch in executor.launches)


def test_memory_off_the_boundary_is_read_by_elements(executor: CpuExecutor) -> None:
    x = np.random.default_rng(0).normal(size=1 + 2 * 4 * 4 * 4).astype(np.float32)[1:]
    x = x.reshape(2, 4, 4, 4)
    if x.ctypes.data % 16 == 0:
        pytest.skip("this memory began off a boundary")
    y, _ = cuda.max_pool2d_forward(x, pool_size=2)
    assert executor.launches[-1].build.macros[-3] == ("VECTOR", "1")
    np.testing.assert_array_equal(y, reference.max_pool2d_forward(x, pool_size=2)[0])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_the_first_nan_is_the_largest_and_of_equals_the_first(dtype: str) -> None:
    x = np.array([[1, NAN, 3, 3], [NAN, 9, 3, 2], [-INF, -INF, 0, -0.0], [-INF, -INF, INF, INF]])
    x = x.astype(dtype).reshape(1, 4, 4, 1)
    y, indices = cuda.max_pool2d_forward(x, pool_size=2)
    np.testing.assert_array_equal(y.ravel(), np.array([NAN, 3, -INF, INF], dtype))
    assert indices.ravel().tolist() == [1, 0, 0, 2]


def test_an_infinite_gradient_reaches_its_maximum_only() -> None:
    x = np.arange(4.0).reshape(1, 2, 2, 1)
    y, indices = cuda.max_pool2d_forward(x, pool_size=2)
    for strides in (2, 1):
        grad = cuda.max_pool2d_backward(
            np.full_like(y, INF), indices, x.shape, pool_size=2, strides=strides
        )
        assert grad.ravel().tolist() == [0, 0, 0, INF]


def test_padding_and_its_nan_do_not_reach_a_mean() -> None:
    x = np.array([NAN, 1.0, 2.0]).reshape(1, 1, 3, 1)
    y = cuda.average_pool2d_forward(x, pool_size=(1, 2), padding="same")
    np.testing.assert_array_equal(y.ravel(), [NAN, 2.0])


def test_what_does_not_fit_is_refused() -> None:
    x = np.zeros((1, 4, 4, 2), np.float32)
    y, indices = cuda.max_pool2d_forward(x, pool_size=2)
    with pytest.raises(ValueError, match=r"max_pool2d: expected output_grad of shape \(1, 2, 2, 2"):
        cuda.max_pool2d_backward(x, indices, x.shape, pool_size=2)
    with pytest.raises(ValueError, match=r"max_pool2d: expected indices of shape \(1, 2, 2, 2"):
        cuda.max_pool2d_backward(y, indices[..., :1], x.shape, pool_size=2)
    with pytest.raises(TypeError, match=r"'indices': expected an array of uint8, received int64"):
        cuda.max_pool2d_backward(y, indices.astype(np.int64), x.shape, pool_size=2)
    with pytest.raises(ValueError, match=r"average_pool2d: expected output_grad of shape"):
        cuda.average_pool2d_backward(x, x.shape, pool_size=2)
    with pytest.raises(ValueError, match=r"max_pool2d: .*the window spans 5"):
        cuda.max_pool2d_forward(x, pool_size=5)
