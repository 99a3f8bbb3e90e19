"""Captured steps of models with several inputs, outputs, weights of samples, state, own losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import functions
from gpunet.callbacks import Callback
from gpunet.layers import Dense, Input
from gpunet.metrics import Metric
from gpunet.models import Model, NonFiniteLossError, Sequential
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import fake_gpu, install
from tests.training.test_batches import Weighted
from tests.training.test_step import Statistics

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

rng = np.random.default_rng(0)
A, B, Y = (rng.normal(size=(22, n)).astype("float32") for n in (3, 2, 1))


@pytest.fixture
def cupy() -> Iterator[Any]:
    with install() as module:
        yield module


class Net(Model):
    """One or two inputs to one or two outputs."""

    def __init__(self, count: int = 1) -> None:
        super().__init__()
        self.left, self.right, self.count = Dense(1), Dense(1), count

    def call(self, x: Any) -> Any:
        a, b = x if isinstance(x, list) else (x, x)
        a, b = self.left(a), self.right(b)
        return a + b if self.count == 1 else [a, b]


class OwnLoss(Net):
    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_loss(x, y, y_pred) + 0.1 * functions.sum(
            functions.square(self.left.kernel)
        )


def regular() -> Model:
    """A model whose loss is computed by its last chain, and whose kernels have penalties."""
    hidden = Dense(4, activation="relu", kernel_regularizer="l1")
    return Sequential(
        [Input((3,)), hidden, Dense(2, activation="softmax", kernel_regularizer="l2")]
    )


class Largest(Metric):
    def reset_state(self) -> None:
        self.value = 0.0

    def update_state(self, y_true: Any, y_pred: Any) -> None:
        self.value = max(self.value, float(y_pred.max()))

    def result(self) -> float:
        return self.value


def run(
    capture: bool, model: Any, x: Any, y: Any, loss: Any = "mse", metrics: Any = None, **fit: Any
) -> Any:
    gpunet.random.seed(2)
    made = model()
    made.compile("adam", loss, metrics, capture=capture)
    history = made.fit(x, y, batch_size=4, epochs=3, verbose=0, **fit).history
    return history, [weight.tobytes() for weight in made.get_weights()]


@pytest.mark.parametrize("where", ["resident", "streamed"])
@pytest.mark.parametrize(
    "options",
    [
        {"x": [A, B], "y": Y},
        {"x": [A, B], "y": [Y, Y], "model": lambda: Net(2), "metrics": [["mae"], None]},
        {"x": A, "y": Y, "loss": Weighted(), "sample_weight": np.arange(22.0) / 22},
        {"x": A, "y": Y, "model": OwnLoss},
        {"x": A, "y": Y, "metrics": [Largest()]},
        {"x": A, "y": Y, "model": lambda: Sequential([Input((3,)), Statistics(), Dense(1)])},
        {
            "x": A,
            "y": (Y > 0).astype(int),
            "model": regular,
            "loss": "sparse_categorical_crossentropy",
        },
    ],
    ids=["inputs", "outputs", "weights", "loss", "metric", "state", "regularizers"],
)
def test_captured_steps_leave_the_same_bits(
    options: Any, where: str, cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "streamed":
        monkeypatch.setattr("gpunet.training.capture.device_data._MOST_SHARE", 0)
    options = {"model": Net} | options
    eager = run(False, **options)
    before = fake_gpu.now().launched.count("graph")
    assert run(True, **options) == eager
    assert fake_gpu.now().launched.count("graph") > before


def test_a_captured_step_sees_that_a_regularizer_changes(cupy: Any) -> None:
    class Stronger(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.layers[1].kernel_regularizer.l2 *= 10

    labels = (Y > 0).astype(int)
    eager, captured = (
        run(capture, regular, A, labels, "sparse_categorical_crossentropy", callbacks=[Stronger()])
        for capture in (False, True)
    )
    assert captured == eager


def test_state_stays_where_a_captured_step_fails(cupy: Any) -> None:
    gpunet.random.seed(0)
    model = Sequential([Input((3,)), Statistics(), Dense(1)])
    model.compile("sgd", Weighted(), capture=True)
    weights = np.ones(24, "float32")
    weights[16:] = 1e38  # of the last batch, whose loss becomes infinite
    x, y = np.ones((24, 3), "float32"), np.full((24, 1), 10, "float32")
    with pytest.raises(NonFiniteLossError, match="batch 3"):
        model.fit(x, y, sample_weight=weights, batch_size=8, shuffle=False, verbose=0)
    assert model.layers[0].calls.numpy() == 2


class OwnSteps(Net):
    def train_step(self, data: Any) -> Any:
        return {"own": super().train_step(data)["loss"]}


def test_a_train_step_of_the_model_runs_on_the_gpu(cupy: Any) -> None:
    _, expected = run(False, Net, A, Y, shuffle=False)
    history, found = run("auto", OwnSteps, A, Y, shuffle=False)
    assert list(history) == ["own"]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.frombuffer(one, "f4"), np.frombuffer(other, "f4"), rtol=1e-4)


def test_a_dropped_model_is_freed_at_once(cupy: Any) -> None:
    import gc
    import weakref

    gc.collect()
    gc.disable()
    try:
        model = Net()
        model.compile("adam", "mse", capture=True)
        model.fit(A, Y, batch_size=4, epochs=2, verbose=0)
        ref = weakref.ref(model)
        del model
        assert ref() is None
    finally:
        gc.enable()
