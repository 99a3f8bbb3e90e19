"""Losses and metrics of several outputs, under Keras' keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet.layers import Dense, Input
from gpunet.models import Model, Sequential
from gpunet.training.objective import Objective

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 3)).astype("float32")
A, B = (rng.normal(size=(20, 1)).astype("float32") for _ in range(2))


class Two(Model):
    """Two outputs of one input, as a list or by the names a and b."""

    def __init__(self, by_name: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.by_name = Dense(1), Dense(1), by_name

    def call(self, x: Any) -> Any:
        outputs = {"b": self.b(x), "a": self.a(x)}
        return outputs if self.by_name else [outputs["a"], outputs["b"]]


def test_outputs_by_name() -> None:
    model = Two(by_name=True)
    model.compile(
        "sgd", {"a": "mse", "b": "mae"}, {"a": ["mse"]}, loss_weights={"a": 2.0, "b": 0.5}
    )
    y = {"a": A, "b": B}
    history = model.fit(X, y, epochs=2, validation_data=(X, y), verbose=0).history
    assert list(history)[:4] == ["loss", "a_loss", "b_loss", "a_mse"]
    logs = model.evaluate(X, y, batch_size=7, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(2 * logs["a_loss"] + 0.5 * logs["b_loss"])
    outputs = model.predict(X, batch_size=7, verbose=0)
    assert list(outputs) == ["b", "a"]
    assert logs["a_loss"] == pytest.approx(((outputs["a"] - A) ** 2).mean(), rel=1e-5)
    assert logs["a_loss"] == pytest.approx(logs["a_mse"])
    assert logs["b_loss"] == pytest.approx(abs(outputs["b"] - B).mean(), rel=1e-5)
    values = model.evaluate(X, y, batch_size=7, verbose=0)
    assert values == list(logs.values())


def test_outputs_in_a_list_learn() -> None:
    model = Two()
    model.compile("sgd", "mse", [["mae"], ["mse"]])
    history = model.fit(X, [X[:, :1], X[:, 1]], epochs=20, batch_size=4, verbose=0).history
    assert list(history) == [
        "loss", "output_0_loss", "output_1_loss", "output_0_mae", "output_1_mse",
    ]  # fmt: skip
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    first, second = model.predict(X, verbose=0)
    assert first.shape == second.shape == (20, 1)
    assert len(model.train_on_batch(X, [A, B])) == 5


class OwnLoss(Two):
    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        (a, b), (to_a, to_b) = y_pred, y
        return abs(a - to_a).mean() + abs(b - to_b).mean()


def test_a_custom_loss_of_several_outputs() -> None:
    model = OwnLoss()
    model.compile("sgd")
    logs = model.evaluate(X, [A, B], verbose=0, return_dict=True)
    first, second = model.predict(X, verbose=0)
    assert logs == {"loss": pytest.approx(abs(first - A).mean() + abs(second - B).mean())}
    assert list(model.fit(X, [A, B], verbose=0).history) == ["loss"]


def test_an_output_without_a_loss_needs_no_targets() -> None:
    model = Two(by_name=True)
    model.compile("sgd", {"a": "mse"})
    before = model.fit(X, {"a": A}, verbose=0) and model.b.get_weights()
    assert list(model.fit(X, {"a": A}, verbose=0).history) == ["loss", "a_loss"]
    np.testing.assert_array_equal(before[0], model.b.get_weights()[0])


@pytest.mark.parametrize(
    ("options", "y", "message"),
    [
        ({"loss": ["mse"]}, [A, B], "loss is a list of 1, and the model has 2 outputs"),
        ({"loss": {"c": "mse"}}, [A, B], "loss has a key 'c', expected the names of outputs"),
        ({"loss": "mse", "metrics": ["mae"]}, [A, B], "metrics is a list of 1"),
        ({"loss": "mse", "loss_weights": [1]}, [A, B], "loss_weights is a list of 1"),
        ({"loss": "mse"}, A, "y is one array, and the model has 2 outputs"),
        ({"loss": "mse"}, {"c": A}, "y has a key 'c'"),
        ({"loss": "mse"}, [A, None], "no targets for output 'output_1'"),
        ({"loss": "mse"}, [A, B[:5]], "must have one row for each sample"),
    ],
)
def test_what_does_not_fit_the_outputs(options: Any, y: Any, message: str) -> None:
    model = Two()
    model.compile("sgd", **options)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, verbose=0)
    assert not model.built


def test_weighted_metrics_have_keras_keys() -> None:
    objective = Objective("mse", None, ["mse", "mae"], ["mse", "acc"])
    objective.bind(["output"])
    keys = [(item.key, item.weighted) for item in objective.tracked]
    assert keys == [("mse", False), ("mae", False), ("weighted_mse", True), ("acc", True)]


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "mse", "optimizer": "no"},
        {"loss": "no"},
        {"loss": "mse", "metrics": ["no"]},
        {"loss": "mse", "metrics": ["mae", "mae"]},
        {"loss": "mse", "loss_weights": ["heavy"]},
        {"loss": "mse", "fuse": np.array([1, 2])},
        {"loss": "mse", "run_eagerly": "yes"},
        {"loss": "mse", "run_eagerly": True, "capture": True},
        {"loss": "mse", "steps_per_execution": 0},
        {"loss": "mse", "jit_compile": 3},
        {"loss": "mse", "capture": "no"},
    ],
    ids=str,
)
def test_invalid_arguments_of_compile_change_nothing(options: Any) -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("adam", "mae", ["mse"])
    before = dict(vars(model))
    with pytest.raises((TypeError, ValueError)):
        model.compile(**({"optimizer": "sgd"} | options))
    assert vars(model) == before


def test_keras_arguments_of_compile_are_accepted() -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.compile(
        "sgd", "mse", run_eagerly=True, jit_compile=True, auto_scale_loss=False,
        steps_per_execution=4, weighted_metrics=[], loss_weights=[2.0],
    )  # fmt: skip
    assert model.capture is False
    loss = model.evaluate(X, A, verbose=0)
    assert loss == pytest.approx(2 * ((model.predict(X, verbose=0) - A) ** 2).mean(), rel=1e-5)


def test_a_model_without_a_loss_predicts_but_cannot_be_fitted() -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("adam")
    assert model.predict(X, verbose=0).shape == (20, 1)
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(RuntimeError, match="no loss to compute: give compile a loss"):
            call(X, A)


def test_loss_and_metrics_can_be_replaced() -> None:
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse", ["mse"])
    model.loss, model.metrics = "mae", ["mae"]
    logs = model.evaluate(X, A, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["mae"], rel=1e-5)
