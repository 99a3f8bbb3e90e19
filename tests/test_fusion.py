"""Neighbouring layers run as one primitive: which do, which do not, and that nothing changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import functions, fusion, losses, random
from gpunet.autograd import Tensor, no_grad
from gpunet.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPooling2D,
)
from gpunet.models import Model, Sequential
from gpunet.utils import to_categorical


class OwnConv2D(Conv2D):
    pass


def program() -> list[Any]:
    return [
        Conv2D(6, 3, activation="relu", input_shape=(14, 14, 2)),
        MaxPooling2D(2),
        Conv2D(8, 3),
        Activation("relu"),
        MaxPooling2D((2, 2)),
        Flatten(),
        Dense(12),
        Activation("tanh"),
        Dense(5, activation="softmax"),
    ]


def compiled(fuse: bool, layers: Any = program, loss: Any = "categorical_crossentropy") -> Any:
    random.seed(3)
    model = Sequential(layers())
    model.compile("adam", loss, ["accuracy"], fuse=fuse)
    return model


def joined(layers: list[Any], training: bool = True) -> list[int]:
    """Return how many layers each step of a model of these layers runs."""
    model = Sequential(layers)
    seen = []

    class Probe(Layer):
        def call(self, x: Any) -> Any:
            steps = fusion.steps(model, model.layers, 4)
            seen.extend(len(s.layers) if isinstance(s, fusion.Chain) else 1 for s in steps)
            return x

    Probe()(np.zeros(1), training=training)
    return seen


def data(samples: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 14, 14, 2)).astype("float32")
    return x, to_categorical(rng.integers(0, 5, samples), 5)


def test_what_is_joined() -> None:
    assert joined(program()) == [9]
    image = {"input_shape": (8, 8, 1)}
    assert joined([Conv2D(2, 3, **image), Activation("elu")]) == [2]
    assert joined([Conv2D(2, 3, **image), MaxPooling2D(3)]) == [2]
    assert joined([Conv2D(2, 3, **image), Activation("relu"), MaxPooling2D(2)]) == [3]
    assert joined([Conv2D(2, 3, **image), Conv2D(2, 3, activation="gelu"), Conv2D(2, 3)]) == [2, 1]
    assert joined([Flatten(**image), Dense(4), Dense(4)]) == [1, 2]


def test_dropout_ends_a_chain_in_training_alone() -> None:
    layers = [Conv2D(2, 3, input_shape=(8, 8, 1)), Dropout(0.5), Flatten(), Dense(3)]
    assert joined(layers) == [1, 1, 1, 1]
    assert joined(layers, training=False) == [4]


def test_a_large_layer_is_a_chain_of_its_own() -> None:
    layers = [Conv2D(2, 3, input_shape=(30, 30, 1)), Flatten(), Dense(1000), Dense(1000), Dense(2)]
    assert joined(layers) == [2, 1, 1, 1]


@pytest.mark.parametrize(
    "layers",
    [
        lambda image: [Conv2D(2, 3, **image), MaxPooling2D(2, strides=1)],
        lambda image: [Conv2D(2, 3, **image), MaxPooling2D(2, padding="same")],
        lambda image: [Conv2D(2, 3, **image), AveragePooling2D(2)],
        lambda image: [Conv2D(2, 3, activation="gelu", **image), MaxPooling2D(2)],
        lambda image: [Conv2D(2, 3, activation=lambda x: x * x, **image), MaxPooling2D(2)],
        lambda image: [Conv2D(2, 3, data_format="channels_first", **image), Activation("relu")],
        lambda image: [Conv2D(2, 3, groups=2, **image), MaxPooling2D(2)],
        lambda image: [OwnConv2D(2, 3, **image), MaxPooling2D(2)],
        lambda image: [Conv2D(2, 3, **image), Dense(3)],
        lambda image: [Conv2D(2, 3, activation="relu", **image), Activation("relu")],
        lambda image: [Conv2D(2, 3, **image), Conv2D(2, 3, dtype="float64")],
    ],
)
def test_what_is_not_joined(layers: Any) -> None:
    assert set(joined(layers({"input_shape": (8, 8, 8)}))) == {1}


def test_a_layer_whose_call_was_replaced_is_called() -> None:
    model = compiled(True)
    seen = []
    conv = model.layers[2]
    original = conv.call
    conv.call = lambda x: seen.append(x.shape) or original(x)
    x, y = data()
    model.train_on_batch(x, y)
    assert seen == [(24, 6, 6, 6)]


def test_both_ways_train_alike() -> None:
    x, y = data()
    one, other = compiled(True), compiled(False)
    for _ in range(4):
        np.testing.assert_allclose(one.train_on_batch(x, y), other.train_on_batch(x, y), rtol=1e-5)
    for weight, expected in zip(one.get_weights(), other.get_weights(), strict=True):
        # Adam's first steps are the rate times the gradient's sign: a gradient near 0, rounded
        # otherwise, can move its weight by a part of 4 steps of 0.001.
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=2e-4)
    np.testing.assert_allclose(one.predict(x, verbose=0), other.predict(x, verbose=0), atol=1e-4)


def test_gradients_of_both_ways_agree() -> None:
    x, y = data()
    gradients = []
    for fuse in (True, False):
        model = compiled(fuse)
        with fusion.loss_left_to(model, model.loss, y) as left:
            prediction = model(Tensor(x), training=True)
        assert (left.result is not None) == fuse
        if fuse:
            left.backward()
        else:
            model.loss(y, prediction).backward()
        gradients.append([weight.grad for weight in model.weights])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_the_model_stays_what_it_is() -> None:
    texts: list[list[str]] = [[], []]
    models = compiled(True), compiled(False)
    for model, lines in zip(models, texts, strict=True):
        model.summary(print_fn=lines.append)
    assert texts[0] == [line.replace(models[1].name, models[0].name) for line in texts[1]]
    x, _ = data()
    value: Any = Tensor(x)
    with no_grad():
        for layer in models[0].layers:
            value = layer(value)
        np.testing.assert_allclose(models[0](x).value, value.value, rtol=1e-5, atol=1e-7)
    assert [w.shape for w in models[0].weights] == [w.shape for w in models[1].weights]


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        ("categorical_crossentropy", lambda y: y),
        ("sparse_categorical_crossentropy", lambda y: y.argmax(axis=1)),
        (losses.CategoricalCrossentropy(label_smoothing=0.1), lambda y: y),
    ],
)
def test_the_last_chain_computes_the_loss(loss: Any, labels: Any) -> None:
    x, y = data()
    model = compiled(True, loss=loss)
    expected = model.predict(x, verbose=0)
    with fusion.loss_left_to(model, model.loss, labels(y)) as left:
        prediction = model(Tensor(x), training=True)
    assert left.result is not None
    np.testing.assert_allclose(prediction.value, expected, rtol=1e-5)
    alone = model.loss(labels(y), model(Tensor(x), training=True))
    assert left.result.losses.mean() == pytest.approx(alone.item(), rel=1e-6)
    hits = expected.argmax(-1) == y.argmax(-1)
    np.testing.assert_array_equal(left.result.hits, hits)


def test_labels_that_do_not_fit_are_the_loss_to_tell() -> None:
    x, _ = data()
    model = compiled(True)
    with fusion.loss_left_to(model, model.loss, np.zeros((len(x), 7), "float32")) as left:
        prediction = model(Tensor(x), training=True)
    assert left.result is None
    with pytest.raises(ValueError, match=r"shape"):
        model.loss(np.zeros((len(x), 7), "float32"), prediction)


class OwnCrossentropy(losses.CategoricalCrossentropy):
    def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return functions.mean((y_pred - y_true) ** 2, axis=-1)


@pytest.mark.parametrize(
    "loss", ["mse", OwnCrossentropy(), losses.CategoricalCrossentropy(from_logits=True)]
)
def test_no_other_loss_is_left_to_the_chain(loss: Any) -> None:
    x, y = data()
    model = compiled(True, loss=loss)
    with fusion.loss_left_to(model, model.loss, y) as left:
        prediction = model(Tensor(x), training=True)
    assert left.result is None
    np.testing.assert_allclose(prediction.value, model.predict(x, verbose=0), rtol=1e-6)


def test_only_the_model_itself_leaves_its_softmax() -> None:
    gate = Sequential([Dense(4, activation="softmax")])

    class Gated(Model):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.out = gate, Dense(3, activation="softmax")

        def call(self, x: Any) -> Any:
            return self.out(self.gate(x))

    for model in (Gated(), Sequential([gate, Dense(3, activation="softmax")])):
        random.seed(1)
        model.compile("sgd", "categorical_crossentropy")
        x = np.random.default_rng(0).standard_normal((6, 5)).astype("float32")
        y = to_categorical([0, 1, 2, 0, 1, 2], 3)
        expected = model.evaluate(x, y, verbose=0)
        assert model.train_on_batch(x, y) == pytest.approx(expected, rel=1e-5)


def test_fuse_false_reaches_the_models_inside() -> None:
    inner = Sequential([Conv2D(4, 3), MaxPooling2D(2)])
    model = Sequential([inner, Flatten(), Dense(2)])
    model.compile("sgd", "mse", fuse=False)
    assert not model.fuse and not inner.fuse


def test_errors_name_the_layer_that_does_not_fit() -> None:
    model = Sequential(
        [Conv2D(4, 3, name="first"), MaxPooling2D(2), Flatten(), Dense(2, name="out")]
    )
    model(np.zeros((1, 8, 8, 3), "float32"))
    with pytest.raises(ValueError, match=r"'first'.* 3 channels, received 1"):
        model(np.zeros((1, 8, 8, 1), "float32"))
    with pytest.raises(ValueError, match=r"'out'.*\(batch, \.\.\., 36\).*received \(1, 64\)"):
        model(np.zeros((1, 10, 10, 3), "float32"))
    with no_grad(), pytest.raises(ValueError, match=r"'out'.*received \(1, 64\)"):
        model(np.zeros((1, 10, 10, 3), "float32"))
