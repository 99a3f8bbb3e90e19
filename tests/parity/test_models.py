"""Models beside Keras': what a script reads of them, and gives them, beside their layers."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import gpunet

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras and PyTorch, about themselves

rng = np.random.default_rng(7)
X = rng.standard_normal((20, 4)).astype("float32")
Y = rng.standard_normal((20, 1)).astype("float32")
CLASSES = rng.integers(0, 3, 20)


@pytest.fixture(autouse=True)
def fresh_names() -> None:
    keras.utils.clear_session()  # Keras numbers names over all models


def heads(k: Any) -> Any:
    """Return a model whose layers are made in another order than that of its graph."""
    layers = k.layers
    x = k.Input((4,))
    hidden = layers.Dense(4)(x)
    first = layers.Dense(1)(hidden)
    narrow = layers.Dense(3, activation="relu")(hidden)
    return k.Model(x, [first, layers.Dense(1)(narrow)])


def test_default_names_are_numbered_in_the_order_of_making() -> None:
    ours, theirs = heads(gpunet), heads(keras)
    names = [layer.name for layer in theirs.layers]
    assert [layer.name for layer in ours.layers] == names
    assert names == ["input_layer", "dense", "dense_2", "dense_1", "dense_3"]
    assert ours.output_names == theirs.output_names == ["dense_1", "dense_3"]
    ours.set_weights(theirs.get_weights())
    histories = []
    for model in (ours, theirs):
        model.compile("sgd", "mse", metrics=[["mae"], ["mae"]])
        histories.append(model.fit(X, [Y, Y], shuffle=False, verbose=0).history)
    assert histories[0].keys() == histories[1].keys()
    for key, values in histories[1].items():
        np.testing.assert_allclose(histories[0][key], values, rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("k", [gpunet, keras], ids=["gpunet", "keras"])
def test_a_list_of_one_output_stands_for_the_output(k: Any) -> None:
    x = k.Input((4,))
    model = k.Model(inputs=[x], outputs=[k.layers.Dense(2)(x)])
    assert (model.input_shape, model.output_shape) == ((None, 4), (None, 2))
    assert model(X).shape == model.predict([X], verbose=0).shape == (20, 2)
    model.compile("sgd", ["mse"], metrics=["mae"])
    assert set(model.fit([X], [X[:, :2]], verbose=0).history) == {"loss", "mae"}


@pytest.mark.parametrize("k", [gpunet, keras], ids=["gpunet", "keras"])
def test_the_output_of_a_layer_is_that_of_its_first_call(k: Any) -> None:
    layers = [k.layers.Dense(3, activation="tanh"), k.layers.Dense(2), k.layers.Dense(1)]
    model = k.Sequential([k.Input((4,)), *layers])
    hidden = layers[0].output
    other = k.Sequential([k.Input((4,)), *layers[:2]])  # calls the layers again
    assert layers[0].output is hidden
    features = k.Model(model.inputs, layers[1].output)
    values = [part.predict(X, verbose=0) for part in (features, other)]
    np.testing.assert_allclose(*values, rtol=1e-6)


def two_by_two(k: Any) -> Any:
    a, b = k.Input((4,), name="a"), k.Input((3,), name="b")
    both = k.layers.concatenate([a, b])
    score = k.layers.Dense(1, name="score")(both)
    return k.Model([a, b], [score, k.layers.Dense(3, "softmax", name="digit")(both)])


A_AND_B, TARGETS = [X, X[::-1, :3].copy()], [Y, CLASSES]
BY_NAME = {"a": A_AND_B[0], "b": A_AND_B[1]}, {"score": Y, "digit": CLASSES}


@pytest.mark.parametrize(("x", "y"), [(A_AND_B, TARGETS), BY_NAME], ids=["lists", "names"])
def test_validation_split_of_several_inputs_and_outputs(x: Any, y: Any) -> None:
    ours, theirs = two_by_two(gpunet), two_by_two(keras)
    ours.set_weights(theirs.get_weights())
    histories = []
    for model in (ours, theirs):
        model.compile("sgd", ["mse", "sparse_categorical_crossentropy"], metrics={"digit": ["acc"]})
        options = {"validation_split": 0.3, "epochs": 2, "shuffle": False, "verbose": 0}
        histories.append(model.fit(x, y, batch_size=4, **options).history)
    assert histories[0].keys() == histories[1].keys()
    assert "val_digit_acc" in histories[0]
    for key, values in histories[1].items():
        np.testing.assert_allclose(histories[0][key], values, rtol=1e-5, err_msg=key)


def test_class_weights_are_not_those_of_validation() -> None:
    histories = []
    weights = None
    for k in (keras, gpunet):
        model = k.Sequential([k.Input((4,)), k.layers.Dense(3, "softmax")])
        weights = weights or model.get_weights()
        model.set_weights(weights)
        model.compile("sgd", "sparse_categorical_crossentropy")
        options = {"validation_split": 0.25, "shuffle": False, "verbose": 0}
        histories.append(model.fit(X, CLASSES, class_weight={0: 1, 1: 3, 2: 0.5}, **options))
    for key in ("loss", "val_loss"):
        both = [history.history[key] for history in histories]
        np.testing.assert_allclose(*both, rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("k", [gpunet, keras], ids=["gpunet", "keras"])
def test_options_of_a_call_count_for_the_shapes_of_its_symbols(k: Any) -> None:
    query, value = k.Input((5, 4)), k.Input((6, 4))
    output, scores = k.layers.Attention()([query, value], return_attention_scores=True)
    assert (output.shape, scores.shape) == ((None, 5, 4), (None, 5, 6))


def test_layers_of_a_frozen_model_can_be_set_to_train() -> None:
    """As to fine-tune the last layers; the batch normalization among them learns its averages."""
    ours, theirs = [], []
    for k, models in ((keras, theirs), (gpunet, ours)):
        base = k.Sequential([
            k.Input((4,)), k.layers.Dense(5), k.layers.BatchNormalization(), k.layers.Dense(3),
            k.layers.BatchNormalization(),
        ])  # fmt: skip
        base.trainable = False
        for layer in base.layers[2:]:
            layer.trainable = True
        model = k.Sequential([k.Input((4,)), base, k.layers.Dense(1)])
        model.compile("sgd", "mse")
        models += [base, model]
    for our_model, their_model in zip(ours, theirs, strict=True):
        for weights in ("weights", "trainable_weights", "non_trainable_weights"):
            counts = [len(getattr(model, weights)) for model in (our_model, their_model)]
            assert counts[0] == counts[1], weights
    ours[1].set_weights(theirs[1].get_weights())
    losses = [
        m.fit(X, Y, shuffle=False, epochs=3, verbose=0).history["loss"]
        for m in (ours[1], theirs[1])
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for our_weight, their_weight in zip(
        ours[1].get_weights(), theirs[1].get_weights(), strict=True
    ):
        np.testing.assert_allclose(our_weight, their_weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("k", [gpunet, keras], ids=["gpunet", "keras"])
def test_the_losses_of_a_dictionary_are_listed_as_given(k: Any) -> None:
    x = k.Input((4,))
    outputs = {name: k.layers.Dense(1, name=name)(x) for name in "bca"}
    model = k.Model(x, outputs)
    model.compile("sgd", {"c": "mse", "a": "mse", "b": "mae"}, metrics={"c": ["mae"], "a": ["mae"]})
    y = dict.fromkeys("abc", Y)
    scores = model.evaluate(X, y, verbose=0, return_dict=True)
    listed = ["loss", "c_loss", "a_loss", "b_loss", "a_mae", "c_mae"]
    assert scores.keys() == set(listed)
    expected = [scores[key] for key in listed]
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0), expected, rtol=1e-6)


def test_the_bases_stand_beside_model() -> None:
    """As in ``class Center(keras.Layer)``."""
    for name in ("Initializer", "Layer", "Loss", "Metric", "Model", "Optimizer", "Regularizer"):
        assert getattr(gpunet, name).__name__ == getattr(keras, name).__name__ == name
