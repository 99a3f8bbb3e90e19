"""The kernels of attention, run on the CPU: 16-bit types, drawn sizes, and how work is divided."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.cases import dtype_named
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.doors import cuda, reference

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")


@pytest.fixture(autouse=True)
def executor() -> Iterator[CpuExecutor]:
    with use_executor(executor := CpuExecutor()):
        yield executor


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_summed_in_float32(dtype: str) -> None:
    rng, kind = np.random.default_rng(0), dtype_named(dtype)
    arrays = [rng.normal(size=(2, 40, 2, 8)).astype(kind) for _ in range(4)]
    exact = [array.astype(np.float64) for array in arrays]
    y, log_sums = cuda.attention_forward(*arrays[:3], causal=True)
    expected, exact_sums = reference.attention_forward(*exact[:3], causal=True)
    assert (y.dtype, log_sums.dtype) == (kind, np.float32)
    np.testing.assert_allclose(log_sums, exact_sums, rtol=1e-5, atol=1e-5)
    unit = 2**-8 if dtype == "bfloat16" else 2**-11  # results are rounded once
    np.testing.assert_allclose(y.astype(float), expected, rtol=unit, atol=1e-5)
    grads = cuda.attention_backward(arrays[3], *arrays[:3], y, log_sums, causal=True)
    oracle = reference.attention_backward(exact[3], *exact[:3], expected, exact_sums, causal=True)
    for found, right in zip(grads, oracle, strict=True):
        assert found.dtype == kind
        # The output that the means are of is rounded: some of its errors, times shares, add up.
        np.testing.assert_allclose(found.astype(float), right, rtol=unit, atol=16 * unit)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    times=st.tuples(*[st.sampled_from([1, 31, 32, 33, 65])] * 2),
    heads=st.sampled_from([(1, 1), (4, 2)]),
    masked=st.booleans(),
    causal=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_drawn_sizes(
    times: tuple[int, int], heads: tuple[int, int], masked: bool, causal: bool, seed: int
) -> None:
    rng, (queries, keys) = np.random.default_rng(seed), times
    query = rng.normal(size=(1, queries, heads[0], 4))
    key, value = (rng.normal(size=(1, keys, heads[1], 4)) for _ in range(2))
    mask = rng.random((1, heads[0], queries, keys)) < 0.1 if masked else None
    found = cuda.attention_forward(query, key, value, mask, causal=causal)
    expected = reference.attention_forward(query, key, value, mask, causal=causal)
    grad = rng.normal(size=query.shape)
    pairs = [
        *zip(found, expected, strict=True),
        *zip(
            cuda.attention_backward(grad, query, key, value, *found, mask, causal=causal),
            reference.attention_backward(grad, query, key, value, *expected, mask, causal=causal),
            strict=True,
        ),
    ]
    for ours, oracle in pairs:  # float64: sums of up to 260 terms of about 1
        np.testing.assert_allclose(ours, oracle, rtol=1e-11, atol=1e-11)


def test_wide_heads_are_made_in_slices(executor: CpuExecutor) -> None:
    for dtype, width, slices in (
        ("f4", 128, ("128", 1)), ("f4", 130, ("128", 2)), ("f8", 128, ("64", 2)),
    ):  # fmt: skip
        x = np.zeros((1, 40, 2, width), dtype)
        cuda.attention_forward(x, x, x)
        launch = executor.launches[-1]
        assert (dict(launch.build.macros)["SLICE"], launch.grid[2]) == slices
        assert launch.grid[:2] == (2, 2)
