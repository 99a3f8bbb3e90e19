"""Steps and losses that a model defines itself, with Keras' signatures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import functions, metrics
from gpunet.callbacks import LambdaCallback
from gpunet.layers import Dense
from gpunet.models import Model

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 3)).astype("float32")
Y = rng.normal(size=(20, 1)).astype("float32")


class Net(Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = Dense(1)

    def call(self, x: Any) -> Any:
        return self.dense(x)


def made(kind: type[Net], **options: Any) -> Net:
    gpunet.random.seed(1)
    model = kind()
    model.compile("sgd", **({"loss": "mse", "metrics": ["mae"]} | options))
    model(X[:1])
    return model


class CallsSuper(Net):
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)

    def test_step(self, data: Any) -> Any:
        return super().test_step(data)

    def predict_step(self, data: Any) -> Any:
        return super().predict_step(data)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        return super().compute_loss(x, y, y_pred, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_metrics(x, y, y_pred, sample_weight)


def test_steps_that_call_the_models_own_change_nothing() -> None:
    results = []
    for kind in (Net, CallsSuper):
        model = made(kind)
        history = model.fit(X, Y, epochs=3, batch_size=8, validation_split=0.2, verbose=0).history
        results.append(
            [history, model.evaluate(X, Y, batch_size=8, verbose=0), model.predict(X, verbose=0)]
        )
    assert results[0][:2] == results[1][:2]
    np.testing.assert_array_equal(results[0][2], results[1][2])


class Custom(Net):
    """A loop as in Keras' guides: its own loss, its own metric, the gradients by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = metrics.Mean(name="loss")

    def train_step(self, data: Any) -> Any:
        x, y = data
        loss = functions.mean(functions.square(self(x, training=True) - y))
        loss.backward()
        for weight in self.trainable_weights:
            weight.value -= 0.01 * weight.grad
        self.tracker.update_state(loss.value)
        return {"loss": self.tracker.result()}

    def test_step(self, data: Any) -> Any:
        x, y = data
        self.tracker.update_state(functions.mean(abs(self(x) - y)).value)
        return {"own": self.tracker.result()}

    @property
    def metrics(self) -> Any:
        return [self.tracker]


def test_a_custom_loop_trains_by_its_own_rule() -> None:
    model, plain = made(Custom, loss=None, metrics=None), made(Net, metrics=None)
    seen = []
    listener = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["size"]))
    options = {"epochs": 2, "batch_size": 10, "shuffle": False, "verbose": 0}
    found = model.fit(X, Y, callbacks=[listener], **options).history
    expected = plain.fit(X, Y, **options).history
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert seen == [10] * 4
    own = model.evaluate(X, Y, batch_size=10, verbose=0, return_dict=True)
    assert own == {"own": pytest.approx(abs(model.predict(X, verbose=0) - Y).mean(), rel=1e-5)}


def test_an_evaluation_in_the_midst_does_not_change_a_custom_loops_metrics() -> None:
    def fit(**options: Any) -> Any:
        return made(Custom).fit(X, Y, batch_size=5, verbose=0, **options).history

    def evaluate(batch: int, logs: Any) -> None:
        listener.model.evaluate(X, Y + 9, verbose=0)

    listener = LambdaCallback(on_train_batch_end=evaluate)
    assert fit(callbacks=[listener]) == fit()


class Penalized(Net):
    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        loss = super().compute_loss(x, y, y_pred, sample_weight)
        penalty = functions.sum(functions.square(self.dense.kernel))
        return loss + penalty if training else loss


def test_a_custom_loss_is_trained_and_evaluated() -> None:
    model = made(Penalized)
    kernel = 0.0
    expected = model.evaluate(X, Y, verbose=0)[0]
    kernel = float((model.dense.kernel.numpy() ** 2).sum())
    assert model.train_on_batch(X, Y)[0] == pytest.approx(expected + kernel, rel=1e-5)


class Half(Net):
    def predict_step(self, data: Any) -> Any:
        (x,) = data
        return self(x) * 0.5

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_metrics(x, y, y_pred) | {"largest": y_pred.value.max()}


def test_custom_predictions_and_metrics() -> None:
    model, plain = made(Half), made(Net)
    np.testing.assert_allclose(model.predict(X, verbose=0), plain.predict(X, verbose=0) / 2)
    logs = model.evaluate(X, Y, batch_size=20, verbose=0, return_dict=True)
    assert list(logs) == ["loss", "mae", "largest"]
    assert logs["largest"] == pytest.approx(float(plain.predict(X, verbose=0).max()))
    assert list(model.fit(X, Y, verbose=0).history) == ["loss", "mae", "largest"]


def test_what_custom_steps_must_return() -> None:
    class NoLogs(Net):
        def train_step(self, data: Any) -> Any:
            return 3.0

    class NoLoss(Net):
        def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return y_pred

    with pytest.raises(TypeError, match=r"train_step must return a dictionary of logs"):
        made(NoLogs).fit(X, Y, verbose=0)
    with pytest.raises(TypeError, match=r"compute_loss must return a tensor of one number"):
        made(NoLoss).fit(X, Y, verbose=0)


def test_steps_can_be_called_by_hand() -> None:
    model = made(Net)
    logs = model.test_step((X, Y))
    assert list(logs) == ["loss", "mae"]
    assert model.train_step((X, Y)) == pytest.approx(logs, rel=1e-5)
    assert model.test_step((X, Y))["loss"] < logs["loss"]
    assert model.predict_step((X,)).shape == (20, 1)
