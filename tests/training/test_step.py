"""State that layers change in training moves with the weights, and not where a step fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import functions
from gpunet.layers import Dense, Input, Layer
from gpunet.models import NonFiniteLossError, Sequential

rng = np.random.default_rng(0)
X = rng.normal(size=(24, 3)).astype("float32")
Y = rng.normal(size=(24, 1)).astype("float32")


class Statistics(Layer):
    """Subtracts a moving mean, which training moves."""

    def build(self, input_shape: Any) -> None:
        self.mean = self.add_weight(input_shape[1:], "zeros", name="mean", trainable=False)
        self.calls = self.add_weight((1,), "zeros", name="calls", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            batch_mean = functions.mean(x, axis=0).value
            self.add_update(self.mean, 0.5 * self.mean.value + 0.5 * batch_mean)
            self.add_update(self.calls, self.calls.value + 1)
        return x - self.mean.value


def model(loss: Any = "mse", **options: Any) -> Sequential:
    gpunet.random.seed(0)
    made = Sequential([Input((3,)), Statistics(), Dense(1)])
    made.compile("sgd", loss, **options)
    return made


def test_updates_are_applied_with_the_step() -> None:
    made = model()
    assert made.layers[0].calls.numpy() == 0
    made.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    mean = np.zeros(3, "float32")
    for start in (0, 8, 16):
        mean = 0.5 * mean + 0.5 * X[start : start + 8].mean(0)
    np.testing.assert_allclose(made.layers[0].mean.numpy(), mean, rtol=1e-5, atol=1e-6)
    assert made.layers[0].calls.numpy() == 3
    made.evaluate(X, Y, verbose=0)
    made.predict(X, verbose=0)
    assert made.layers[0].calls.numpy() == 3


class Halving(Layer):
    """Halves its weight, which is trained too, in each step."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((), "ones", name="factor")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.add_update(self.factor, self.factor.value / 2)
        return x * self.factor


def test_the_optimizer_goes_on_from_an_update_of_a_trained_weight() -> None:
    made = Sequential([Input((3,)), Halving()])
    made.compile(gpunet.optimizers.SGD(0.1), lambda y, p: functions.mean(p))
    made.train_on_batch(np.ones((2, 3)), np.ones((2, 3)))  # of a gradient of 1
    np.testing.assert_allclose(made.layers[0].factor.numpy(), 1 / 2 - 0.1, rtol=1e-6)


def test_updates_of_a_step_that_fails_are_not_applied() -> None:
    made = model(lambda y, p: functions.mean(p) * np.float32("nan"))
    with pytest.raises(NonFiniteLossError):
        made.fit(X, Y, verbose=0)
    assert not made.layers[0].mean.numpy().any()
    assert made.layers[0].calls.numpy() == 0


def test_updates_of_a_model_that_is_built_warmed_up_or_profiled_are_dropped() -> None:
    made = model()
    gpunet.warmup(made, batch_size=4, verbose=0)
    gpunet.profile(made, batch_size=4, steps=1)
    assert made.layers[0].calls.numpy() == 0


def test_an_error_in_the_step_leaves_everything_as_it_was() -> None:
    def broken(y_true: Any, y_pred: Any) -> Any:
        raise KeyError("mine")

    made = model(broken)
    before = made.get_weights()
    with pytest.raises(KeyError, match="mine"):
        made.fit(X, Y, verbose=0)
    for a, b in zip(before, made.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
