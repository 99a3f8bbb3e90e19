"""The program in Keras and in gpunet, from the same weights on the same batches."""

import os

import numpy as np
import pytest

import gpunet
from gpunet.layers import AveragePooling2D, Conv2D, Dense, Flatten, MaxPooling2D, Rescaling
from gpunet.models import Sequential

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

rng = np.random.default_rng(0)
X = rng.random((48, 28, 28, 1), dtype="float32")
LABELS = rng.integers(0, 10, 48)
Y = np.eye(10, dtype="float32")[LABELS]


def program(layers, sequential):
    model = sequential()
    model.add(layers.Conv2D(8, (3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(16, (3, 3), padding="same", strides=2, activation="gelu"))
    model.add(layers.AveragePooling2D((2, 2), padding="same"))
    model.add(layers.Flatten())
    model.add(layers.Dense(16, activation="selu"))
    model.add(layers.Dense(10, activation="softmax"))
    return model


class Ours:
    Conv2D, MaxPooling2D, AveragePooling2D = Conv2D, MaxPooling2D, AveragePooling2D
    Flatten, Dense = Flatten, Dense


def pair(optimizer, loss):
    theirs = program(keras.layers, keras.Sequential)
    ours = program(Ours, Sequential)
    ours.set_weights(theirs.get_weights())
    for model in (ours, theirs):
        model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return ours, theirs


@pytest.mark.filterwarnings("ignore")  # of Keras and PyTorch, about themselves
@pytest.mark.parametrize(
    ("optimizer", "loss", "y"),
    [
        ("adam", "categorical_crossentropy", Y),
        ("sgd", "sparse_categorical_crossentropy", LABELS),
        ("adam", "mse", Y),
    ],
)
def test_training_ends_with_keras_weights(optimizer, loss, y):
    """Two epochs of three batches.

    Adam divides by the root of a mean square: where a gradient is near 0 its rounding error moves a
    weight by up to a step, 1e-3; few weights are such, so all but 1 in 100 must agree to 1e-4.
    """
    ours, theirs = pair(optimizer, loss)
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=2e-6)
    histories = [
        model.fit(X, y, batch_size=16, epochs=2, shuffle=False, verbose=0, validation_split=0.25)
        for model in (ours, theirs)
    ]
    assert set(histories[0].history) == set(histories[1].history)
    for name, values in histories[0].history.items():
        np.testing.assert_allclose(values, histories[1].history[name], rtol=1e-3, err_msg=name)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        close = np.abs(a - b) <= 1e-4
        assert close.mean() >= 0.99, np.abs(a - b).max()
        np.testing.assert_allclose(a, b, atol=3e-3)


@pytest.mark.filterwarnings("ignore")
def test_evaluate_gives_keras_numbers():
    ours, theirs = pair("adam", "categorical_crossentropy")
    np.testing.assert_allclose(
        ours.evaluate(X, Y, verbose=0), theirs.evaluate(X, Y, verbose=0), rtol=1e-5
    )


def test_the_program_has_keras_weights_and_names():
    ours = program(Ours, Sequential)
    theirs = program(keras.layers, keras.Sequential)
    assert ours.count_params() == theirs.count_params()
    assert ours.output_shape == theirs.output_shape
    assert isinstance(ours, gpunet.Model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("arguments", [(1 / 255,), (1 / 127.5, -1), (2, 0.5)])
def test_rescaling_gives_keras_numbers(kind, arguments):
    x = (X[:2] * 255).astype(kind)
    theirs = keras.ops.convert_to_numpy(keras.layers.Rescaling(*arguments)(x))
    ours = Rescaling(*arguments)(x).value
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
