"""`predict`, `evaluate` and a call that records nothing: what they run, its results and memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import activations, functions, fusion, primitives
from gpunet.autograd import Tensor, no_grad
from gpunet.callbacks import Callback
from gpunet.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
    Rescaling,
    Reshape,
)  # fmt: skip
from gpunet.models import Model, Sequential
from gpunet.models.functional import Functional
from gpunet.primitives import reference, use_twins
from gpunet.progress import ProgressLine
from gpunet.training.batches import ArrayBatches, Batch
from tests.support.memory_use import peak_bytes

rng = np.random.default_rng(0)
X = rng.standard_normal((70, 9, 9, 2)).astype("float32")
Y = np.eye(3, dtype="float32")[rng.integers(0, 3, 70)]


class OwnDense(Dense):
    def call(self, x: Any) -> Any:
        return super().call(x) * 2.0


def own(x: Any) -> Any:
    return x * functions.sigmoid(x)


def replaced(layer: Layer) -> Layer:
    """Let an instance's own `call` halve what its class does."""
    call = layer.call
    layer.call = lambda x: call(x) * 0.5  # type: ignore[method-assign]
    return layer


FIRST: Any = {"data_format": "channels_first"}

# Layers after Input((9, 9, 2)), and how many layers each step runs
MODELS: dict[str, tuple[Callable[[], list[Any]], list[int]]] = {
    "program": (
        lambda: [
            Conv2D(6, 3, activation="relu"), MaxPooling2D(2), Conv2D(5, 2), Activation("relu"),
            Dropout(0.5), Flatten(), Dense(7, activation="relu"), Dropout(0.5),
            Dense(3, activation="softmax"),
        ],
        [9],
    ),
    "flattened first": (lambda: [Flatten(), Dense(5, activation="relu"), Dense(3)], [1, 2]),
    "dropout first": (lambda: [Dropout(0.5), Conv2D(4, 3), Flatten(), Dense(3)], [1, 3]),
    "bytes first": (lambda: [Rescaling(1 / 255), Conv2D(4, 3), Flatten(), Dense(3)], [1, 3]),
    "no flatten": (lambda: [Conv2D(4, 3), Dense(5), Flatten(), Dense(3)], [1, 1, 1, 1]),
    "other activations": (
        lambda: [
            Conv2D(4, 3, activation="gelu"), MaxPooling2D(2), Conv2D(4, 2), Activation(own),
            Conv2D(4, 1), Activation("softplus"), Flatten(), Dense(3, activation=own),
        ],
        [1, 1, 2, 4],
    ),
    "subclass": (
        lambda: [Conv2D(4, 3), Flatten(), Dense(6), OwnDense(5), Dense(3)], [3, 1, 1]
    ),
    "own call": (lambda: [Conv2D(4, 3), replaced(Conv2D(4, 3)), Flatten(), Dense(3)], [1, 1, 1, 1]),
    "groups": (
        lambda: [Conv2D(4, 3), Conv2D(4, 3, groups=2), Conv2D(4, 3), Flatten(), Dense(3)],
        [1, 1, 3],
    ),
    "channels first": (
        lambda: [
            Conv2D(4, 3, padding="same", **FIRST), MaxPooling2D(2, **FIRST),
            Conv2D(4, 1, **FIRST), Flatten(**FIRST), Dense(3, activation="relu"),
        ],
        [1, 1, 1, 1, 1],
    ),
    "two dtypes": (
        lambda: [Conv2D(4, 3), Conv2D(4, 3, dtype="float64"), Flatten(), Dense(3)], [1, 2, 1]
    ),
    "pools of other kinds": (
        lambda: [
            Conv2D(4, 2), MaxPooling2D(2, strides=1), Conv2D(4, 2), AveragePooling2D(2),
            Conv2D(4, 2, strides=2, padding="same"), MaxPooling2D(1), Flatten(), Dense(3),
        ],
        [1, 1, 1, 1, 4],
    ),
    "one of other rank": (
        lambda: [Flatten(), Dense(6), Reshape((1, 6)), Dense(5), Flatten(), Dense(3)],
        [1, 1, 1, 1, 1, 1],
    ),
}  # fmt: skip


def made(name: str, **options: Any) -> Sequential:
    gpunet.random.seed(3)
    model = Sequential([Input((9, 9, 2)), *MODELS[name][0]()])
    model.compile("adam", "mse", ["mae"], **options)
    return model


def one_by_one(model: Sequential, x: Any) -> Any:
    value: Any = Tensor(x)
    with no_grad():
        for layer in model.layers:
            value = layer(value)
    return value.numpy()


@pytest.mark.parametrize("name", MODELS)
def test_what_is_chained(name: str) -> None:
    model = made(name)
    assert model.graph is not None
    assert [len(step.nodes) for step in fusion.steps(model.graph)] == MODELS[name][1]


@pytest.fixture(params=["numpy", "numba", "cuda"])
def library(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run primitives by each kind of twins."""
    if request.param == "cuda":
        request.getfixturevalue("cupy")
        yield request.param
        return
    fast = request.param == "numba" and pytest.importorskip("gpunet.primitives.fast")
    with use_twins(fast or reference):
        yield request.param


@pytest.mark.parametrize("name", MODELS)
def test_results_are_those_of_the_layers_one_by_one(name: str, library: str) -> None:
    """Sums of some hundred float32 terms may come in another order."""
    model = made(name)
    x = X[:20] if library == "cuda" else X
    expected = one_by_one(model, model._as_tensor(x).value)
    close = {"rtol": 1e-5, "atol": 1e-6 * np.abs(expected).max()}
    with no_grad():
        called = model(x)
    assert called.shape == expected.shape and called.dtype == expected.dtype
    np.testing.assert_allclose(called.numpy(), expected, **close)
    predicted = model.predict(x, verbose=0)
    assert type(predicted) is np.ndarray and predicted.dtype == expected.dtype
    np.testing.assert_allclose(predicted, expected, **close)
    np.testing.assert_allclose(model.predict(x, batch_size=7, verbose=0), expected, **close)
    error = np.abs(expected - Y[: len(x)])
    found: Any = model.evaluate(x, Y[: len(x)], verbose=0)
    np.testing.assert_allclose(found, [(error**2).mean(), error.mean()], rtol=1e-4)


def test_bytes_are_taken_as_they_are() -> None:
    model = made("bytes first")
    pixels = rng.integers(0, 256, X.shape).astype("uint8")
    np.testing.assert_allclose(
        model.predict(pixels, verbose=0), one_by_one(model, pixels), rtol=1e-5, atol=1e-6
    )


def test_fuse_false_runs_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = made("program").predict(X, verbose=0)
    model = made("program", fuse=False)
    monkeypatch.setattr(primitives, "network_forward", lambda *given: pytest.fail("a network"))
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-7)


def test_nothing_is_recorded() -> None:
    model = made("program")
    with no_grad():
        assert model(X).node is None
    assert model(X).node is not None
    model.predict(X, verbose=0)
    model.evaluate(X, Y, verbose=0)
    assert all(weight.grad is None for weight in model.weights)


# Errors


def shape_error(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError, match="Layer '") as caught:
        call()
    return str(caught.value)


def test_errors_name_the_layer_that_they_are_about(library: str) -> None:
    model = Sequential(
        [
            Conv2D(4, 3, name="first"), MaxPooling2D(2), Conv2D(4, 2, name="second"), Flatten(),
            Dense(3, name="third"),
        ]
    )  # fmt: skip
    with no_grad():
        model(np.zeros((2, 9, 9, 2), "float32"))
        assert "'first' (Conv2D)" in shape_error(lambda: model(np.zeros((2, 9, 9, 5), "float32")))
        assert "'third' (Dense)" in shape_error(lambda: model(np.zeros((2, 13, 9, 2), "float32")))
        assert "'second' (Conv2D)" in shape_error(lambda: model(np.zeros((2, 4, 9, 2), "float32")))


def test_errors_of_an_activation_name_its_layer() -> None:
    def breaks(x: Any) -> Any:
        return functions.reshape(x, (7, 7)) if len(x) == 3 else x

    model = Sequential([Input((6,)), Dense(3), Dense(4, activation=breaks, name="breaks")])
    x = np.ones((3, 6), "float32")
    assert "'breaks' (Dense)" in shape_error(lambda: model.predict(x, verbose=0))
    assert "'breaks' (Dense)" in shape_error(lambda: model(x))


# Memory, threads


def program(**options: Any) -> Sequential:
    gpunet.random.seed(1)
    model = Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(32, 3, activation="relu"), MaxPooling2D(2),
            Conv2D(64, 3, activation="relu"), MaxPooling2D(2),
            Conv2D(64, 3, activation="relu"), MaxPooling2D(2),
            Flatten(), Dense(64, activation="relu"), Dense(10, activation="softmax"),
        ]
    )  # fmt: skip
    model.compile("adam", "categorical_crossentropy", ["accuracy"], **options)
    return model


DIGITS = rng.random((512, 28, 28, 1)).astype("float32")
DIGIT_LABELS = np.eye(10, dtype="float32")[rng.integers(0, 10, 512)]


@pytest.mark.parametrize("batch_size", [None, 512])
@pytest.mark.parametrize("library", ["numpy", "numba"], indirect=True)
def test_what_a_pool_takes_is_never_in_memory(library: str, batch_size: int | None) -> None:
    """The first convolution alone has 512 * 26 * 26 * 32 outputs, 42 MiB."""
    model = program()
    for call in (
        lambda: model.predict(DIGITS, batch_size, verbose=0),
        lambda: model.evaluate(DIGITS, DIGIT_LABELS, batch_size, verbose=0),
    ):
        assert peak_bytes(call) < (4 if library == "numba" else 16) << 20


needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="needs numba, for the fast twins"
)


@needs_numba
@pytest.mark.parametrize("library", ["numba"], indirect=True)
def test_neither_batches_nor_threads_change_a_bit(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = importlib.import_module("gpunet.primitives.fast.threads")
    model, x = program(), DIGITS[:45]
    expected = model.predict(x, verbose=0)
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_made", threads._Workers(count))
        for size in (1, 2, 7, 32, 45):
            np.testing.assert_array_equal(model.predict(x, size, verbose=0), expected)


# How many samples are taken at a time


class Seen:
    """Notes how many samples each call of a model's layers had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.samples: list[int] = []
        run_graph = Functional.run_graph

        def noted(model: Functional, x: Any, loss: Any = None) -> Any:
            self.samples.append(len(x))
            return run_graph(model, x, loss)

        monkeypatch.setattr(Functional, "run_graph", noted)

    def taken(self, run: Callable[..., Any], *arguments: Any, **options: Any) -> list[int]:
        self.samples.clear()
        run(*arguments, **{"verbose": 0} | options)
        return list(self.samples)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


class PredictBatches(Callback):
    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.told.append(batch)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.told.append((batch, logs["size"], len(logs["outputs"])))


class TestBatches(Callback):
    __test__ = False

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.told.append((batch, logs["size"]))


def test_samples_are_taken_at_once_where_nobody_minds(seen: Seen) -> None:
    model = made("program")
    singles = [32, 32, 6]
    assert seen.taken(model.predict, X) == [70]
    assert seen.taken(model.evaluate, X, Y) == [70]
    # The size asked for, and batches that someone listens to, are what they are.
    assert seen.taken(model.predict, X, batch_size=32) == singles
    assert seen.taken(model.evaluate, X, Y, batch_size=32) == singles
    assert seen.taken(model.predict, X, steps=2) == [32, 32]
    assert seen.taken(model.predict, iter([X[:5], X[5:8]])) == [5, 3]
    listener, other = PredictBatches(), TestBatches()
    assert seen.taken(model.predict, X, callbacks=[listener]) == singles
    assert listener.told == [0, (0, 32, 32), 1, (1, 32, 32), 2, (2, 6, 6)]
    assert seen.taken(model.evaluate, X, Y, callbacks=[other]) == singles
    assert other.told == [(0, 32), (1, 32), (2, 6)]
    assert seen.taken(model.evaluate, X, Y, callbacks=[listener]) == [70]


def test_validation_is_taken_at_once_too(seen: Seen) -> None:
    model = made("program")
    assert seen.taken(model.fit, X[:4], Y[:4], validation_data=(X, Y))[-2:] == [4, 70]
    taken = seen.taken(model.fit, X[:4], Y[:4], 32, validation_data=(X, Y))
    assert taken[-3:] == [32, 32, 6]


def test_layers_losses_and_metrics_of_ones_own_get_batches(seen: Seen) -> None:
    singles = [32, 32, 6]
    assert seen.taken(made("subclass").predict, X) == singles
    assert seen.taken(made("own call").predict, X) == singles
    model = made("program")
    model.compile("sgd", lambda y, p: functions.mean(functions.square(p - y)))
    assert seen.taken(model.evaluate, X, Y) == singles
    assert seen.taken(model.predict, X) == [70]
    model.compile("sgd", "mse", [lambda y, p: abs(y - p).max()])
    assert seen.taken(model.evaluate, X, Y) == singles
    model.compile("sgd", gpunet.losses.mean_squared_error, ["acc", gpunet.metrics.accuracy])
    assert seen.taken(model.evaluate, X, Y) == [70]


def test_how_many_samples() -> None:
    assert program()._samples_at_once() == 1024
    row = 4 * (26 * 26 * 32 + 13 * 13 * 32)  # what the first pool takes and gives
    assert program(fuse=False)._samples_at_once() == (1 << 24) // row
    assert Sequential([Input((1000,)), Dense(100_000)])._samples_at_once() == 41
    assert Sequential([Input((None, 9, 1)), Conv2D(2, 3)])._samples_at_once() == 0
    assert Sequential([Dense(3)])._samples_at_once() == 0
    assert Sequential([Input((3,)), Sequential([Dense(3)])])._samples_at_once() == 1024
    assert Model()._samples_at_once() == 0


@pytest.mark.parametrize(
    ("samples", "at_once", "expected"),
    [
        (10, 0, [[4], [4], [2]]),
        (10, 7, [[4], [4], [2]]),
        (10, 8, [[4, 4], [2]]),
        (10, 1000, [[4, 4, 2]]),
        (8, 1000, [[4, 4]]),
        (3, 1000, [[3]]),
    ],
)
def test_joined_batches(samples: int, at_once: int, expected: list[list[int]]) -> None:
    x = np.arange(samples)
    batches = ArrayBatches(Batch((x,), (-x,)), 4, shuffle=False, free=True)
    for _ in range(2):
        joined = list(batches.joined(at_once))
        assert [sizes for _, sizes in joined] == expected
        for sign, arrays in ((1, "inputs"), (-1, "targets")):
            parts = [getattr(batch, arrays)[0] for batch, _ in joined]
            np.testing.assert_array_equal(np.concatenate(parts), sign * x)


@pytest.mark.parametrize("options", [{"steps": 2}, {"free": False}, {"shuffle": True}])
def test_batches_that_are_not_joined(options: dict[str, Any]) -> None:
    options = {"shuffle": False, "free": True} | options
    batches = ArrayBatches(Batch((np.arange(10),)), 4, **options)
    assert all(len(sizes) == 1 for _, sizes in batches.joined(1000))


def test_the_progress_line_counts_batches_run_at_once(
    seen: Seen, capsys: pytest.CaptureFixture[str]
) -> None:
    model = made("program")
    for run, data in ((model.predict, (X,)), (model.evaluate, (X, Y))):
        line = ProgressLine(2)
        assert seen.taken(run, *data, callbacks=[line]) == [70]
        assert (line._batches, line._samples) == (3, 70)
        assert "samples/s" in capsys.readouterr().out


def test_outputs_are_one_array_of_their_own() -> None:
    identity = Sequential([Input((9, 9, 2)), Dropout(0.5)])
    for batch_size in (None, 32, 100):
        predicted = identity.predict(X, batch_size, verbose=0)
        np.testing.assert_array_equal(predicted, X)
        assert not np.shares_memory(predicted, X)
        assert predicted.flags.c_contiguous and predicted.flags.writeable


def test_outputs_that_are_no_row_a_sample() -> None:
    class Total(Model):
        def call(self, x: Any) -> Any:
            return functions.sum(x, axis=0, keepdims=True)

    with pytest.raises(ValueError, match=r"one row of outputs for each of 32 samples.*\(1, 9, 9"):
        Total().predict(X, verbose=0)


# One batch as one network


def test_predict_on_batch_follows_weights_shapes_and_attributes() -> None:
    """What is remembered from an earlier batch must not outlive a change of the model."""
    model = made("program")
    x = X[:4].astype("float32")

    def check(batch: Any = x) -> None:
        for _ in range(3):
            found = model.predict_on_batch(batch)
            np.testing.assert_allclose(found, one_by_one(model, batch), rtol=1e-5, atol=1e-6)

    check()
    assert model._frozen_for(x) is not None
    for weight in model.weights:
        weight.value[...] *= 1.5  # in place
    check()
    check(x[:2])
    check(x[:, ::-1])
    model.fit(x, Y[:4], verbose=0)
    check()
    model.layers[2].activation = activations.get("tanh")
    check()
    model.set_weights([weight * 0.5 for weight in model.get_weights()])
    check()
    assert np.isnan(model.predict_on_batch(np.full_like(x, np.nan))).all()


def test_predict_on_batch_checks_what_it_has_not_seen() -> None:
    model = made("program")
    x = X[:4].astype("float32")
    expected = model.predict_on_batch(x)
    np.testing.assert_allclose(model.predict_on_batch(x.astype("float64")), expected, rtol=1e-5)
    np.testing.assert_allclose(
        model.predict_on_batch(Tensor(x).value.tolist()), expected, rtol=1e-5
    )
    with pytest.raises(ValueError, match="takes samples of shape"):
        model.predict_on_batch(x[:, :5])
    np.testing.assert_array_equal(model.predict_on_batch(x), expected)


def test_predict_on_batch_leaves_other_models_as_they_are() -> None:
    class Own(Model):
        def predict_step(self, data: Any) -> Any:
            return self(data[0]) * 0

    image = Input((9, 9, 2))
    own = Own(image, Flatten()(Conv2D(3, 3)(image)))
    x = X[:4].astype("float32")
    for _ in range(3):
        assert not own.predict_on_batch(x).any()
    several = Model(image, [Flatten()(image), Conv2D(3, 3)(image)])
    for _ in range(3):
        assert len(several.predict_on_batch(x)) == 2
