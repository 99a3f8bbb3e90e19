"""Recurrent layers in Keras and in gpunet, from the same weights on the same batches."""

import os

import numpy as np
import pytest

import gpunet
from gpunet.autograd import Tensor

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras and PyTorch, about themselves

BATCH, TIME, FEATURES = 4, 6, 3
MASKS = {
    "none": None,
    "right": [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0]],
    "left": [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1]],
    "inner": [[1, 0, 1, 1, 0, 1], [0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 1, 1]],
}
rng = np.random.default_rng(5)
X = rng.standard_normal((BATCH, TIME, FEATURES)).astype("float32")


def arrays(outputs):
    """Return outputs of either library as NumPy arrays."""
    if isinstance(outputs, list | tuple):
        return [array for item in outputs for array in arrays(item)]
    if isinstance(outputs, Tensor):
        return [outputs.numpy()]
    return [outputs.detach().cpu().numpy()]


def drawn_weights(layer):
    """Set drawn weights: zeros as initial biases would hide a wrong order."""
    draw = np.random.default_rng(1)
    layer.set_weights([draw.normal(0, 0.5, w.shape).astype("float32") for w in layer.get_weights()])


def gradients_of_keras(layer, x, weigh, **options):
    x = torch.tensor(x, requires_grad=True)
    outputs = layer(x, **options)
    flat = outputs if isinstance(outputs, list | tuple) else [outputs]
    flat = [leaf for item in flat for leaf in (item if isinstance(item, list | tuple) else [item])]
    sum((y * torch.tensor(w)).sum() for y, w in zip(flat, weigh, strict=True)).backward()
    grads = [x.grad, *(w.value.grad for w in layer.trainable_weights)]
    return [None if g is None else g.cpu().numpy() for g in grads]


def gradients_of_ours(layer, x, weigh, **options):
    x = Tensor(x, requires_grad=True)
    outputs = gpunet.symbolic.flatten(layer(x, **options))
    parts = [(y * w).sum() for y, w in zip(outputs, weigh, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    total.backward()
    return [x.grad, *(w.grad for w in layer.trainable_weights)]


def compare(make, x=X, mask=None, states=None, tolerance=1e-5):
    """Compare outputs, shapes, masks, weights and gradients of a layer made by both libraries.

    Sums are of at most 6 steps of 10 terms of size 1 in float32: errors stay below 1e-5.
    """
    ours, theirs = make(gpunet.layers), make(keras.layers)
    options, keras_options = {}, {}
    if mask is not None:
        options["mask"] = keras_options["mask"] = np.array(mask, bool)
        keras_options["mask"] = torch.tensor(keras_options["mask"])
    if states is not None:
        options["initial_state"] = states
        keras_options["initial_state"] = [torch.tensor(s) for s in states]
    expected = theirs(torch.tensor(x), **keras_options)
    received = ours(x, **options)
    drawn_weights(theirs)
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    ours.set_weights(theirs.get_weights())
    if not getattr(ours, "stateful", False):
        expected, received = theirs(torch.tensor(x), **keras_options), ours(x, **options)
    found = arrays(received)
    for a, b in zip(found, arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)
    shapes = gpunet.models.functional.leaf_shapes(ours.compute_output_shape((None, *x.shape[1:])))
    assert [s[1:] for s in shapes] == [a.shape[1:] for a in found]
    first = expected[0] if isinstance(expected, list | tuple) else expected
    kept = keras.src.backend.get_keras_mask(first)
    ours_first = gpunet.symbolic.flatten(received)[0]
    assert (kept is None) == (ours_first.mask is None)
    if kept is not None:
        np.testing.assert_array_equal(kept.cpu().numpy(), ours_first.mask)
    if getattr(ours, "stateful", False):
        return ours, theirs
    draw = np.random.default_rng(2)
    weigh = [draw.standard_normal(a.shape).astype("float32") for a in found]
    pairs = zip(
        gradients_of_ours(ours, x, weigh, **options),
        gradients_of_keras(theirs, x, weigh, **keras_options),
        strict=True,
    )
    for a, b in pairs:
        np.testing.assert_allclose(a, np.zeros_like(a) if b is None else b, atol=3 * tolerance)
    return ours, theirs


KINDS = {"SimpleRNN": 1, "LSTM": 2, "GRU": 1}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_masks(kind, mask):
    for sequences in (False, True):
        options = {"return_sequences": sequences}
        compare(lambda layers, o=options: getattr(layers, kind)(5, **o), mask=MASKS[mask])


@pytest.mark.parametrize("mask", ["none", "left", "inner"])
@pytest.mark.parametrize("kind", KINDS)
def test_states_backwards_and_zeros(kind, mask):
    draw = np.random.default_rng(3)
    states = [draw.standard_normal((BATCH, 5)).astype("float32") for _ in range(KINDS[kind])]
    for options in (
        {"return_sequences": True, "return_state": True},
        {"return_sequences": True, "return_state": True, "go_backwards": True},
        {"return_state": True, "go_backwards": True},
        {"return_sequences": True, "zero_output_for_mask": True},
        {"zero_output_for_mask": True, "go_backwards": True},
    ):
        compare(
            lambda layers, options=options: getattr(layers, kind)(5, **options),
            mask=MASKS[mask],
            states=states,
        )


def drawn_options(draw, kind):
    names = ["tanh", "sigmoid", "relu", "linear", "softsign", "hard_sigmoid"]
    options = {
        "activation": draw.choice(names),
        "use_bias": bool(draw.integers(2)),
        "return_sequences": bool(draw.integers(2)),
        "return_state": bool(draw.integers(2)),
        "go_backwards": bool(draw.integers(2)),
        "unroll": False,
    }
    if kind != "SimpleRNN":
        options["recurrent_activation"] = draw.choice(names)
    if kind == "GRU":
        options["reset_after"] = bool(draw.integers(2))
    if kind == "LSTM":
        options["unit_forget_bias"] = bool(draw.integers(2))
    return options


@pytest.mark.parametrize("case", range(6))
@pytest.mark.parametrize("kind", KINDS)
def test_drawn_arguments(kind, case):
    draw = np.random.default_rng(case)
    options, units = drawn_options(draw, kind), int(draw.integers(1, 7))
    mask = MASKS[draw.choice(list(MASKS))]
    compare(lambda layers: getattr(layers, kind)(units, **options), mask=mask, tolerance=3e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_by_themselves(kind):
    draw = np.random.default_rng(4)
    states = [draw.standard_normal((BATCH, 5)).astype("float32") for _ in range(KINDS[kind])]
    results = []
    cells = [getattr(library.layers, f"{kind}Cell")(5) for library in (gpunet, keras)]
    for cell, convert in zip(cells, (Tensor, torch.tensor), strict=True):
        cell(convert(X[:, 0]), [convert(s) for s in states])
        drawn_weights(cell)
        output, after = cell(convert(X[:, 0]), [convert(s) for s in states])
        results.append(arrays([output, *after]))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    sizes = [cell.state_size for cell in cells]
    assert sizes[0] == sizes[1]
    assert cells[0].output_size == cells[1].output_size


@pytest.mark.parametrize("mask", ["none", "inner"])
def test_nested_cells(mask):
    def make(layers):
        cells = [layers.LSTMCell(4), layers.GRUCell(5), layers.SimpleRNNCell(2)]
        return layers.RNN(cells, return_sequences=True, return_state=True)

    compare(make, mask=MASKS[mask])

    def nested(layers):
        inner = layers.StackedRNNCells([layers.GRUCell(4), layers.LSTMCell(3)])
        return layers.RNN(inner, go_backwards=True)

    compare(nested, mask=MASKS[mask])


@pytest.mark.parametrize("mask", ["none", "right", "inner"])
@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
def test_bidirectional(mode, mask):
    for sequences in (False, True):
        compare(
            lambda layers, s=sequences: layers.Bidirectional(
                layers.LSTM(4, return_sequences=s), merge_mode=mode
            ),
            mask=MASKS[mask],
        )


def test_bidirectional_with_states_and_another_backward_layer():
    draw = np.random.default_rng(6)
    states = [draw.standard_normal((BATCH, 4)).astype("float32") for _ in range(4)]
    options = {"return_sequences": True, "return_state": True}

    def make(layers):
        return layers.Bidirectional(
            layers.LSTM(4, **options),
            backward_layer=layers.LSTM(4, activation="relu", go_backwards=True, **options),
        )

    compare(make, states=states)
    compare(
        lambda layers: layers.Bidirectional(layers.GRU(4, return_state=True)), mask=MASKS["left"]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_stateful_layers_go_on_where_they_ended(kind):
    ours, theirs = (
        getattr(layers, kind)(5, stateful=True, return_sequences=True)
        for layers in (gpunet.layers, keras.layers)
    )
    theirs(torch.tensor(X)), ours(X)
    drawn_weights(theirs)
    ours.set_weights(theirs.get_weights())
    for step in range(4):
        if step in (0, 3):
            ours.reset_state(), theirs.reset_state()
        expected = theirs(torch.tensor(X)).detach().cpu().numpy()
        np.testing.assert_allclose(ours(X).numpy(), expected, atol=1e-5)


def test_time_distributed():
    compare(lambda layers: layers.TimeDistributed(layers.Dense(4, activation="tanh")))
    compare(lambda layers: layers.TimeDistributed(layers.Dense(4)), mask=MASKS["inner"])
    images = rng.standard_normal((2, 3, 6, 6, 2)).astype("float32")
    compare(lambda layers: layers.TimeDistributed(layers.Conv2D(3, 3)), x=images)
    compare(lambda layers: layers.TimeDistributed(layers.LSTM(3)), x=images[:, :, :, :, 0])


def models(library):
    layers = library.layers
    masked = [layers.Masking(input_shape=(TIME, FEATURES))]
    rnn_of_cells = layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)])
    return {
        "masked GRU": [*masked, layers.GRU(5), layers.Dense(2)],
        "stacked LSTM": [*masked, layers.LSTM(5, return_sequences=True), layers.LSTM(3),
                         layers.Dense(2)],
        "bidirectional": [*masked, layers.Bidirectional(layers.SimpleRNN(4)), layers.Dense(2)],
        "sequences": [*masked, layers.LSTM(4, return_sequences=True), layers.Dense(2)],
        "cells": [*masked, rnn_of_cells, layers.Dense(2)],
    }  # fmt: skip


@pytest.mark.parametrize("name", list(models(gpunet)))
def test_the_same_script_trains_alike(name):
    """Three epochs of SGD on padded sequences: predictions, histories and weights."""
    draw = np.random.default_rng(8)
    x = draw.standard_normal((10, TIME, FEATURES)).astype("float32")
    x[3, 4:], x[5, :2], x[6, 2:4] = 0, 0, 0
    y = draw.standard_normal((10, TIME, 2) if name == "sequences" else (10, 2)).astype("float32")
    results = []
    weights = None
    for library in (keras, gpunet):
        model = library.Sequential(models(library)[name])
        model.compile(library.optimizers.SGD(0.1), "mse", metrics=["mae"])
        model.predict(x, verbose=0)
        if weights is None:
            weights = model.get_weights()
        model.set_weights(weights)
        history = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
        results.append((model.predict(x, verbose=0), history.history, model.get_weights()))
    (theirs, expected, after), (ours, history, ours_after) = results
    assert set(history) == set(expected)
    np.testing.assert_allclose(ours, theirs, atol=3e-5)
    for key, values in history.items():
        np.testing.assert_allclose(values, expected[key], rtol=1e-4, err_msg=key)
    for a, b in zip(ours_after, after, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5)


CONVOLUTIONS = {
    "plain": {},
    "same": {"padding": "same", "return_sequences": True, "return_state": True},
    "strided": {"strides": 2, "go_backwards": True, "return_sequences": True},
    "first": {"data_format": "channels_first", "return_state": True, "go_backwards": True},
    "dilated": {"dilation_rate": 2, "use_bias": False, "activation": "relu"},
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutional_memory(rank, case):
    options = {"kernel_size": (2, 3, 2)[:rank], **CONVOLUTIONS[case]}
    at = (2, 3, 2, *(4, 6, 4)[:rank]) if case == "first" else (2, 3, *(4, 6, 4)[:rank], 2)
    x = np.random.default_rng(rank).standard_normal(at).astype("float32")
    for mask in (None, [[1, 0, 1], [0, 1, 1]]):
        compare(lambda layers: getattr(layers, f"ConvLSTM{rank}D")(3, **options), x, mask)


def test_states_of_convolutional_memory():
    draw = np.random.default_rng(4)
    x = draw.standard_normal((2, 3, 5, 6, 2)).astype("float32")
    states = [draw.standard_normal((2, 4, 4, 3)).astype("float32") for _ in range(2)]
    compare(lambda layers: layers.ConvLSTM2D(3, (2, 3), return_state=True), x, states=states)
    ours, theirs = (ls.ConvLSTM2D(3, (2, 3), stateful=True) for ls in (gpunet.layers, keras.layers))
    ours.build(x.shape)
    theirs.build(x.shape)
    drawn_weights(theirs)
    ours.set_weights(theirs.get_weights())
    for _ in range(3):
        a, b = ours(x).numpy(), theirs(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(a, b, atol=1e-5)
