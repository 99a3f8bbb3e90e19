"""Dropout's masks are those of gpunet.random, bit for bit; what is no key or rate is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet import functions, primitives, random
from gpunet.autograd import Tensor
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.builds import on_cuda_twins
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.doors import cuda

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

WORDS = st.integers(0, 2**64 - 1)


@settings(max_examples=40, deadline=None)
@given(
    words=st.tuples(WORDS, WORDS),
    size=st.integers(0, 3000),
    offset=st.integers(0, 1),
    rate=st.floats(0, 1, exclude_max=True),
)
def test_the_mask_is_made_of_the_bits_of_the_key(
    words: tuple[int, int], size: int, offset: int, rate: float
) -> None:
    key = np.array(words, np.uint64)
    x = np.ones(size + offset, np.float32)[offset:]  # with an offset, off a boundary
    with use_executor(CpuExecutor("shuffled", multiprocessors=1)):
        y = cuda.dropout_forward(x, key, rate=rate)
        grad = cuda.dropout_backward(x, key, rate=rate)
    kept = random.bits(key, size) >= min(round(rate * 2**32), 2**32 - 1)
    np.testing.assert_array_equal(y, np.where(kept, np.float32(1 / (1 - rate)), np.float32(0)))
    np.testing.assert_array_equal(y, grad)


def test_threads_go_on_where_a_grid_ends() -> None:
    key = random.Generator(3).next_key()
    x = np.ones(200_000, np.float32)  # more than one multiprocessor's grid of 32 blocks takes
    with use_executor(executor := CpuExecutor(multiprocessors=1)):
        y = cuda.dropout_forward(x, key, rate=0.5)
    ((_, _, grid, block, _),) = executor.launches
    assert grid[0] * block[0] * 8 < x.size
    np.testing.assert_array_equal(y > 0, random.bits(key, x.size) >= 2**31)


def test_what_is_dropped_is_0_whatever_it_was() -> None:
    key = random.Generator(3).next_key()
    x = np.full(100, np.inf, np.float32)
    x[::2] = np.nan
    with use_executor(CpuExecutor()):
        y = cuda.dropout_forward(x, key, rate=0.5)
    kept = random.bits(key, x.size) >= 2**31
    np.testing.assert_array_equal(y, np.where(kept, x, 0))


@pytest.mark.parametrize(
    "key",
    [np.zeros(2, np.int64), np.zeros(3, np.uint64), np.zeros((1, 2), np.uint64), [0, 1], None],
    ids=["int64", "three", "two-dimensional", "list", "None"],
)
@pytest.mark.parametrize("twin", [primitives.dropout_forward, cuda.dropout_forward])
def test_what_is_no_key_is_refused_before_a_launch(twin: object, key: object) -> None:
    with (
        use_executor(executor := CpuExecutor()),
        pytest.raises(TypeError, match=r"Expected a key, a uint64 array of shape \(2,\), received"),
    ):
        twin(np.ones(4), key, rate=0.5)  # type: ignore[operator]
    assert not executor.launches


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate from 0 to 1, received"):
        cuda.dropout_forward(np.ones(4), random.next_key(), rate=rate)


def test_dropout_is_differentiable_through_the_kernels() -> None:
    x, key = Tensor(np.full(50, 2.0), requires_grad=True), random.Generator(1).next_key()
    with on_cuda_twins(executor := CpuExecutor()):
        y = functions.dropout(x, key, rate=0.25)
        y.sum().backward()
    assert len(executor.launches) == 2
    np.testing.assert_array_equal(y.value, 2 * np.asarray(x.grad))
