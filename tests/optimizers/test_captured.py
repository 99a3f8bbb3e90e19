"""Optimizers in captured steps on a fake GPU: schedules, decay and custom rules as on NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import backend
from gpunet.layers import Dense
from gpunet.models import Sequential
from gpunet.optimizers import SGD, Adam, Optimizer, schedules

X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
Y = X[:, :1] - X[:, 1:2]

# Sums in another order: a dozen steps round weights around 1 by some 6e-8 each.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


class Nudge(Optimizer):
    """Reads the rate, the count and the segments in array expressions."""

    slots = ("mean",)

    def update(self, parameters: Any, gradients: Any, slots: Any, segments: Any) -> None:
        slots["mean"] += 0.1 * (gradients - slots["mean"])
        for segment in segments:
            part = segment.part
            scale = self.learning_rate / (1 - 0.9**self.iterations)
            parameters[part] -= slots["mean"][part] * scale


def spared(optimizer: Optimizer) -> Optimizer:
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


OPTIMIZERS = {
    "exponential": lambda: SGD(schedules.ExponentialDecay(0.1, 4, 0.9, staircase=True)),
    "inverse": lambda: Adam(schedules.InverseTimeDecay(0.1, 4, 0.9)),
    "piecewise": lambda: SGD(schedules.PiecewiseConstantDecay([3, 6], [0.1, 0.05, 0.01]), 0.9),
    "polynomial": lambda: SGD(schedules.PolynomialDecay(0.1, 4, power=2.0, cycle=True)),
    "cosine": lambda: Adam(schedules.CosineDecay(0.0, 9, warmup_target=0.1, warmup_steps=3)),
    "function": lambda: SGD(lambda step: 0.1 * 0.5 ** (step / 8)),
    "decay": lambda: Adam(0.05, weight_decay=0.1),
    "decay, spared": lambda: spared(SGD(0.05, momentum=0.9, weight_decay=0.1)),
    "custom": lambda: Nudge(schedules.CosineDecay(0.1, 12)),
    "custom, decay": lambda: Nudge(0.05, weight_decay=0.1),
}


def trained(make: Any, capture: bool) -> tuple[list[np.ndarray], Any]:
    gpunet.random.seed(1)
    model = Sequential([Dense(4, activation="tanh", input_shape=(5,)), Dense(1)])
    model.compile(make(), "mse", capture=capture)
    model.fit(X, Y, batch_size=6, epochs=3, verbose=0)
    return model.get_weights(), model.optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_captured_steps_are_those_of_numpy(name: str, cupy: Any) -> None:
    make = OPTIMIZERS[name]
    with backend.use_backend("numpy"):
        expected, on_cpu = trained(make, False)
    eager, _ = trained(make, False)
    captured, on_gpu = trained(make, True)
    for one, other, third in zip(captured, eager, expected, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, third, **TOLERANCE)
    assert int(on_gpu.iterations) == int(on_cpu.iterations) == 12
    assert float(on_gpu.learning_rate) == pytest.approx(float(on_cpu.learning_rate), rel=1e-6)


def test_lists_of_weights_on_a_gpu(cupy: Any) -> None:
    rng = np.random.default_rng(0)
    arrays, grads = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    results = []
    for xp in (np, cupy):
        variables = [xp.array(array) for array in arrays]
        optimizer = Adam(0.1, weight_decay=0.1)
        optimizer.apply([xp.array(grad) for grad in grads], variables)
        optimizer.apply([xp.array(grads[1])], variables[1:])
        optimizer.learning_rate.assign(0.05)
        optimizer.apply_gradients(zip(map(xp.array, grads), variables, strict=True))
        results.append([backend.to_numpy(variable) for variable in variables])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)
