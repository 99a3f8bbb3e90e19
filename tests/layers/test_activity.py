"""Losses of what layers return, and those that layers add: in steps, evaluations, own loops."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import functions, regularizers
from gpunet.layers import ActivityRegularization, Dense, Input, Layer
from gpunet.models import Model, Sequential
from gpunet.optimizers import SGD

rng = np.random.default_rng(0)
X = rng.normal(size=(12, 5)).astype("float32")
LABELS = rng.integers(0, 3, 12)
Y = np.eye(3, dtype="float32")[LABELS]


def added_by(layer: Any, x: Any) -> list[float]:
    with regularizers.collect_losses() as losses:
        layer(np.asarray(x, "float32"))
    return [float(loss) for loss in losses]


def test_the_loss_of_an_output_is_divided_by_the_batch_size() -> None:
    """Keras 3.15: 0.2 at batch sizes 1 and 4, of the regularizer and of the layer."""
    for layer in (
        Dense(2, kernel_initializer="ones", activity_regularizer=regularizers.L2(0.1)),
        ActivityRegularization(l2=0.2),
    ):
        for batch in (1, 4):
            assert added_by(layer, np.ones((batch, 1))) == [pytest.approx(0.2)]


def test_outputs_are_regularized_each() -> None:
    class Two(Layer):
        def call(self, x: Any) -> Any:
            return x, 2 * x

    assert added_by(Two(activity_regularizer="l1"), [[1.0]]) == pytest.approx([0.01, 0.02])
    assert ActivityRegularization(l1=1.0)(np.ones((2, 3))).shape == (2, 3)  # counts nowhere
    assert ActivityRegularization(0.1, 0.2).get_config()["l2"] == 0.2


def classifier(**options: Any) -> Sequential:
    gpunet.random.seed(4)
    layers = [Input((5,)), Dense(6, "tanh", **options), Dense(3, activation="softmax")]
    return Sequential(layers)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_a_step_is_that_of_the_whole_loss(fuse: bool, position: str) -> None:
    """The first and the middle stand before a chain that computes its loss with the outputs."""
    gpunet.random.seed(4)
    regularized = {"activity_regularizer": regularizers.L1L2(0.1, 0.2)}
    options: dict[str, Any] = {position: regularized}
    first = Dense(6, "tanh", kernel_regularizer="l2", **options.get("first", {}))
    middle = [ActivityRegularization(0.1, 0.2)] * (position == "middle")
    last = Dense(3, activation="softmax", **options.get("last", {}))
    model = Sequential([Input((5,)), first, *middle, last])
    model.compile(SGD(0.5), "categorical_crossentropy", fuse=fuse)
    weights = [weight.value.copy() for weight in model.weights]

    def loss(kernel: Any, bias: Any, kernel_2: Any, bias_2: Any) -> Any:
        hidden = functions.tanh(X @ kernel + bias)
        y = functions.softmax(hidden @ kernel_2 + bias_2)
        z = y if position == "last" else hidden
        penalty = 0.1 * functions.absolute(z).sum() + 0.2 * functions.square(z).sum()
        likelihood = (functions.log(y) * Y).sum()
        return (penalty - likelihood) / len(X) + 0.01 * functions.square(kernel).sum()

    value, grads = gpunet.value_and_grad(loss, argnums=(0, 1, 2, 3))(*weights)
    assert model.evaluate(X, Y, batch_size=5, verbose=0) == pytest.approx(float(value), rel=1e-5)
    history = model.fit(X, Y, batch_size=12, shuffle=False, verbose=0).history
    assert history["loss"] == [pytest.approx(float(value), rel=1e-5)]
    for weight, before, grad in zip(model.weights, weights, grads, strict=True):
        np.testing.assert_allclose(weight.value, before - 0.5 * grad, rtol=1e-4, atol=1e-6)


class Sizes(Layer):
    """Adds the sum of its input's squares, which depends on how samples are divided."""

    def call(self, x: Any) -> Any:
        self.add_loss(functions.square(x).sum())
        self.add_loss([functions.sum(0 * x + 0.25) / x.size, functions.mean(0 * x) + 0.25])
        return x


def test_own_layers_add_losses() -> None:
    model = Sequential([Input((5,)), Sizes(), Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    y = np.zeros((12, 1), "float32")
    expected = np.mean([np.square(part).sum() for part in np.split(X, 4)]) + 0.5
    assert model.evaluate(X, y, batch_size=3, verbose=0) == pytest.approx(expected, rel=1e-5)
    for _ in range(2):  # nothing is left of the steps before
        history = model.fit(X, y, batch_size=3, epochs=2, verbose=0).history["loss"]
        assert history == pytest.approx([expected, expected], rel=1e-5)
    assert model.losses == []
    with pytest.raises(TypeError, match=r"add_loss of layer 'bad' must return .* shape \(2, 5\)"):
        _Bad(name="bad")(np.ones((2, 5)))
    with pytest.raises(TypeError, match="activity_regularizer of layer 'x'"):
        Dense(2, activity_regularizer=lambda y: y, name="x")(np.ones((2, 5)))
    with pytest.raises(ValueError, match="Unknown regularizer 'l3'"):
        Dense(2, activity_regularizer="l3")


class _Bad(Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(x)
        return x


def test_own_steps_find_the_losses() -> None:
    class Own(Model):
        def __init__(self) -> None:
            super().__init__()
            self.head = Dense(1, kernel_initializer="zeros")
            self.sizes = ActivityRegularization(l2=1.0)

        def call(self, x: Any) -> Any:
            return self.head(self.sizes(x))

        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data
            loss = self.compute_loss(x, y, self(x, training=True))
            assert len(self.losses) == 1
            return {"loss": float(loss)}

    model = Own()
    model.compile("sgd", "mse")
    history = model.fit(X, np.zeros((12, 1)), batch_size=12, epochs=2, verbose=0).history
    assert history["loss"] == pytest.approx([np.square(X).sum() / 12] * 2, rel=1e-5)


def test_losses_are_freed_with_the_step() -> None:
    outputs: list[Any] = []

    def watched(x: Any) -> Any:
        outputs.append(weakref.ref(x))
        return functions.square(x).sum()

    model = classifier(activity_regularizer=watched)
    model.compile("sgd", "categorical_crossentropy")
    gc.collect()
    gc.disable()
    try:
        model.fit(X, Y, batch_size=4, verbose=0)
        assert len(outputs) >= 3
        assert all(reference() is None for reference in outputs)
    finally:
        gc.enable()
