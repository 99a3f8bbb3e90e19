"""Gradients in parts: where they may be left, and what becomes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import functions
from gpunet.autograd import Parameter, Tensor
from gpunet.primitives import Parts, Stage, leaving_parts
from gpunet.primitives.cuda.step import add_up
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.builds import on_cuda_twins
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.doors import cuda

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

rng = np.random.default_rng(0)
BUFFER = rng.normal(size=40).astype("float32")
PARTS = Parts(BUFFER, 3, 7, 4, (2, 3), add_up)
TOTAL = sum(BUFFER[3 + 7 * part : 9 + 7 * part].reshape(2, 3) for part in range(4))


def test_parts_add_up() -> None:
    with use_executor(CpuExecutor()):
        np.testing.assert_allclose(PARTS.total(), TOTAL, rtol=1e-6)
        assert PARTS.astype(np.float32, copy=False) is PARTS
        wide = PARTS.astype(np.float64)
    assert isinstance(wide, np.ndarray)
    np.testing.assert_allclose(wide, TOTAL, rtol=1e-6)


def model_weight() -> Parameter:
    """Return a weight as a model has it before a step: with the gradient of the step before."""
    weight = Parameter(np.zeros((2, 3), "float32"))
    weight.grad, weight.stale = np.full((2, 3), 9.0, "float32"), True
    return weight


def test_a_models_weight_keeps_parts_for_the_model_to_add() -> None:
    weight, ones = model_weight(), np.ones((2, 3), "float32")
    weight.accumulate(PARTS)
    assert weight.parts is PARTS
    assert (weight.grad == 9).all()
    with use_executor(CpuExecutor()):
        weight.accumulate(ones)  # of another use of the weight
    assert weight.parts is None
    np.testing.assert_allclose(weight.grad, TOTAL + 1, rtol=1e-6)


def test_parts_come_second() -> None:
    weight, ones = model_weight(), np.ones((2, 3), "float32")
    weight.accumulate(ones)
    np.testing.assert_array_equal(weight.grad, ones)
    with use_executor(CpuExecutor()):
        weight.accumulate(PARTS)
    assert weight.parts is None
    np.testing.assert_allclose(weight.grad, TOTAL + 1, rtol=1e-6)


def test_a_weight_of_no_model_has_its_gradient_whole() -> None:
    weight = Parameter(np.zeros((2, 3), "float32"))
    with use_executor(CpuExecutor()):
        weight.accumulate(PARTS)
    assert isinstance(weight.grad, np.ndarray)
    np.testing.assert_allclose(weight.grad, TOTAL, rtol=1e-6)


STAGES = [
    Stage(rng.normal(size=(3, 3, 2, 4)).astype("float32"), rng.normal(size=4).astype("float32"),
          "relu", pool_size=(2, 2)),
    Stage(rng.normal(size=(2, 2, 4, 5)).astype("float32"), None, None),
    Stage(rng.normal(size=(20, 3)).astype("float32"), np.zeros(3, "float32"), "relu"),
]  # fmt: skip


def test_a_chain_leaves_parts_where_it_may() -> None:
    x = rng.normal(size=(9, 8, 8, 2)).astype("float32")
    with use_executor(CpuExecutor(multiprocessors=30)):
        y, kept = cuda.chain_forward(x, STAGES)
        _, summed = cuda.chain_backward(np.ones_like(y), x, STAGES, kept)
        with leaving_parts():
            _, left = cuda.chain_backward(np.ones_like(y), x, STAGES, kept)
        assert all(
            isinstance(grad, np.ndarray) for pair in summed for grad in pair if grad is not None
        )
        assert [isinstance(kernel, Parts) for kernel, _ in left] == [True, True, False]
        assert len({id(kernel.buffer) for kernel, _ in left[:2]}) == 1
        for ours, theirs in zip(left, summed, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                found: Any = one.total() if isinstance(one, Parts) else one
                assert (found is None) == (other is None)
                if found is not None:  # sums of up to 300 terms, divided otherwise
                    np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-5)


def test_what_comes_before_a_weight_gets_its_gradient_whole() -> None:
    """A kernel that is made of a weight: the gradient goes on through what made it."""
    x = rng.normal(size=(3, 5, 5, 2)).astype("float32")
    weight = Parameter(rng.normal(size=(3, 3, 2, 4)).astype("float32"))
    stage = Stage(weight.value, None, None)
    found = []
    for leave in (False, True):
        weight.grad = None
        with on_cuda_twins(CpuExecutor()):
            y = functions.chain(Tensor(x), weight * 2.0, stages=[stage])
            if leave:
                with leaving_parts():
                    functions.sum(y).backward()
            else:
                functions.sum(y).backward()
        found.append(weight.grad)
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)  # sums of 27 terms
