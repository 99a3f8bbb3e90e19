"""Gathered batches and rescaled numbers: bits as NumPy has them; rows that are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.primitives.launch import full_source, use_executor
from tests.support.cuda_on_cpu.cases import dtype_named
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.cuda_on_cpu.nvrtc import find_library, ptx
from tests.support.doors import cuda, reference

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

NUMBERS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def any_bits(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    dtype = dtype_named(kind)
    if kind == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if kind in ("float32", "float64"):  # no infinity from float64, of which NumPy would warn
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 256, (*shape, dtype.itemsize), np.uint8).view(dtype)[..., 0]


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 20),
    inner=st.lists(st.integers(1, 9), max_size=3),
    batch=st.integers(0, 600),
    kind=st.sampled_from(["uint8", "int32", "float64"]),
)
def test_copies_have_the_bits_of_the_data(
    samples: int, inner: list[int], batch: int, kind: str
) -> None:
    rng = np.random.default_rng(samples)
    data = any_bits(rng, (samples, *inner), kind)
    rows = rng.integers(0, samples, batch)
    with use_executor(CpuExecutor("shuffled", multiprocessors=1)):
        found = cuda.gather_batch(data, rows)
    assert found.dtype == data.dtype
    assert found.shape == (batch, *inner)
    assert found.tobytes() == data[rows].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [*NUMBERS, "float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_conversions_have_the_bits_of_numpy(kind: str, dtype: str, scale: float) -> None:
    data = any_bits(np.random.default_rng(0), (7, 5, 4), kind)
    rows = np.array([6, 0, 3, 3])
    with use_executor(CpuExecutor()):
        found = cuda.gather_batch(data, rows, dtype=dtype, scale=scale)
    expected = reference.gather_batch(data, rows, dtype=dtype, scale=scale)
    assert found.dtype == expected.dtype == dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "options", "missing"),
    [
        ("float32", {}, np.nan),
        ("float64", {}, np.nan),
        ("float16", {}, np.nan),
        ("bfloat16", {}, np.nan),
        ("uint8", {"dtype": "float32"}, np.nan),
        ("float64", {"scale": 2.0}, np.nan),
        ("int64", {}, -1),
        ("int8", {}, -1),
        ("uint8", {}, 255),
        ("bool", {}, True),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 16])
def test_a_row_that_is_not_there_is_never_read(
    kind: str, options: dict[str, Any], missing: Any, size: int
) -> None:
    data = np.zeros((4, size), dtype_named(kind))
    rows = np.array([0, 4, -1, 3, 2**62, -(2**63), 2**63 - 1])
    with use_executor(CpuExecutor()):
        batch = cuda.gather_batch(data, rows, **options)
    is_there = (rows >= 0) & (rows < 4)
    expected = np.broadcast_to(np.where(is_there, 0, missing)[:, None], batch.shape)
    np.testing.assert_array_equal(batch.astype(np.float64), expected.astype(np.float64))


def test_of_no_data_every_row_is_missing() -> None:
    with use_executor(CpuExecutor()):
        assert np.isnan(cuda.gather_batch(np.zeros((0, 3)), np.array([0, 1]))).all()


def test_samples_share_a_block_and_large_ones_take_several() -> None:
    with use_executor(executor := CpuExecutor()):
        cuda.gather_batch(np.zeros(50), np.arange(50))
        cuda.gather_batch(np.zeros((5, 5000), np.float32), np.arange(5))
    small, large = executor.launches
    assert (small.grid, small.block) == ((1, 1), (1, 256))
    assert (large.grid, large.block) == ((5, 5), (256, 1))


def test_images_of_bytes_are_read_four_at_a_time() -> None:
    with use_executor(executor := CpuExecutor()):
        cuda.gather_batch(np.zeros((3, 784), np.uint8), np.arange(3), dtype="float32")
        cuda.gather_batch(np.zeros((3, 784), np.uint8), np.arange(3))
    vectors = [dict(launch.build.macros)["VECTOR"] for launch in executor.launches]
    assert vectors == ["4", "16"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [*NUMBERS, "float32", "float64"])
def test_rescaled_numbers_have_the_bits_of_numpy(kind: str, dtype: str) -> None:
    x = any_bits(np.random.default_rng(0), (7, 53), kind)
    options: dict[str, Any] = {"scale": 1 / 127.5, "offset": -1.1, "dtype": dtype}
    with use_executor(CpuExecutor()):
        found = cuda.rescale_forward(x, **options)
    assert found.dtype == dtype
    numpys = x.astype(dtype) * np.dtype(dtype).type(1 / 127.5) + np.dtype(dtype).type(-1.1)
    assert found.tobytes() == numpys.tobytes()
    assert reference.rescale_forward(x, **options).tobytes() == numpys.tobytes()


@pytest.mark.parametrize(("dtype", "instruction"), [("float32", "f32"), ("float64", "f64")])
def test_a_rescaled_product_is_rounded_before_the_sum(dtype: str, instruction: str) -> None:
    """A fused product and sum would be rounded once, which NumPy does not do."""
    if find_library() is None:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc-cu12")
    options = (f"-DT={dtype}", f"-DA={dtype}", "-DD=uint8", "-DVECTOR=2")
    code = ptx(full_source("batch.cu"), options, 90)
    body = code[code.index(".entry rescale(") :]
    assert f"mul.rn.{instruction}" in body.replace(".ftz", "")
    assert "fma" not in body
