"""The same script under both names: three epochs of Keras and of gpunet end alike.

Each program takes the library as its argument, and uses nothing else of it than a script would.
"""

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

SAMPLES = 24
rng = np.random.default_rng(3)
IMAGES = rng.standard_normal((SAMPLES, 8, 8, 3)).astype("float32")
SERIES = rng.standard_normal((SAMPLES, 7, 4)).astype("float32")
WORDS = rng.integers(1, 11, (SAMPLES, 6))
WORDS[:, 4:] = 0
CLASSES = rng.integers(0, 3, SAMPLES)


def residual(k: Any) -> Any:
    x = k.Input((8, 8, 3))
    y = k.layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    y = k.layers.BatchNormalization()(y)
    y = k.layers.Activation("relu")(y)
    z = k.layers.Conv2D(4, 3, padding="same")(y)
    y = k.layers.ReLU()(k.layers.add([y, z]) if hasattr(k.layers, "add") else y + z)
    y = k.layers.GlobalAveragePooling2D()(y)
    return k.Model(x, k.layers.Dense(3, activation="softmax")(y))


def depthwise(k: Any) -> Any:
    return k.Sequential([
        k.Input((8, 8, 3)),
        k.layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu"),
        k.layers.SeparableConv2D(5, 3, depth_multiplier=2, activation="relu"),
        k.layers.Flatten(),
        k.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def transposed(k: Any) -> Any:
    return k.Sequential([
        k.Input((8, 8, 3)),
        k.layers.Conv2DTranspose(2, 3, strides=2, padding="same", activation="relu"),
        k.layers.AveragePooling2D(4),
        k.layers.Flatten(),
        k.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def causal(k: Any) -> Any:
    return k.Sequential([
        k.Input((7, 4)),
        k.layers.Conv1D(6, 3, padding="causal", activation="relu"),
        k.layers.Conv1D(6, 3, padding="causal", dilation_rate=2),
        k.layers.LayerNormalization(),
        k.layers.GlobalMaxPooling1D(),
        k.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def stacked_lstm(k: Any) -> Any:
    return k.Sequential([
        k.Input((7, 4)),
        k.layers.LSTM(5, return_sequences=True),
        k.layers.LSTM(4),
        k.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def masked_gru(k: Any) -> Any:
    return k.Sequential([
        k.Input((6,), dtype="int32"),
        k.layers.Embedding(11, 4, mask_zero=True),
        k.layers.GRU(5),
        k.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def bidirectional(k: Any) -> Any:
    return k.Sequential([
        k.Input((7, 4)),
        k.layers.Bidirectional(k.layers.SimpleRNN(3, return_sequences=True)),
        k.layers.Bidirectional(k.layers.LSTM(3), merge_mode="sum"),
        k.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def attention(k: Any) -> Any:
    x = k.Input((7, 4))
    y = k.layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
    y = k.layers.LayerNormalization()(k.layers.Add()([x, y]))
    y = k.layers.Flatten()(y)
    return k.Model(x, k.layers.Dense(3, activation="softmax")(y))


def cells(k: Any) -> Any:
    return k.Sequential([
        k.Input((7, 4)),
        k.layers.RNN([k.layers.LSTMCell(3), k.layers.GRUCell(4)]),
        k.layers.Dense(3, activation="softmax"),
    ])  # fmt: skip


def shared(k: Any) -> Any:
    """Two inputs through one nested model, two outputs."""
    inner = k.Sequential([k.Input((7, 4)), k.layers.LSTM(4), k.layers.Dense(4, "tanh")])
    one, other = k.Input((7, 4), name="one"), k.Input((7, 4), name="other")
    both = k.layers.Concatenate()([inner(one), inner(other)])
    first = k.layers.Dense(3, activation="softmax", name="first")(both)
    second = k.layers.Dense(1, name="second")(both)
    return k.Model([one, other], [first, second])


PROGRAMS = {
    residual: IMAGES, depthwise: IMAGES, transposed: IMAGES, causal: SERIES, stacked_lstm: SERIES,
    masked_gru: WORDS, bidirectional: SERIES, attention: SERIES, cells: SERIES,
}  # fmt: skip


def train(k: Any, model: Any, x: Any, y: Any, loss: Any, metrics: Any) -> dict[str, list[float]]:
    model.compile(k.optimizers.SGD(0.05, momentum=0.9), loss=loss, metrics=metrics)
    history: dict[str, list[float]] = model.fit(
        x, y, batch_size=8, epochs=3, shuffle=False, verbose=0
    ).history
    return history


def assert_alike(ours: Any, theirs: Any, x: Any, y: Any, loss: Any, metrics: Any) -> None:
    """Train both from the same weights; compare predictions before and after, and the histories."""
    ours.set_weights(theirs.get_weights())
    # Nine steps of momentum: each multiplies the roundings of float32 by a few at most.
    close = {"rtol": 2e-4, "atol": 2e-5}
    np.testing.assert_allclose(predicted(ours, x), predicted(theirs, x), rtol=1e-5, atol=1e-5)
    mine = train(gpunet, ours, x, y, loss, metrics)
    other = train(keras, theirs, x, y, loss, metrics)
    assert mine.keys() == other.keys()
    for key, values in other.items():
        np.testing.assert_allclose(mine[key], values, err_msg=key, **close)
    np.testing.assert_allclose(predicted(ours, x), predicted(theirs, x), **close)


def predicted(model: Any, x: Any) -> Any:
    found = model.predict(x, verbose=0)
    return np.concatenate([part.ravel() for part in found]) if isinstance(found, list) else found


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program(program: Any) -> None:
    x = PROGRAMS[program]
    arguments = x, CLASSES, "sparse_categorical_crossentropy", ["accuracy"]
    assert_alike(program(gpunet), program(keras), *arguments)


def test_two_inputs_and_outputs_through_a_shared_model() -> None:
    score = SERIES.sum((1, 2))[:, None]
    losses = ["sparse_categorical_crossentropy", "mse"]
    metrics = [["accuracy"], ["mae"]]
    x, y = [SERIES, SERIES[::-1].copy()], [CLASSES, score / 10]
    assert_alike(shared(gpunet), shared(keras), x, y, losses, metrics)
