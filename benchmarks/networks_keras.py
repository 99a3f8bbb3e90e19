"""gpunet and Keras as contenders on whole networks: the same lines, under both names."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.workers import Variant
from examples.mlperf_tiny import NETWORKS

__all__ = ["BLOCKS", "CHARACTERS", "FEATURES", "HEADS", "STEPS", "TIME", "WIDTH", "Library", "data"]

FEATURES, STEPS, UNITS, LABELS = 40, 64, 128, 10  # of the LSTM
CHARACTERS, TIME, WIDTH, HEADS, BLOCKS = 65, 128, 128, 4, 4  # of the transformer


class Library:
    """Cases of `benchmarks.networks`, each kind as a method.

    Arguments:
        threads: set by the environment, but for TensorFlow.
        library: module with Keras' names.
    """

    def __init__(self, threads: int, library: str) -> None:
        if library == "keras":
            import tensorflow

            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        self.keras: Any = importlib.import_module(library)
        self.versions = {library: self.keras.__version__}
        self.keras.utils.set_random_seed(0)

    def training(self, case: Case) -> dict[str, Variant]:
        model = network(self.keras, case.label)
        x, y = data(case.label, case.batch)
        if self.keras.__name__ == "gpunet":
            model.compile("adam", "sparse_categorical_crossentropy")
            return {"train_on_batch": Variant(lambda: float(model.train_on_batch(x, y)))}
        model.compile("adam", "sparse_categorical_crossentropy", steps_per_execution=32)
        many = np.concatenate([x] * 32), np.concatenate([y] * 32)
        fit = Variant(lambda: model.fit(*many, case.batch, verbose=0), repeats=32)
        return {"fit, 32 steps an execution": fit}

    def prediction(self, case: Case) -> dict[str, Variant]:
        model = network(self.keras, case.label)
        x, _ = data(case.label, case.batch)
        return {"predict_on_batch": Variant(lambda: model.predict_on_batch(x))}


def data(name: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random inputs and labels of a network."""
    rng = np.random.default_rng(0)
    if name == "transformer":
        text = rng.integers(0, CHARACTERS, (batch, TIME + 1))
        return text[:, :-1], text[:, 1:]
    shape, classes = ((STEPS, FEATURES), LABELS) if name == "LSTM" else NETWORKS[name][1:3]
    return rng.random((batch, *shape), "float32"), rng.integers(0, classes or 1, batch)


def network(keras: Any, name: str) -> Any:
    """Return a network in gpunet or Keras."""
    if name in NETWORKS:
        return NETWORKS[name].build(keras)
    return {"LSTM": lstm, "transformer": transformer}[name](keras)


def lstm(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        layers.Input((STEPS, FEATURES)),
        layers.LSTM(UNITS, return_sequences=True),
        layers.LSTM(UNITS),
        layers.Dense(LABELS, activation="softmax"),
    ])  # fmt: skip


def transformer(keras: Any) -> Any:
    layers = keras.layers

    class Positions(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.weight = self.add_weight((TIME, WIDTH), "normal", name="weight")
            self.built = True

        def call(self, x: Any) -> Any:
            return x + self.weight

    text = layers.Input((TIME,), dtype="int32")
    x = Positions()(layers.Embedding(CHARACTERS, WIDTH)(text))
    for _ in range(BLOCKS):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y, use_causal_mask=True)
        x = layers.Add()([x, y])
        y = layers.Dense(4 * WIDTH, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(WIDTH)(y)])
    x = layers.LayerNormalization()(x)
    return keras.Model(text, layers.Dense(CHARACTERS, activation="softmax")(x))
