"""Passes over data: each has its own scores, can be stopped, and keeps no model alive."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet.callbacks import Callback, LambdaCallback
from gpunet.layers import Dense, Input
from gpunet.models import Sequential
from gpunet.optimizers import SGD

rng = np.random.default_rng(0)
X = rng.normal(size=(64, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


def classifier() -> Sequential:
    gpunet.random.seed(2)
    model = Sequential([Input((4,)), Dense(2, activation="softmax")])
    model.compile(SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    "meddle",
    [
        lambda model: model.evaluate(X[:9], 1 - Y[:9], verbose=0),
        lambda model: model.test_on_batch(X[:9], 1 - Y[:9]),
        lambda model: model.predict(X[:9], verbose=0),
    ],
    ids=["evaluate", "test_on_batch", "predict"],
)
def test_passes_in_a_callback_do_not_change_the_scores_of_the_epoch(meddle: Any) -> None:
    class Meddle(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            meddle(self.model)

    plain = classifier().fit(X, Y, batch_size=8, verbose=0).history
    other = classifier().fit(X, Y, batch_size=8, callbacks=[Meddle()], verbose=0).history
    assert other == plain


def test_a_nested_fit_has_scores_of_its_own() -> None:
    class Nested(Callback):
        logs: Any = None

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 0 and self.logs is None:
                self.logs = self.model.fit(X[:8], Y[:8], verbose=0).history

    nested, model = Nested(), classifier()
    model.optimizer.learning_rate = 0.0
    history = model.fit(X, Y, batch_size=8, callbacks=[nested], verbose=0).history
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    assert history["accuracy"] == [accuracy]
    assert history["loss"][0] == pytest.approx(loss, rel=1e-5)
    assert nested.logs["accuracy"] == [model.evaluate(X[:8], Y[:8], verbose=0)[1]]


def test_evaluations_in_threads_have_scores_of_their_own() -> None:
    model, results = classifier(), []
    expected = model.evaluate(X, Y, batch_size=4, verbose=0)

    def work() -> None:
        for _ in range(3):
            results.append(model.evaluate(X, Y, batch_size=4, verbose=0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 12


def test_fit_works_in_a_thread() -> None:
    model, errors = classifier(), []

    def train() -> None:
        try:
            model.fit(X, Y, verbose=0)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert not errors


def test_evaluating_and_predicting_can_be_stopped() -> None:
    model = classifier()

    def stop(name: str) -> Callable[..., None]:
        return lambda batch, logs: setattr(model, name, batch == 1)

    listener = LambdaCallback(on_test_batch_end=stop("stop_evaluating"))
    found = model.evaluate(X, Y, batch_size=8, callbacks=[listener], verbose=0)
    assert found == pytest.approx(model.evaluate(X[:16], Y[:16], verbose=0), rel=1e-5)
    listener = LambdaCallback(on_predict_batch_end=stop("stop_predicting"))
    assert model.predict(X, batch_size=8, callbacks=[listener], verbose=0).shape == (16, 2)
    assert model.predict(X, verbose=0).shape == (64, 2)


@pytest.mark.parametrize(
    "use",
    [
        lambda model: None,
        lambda model: model.fit(X, Y, validation_split=0.2, callbacks=[Callback()], verbose=0),
        lambda model: model.train_on_batch(X, Y),
        lambda model: model.evaluate(X, Y, verbose=0),
        lambda model: model.predict(X, verbose=0),
        lambda model: model.fit(iter([(X, Y)]), verbose=0),
    ],
    ids=["compile", "fit", "train_on_batch", "evaluate", "predict", "generator"],
)
def test_a_dropped_model_is_freed_at_once(use: Callable[[Any], Any]) -> None:
    gc.collect()
    gc.disable()
    try:
        model = classifier()
        kept = use(model)
        ref = weakref.ref(model)
        del model
        assert ref() is None
        assert getattr(kept, "model", None) is None
    finally:
        gc.enable()


def test_no_epoch_is_accepted() -> None:
    names = []
    listener = LambdaCallback(
        on_train_begin=lambda logs: names.append("begin"),
        on_train_end=lambda logs: names.append("end"),
    )
    history = classifier().fit(X, Y, epochs=0, callbacks=[listener], verbose=0)
    assert history.history == {}
    assert names == ["begin", "end"]
    with pytest.raises(ValueError, match="epochs must be an integer of at least 0"):
        classifier().fit(X, Y, epochs=-1, verbose=0)


def test_validation_freq() -> None:
    model = classifier()
    for freq, count in ((2, 2), ([1, 5], 2), (1, 5)):
        history = model.fit(
            X, Y, epochs=5, validation_split=0.25, validation_freq=freq, verbose=0
        ).history
        assert len(history["val_loss"]) == count


def test_the_position_of_a_wrong_callback_is_the_users() -> None:
    model = classifier()
    for call in (model.fit, model.evaluate):
        with pytest.raises(TypeError, match=r"callbacks\[0\] must be a Callback"):
            call(X, Y, callbacks=["print"], verbose=0)
    with pytest.raises(TypeError, match=r"callbacks\[1\]"):
        model.fit(X, Y, callbacks=[Callback(), Callback], verbose=0)
