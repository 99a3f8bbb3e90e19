"""Compiling before training: nothing is left to compile, and nothing else has changed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import backend, functions
from gpunet.layers import Activation, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from gpunet.models import Model, Sequential
from gpunet.primitives import reference, selection
from tests.support.fake_cupy.module import fake_gpu

rng = np.random.default_rng(0)
X = rng.normal(size=(16, 6, 6, 1)).astype("float32")
LABELS = rng.integers(0, 3, 16)
Y = np.eye(3, dtype="float32")[LABELS]


def model(loss: Any = "categorical_crossentropy") -> Sequential:
    made = Sequential(
        [
            Input((6, 6, 1)),
            Conv2D(4, 3, activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dropout(0.5),
            Dropout(0.1, seed=4),
            Activation("gelu"),
            Dense(3, activation="softmax"),
        ]
    )
    made.compile("adam", loss, ["accuracy"])
    return made


def state_of(made: Model) -> list[Any]:
    """Return all that a warmup must leave alone, by value and by identity."""
    weights = [(id(w.value), w.numpy().tobytes(), w.requires_grad) for w in made.weights]
    gradients = [(id(w.grad), w.grad is None or w.grad.get().tobytes()) for w in made.weights]
    optimizer = {
        name: value.get().tobytes() if hasattr(value, "get") and hasattr(value, "dtype") else value
        for name, value in vars(made.optimizer).items()
        if name != "state"
    }
    slots = {name: slot.get().tobytes() for name, slot in made.optimizer.state.items()}
    random = [gpunet.random.get_state(), *(g.get_state() for g in made.generators)]
    return [weights, gradients, optimizer, slots, random, [m.result() for m in made.metrics]]


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_a_fit_compiles_nothing_more(where: str, loss: str, cupy: Any) -> None:
    convert = np.asarray if where == "host" else cupy.asarray
    x, y = convert(X), convert(LABELS if loss.startswith("sparse") else Y)
    made, compiled = model(loss), fake_gpu.now().compiled
    before = len(compiled)
    count = gpunet.warmup(made, batch_size=8, verbose=0)
    assert count == len(compiled) - before > 10
    assert gpunet.warmup(made, batch_size=8, verbose=0) == 0
    made.fit(x, y, batch_size=8, verbose=0)
    made.predict(x, batch_size=8, verbose=0)
    made.evaluate(x, y, batch_size=8, verbose=0)
    assert len(compiled) == before + count


def test_data_of_other_types_can_be_shown(cupy: Any) -> None:
    made, compiled = model("mse"), fake_gpu.now().compiled
    x, y = cupy.asarray(X > 0).astype("uint8"), cupy.asarray(Y).astype("float64")
    gpunet.warmup(made, 8, x=x[:1], y=y[:1], verbose=0)
    before = len(compiled)
    made.fit(x, y, batch_size=8, verbose=0)
    assert len(compiled) == before


def test_nothing_else_changes(cupy: Any) -> None:
    made = model()
    before = state_of(made)
    gpunet.warmup(made, batch_size=8, verbose=0)
    assert state_of(made) == before, "before the first fit"
    made.fit(X, Y, batch_size=8, verbose=0)
    before = state_of(made)
    gpunet.warmup(made, batch_size=4, verbose=0)
    assert state_of(made) == before, "between two fits"
    made.fit(X, Y, batch_size=4, verbose=0)


def test_training_after_a_warmup_is_training_without_one(cupy: Any) -> None:
    ends = []
    for warm in (True, False):
        gpunet.random.seed(5)
        made = Sequential([Flatten(input_shape=(6, 6, 1)), Dense(3, activation="softmax")])
        made.compile("adam", "categorical_crossentropy")
        if warm:
            gpunet.warmup(made, 8, verbose=0)
        made.fit(X, Y, batch_size=8, verbose=0)
        ends.append(made.get_weights())
    for ours, expected in zip(*ends, strict=True):
        assert ours.tobytes() == expected.tobytes()


def test_a_failure_changes_nothing_either(cupy: Any) -> None:
    def fails(y_true: Any, y_pred: Any) -> Any:
        raise ZeroDivisionError

    made = model(fails)
    before = state_of(made)
    with pytest.raises(ZeroDivisionError):
        gpunet.warmup(made, 8, verbose=0)
    assert state_of(made) == before


def test_what_it_shows(
    cupy: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model()
    count = gpunet.warmup(made, 8, verbose=2)
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) >= count
    assert f"2/{len(lines)} " in lines[1]
    assert any("activation_forward (activation.cu)" in line for line in lines)
    assert last.startswith(f"Compiled {count} kernels - ")
    gpunet.warmup(made, 8)
    assert capsys.readouterr().out.startswith("Compiled 0 kernels - ")
    gpunet.warmup(made, 8, verbose=0)
    assert capsys.readouterr().out == ""
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    gpunet.warmup(made, 8)
    assert "Compiling kernels" in capsys.readouterr().out


def test_on_numpy_there_is_nothing_to_compile(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = selection.NumpyTwins(reference, "as a test wants it")
    monkeypatch.setattr(selection, "numpy_twins", lambda: alone)
    with backend.use_backend("numpy"):
        made = model()
        assert gpunet.warmup(made) == 0
        assert "Nothing to compile: the model is on the CPU" in capsys.readouterr().out
        assert gpunet.warmup(made, verbose=0) == 0
        assert capsys.readouterr().out == ""


def test_on_the_cpu_numbas_kernels_are_made_ready(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("numba")
    from gpunet.primitives.fast.compile import count_ready

    with backend.use_backend("numpy"):
        made = model()
        before, random = made.get_weights(), gpunet.random.get_state()
        gpunet.warmup(made, batch_size=16)
        assert "kernels ready - " in capsys.readouterr().out
        for weight, expected in zip(made.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, expected)
        assert gpunet.random.get_state() == random
        ready = count_ready()
        made.fit(X, Y, batch_size=16, verbose=0)
        made.predict(X, verbose=0)
        assert count_ready() == ready
        assert gpunet.warmup(made, batch_size=16, verbose=0) == 0
        assert capsys.readouterr().out == ""


def test_what_it_cannot_know(cupy: Any) -> None:
    made = Sequential([Flatten(), Dense(3)])
    with pytest.raises(RuntimeError, match=r"warmup needs a loss.*compile\("):
        gpunet.warmup(made)
    made.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match=r"input shape of 'sequential', which is unknown.*x="):
        gpunet.warmup(made)
    assert gpunet.warmup(made, 4, x=X, verbose=0) > 0
    open_size = Sequential([Input((None, 6, 1)), Conv2D(2, 3)])
    open_size.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match=r"which is \(None, 6, 1\): give"):
        gpunet.warmup(open_size)
    with pytest.raises(ValueError, match="batch_size must be a positive integer, received 0"):
        gpunet.warmup(made, 0)
    with pytest.raises(TypeError, match="expects a model, received Dense"):
        gpunet.warmup(Dense(3))  # type: ignore[arg-type]


class Own(Model):
    def build(self, input_shape: Any) -> None:
        self.first, self.second = Dense(4, activation="tanh"), Dense(2)

    def call(self, x: Any) -> Any:
        return functions.log_softmax(self.second(self.first(x)))


def test_a_model_of_ones_own_and_a_custom_loss(cupy: Any) -> None:
    made = Own(input_shape=(5,))
    made.compile("sgd", lambda y, p: functions.mean(functions.square(p[:, 0] - y)))
    y = np.zeros(8, "float32")
    gpunet.warmup(made, 8, y=y, verbose=0)
    before = len(fake_gpu.now().compiled)
    made.fit(np.ones((8, 5), "float32"), y, batch_size=8, verbose=0)
    assert len(fake_gpu.now().compiled) == before


def test_a_model_of_several_inputs_and_outputs(cupy: Any) -> None:
    a, b = Input((4,), name="a"), Input((3,), name="b")
    h = Dense(5, activation="relu")(functions.concatenate([a, b], axis=-1))
    made = Model({"a": a, "b": b}, {"y": Dense(2)(h), "z": Dense(3, activation="softmax")(h)})
    made.compile("adam", {"y": "mse", "z": "sparse_categorical_crossentropy"})
    assert gpunet.warmup(made, 8, verbose=0) > 0
    x = {"b": np.ones((16, 3), "float32"), "a": np.ones((16, 4), "float32")}
    y = {"z": LABELS, "y": np.ones((16, 2), "float32")}
    before = len(fake_gpu.now().compiled)
    made.fit(x, y, batch_size=8, verbose=0)
    made.evaluate(x, y, batch_size=8, verbose=0)
    made.predict(x, batch_size=8, verbose=0)
    assert len(fake_gpu.now().compiled) == before
    assert gpunet.warmup(made, 8, x={"a": x["a"][:1], "b": x["b"][:1]}, verbose=0) == 0


class TwoInputs(Own):
    def call(self, inputs: Any) -> Any:
        return [self.second(self.first(inputs["p"])), inputs["q"] * 2.0]


def test_a_subclassed_model_of_several_inputs(cupy: Any) -> None:
    made = TwoInputs()
    made.compile("sgd", "mse")
    x = {"p": np.ones((8, 5), "float32"), "q": np.ones((8, 2), "float32")}
    with pytest.raises(RuntimeError, match=r"input shape of 'two_inputs', which is unknown.*x="):
        gpunet.warmup(made, 8)
    gpunet.warmup(made, 8, x=x, verbose=0)
    before = len(fake_gpu.now().compiled)
    made.fit(x, [np.ones((8, 2), "float32")] * 2, batch_size=8, verbose=0)
    assert len(fake_gpu.now().compiled) == before
    assert gpunet.warmup(made, 8, verbose=0) == 0, "its shapes are known now"
