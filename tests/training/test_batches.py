"""Batches from sequences, generators and other iterables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import functions, losses
from gpunet.callbacks import Callback
from gpunet.layers import Dense, Input
from gpunet.models import Model, Sequential

X = np.arange(12, dtype="float32").reshape(12, 1) / 12
Y = 2 * X


def line(**options: Any) -> Sequential:
    model = Sequential([Input((1,)), Dense(1)])
    model.compile("sgd", **({"loss": "mse"} | options))
    return model


def pairs(count: int = 3) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for i in range(count):
        yield X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4]


class Slices:
    """A `Sequence` of Keras' kind, which does not raise IndexError at its end."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        self.calls.append(index)
        return X[:4] + index, Y[:4] + index

    def on_epoch_begin(self) -> None:
        self.calls.append("begin")

    def on_epoch_end(self) -> None:
        self.calls.append("end")


def test_the_hooks_of_a_sequence_are_called() -> None:
    data = Slices()
    line().fit(data, epochs=2, verbose=0)
    assert data.calls == ["begin", 0, 1, "end"] * 2


@pytest.mark.parametrize("make", [pairs, lambda: list(pairs()), Slices])
def test_the_first_batch_builds_the_model_and_is_trained_on_once(make: Any) -> None:
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(logs["size"])

    model = Sequential([Dense(1)])
    model.compile("sgd", "mse")
    data = make()
    model.fit(data, epochs=1, callbacks=[Watch()], verbose=0)
    assert seen == [4] * (2 if make is Slices else 3)
    if make is Slices:
        assert data.calls == ["begin", 0, 1, "end"]


def test_a_subclassed_model_gets_its_shapes_from_a_generator() -> None:
    class Net(Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Net()
    model.compile("sgd", "mse")
    assert len(model.fit(pairs(), validation_data=pairs(), verbose=0).history["val_loss"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 2}, "training data yielded no batch.*used up.*steps_per_epoch"),
        ({"steps_per_epoch": 5}, "training data ended after 3 batches of an epoch of 5.*steps_per"),
        (
            {"steps_per_epoch": 1, "epochs": 2, "validation_data": pairs()},
            "validation data yielded no batch.*used up.*validation_steps",
        ),
        (
            {"validation_data": pairs(), "validation_steps": 4},
            "validation data ended after 3 batches of an epoch of 4.*validation_steps",
        ),
    ],
)
def test_a_generator_that_ends_says_whose_it_is(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        line().fit(pairs(), verbose=0, **options)


def test_a_generator_can_be_continued_after_fit() -> None:
    data = pairs()
    line().fit(data, steps_per_epoch=1, verbose=0)
    np.testing.assert_array_equal(next(data)[0], X[4:8])


def test_errors_of_the_data_say_what_is_wrong() -> None:
    def stops() -> Iterator[Any]:
        yield X, Y
        raise StopIteration

    with pytest.raises(RuntimeError, match="training data raised StopIteration: end it by return"):
        line().fit(stops(), verbose=0)

    class Mapping(Slices):
        def __getitem__(self, index: int) -> Any:
            return {}[index]

    with pytest.raises(TypeError, match=r"Mapping\[0\] raised KeyError.*indexes from 0"):
        line().fit(Mapping(), verbose=0)

    class Negative(Slices):
        def __len__(self) -> int:
            return -1

    with pytest.raises(ValueError, match=r"Negative\.__len__\(\)"):
        line().fit(Negative(), verbose=0)
    with pytest.raises(ValueError, match="Batch 2 of the training data: x holds NaN"):
        line().fit(iter([(X, Y), (X * np.nan, Y)]), verbose=0)
    with pytest.raises(ValueError, match=r"expected a pair \(x, y\), or \(x, y, sample_weight\)"):
        line().fit(iter([(X,)]), verbose=0)


class Weighted(losses.Loss):
    """A squared error that takes weights."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        errors = functions.square(y_pred - y_true)
        if sample_weight is None:
            return functions.mean(errors)
        return functions.mean(errors * sample_weight.reshape(-1, 1))


def test_sample_weights_of_arrays_and_of_batches() -> None:
    weights = np.r_[np.zeros(6), np.ones(6)]
    model = line(loss=Weighted())
    expected = model.evaluate(X[6:], Y[6:], verbose=0) / 2
    triples = [(X[:6], Y[:6], weights[:6]), (X[6:], Y[6:], weights[6:])]
    assert model.evaluate(X, Y, sample_weight=weights, verbose=0) == pytest.approx(expected)
    assert model.evaluate(triples, verbose=0) == pytest.approx(expected)
    assert model.test_on_batch(X, Y, weights) == pytest.approx(expected)
    runs = []
    for data in ((X, Y, weights), (triples, None, None)):
        model = line(loss=Weighted())
        model.set_weights([np.ones((1, 1)), np.zeros(1)])
        x, y, sample_weight = data
        size = {"batch_size": 6} if y is not None else {}
        history = model.fit(
            x, y, sample_weight=sample_weight, shuffle=False, epochs=2, verbose=0,
            validation_data=(X, Y, weights), **size,
        )  # fmt: skip
        runs.append([history.history, [w.tolist() for w in model.get_weights()]])
    assert runs[0] == runs[1]
    with pytest.raises(ValueError, match="x and sample_weight must have one row"):
        model.fit(X, Y, sample_weight=weights[:5], verbose=0)
    with pytest.raises(ValueError, match="yields its sample weights itself"):
        model.fit(triples, sample_weight=weights, verbose=0)
