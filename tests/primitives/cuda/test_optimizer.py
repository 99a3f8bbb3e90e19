"""The updates over many steps and odd sizes; what does not fit is refused and changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet import primitives
from gpunet.optimizers import SGD, Adam
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.doors import cuda, reference

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

BETAS = st.floats(0, 0.999_99)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 600),
    step=st.one_of(st.sampled_from([1, 2, 100_000]), st.integers(1, 2**40)),
    betas=st.tuples(BETAS, BETAS),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_adam_agrees_with_float64(
    count: int, step: int, betas: tuple[float, float], dtype: type
) -> None:
    rng = np.random.default_rng(count)
    # The second moments are about the gradients' squares, as they are in training.
    gradients = rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 2, count)
    buffers = [rng.normal(size=count), gradients, rng.normal(size=count), gradients**2]
    buffers = [buffer.astype(dtype) for buffer in buffers]
    wide = [buffer.astype(np.float64) for buffer in buffers]
    rate = np.array([0.01], dtype)
    options = {"beta_1": betas[0], "beta_2": betas[1]}
    with use_executor(CpuExecutor("shuffled", multiprocessors=1)):
        cuda.adam_update(*buffers, np.array([step]), rate, **options)
    reference.adam_update(*wide, np.array([step]), rate.astype(np.float64), **options)
    eps = np.finfo(dtype).eps
    for found, expected in zip(buffers, wide, strict=True):
        np.testing.assert_allclose(found, expected, rtol=16 * eps, atol=16 * eps)


@pytest.mark.parametrize("step", [1, 2, 10, 1000, 100_000])
def test_the_correction_of_adam_is_exact_in_float32_at_any_step(step: int) -> None:
    """1 - beta**step would lose half of float32's digits at step 1 of beta = 0.9999."""
    mean, variance = np.full(2, 0.25, np.float32), np.full(2, 4.0, np.float32)
    parameters, gradients = np.zeros(2, np.float32), np.array([0.25, 0.25], np.float32)
    with use_executor(CpuExecutor()):
        cuda.adam_update(
            parameters, gradients, mean, variance, np.array([step]), np.ones(1, np.float32),
            beta_1=0.999, beta_2=0.9999, epsilon=0.0,
        )  # fmt: skip
    square = 4 + (0.0625 - 4) * (1 - 0.9999)
    alpha = np.sqrt(1 - 0.9999**step) / (1 - 0.999**step)
    np.testing.assert_allclose(parameters, -alpha * 0.25 / np.sqrt(square), rtol=4e-7)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(0, 600),
    momentum=st.sampled_from([None, 0.0, 0.5, 0.99]),
    nesterov=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_sgd_agrees_with_float64(
    count: int, momentum: float | None, nesterov: bool, dtype: type
) -> None:
    rng = np.random.default_rng(count)
    buffers = [rng.normal(size=count).astype(dtype) for _ in range(3)]
    if momentum is None:
        buffers[2:] = [None]
    wide = [None if buffer is None else buffer.astype(np.float64) for buffer in buffers]
    rate = np.array([0.1], dtype)
    options = {"momentum": momentum or 0.0, "nesterov": nesterov}
    with use_executor(CpuExecutor("reverse", multiprocessors=1)):
        cuda.sgd_update(*buffers, rate, **options)
    reference.sgd_update(*wide, rate.astype(np.float64), **options)
    eps = np.finfo(dtype).eps
    for found, expected in zip(buffers, wide, strict=True):
        if found is not None:
            np.testing.assert_allclose(found, expected, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1), SGD(0.1, 0.9, nesterov=True), Adam(0.01), Adam(0.01, 0.0, 0.5)]
)
def test_optimizers_take_many_steps_as_on_numpy(optimizer: Any) -> None:
    start = np.random.default_rng(0).normal(size=333)
    results = []
    for twins in (primitives.reference, primitives.cuda):
        parameters, rng = start.copy(), np.random.default_rng(1)
        optimizer.build_buffer(parameters)
        optimizer.learning_rate = 0.02
        with primitives.use_twins(twins), use_executor(CpuExecutor()):
            for _ in range(30):
                optimizer.step(parameters, rng.normal(size=333))
            optimizer.learning_rate = 0.001  # written into the array that the kernel reads
            optimizer.step(parameters, rng.normal(size=333))
        results.append(parameters)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12, atol=1e-12)
    assert np.abs(results[0] - start).max() > 0.01


@pytest.mark.parametrize("position", [0, 2, 3])
def test_a_view_that_adam_would_change_is_refused_and_nothing_is_changed(position: int) -> None:
    buffers = [np.ones(6) for _ in range(4)]
    buffers[position] = np.ones(12)[::2]
    with use_executor(CpuExecutor()), pytest.raises(ValueError, match="expected a contiguous"):
        cuda.adam_update(*buffers, np.array([1]), np.array([0.1]))
    assert all((buffer == 1).all() for buffer in buffers)


@pytest.mark.parametrize("position", [0, 2])
def test_a_view_that_sgd_would_change_is_refused_and_nothing_is_changed(position: int) -> None:
    buffers = [np.ones(6) for _ in range(3)]
    buffers[position] = np.ones(12)[::2]
    with use_executor(CpuExecutor()), pytest.raises(ValueError, match="expected a contiguous"):
        cuda.sgd_update(*buffers, np.array([0.1]), momentum=0.9)
    assert all((buffer == 1).all() for buffer in buffers)


@pytest.mark.parametrize("twins", [reference, cuda])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"learning_rate": np.zeros(0)}, ValueError, r"learning_rate of shape \(1,\), received"),
        ({"learning_rate": np.ones(1, "f4")}, TypeError, "learning_rate of float32"),
        ({"step": np.ones((), int)}, ValueError, r"step of shape \(1,\), received \(\)"),
        ({"step": np.ones(1, np.int32)}, TypeError, "step of int64, received int32"),
        ({"mean": np.ones(3)}, ValueError, r"mean of shape \(4,\), received \(3,\)"),
        ({"variance": np.ones(4, "f4")}, TypeError, "variance of float32"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_both_twins(
    twins: Any, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {name: np.ones(4) for name in ("parameters", "gradients", "mean", "variance")}
    arguments |= {"step": np.array([1]), "learning_rate": np.array([0.1])} | change
    with use_executor(CpuExecutor()), pytest.raises(error, match=message):
        twins.adam_update(**arguments)


def test_momentum_needs_a_velocity() -> None:
    with pytest.raises(ValueError, match="expected a velocity buffer"):
        cuda.sgd_update(np.ones(2), np.ones(2), None, np.ones(1), momentum=0.9)
