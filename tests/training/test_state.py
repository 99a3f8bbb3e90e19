"""What trains and what stays: `trainable` as compiled, and optimizers that continue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import optimizers
from gpunet.layers import Activation, BatchNormalization, Dense, Input
from gpunet.models import Model, Sequential
from gpunet.training.state import FlatParameters

rng = np.random.default_rng(0)
X = rng.normal(size=(24, 3)).astype("float32")
Y = rng.normal(size=(24, 1)).astype("float32")


def two_layers() -> Sequential:
    gpunet.random.seed(0)
    return Sequential([Input((3,)), Dense(4, activation="tanh"), Dense(1)])


def test_segments_are_the_places_of_the_trained_weights() -> None:
    model = two_layers()
    model.layers[1].trainable = False
    parameters = FlatParameters(model)
    assert [segment.path for segment in parameters.segments] == ["dense/kernel", "dense/bias"]
    for segment, weight in zip(parameters.segments, parameters.trainable, strict=True):
        part = parameters.values[segment.offset : segment.offset + segment.size]
        np.testing.assert_array_equal(part.reshape(segment.shape), weight.value)


def test_the_same_optimizer_continues_after_compile() -> None:
    results = []
    for again in (False, True):
        model, optimizer = two_layers(), optimizers.Adam(0.1)
        model.compile(optimizer, "mse")
        model.fit(X, Y, epochs=2, shuffle=False, verbose=0)
        if again:
            model.compile(optimizer, "mse", ["mae"])
        model.fit(X, Y, shuffle=False, verbose=0)
        results.append([w.tolist() for w in model.get_weights()] + [int(optimizer.iterations[0])])
    assert results[0] == results[1]


def test_slots_stay_with_their_weights_where_others_train_than_before() -> None:
    model, optimizer = two_layers(), optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    (name,) = optimizer.state

    def slots() -> dict[str, Any]:
        return {
            segment.path: optimizer.state[name][segment.offset : segment.offset + segment.size]
            for segment in model._parameters.segments
        }

    before = {path: slot.copy() for path, slot in slots().items()}
    steps = int(optimizer.iterations[0])
    model.layers[0].trainable = False
    model.compile(optimizer, "mse")
    model._lay_out_parameters()
    assert list(slots()) == ["dense_1/kernel", "dense_1/bias"]
    for path, slot in slots().items():
        np.testing.assert_array_equal(slot, before[path])
        assert slot.any()
    assert int(optimizer.iterations[0]) == steps


def test_a_critic_trains_as_compiled_while_it_is_frozen_in_another_model() -> None:
    critic = Sequential([Input((3,)), Dense(4, activation="tanh"), Dense(1)])
    critic.compile("sgd", "mse")
    critic.trainable = False
    generator = Sequential([Input((2,)), Dense(3)])
    both = Sequential([generator, critic])
    both.compile("sgd", "mse")
    noise = X[:, :2]
    for _ in range(2):
        weights, made = critic.get_weights(), generator.get_weights()
        critic.train_on_batch(X, Y)
        assert all((a != b).any() for a, b in zip(weights, critic.get_weights(), strict=True))
        np.testing.assert_array_equal(made[0], generator.get_weights()[0])
        weights = critic.get_weights()
        both.train_on_batch(noise, Y)
        np.testing.assert_array_equal(weights[0], critic.get_weights()[0])
        assert (made[0] != generator.get_weights()[0]).any()
    assert critic.trainable is False


def test_layers_of_a_frozen_model_are_frozen_in_others_too() -> None:
    """As in Keras 3.15, where to set `trainable` sets that of the layers in it."""
    base = Sequential([Input((3,)), Dense(4), BatchNormalization(name="norm"), Dense(2)])
    base.trainable = False
    assert not any(layer.trainable for layer in base.layers)
    features = base.get_layer("norm").output
    model = Model(base.input, Dense(1)(features))
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.train_on_batch(X, Y)
    changed = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [*[False] * 6, True, True]
    base.trainable = True
    assert all(layer.trainable for layer in base.layers)


def test_a_change_before_the_first_step_counts() -> None:
    model = two_layers()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.layers[0].trainable = True
    before = model.get_weights()[0]
    model.fit(X, Y, verbose=0)
    assert (before != model.get_weights()[0]).all()


def test_a_change_that_no_compile_has_seen_is_refused() -> None:
    model = two_layers()
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = False
    with pytest.raises(RuntimeError, match=r"`trainable` was set.*call compile\(\) again"):
        model.fit(X, Y, verbose=0)
    model.layers[0].trainable = True
    model.fit(X, Y, verbose=0)


def test_a_model_without_weights_is_fitted_and_evaluated() -> None:
    model = Sequential([Input((1,)), Activation("relu")])
    model.compile("adam", "mse")
    with pytest.warns(UserWarning, match="nothing to train: it has no weights"):
        history = model.fit(Y, Y, verbose=0).history
    expected = ((np.maximum(Y, 0) - Y) ** 2).mean()
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(Y, Y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_a_model_of_frozen_layers_says_that_nothing_trains() -> None:
    model = two_layers()
    model.trainable = False
    model.compile("adam", "mse")
    before = model.get_weights()
    with pytest.warns(UserWarning, match="nothing to train: all its weights are frozen"):
        model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_a_return_dict_that_is_no_flag_is_refused_before_the_step() -> None:
    model = two_layers()
    model.compile("sgd", "mse")
    before = model.get_weights()
    with pytest.raises(TypeError, match="expects return_dict as True or False"):
        model.train_on_batch(X, Y, return_dict=np.array([1, 0]))
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
