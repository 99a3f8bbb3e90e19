"""Recurrent layers by themselves and in models."""

import copy
import pickle

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, functions
from gpunet.autograd import Tensor
from gpunet.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    GRUCell,
    Layer,
    LSTMCell,
    Masking,
    SimpleRNN,
    SimpleRNNCell,
    StackedRNNCells,
    TimeDistributed,
)
from gpunet.models import Sequential

rng = np.random.default_rng(0)
X = rng.standard_normal((4, 6, 3)).astype("float32")
MASK = np.array(
    [[1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]], bool
)

LAYERS = {
    "SimpleRNN": lambda **options: SimpleRNN(5, **options),
    "LSTM": lambda **options: LSTM(5, **options),
    "GRU": lambda **options: GRU(5, **options),
    "GRU before": lambda **options: GRU(5, reset_after=False, **options),
    "GRU relu": lambda **options: GRU(5, activation="softsign", use_bias=False, **options),
    "LSTM relu": lambda **options: LSTM(5, recurrent_activation="hard_silu", **options),
    "cells": lambda dtype=None, **options: RNN(
        [LSTMCell(4, dtype=dtype), GRUCell(2, dtype=dtype)], **options
    ),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients(kind, masked):
    layer = LAYERS[kind](return_sequences=True, dtype="float64")
    x = X[:3, :4].astype("float64")
    mask = MASK[:3, :4] if masked else None
    layer(x)
    for weight in layer.weights:  # biases of 0 would hide errors
        weight.value[...] = rng.normal(0, 0.5, weight.shape)

    gpunet.check_gradients(lambda x: layer(x, mask=mask), x)
    gpunet.check_gradients(layer, x)


@pytest.mark.parametrize("kind", LAYERS)
def test_configuration_copy_and_pickle(kind):
    layer = LAYERS[kind](return_sequences=True, name="mine")
    y = layer(X)
    twin = type(layer).from_config(layer.get_config())
    assert twin.name == "mine"
    assert not any(part is other for part in layer.sublayers for other in twin.sublayers)
    twin(X)
    twin.set_weights(layer.get_weights())
    for other in (twin, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other(X).value, y.value)
    assert repr(layer) == f"<{type(layer).__name__} 'mine'>"


def test_paths_order_and_initial_values_of_weights():
    model = Sequential(
        [
            LSTM(2, input_shape=(None, 3)),
        ]
    )
    assert list(model.weight_paths()) == [
        "lstm/lstm_cell/kernel", "lstm/lstm_cell/recurrent_kernel", "lstm/lstm_cell/bias",
    ]  # fmt: skip
    np.testing.assert_array_equal(model.get_weights()[2], [0, 0, 1, 1, 0, 0, 0, 0])
    gru = GRU(3)
    gru(X)
    assert [w.shape for w in gru.get_weights()] == [(3, 9), (3, 9), (2, 9)]
    plain = LSTM(2, unit_forget_bias=False, bias_initializer="ones")
    plain(X)
    np.testing.assert_array_equal(plain.get_weights()[2], np.ones(8))
    recurrent = gru.get_weights()[1]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(3), atol=1e-6)


def test_regularizers_reach_the_loss():
    layer = LSTM(2, kernel_regularizer="l2", recurrent_regularizer="l1", bias_regularizer="l2")
    layer(X)
    assert len(layer.losses) == 3


# Shapes and symbols


@pytest.mark.parametrize("kind", LAYERS)
def test_shapes_with_unknown_batch_and_time(kind):
    x = Input((None, 3))
    layer = LAYERS[kind](return_sequences=True)
    units = layer(X).shape[-1]
    assert layer(x).shape == (None, None, units)
    last = LAYERS[kind]()
    model = Model(x, last(x))
    assert model.output_shape == (None, units)
    np.testing.assert_allclose(model(X).value, last(X).value, atol=1e-6)
    np.testing.assert_allclose(model.predict(X, verbose=0), last(X).value, atol=1e-6)


def test_states_are_inputs_and_outputs_of_a_graph():
    """An encoder and a decoder."""
    x, target = Input((6, 3)), Input((None, 2))
    _, h, c = LSTM(4, return_state=True)(x)
    decoder = LSTM(4, return_sequences=True)
    model = Model([x, target], Dense(2)(decoder(target, initial_state=[h, c])))
    y = model([X, X[:, :5, :2]])
    assert y.shape == (4, 5, 2)
    model.compile("adam", "mse")
    model.fit([X, X[:, :5, :2]], X[:, :5, :2], verbose=0)


def test_an_initial_state_may_be_positional_and_of_lists():
    layer = GRU(2)
    state = rng.standard_normal((4, 2)).astype("float32")
    expected = layer(X, initial_state=[state]).value
    np.testing.assert_array_equal(layer(X, state).value, expected)
    np.testing.assert_array_equal(layer(X, initial_state=Tensor(state)).value, expected)
    assert not np.array_equal(layer(X).value, expected)


def test_a_layer_masks_with_an_initial_state_too():
    masked = Masking()(X * MASK[..., None])
    state = rng.standard_normal((4, 2)).astype("float32")
    layer = GRU(2, return_sequences=True)
    expected = layer(X, initial_state=state, mask=MASK)
    received = layer(masked, initial_state=state)
    np.testing.assert_array_equal(received.value[MASK], expected.value[MASK])
    np.testing.assert_array_equal(received.mask, MASK)


class Custom(Layer):
    """A cell written by a user: two states, one of another size."""

    state_size = (3, 1)
    output_size = 3

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], 3), name="kernel")

    def call(self, inputs, states, training=False):
        total, count = states
        total = total + inputs @ self.kernel * (2.0 if training else 1.0)
        return total, [total, count + 1]


def test_custom_cells():
    layer = RNN(Custom(), return_state=True, return_sequences=True)
    y, total, count = layer(X)
    expected = np.cumsum(X @ layer.get_weights()[0], 1)
    np.testing.assert_allclose(y.value, expected, atol=1e-5)
    np.testing.assert_array_equal(count.value, np.full((4, 1), 6.0))
    np.testing.assert_allclose(layer(X, training=True)[1].value, 2 * total.value, atol=1e-5)
    stacked = RNN([Custom(), LSTMCell(2)])
    assert stacked(X).shape == (4, 2)
    _, _, count = layer(X, mask=MASK)
    np.testing.assert_array_equal(count.value[:, 0], MASK.sum(1))


def test_a_subclass_of_a_cell_runs_its_own_call():
    class Halved(GRUCell):
        def call(self, inputs, states):
            output, after = super().call(inputs, states)
            return output / 2, after

    layer = RNN(Halved(3), return_sequences=True)
    y = layer(X)
    plain = RNN(GRUCell(3), return_sequences=True)
    plain(X)
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(y.value, plain(X).value / 2, atol=1e-7)


# Dropout


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU", "GRU before"])
def test_dropout_acts_in_training_and_repeats_by_seed(kind, options):
    layers = [LAYERS[kind](seed=3, return_sequences=True, **options) for _ in range(2)]
    for layer in layers:
        layer(X)
    layers[1].set_weights(layers[0].get_weights())
    first, second = (layer(X, training=True).value for layer in layers)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(layers[0](X, training=True).value, first)
    assert not np.array_equal(layers[0](X).value, first)


def test_dropout_is_the_same_at_all_steps():
    """With a recurrent kernel of zeros each step sees its own input alone."""
    layer = SimpleRNN(5, dropout=0.5, recurrent_initializer="zeros", return_sequences=True)
    y = layer(np.ones((4, 6, 3), "float32"), training=True).value
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert not np.array_equal(y[0], y[1])


def test_dropped_inputs_are_zero_and_scaled():
    layer = SimpleRNN(3, activation=None, dropout=0.5, recurrent_initializer="zeros", seed=0,
                      kernel_initializer="identity")  # fmt: skip
    y = layer(np.ones((64, 1, 3), "float32"), training=True).value
    assert set(np.unique(y)) == {0.0, 2.0}


def test_dropout_per_gate():
    layer = LSTM(5, dropout=0.5, implementation=1, seed=1)
    assert layer(X, training=True).shape == (4, 5)
    assert layer.cell.implementation == 1
    assert LSTMCell(5, recurrent_dropout=0.1).implementation == 1


# Stateful layers


def test_states_move_with_the_weights():
    gpunet.random.seed(0)
    model = Sequential([SimpleRNN(3, stateful=True, input_shape=(6, 3)), Dense(1)])
    model.compile("sgd", "mse")
    y = np.zeros((8, 1), "float32")
    layer = model.layers[0]
    model.fit(np.concatenate([X, X]), y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    states = layer.states[0].numpy().copy()
    assert states.any()
    assert len(layer.get_weights()) == 3
    with pytest.raises(ValueError, match="finite"):
        model.fit(X, np.full((4, 1), np.nan), batch_size=4, verbose=0)
    np.testing.assert_array_equal(layer.states[0].numpy(), states)
    layer.reset_state()
    assert not layer.states[0].numpy().any()


def test_predictions_of_a_stateful_model_keep_the_batches():
    model = Sequential([SimpleRNN(3, stateful=True, input_shape=(6, 3))])
    x = np.concatenate([X, X])
    y = model.predict(x, batch_size=4, verbose=0)
    assert not np.allclose(y[:4], y[4:])
    model.layers[0].reset_states()
    one, two = model(X).numpy(), model(X).numpy()
    np.testing.assert_array_equal(y, np.concatenate([one, two]))


def test_a_gradient_stops_at_the_call_before():
    layer = LSTM(2, stateful=True, dtype="float64")
    x = X.astype("float64")
    layer(x)
    before = [s.numpy().copy() for s in layer.states]
    t = Tensor(x, requires_grad=True)
    functions.sum(layer(t)).backward()
    expected = Tensor(x, requires_grad=True)
    functions.sum(layer(expected, initial_state=before)).backward()
    np.testing.assert_allclose(t.grad, expected.grad, rtol=1e-12)


def test_another_batch_size_needs_a_reset():
    layer = GRU(2, stateful=True)
    layer(X)
    with pytest.raises(ValueError, match=r"states are those of 4 samples, received a batch of 3"):
        layer(X[:3])
    layer.reset_state()
    assert layer(X[:3]).shape == (3, 2)


def test_a_stateful_bidirectional_layer():
    layer = Bidirectional(GRU(2, stateful=True))
    one, two = layer(X).value, layer(X).value
    assert not np.array_equal(one, two)
    assert len(layer.states) == 2
    layer.reset_state()
    np.testing.assert_array_equal(layer(X).value, one)


# Wrappers


def test_bidirectional_makes_new_layers():
    inner = LSTM(3, name="mine")
    inner(X)
    layer = Bidirectional(inner)
    layer(X)
    assert layer.forward_layer.name == "forward_mine"
    assert layer.backward_layer.name == "backward_mine"
    assert not np.array_equal(layer.get_weights()[0], inner.get_weights()[0])
    twin = Bidirectional.from_config(layer.get_config())
    twin(X)
    assert [w.shape for w in twin.get_weights()] == [w.shape for w in layer.get_weights()]
    started = Bidirectional(LSTM(3), weights=layer.get_weights())
    np.testing.assert_array_equal(started(X).value, layer(X).value)


def test_bidirectional_gradients_and_masks():
    layer = Bidirectional(LSTM(2, return_sequences=True, dtype="float64"), dtype="float64")
    gpunet.check_gradients(lambda x: layer(x, mask=MASK), X.astype("float64"))
    y = layer(X.astype("float64"), mask=MASK)
    np.testing.assert_array_equal(y.mask, MASK)
    assert not y.value[~MASK].any()


def test_time_distributed_layers_run_step_by_step_or_together():
    class Mean(Layer):
        """Not by sample: it subtracts the mean of the batch."""

        def call(self, x):
            return x - functions.mean(x, axis=0)

    y = TimeDistributed(Mean())(X)
    np.testing.assert_allclose(y.value, X - X.mean(0), atol=1e-6)
    dense = Dense(2)
    together = TimeDistributed(dense)
    np.testing.assert_allclose(together(X).value, dense(X).value, atol=1e-6)
    np.testing.assert_array_equal(together(Masking()(X * MASK[..., None])).mask, MASK)
    x = Input((None, 3))
    assert together(x).shape == (None, None, 2)


# Training


def test_a_masked_gru_learns():
    """Whether a padded sequence sums to more than 0."""
    gpunet.random.seed(0)
    draw = np.random.default_rng(0)
    lengths = draw.integers(3, 9, 256)
    x = draw.choice([-1.0, 1.0], (256, 8, 1)).astype("float32")
    x[np.arange(8) >= lengths[:, None]] = 0
    y = (x.sum((1, 2)) > 0).astype("float32")[:, None]
    model = Sequential([Masking(input_shape=(8, 1)), GRU(8), Dense(1, "sigmoid")])
    model.compile(gpunet.optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=32, epochs=15, verbose=0).history
    assert history["accuracy"][-1] > 0.97


def test_a_stacked_lstm_learns():
    """The running mean of the inputs."""
    gpunet.random.seed(0)
    x = np.random.default_rng(0).standard_normal((128, 6, 1)).astype("float32")
    y = (np.cumsum(x, 1) / np.arange(1, 7)[:, None]).astype("float32")
    model = Sequential([
        LSTM(8, return_sequences=True, input_shape=(6, 1)),
        LSTM(8, return_sequences=True),
        Dense(1),
    ])  # fmt: skip
    model.compile(gpunet.optimizers.Adam(0.02), "mse")
    losses = model.fit(x, y, batch_size=32, epochs=25, verbose=0).history["loss"]
    assert losses[-1] < 0.05 * losses[0]


# Errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LSTM(0), ValueError, "units"),
        (lambda: GRU(2, dropout=1.0), ValueError, "dropout must be from 0 to below 1"),
        (lambda: GRU(2, recurrent_dropout=-0.1), ValueError, "recurrent_dropout"),
        (lambda: LSTM(2, kernel_constraint="max_norm"), NotImplementedError, "kernel_constraint"),
        (lambda: LSTM(2, use_cudnn="never"), ValueError, "use_cudnn"),
        (lambda: LSTM(2, implementation=3), ValueError, "implementation must be 1 or 2"),
        (lambda: LSTM(2, return_sequences="yes"), TypeError, "return_sequences"),
        (lambda: LSTM(2, unit=3), TypeError, "LSTM takes no argument 'unit'"),
        (lambda: RNN(Dense(2)), ValueError, "RNN expects cells"),
        (lambda: RNN([]), ValueError, "expects a list of cells"),
        (lambda: StackedRNNCells([LSTMCell(2), 3]), ValueError, "received 3"),
        (lambda: Bidirectional(Dense(2)), ValueError, "must be a recurrent layer"),
        (lambda: Bidirectional(LSTM(2), merge_mode="max"), ValueError, "merge_mode"),
        (lambda: Bidirectional(LSTM(2), backward_layer=LSTM(2)), ValueError, "go_backwards"),
        (
            lambda: Bidirectional(
                LSTM(2), backward_layer=LSTM(2, go_backwards=True, return_state=True)
            ),
            ValueError,
            "one return_state",
        ),
        (lambda: TimeDistributed(3), ValueError, "layer must be a layer"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LSTM(2)(X[0]), r"expects inputs of shape \(batch, time, features\)"),
        (lambda: LSTM(2)(X[:, :0]), "at least one time step"),
        (lambda: LSTM(2)(X[None]), "expects inputs of shape"),
        (lambda: GRU(2)(X, initial_state=X[:3, 0, :2]), r"state of shape \(4, 2\), received"),
        (lambda: LSTM(2)(X, initial_state=[X[:, 0, :2]]), r"expects 2 states of shape"),
        (lambda: LSTM(2)(X, mask=MASK[:, :5]), r"first sizes of its input"),
        (lambda: LSTM(2)(X, mask=MASK[:, 0]), r"expects a mask of shape \(batch, time\)"),
        (lambda: SimpleRNNCell(2)(X[:, 0], [X[:3, 0, :2]]), r"state of shape \(4, 2\)"),
        (lambda: SimpleRNNCell(2)(X, [X[:, 0, :2]]), r"expects inputs of shape \(batch, features"),
        (lambda: TimeDistributed(Dense(2))(X[0]), "at least 3"),
    ],
)
def test_bad_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_inputs_are_cast_to_the_cells():
    layer = RNN([LSTMCell(2, dtype="float64"), LSTMCell(2, dtype="float64")])
    assert layer(Tensor(X)).dtype == layer(X).dtype == np.float64


def test_another_number_of_features():
    layer = GRU(2)
    layer(X)
    with pytest.raises(ValueError, match="built for 3 features"):
        layer(X[:, :, :2])
