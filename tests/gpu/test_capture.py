"""Captured steps on the device: the bits of steps by themselves, and what a real CUDA refuses."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import backend, optimizers
from gpunet.callbacks import LambdaCallback
from gpunet.layers import Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D
from gpunet.models import NonFiniteLossError, Sequential
from gpunet.training.capture.steps import CaptureError

pytestmark = pytest.mark.gpu

rng = np.random.default_rng(0)
X = rng.normal(size=(330, 12, 12, 3)).astype("float32")
Y = np.eye(5, dtype="float32")[rng.integers(0, 5, len(X))]


@pytest.fixture(autouse=True)
def on_the_device() -> Iterator[None]:
    with backend.use_backend("cupy"), warnings.catch_warnings():
        warnings.simplefilter("error")  # that a step cannot be captured, among others
        yield


def network(*before: Layer) -> Sequential:
    return Sequential(
        [
            Input((12, 12, 3)),
            *before,
            Conv2D(16, 3, activation="relu"),
            MaxPooling2D(2),
            Conv2D(24, 3, padding="same", activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dropout(0.25),
            Dense(32, activation="relu"),
            Dense(5, activation="softmax"),
        ]
    )


def trained(capture: bool, convert: Any = np.asarray, epochs: int = 4) -> dict[str, Any]:
    """Return what training with a schedule, dropout and a short last batch leaves."""

    def halve(epoch: int, logs: Any) -> None:
        model.optimizer.learning_rate *= 0.5  # type: ignore[union-attr]

    gpunet.random.seed(1)
    model = network()
    model.compile(optimizers.Adam(0.01), "categorical_crossentropy", ["acc"], capture=capture)
    history = model.fit(
        convert(X), convert(Y), epochs=epochs, batch_size=32, verbose=0, validation_split=0.1,
        callbacks=[LambdaCallback(on_epoch_end=halve)],
    ).history  # fmt: skip
    weights = [weight.tobytes() for weight in model.get_weights()]
    return {**history, "weights": weights, "random": gpunet.random.get_state()}


@pytest.mark.parametrize("where", ["host", "device"])
def test_captured_steps_leave_the_same_bits(where: str) -> None:
    convert = importlib.import_module("cupy").asarray if where == "device" else np.asarray
    assert trained(True, convert) == trained(False, convert)


def test_data_that_come_batch_by_batch_leave_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    there = trained(True)
    monkeypatch.setattr("gpunet.training.capture.device_data._MOST_SHARE", 0)
    assert trained(True) == there


class Peeking(Layer):
    def call(self, x: Any) -> Any:
        return x * (1.0 if float(x.value.sum()) > -1e30 else 0.0)


class Copying(Layer):
    def call(self, x: Any) -> Any:
        return x * importlib.import_module("cupy").asarray(np.ones(1, "float32"))


@pytest.mark.parametrize("layer", [Peeking, Copying])
def test_what_cannot_be_captured_is_refused_and_the_device_works_on(layer: Any) -> None:
    model = network(layer(name="mine"))
    model.compile("adam", "categorical_crossentropy", capture=True)
    with pytest.raises(CaptureError, match=r"layer 'mine': test_capture\.py, line \d+"):
        model.fit(X, Y, batch_size=32, verbose=0)
    model.compile("adam", "categorical_crossentropy")
    with pytest.warns(UserWarning, match="one kernel at a time: layer 'mine'"):
        model.fit(X, Y, batch_size=32, verbose=0)
    assert trained(True, epochs=1) == trained(False, epochs=1)


def test_a_loss_that_is_not_finite_leaves_the_weights() -> None:
    model = network()
    model.compile(optimizers.SGD(1e30), "categorical_crossentropy", capture=True)
    with pytest.raises(NonFiniteLossError, match=r"Epoch \d+, batch \d+"):
        model.fit(X, Y, batch_size=32, epochs=5, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_the_profile_has_the_kernels_of_the_step() -> None:
    model = network()
    model.compile("adam", "categorical_crossentropy")
    found = gpunet.profile(model, X, Y, steps=4)
    names = {operation.name for operation in found.operations}
    assert {"gather_pair", "dense_cross_entropy", "finish_gradients", "adam_update"} <= names
    assert all(0 < operation.seconds < 0.01 for operation in found.operations)
