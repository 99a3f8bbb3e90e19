"""What a model needs before its first step: built layers, one buffer of weights, one dtype."""

import copy
import pickle

import numpy as np
import pytest

from gpunet.callbacks import Callback
from gpunet.layers import Dense, Input, Layer
from gpunet.models import Sequential
from tests.models.test_model import X, Y, classifier, fresh


def test_frozen_weights_stay_and_others_train():
    model = fresh()
    model.layers[0].trainable = False
    model.compile("adam", "categorical_crossentropy")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert (before[2] != after[2]).any()


def test_changing_what_trains_after_compile_asks_for_another():
    model = classifier()
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = False
    with pytest.raises(RuntimeError, match="call compile"):
        model.fit(X, Y, verbose=0)
    model.compile("adam", "categorical_crossentropy")
    model.fit(X, Y, verbose=0)


def test_adding_a_layer_after_training_asks_for_another_compile():
    model = classifier()
    model.fit(X, Y, verbose=0)
    model.add(Dense(3, activation="softmax"))
    with pytest.raises(RuntimeError, match="layers were"):
        model.fit(X, Y, verbose=0)
    model.compile("adam", "categorical_crossentropy")
    model.fit(X, Y, verbose=0)


def test_models_that_share_layers_train_the_same_weights():
    shared = Dense(8, activation="relu")
    first = Sequential([Input((6,)), shared, Dense(3, activation="softmax")])
    second = Sequential([Input((6,)), shared, Dense(3, activation="softmax")])
    for model in (first, second):
        model.compile("adam", "categorical_crossentropy")
    for model in (first, second, first):
        before = shared.get_weights()[0]
        model.fit(X, Y, verbose=0)
        assert (shared.get_weights()[0] != before).any()
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])


def test_all_weights_are_views_into_one_buffer():
    model = classifier()
    model.train_on_batch(X, Y)
    bases = {id(p.value.base) for p in model.weights}
    assert len(bases) == 1
    assert all(p.value.ctypes.data % 4 == 0 for p in model.weights)
    model.set_weights([w * 0 for w in model.get_weights()])
    assert {id(p.value.base) for p in model.weights} == bases
    np.testing.assert_allclose(model.predict(X[:2], verbose=0), np.full((2, 3), 1 / 3), rtol=1e-6)


def test_a_float64_model_trains_in_float64():
    model = Sequential(
        [Dense(4, activation="tanh", input_shape=(6,), dtype="float64"), Dense(3, dtype="float64")]
    )
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert all(w.dtype == np.float64 for w in model.get_weights())
    assert model.predict(X, verbose=0).dtype == np.float64


def test_layers_of_two_dtypes_cannot_be_trained_together():
    model = Sequential([Input((6,)), Dense(4, dtype="float64"), Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"one dtype, received \['float32', 'float64'\]"):
        model.fit(X, Y, verbose=0)


def test_fit_goes_on_where_it_left_off():
    """Adam's slots and step count survive from one fit to the next."""
    split, whole = fresh(), fresh()
    for model, parts in ((split, 2), (whole, 1)):
        for part in range(parts):
            model.fit(
                X, Y, epochs=(part + 1) * 2 // parts, initial_epoch=part, shuffle=False, verbose=0
            )
    for a, b in zip(split.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Block(Layer):
    """Builds the layer in it when it is first called, and one more only in training."""

    def __init__(self):
        super().__init__()
        self.inner, self.in_training = Dense(3), Dense(3)

    def call(self, x, training=False):
        return self.in_training(x) + self.inner(x) if training else self.inner(x)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 3)


def test_layers_built_by_a_call_train_from_the_first_step():
    model = Sequential([Input((6,)), Block()])
    model.compile("sgd", "mse")
    model.train_on_batch(X, Y)
    assert len(model.weights) == 4
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def test_another_model_trained_in_a_callback_does_not_take_shared_weights_away():
    shared = Dense(8, activation="relu")
    first, second = (Sequential([Input((6,)), shared, Dense(3)]) for _ in range(2))
    for model in (first, second):
        model.compile("sgd", "mse")

    class TrainSecond(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            second.train_on_batch(X, Y)
            self.before = shared.get_weights()[0]

        def on_train_batch_end(self, batch, logs=None):
            assert (shared.get_weights()[0] != self.before).any()

    first.fit(X, Y, callbacks=[TrainSecond()], verbose=0)


def test_models_can_be_copied_and_pickled():
    model = fresh()
    model.fit(X, Y, verbose=0)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.predict(X, verbose=0), model.predict(X, verbose=0))
        before = model.get_weights()
        twin.fit(X, Y, verbose=0)
        assert (twin.get_weights()[0] != before[0]).any()
        np.testing.assert_array_equal(model.get_weights()[0], before[0])
