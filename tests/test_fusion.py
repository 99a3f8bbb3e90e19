"""Neighbouring layers run as one primitive: which do, which do not, and that nothing changes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from gpunet import activations, functions, fusion, losses, random
from gpunet.autograd import Tensor, no_grad
from gpunet.layers import (
    Activation,
    Add,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
    Subtract,
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
    graph = Sequential(layers).graph
    seen = []

    class Probe(Layer):
        def call(self, x: Any) -> Any:
            seen.extend(len(step.nodes) for step in fusion.steps(graph))
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
        prediction, fused = fusion.call_with_loss(model, Tensor(x), model.loss, y)
        assert (fused is not None) == fuse
        if fused is not None:
            fused.backward()
        else:
            model.loss(y, prediction).backward()
        gradients.append([weight.grad for weight in model.weights])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("in_the_layer", [True, False])
def test_options_of_activations_survive_fusion(in_the_layer: bool) -> None:
    leaky = functools.partial(activations.leaky_relu, negative_slope=0.1)
    bounded = functools.partial(activations.relu, max_value=1.0, threshold=0.1)

    def with_activation(layer: Any, activation: Any, **options: Any) -> list[Any]:
        if in_the_layer:
            return [layer(activation=activation, **options)]
        return [layer(**options), Activation(activation)]

    def layers() -> list[Any]:
        return [
            Input((14, 14, 2)),
            *with_activation(functools.partial(Conv2D, 6, 3), leaky),
            MaxPooling2D(2),
            *with_activation(functools.partial(Conv2D, 4, 3), bounded),
            Flatten(),
            *with_activation(functools.partial(Dense, 8), leaky),
            Dense(5, activation="softmax"),
        ]

    fused, plain = compiled(True, layers), compiled(False, layers)
    assert joined(layers()) == [len(layers()) - 1]
    x, y = data()
    np.testing.assert_allclose(
        fused.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-4, atol=1e-6
    )
    losses = [model.train_on_batch(x, y)[0] for model in (fused, plain)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


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
    prediction, fused = fusion.call_with_loss(model, Tensor(x), model.loss, labels(y))
    assert fused is not None
    np.testing.assert_allclose(prediction.value, expected, rtol=1e-5)
    alone = model.loss(labels(y), model(Tensor(x), training=True))
    assert fused.losses.mean() == pytest.approx(alone.item(), rel=1e-6)
    assert fused.result is not None
    correct = expected.argmax(-1) == y.argmax(-1)
    np.testing.assert_array_equal(fused.result.hits, correct)
    assert (fused.correct is None) == bool(model.loss.label_smoothing)


def test_labels_that_do_not_fit_are_an_error_of_the_loss() -> None:
    x, _ = data()
    model = compiled(True)
    wrong = np.zeros((len(x), 7), "float32")
    with pytest.raises(ValueError, match=r"^categorical_crossentropy expects y_true .*shape"):
        fusion.call_with_loss(model, Tensor(x), model.loss, wrong)


class OwnCrossentropy(losses.CategoricalCrossentropy):
    def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
        return functions.mean((y_pred - y_true) ** 2, axis=-1)


@pytest.mark.parametrize(
    "loss", ["mse", OwnCrossentropy(), losses.CategoricalCrossentropy(from_logits=True)]
)
def test_no_other_loss_is_fused(loss: Any) -> None:
    x, y = data()
    model = compiled(True, loss=loss)
    prediction, fused = fusion.call_with_loss(model, Tensor(x), model.loss, y)
    assert fused is None
    np.testing.assert_allclose(prediction.value, model.predict(x, verbose=0), rtol=1e-6)


def test_an_inner_softmax_is_computed() -> None:
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


def test_a_layer_without_a_role_costs_only_itself() -> None:
    class Double(Layer):
        def call(self, x: Any) -> Any:
            return x * 2.0

    layers = [Dense(8, input_shape=(4,)), Double(), Dense(6), Dense(3, activation="softmax")]
    assert joined(layers) == [1, 1, 2]
    model = Sequential([Dense(8, input_shape=(4,)), Double(), Dense(6), Dense(3, "softmax")])
    model.compile("sgd", "categorical_crossentropy")
    x, y = np.ones((2, 4), "float32"), np.eye(3, dtype="float32")[:2]
    _, fused = fusion.call_with_loss(model, Tensor(x), model.loss, y)
    assert fused is not None


def test_branches_and_inner_models_are_fused_too() -> None:
    image = Input((8, 8, 2))
    trunk = Sequential([Conv2D(4, 3, activation="relu", input_shape=(8, 8, 2)), MaxPooling2D(2)])
    shared = Dense(6, activation="relu")
    features = Flatten()(trunk(image))
    left, right = shared(features), Dense(6)(features)
    outputs = Dense(3, activation="softmax")(Dense(5)(Add()([left, right])))
    model = Model(image, outputs)
    names = [[node.name for node in step.nodes] for step in fusion.steps(model.graph)]
    assert sorted(names) == sorted(
        [["conv2d", "max_pooling2d", "flatten"], ["dense"], ["dense_1"], ["add"],
         ["dense_3", "dense_2"]]
    )  # fmt: skip
    x = np.random.default_rng(0).standard_normal((5, 8, 8, 2)).astype("float32")
    fused = model(x).numpy()
    model.fuse = trunk.fuse = False
    np.testing.assert_allclose(model(x).numpy(), fused, rtol=1e-5, atol=1e-6)
    trunk.add(Activation("tanh"))  # the graph of an inner model changes
    assert not np.allclose(model(x).numpy(), fused)


def test_one_model_called_twice_is_run_twice() -> None:
    encoder = Sequential([Dense(3, activation="tanh", input_shape=(4,))])
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], Subtract()([encoder(a), encoder(b)]))
    x, y = np.ones((2, 4), "float32"), np.zeros((2, 4), "float32")
    expected = encoder(x).numpy() - encoder(y).numpy()
    np.testing.assert_allclose(model([x, y]).numpy(), expected, rtol=1e-6)


def test_a_plan_is_kept_until_an_attribute_of_a_layer_is_set() -> None:
    model = compiled(True)
    first = fusion.steps(model.graph)
    assert fusion.steps(model.graph) is first
    model.layers[2].activation = activations.get("gelu")
    assert [len(step.nodes) for step in fusion.steps(model.graph)] == [3, 1, 1, 1, 3]
    model.layers[2].activation = activations.get("linear")
    assert [len(step.nodes) for step in fusion.steps(model.graph)] == [9]


def test_a_planned_step_takes_the_weights_of_the_moment() -> None:
    model = compiled(True)
    x, _ = data()
    model.predict(x, verbose=0)
    kernel = model.layers[-1].kernel
    kernel.value = np.zeros_like(kernel.value)
    np.testing.assert_allclose(model.predict(x, verbose=0), 0.2)
