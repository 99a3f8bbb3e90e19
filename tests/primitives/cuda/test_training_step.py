"""Whole training steps of the program through the CUDA twins, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import gpunet
from examples.mnist_cnn import build_model
from gpunet import models
from tests.support.cuda_on_cpu.builds import on_cuda_twins
from tests.support.cuda_on_cpu.cpu_executor import ORDERS, CpuExecutor, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")


@contextmanager
def cuda_on_cpu(order: str = "forward", multiprocessors: int = 132) -> Iterator[CpuExecutor]:
    """Let NumPy arrays run through the CUDA twins, launched on the CPU, inside the block."""
    executor = CpuExecutor(order, multiprocessors)
    with on_cuda_twins(executor):
        yield executor


def batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.random((size, 28, 28, 1), dtype=np.float32)
    return x, gpunet.utils.to_categorical(rng.integers(0, 10, size), 10)


def trained(steps: int, size: int = 4) -> tuple[list[float], models.Sequential]:
    """Return the losses of some steps from seed 0, and the model after them."""
    gpunet.random.seed(0)
    model, (x, y) = build_model(), batch(size)
    losses = [model.train_on_batch(x, y, return_dict=True)["loss"] for _ in range(steps)]
    return losses, model


def flat(model: models.Sequential, what: str = "values") -> np.ndarray:
    return getattr(model._parameters, what).copy()


def test_one_step_agrees_with_the_reference_step() -> None:
    losses, model = trained(1)
    with cuda_on_cpu() as executor:
        cuda_losses, cuda_model = trained(1)
    np.testing.assert_allclose(cuda_losses, losses, rtol=1e-5)
    gradients, expected = flat(cuda_model, "gradients"), flat(model, "gradients")
    assert np.abs(gradients - expected).max() <= 1e-5 * np.abs(expected).max()
    # Adam's first step is the learning rate times g / (|g| + epsilon): where a gradient is as small
    # as its rounding, its sign decides, so the weights are compared where it is clearly not.
    clear = np.abs(expected) > 1e-3 * np.abs(expected).max()
    assert clear.mean() > 0.3
    np.testing.assert_allclose(flat(cuda_model)[clear], flat(model)[clear], rtol=1e-5, atol=1e-5)
    names = {launch.kernel.name for launch in executor.launches}
    assert names == {
        "adam_update",
        "conv2d_max_pool_backward_input",
        "conv2d_max_pool_backward_weight",
        "conv2d_max_pool_forward",
        "conv2d_max_pool_small_backward_weight",
        "conv2d_max_pool_small_forward",
        "dense_cross_entropy",
        "finish_gradients",
    }


def test_three_steps_end_with_equal_bits_in_every_order() -> None:
    ends = []
    for order in ORDERS:
        with cuda_on_cpu(order):
            losses, model = trained(3)
        assert model.optimizer is not None
        ends.append((losses, flat(model).tobytes(), *map(bytes, model.optimizer.state.values())))
    assert ends[0] == ends[1] == ends[2]
