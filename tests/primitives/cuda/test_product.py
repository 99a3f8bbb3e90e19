"""Products and convolutions of fresh random shapes, and how they are divided among blocks."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.primitives import launch as launcher
from gpunet.primitives.cuda import tiling
from gpunet.primitives.launch import use_executor
from gpunet.primitives.precision import set_precision, use_precision
from tests.primitives.reference.test_convolution import cases as convolutions
from tests.support.cuda_on_cpu.builds import RecordingExecutor, record_training
from tests.support.cuda_on_cpu.cases import rounded
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.doors import cuda, reference
from tests.support.sums import assert_sums_close

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels")

Array = np.ndarray[Any, np.dtype[Any]]


# Of numbers that all precisions have, the sums are as exact in one as in another.
precisions = st.sampled_from(["fp32", "tf32", "bf16"])


# With one multiprocessor the tiles are large and no sum is split, with many both are otherwise.
@needs_compiler
@given(case=convolutions(), multiprocessors=st.sampled_from([1, 132]), precision=precisions)
@settings(max_examples=60)
def test_convolution_and_its_gradients(
    case: tuple[Array, Array, dict[str, Any]], multiprocessors: int, precision: str
) -> None:
    x, kernel, options = case
    x, kernel = rounded(x, "bf16").astype(np.float32), rounded(kernel, "bf16").astype(np.float32)
    wide_x, wide_kernel = x.astype(np.float64), kernel.astype(np.float64)
    y = reference.conv2d_forward(wide_x, wide_kernel, **options)
    grad = rounded(np.cos(np.arange(y.size)), "bf16").reshape(y.shape).astype(np.float32)
    wide_grad = grad.astype(np.float64)
    positions, taps = max(1, y.size // y.shape[3]), kernel.size
    executor = CpuExecutor(multiprocessors=multiprocessors)
    with use_precision(precision), use_executor(executor):
        found_y = cuda.conv2d_forward(x, kernel, **options)
        found_grad = cuda.conv2d_backward_input(grad, kernel, x.shape, **options)
        found = cuda.conv2d_backward_weight(grad, x, kernel.shape, with_bias=True, **options)
    oracle = oracle_of(wide_x, wide_kernel, wide_grad, options)
    sizes = oracle_of(np.abs(wide_x), np.abs(wide_kernel), np.abs(wide_grad), options)
    terms = (taps, taps, positions, positions)
    for each in zip((found_y, found_grad, *found), oracle, terms, sizes, strict=True):
        assert_sums_close(*each)


def oracle_of(x: Array, kernel: Array, grad: Array, options: dict[str, Any]) -> list[Any]:
    """Return the output and the gradients of input, weights and bias."""
    return [
        reference.conv2d_forward(x, kernel, **options),
        reference.conv2d_backward_input(grad, kernel, x.shape, **options),
        *reference.conv2d_backward_weight(grad, x, kernel.shape, with_bias=True, **options),
    ]


@needs_compiler
@given(
    rows=st.integers(0, 150),
    columns=st.integers(0, 150),
    inner=st.integers(0, 300),
    multiprocessors=st.sampled_from([1, 132]),
    precision=precisions,
)
@settings(max_examples=60)
def test_matmul(rows: int, columns: int, inner: int, multiprocessors: int, precision: str) -> None:
    a = np.cos(np.arange(rows * inner)).reshape(rows, inner).astype(np.float32)
    b = np.sin(np.arange(inner * columns)).reshape(inner, columns).astype(np.float32)
    with use_precision(precision), use_executor(CpuExecutor(multiprocessors=multiprocessors)):
        found = cuda.matmul(a, b)
    # Both are waves: sums grow to many times what is left of them in the end.
    sums = np.abs(a) @ np.abs(b)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    if precision == "fp32":
        factors = a, b
    else:
        # Each factor is off by half of its last bit, so each product by twice as much.
        half = {"tf32": 2**-11, "bf16": 2**-8}[precision]
        assert (np.abs(found - exact) <= (2 * half + half**2 + 2**-18) * sums).all()
        factors = rounded(a, precision), rounded(b, precision)
    expected = factors[0].astype(np.float64) @ factors[1].astype(np.float64)
    assert_sums_close(found, expected, inner, sums)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_the_precision_reaches_all_products_of_float32_and_no_others(precision: str) -> None:
    executor = RecordingExecutor()
    with set_precision(precision):
        record_training(executor, batches=(32,))
        taken = [launch for launch in executor.launches if "BLOCK_M" in dict(launch.build.macros)]
        assert {launch.kernel.source for launch in taken} >= {"conv_pool.cu", "matmul.cu"}
        assert {dict(launch.build.macros)["PRECISION"] for launch in taken} == {precision.upper()}
        executor.launches.clear()
        with use_executor(executor):
            for dtype in (np.float64, np.float16):
                cuda.matmul(np.ones((9, 9), dtype), np.ones((9, 9), dtype))
        macros = [dict(launch.build.macros) for launch in executor.launches]
        assert [named["PRECISION"] for named in macros] == ["FP32", "FP32"]


sizes = st.integers(1, 5000)


@given(
    rows=sizes,
    columns=sizes,
    length=st.integers(0, 100_000),
    groups=st.integers(1, 64),
    dtype=st.sampled_from(["float32", "float64"]),
    vector_a=st.sampled_from([1, 4]),
    multiprocessors=st.sampled_from([1, 14, 132]),
    precision=precisions,
)
def test_plans_cover_the_product(
    rows: int,
    columns: int,
    length: int,
    groups: int,
    dtype: str,
    vector_a: int,
    multiprocessors: int,
    precision: str,
) -> None:
    with use_precision(precision), use_executor(RecordingExecutor(multiprocessors)):
        plan = tiling.plan_product(rows, columns, length, groups, np.dtype(dtype), vector_a)
    t = plan.tiling
    assert plan.tiles == -(-rows // t.block_m) * -(-columns // t.block_n)
    assert plan.chunk % t.block_k == 0
    assert (plan.splits - 1) * plan.chunk < max(length, 1) <= plan.splits * plan.chunk or not length
    assert t.threads % 32 == 0
    assert t.precision == (precision if dtype == "float32" else "fp32")
    assert t.block_k // t.slices >= {"fp32": 1, "tf32": 8, "bf16": 16}[t.precision]
    # two tiles of each operand, within what every device gives a block
    itemsize, padding = np.dtype(dtype).itemsize, 8 if t.precision == "fp32" else 16
    assert 2 * t.block_k * (t.block_m + t.block_n + padding) * itemsize <= 48 << 10


def test_the_program_fills_a_large_card_at_batch_32() -> None:
    """Each product of the program's convolutions has a block for most of 132 multiprocessors."""
    products = {  # rows, columns, length
        "first layer": (32 * 26 * 26, 32, 9),
        "second layer": (32 * 11 * 11, 64, 288),
        "third layer": (32 * 3 * 3, 64, 576),
        "gradient of the second layer's input": (32 * 13 * 13, 32, 576),
        "gradient of the first layer's kernel": (10, 32, 32 * 26 * 26),
        "gradient of the second layer's kernel": (289, 64, 32 * 11 * 11),
        "gradient of the third layer's kernel": (577, 64, 32 * 3 * 3),
    }
    with mock.patch.object(launcher, "multiprocessors", return_value=132):
        for name, sizes_of in products.items():
            plan = tiling.plan_product(*sizes_of, 1, np.dtype("float32"), 4)
            assert plan.tiles * plan.splits >= 66, (name, plan)


def test_large_products_have_large_tiles() -> None:
    with mock.patch.object(launcher, "multiprocessors", return_value=132):
        plan = tiling.plan_product(8192, 4096, 4096, 1, np.dtype("float32"), 4)
    assert (plan.tiling.block_m, plan.tiling.block_n, plan.splits) == (128, 128, 1)


@pytest.mark.parametrize("way", ["forward", "backward_input", "backward_weight"])
def test_more_positions_than_the_kernels_count_are_refused(way: str) -> None:
    """2.8 * 10^9 of them: images of one pixel's memory, repeated by strides of 0."""
    x = np.broadcast_to(np.float32(0), (70_000, 200, 200, 1))
    kernel = np.zeros((1, 1, 1, 1), np.float32)
    arguments = {
        "forward": (x, kernel),
        "backward_input": (x, kernel, x.shape),
        "backward_weight": (x, x, kernel.shape),
    }[way]
    executor = RecordingExecutor()
    with (
        mock.patch.object(executor, "contiguous", lambda array: array),
        mock.patch.object(
            executor, "empty", lambda shape, dtype: np.broadcast_to(dtype.type(0), shape)
        ),
        use_executor(executor),
        pytest.raises(OverflowError, match=r"2,800,000,000, more than .* smaller batch"),
    ):
        getattr(cuda, f"conv2d_{way}")(*arguments)
    assert not executor.launches
