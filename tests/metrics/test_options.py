"""Losses as metrics, weights of samples, columns, AUC, a metric's own variables, copies."""

from __future__ import annotations

import copy
import functools
import json
import os
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet import functions, losses, metrics
from gpunet.autograd import Tensor

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, (6,))
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
PROBABILITIES = RNG.dirichlet(np.ones(4), 6).astype(np.float32)
WEIGHTS = np.array([0.0, 1.0, 2.0, 0.5, 3.0, 1.0], np.float32)
NAMES = [name for name in metrics._REGISTRY.names if name not in ("mean", "sum")]
OPTIONS: dict[str, dict[str, Any]] = {  # without which a metric cannot be made
    "io_u": {"num_classes": 4, "target_class_ids": [0, 1]},
    "mean_io_u": {"num_classes": 4},
    "one_hot_io_u": {"num_classes": 4, "target_class_ids": [0, 1]},
    "one_hot_mean_io_u": {"num_classes": 4},
    "precision_at_recall": {"recall": 0.5},
    "recall_at_precision": {"precision": 0.3},
    "sensitivity_at_specificity": {"specificity": 0.5},
    "specificity_at_sensitivity": {"sensitivity": 0.5},
}
COUNTS = {"true_positives", "false_positives", "true_negatives", "false_negatives"}


def make(identifier: Any) -> Any:
    if not isinstance(identifier, str) or identifier not in OPTIONS:
        return metrics.get(identifier)
    return metrics.get({"class_name": identifier, "config": OPTIONS[identifier]})


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def labels_for(name: str) -> np.ndarray:
    return LABELS if "sparse" in name.lower() else ONE_HOT


# Losses


@pytest.mark.parametrize("name", ["categorical", "sparse_categorical", "binary"])
def test_losses_are_metrics_of_their_values(name: str) -> None:
    function = getattr(losses, f"{name}_crossentropy")
    y = labels_for(name)
    expected = losses.get(function)(y, PROBABILITIES).item()
    kind = type(losses.get(function))
    for identifier in (function, function.__name__, kind.__name__, kind, kind()):
        metric = metrics.get(identifier)
        # The mean of 6 float32 losses, in another order.
        assert metric(y, PROBABILITIES) == pytest.approx(expected, rel=1e-6)
    assert metrics.get(function).name == metrics.get(kind()).name == function.__name__
    assert metrics.get(kind.__name__).name == kind.__name__


def test_functions_are_those_of_losses() -> None:
    for name in ("mean_squared_error", "binary_crossentropy"):
        assert getattr(metrics, name) is getattr(losses, name)


@pytest.mark.parametrize("name", ["CategoricalCrossentropy", "BinaryCrossentropy"])
def test_crossentropies_have_options(name: str, keras: Any) -> None:
    options = {"from_logits": True, "label_smoothing": 0.2}
    ours, theirs = (getattr(m, name)(**options) for m in (metrics, keras.metrics))
    logits = np.log(PROBABILITIES) + 1
    for weights in (None, WEIGHTS):
        found = ours(ONE_HOT, logits, weights)
        theirs.update_state(ONE_HOT, logits, weights)
        assert found == pytest.approx(float(theirs.result()), rel=1e-5)


# Weights, columns, dtypes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weights", [WEIGHTS, WEIGHTS[:, None]], ids=["flat", "column"])
def test_weights_of_samples(name: str, weights: np.ndarray) -> None:
    """Weights that are whole numbers are repetitions, and their scale is all one."""
    y, repeats = labels_for(name), (2 * WEIGHTS).astype(int)
    expected = make(name)(np.repeat(y, repeats, 0), np.repeat(PROBABILITIES, repeats, 0))
    if name in COUNTS:
        expected /= 2
    # In float32 a mean over 4 classes is rounded by some 6e-8, as is what keeps divisors from 0.
    found = make(name)(y, PROBABILITIES, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if name != "r2_score":  # of nothing that is not defined
        np.testing.assert_array_equal(make(name)(y, PROBABILITIES, np.zeros(6)), 0.0 * found)


@pytest.mark.parametrize("name", ["CategoricalAccuracy", "MeanSquaredError", "BinaryAccuracy"])
def test_keras_weighs_the_same(name: str, keras: Any) -> None:
    ours, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for part in (slice(4), slice(4, 6)):
        found = ours(ONE_HOT[part], PROBABILITIES[part], sample_weight=WEIGHTS[part])
        theirs.update_state(ONE_HOT[part], PROBABILITIES[part], sample_weight=WEIGHTS[part])
        assert found == pytest.approx(float(theirs.result()), rel=1e-5)


def test_weights_that_do_not_fit() -> None:
    metric = metrics.MeanSquaredError()
    for shape in ((5,), (5, 1), (6, 2)):
        with pytest.raises(ValueError, match=r"sample_weight of shape \(6,\), received shape"):
            metric.update_state(ONE_HOT, PROBABILITIES, np.ones(shape))
    assert metric.result() == 0.0


def test_labels_of_one_axis_are_a_column() -> None:
    y, p = np.array([0, 1, 1, 0], np.uint8), np.array([[0.1], [0.6], [0.8], [0.7]], np.float32)
    for name in ("mse", "mae", "binary_accuracy", "acc", "bce", "AUC"):
        assert metrics.get(name)(y, p) == metrics.get(name)(y[:, None], p)
    # 0 - 1 is 255 in uint8.
    custom = metrics.get(lambda y_true, y_pred: (y_true - 1) * y_pred)
    assert custom(y, p) == pytest.approx(-0.8 / 4, rel=1e-6)


def test_dtypes() -> None:
    for kind in (metrics.MeanSquaredError, metrics.Mean, metrics.AUC):
        assert kind(dtype="float32").dtype == np.float32
        with pytest.raises(ValueError, match="dtype must be a floating-point type"):
            kind(dtype="int8")


# AUC


@given(
    seed=st.integers(0, 99),
    curve=st.sampled_from(["ROC", "PR"]),
    method=st.sampled_from(["interpolation", "minoring", "majoring"]),
    thresholds=st.sampled_from([None, [0.3, 0.7], 5]),
)
def test_auc_is_that_of_keras(
    keras: Any, seed: int, curve: str, method: str, thresholds: Any
) -> None:
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {"curve": curve, "summation_method": method}
    if thresholds == 5:
        options["num_thresholds"] = 5
    elif thresholds:
        options["thresholds"] = thresholds
    ours, theirs = metrics.AUC(**options), keras.metrics.AUC(**options)
    for size in (7, 4):
        y = rng.integers(0, 2, size)
        # Scores beside the thresholds: those on one are rounded differently in float32.
        p = (rng.integers(0, 50, size) / 50 + 0.003).astype(np.float32)
        weights = rng.random(size).astype(np.float32) if seed % 2 else None
        ours.update_state(y, p, weights)
        theirs.update_state(y, p, weights)
        assert ours.result() == pytest.approx(float(theirs.result()), abs=1e-5)


def test_the_values_of_auc() -> None:
    y, p = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    assert metrics.AUC()(y, p) == pytest.approx(0.75)
    assert metrics.AUC(curve="PR")(y, p) == pytest.approx(0.7973, abs=1e-4)
    logits = np.log(np.array(p) / (1 - np.array(p)))
    assert metrics.AUC(from_logits=True)(y, logits) == pytest.approx(0.75)
    assert metrics.AUC()([1, 0], [0.5, 0.5]) == 0.5
    assert metrics.AUC()([1, 1], [0.5, 0.6]) == 0.0
    with pytest.raises(ValueError, match=r"y_pred, \(3,\), received \(2,\)"):
        metrics.AUC()([1, 0], [0.1, 0.2, 0.3])
    assert metrics.AUC(curve="pr").curve == "PR"
    with pytest.raises(
        ValueError, match="curve must be one of 'ROC', 'PR', 'PRGAIN', received 'ROCK'"
    ):
        metrics.AUC(curve="rock")


# Custom metrics and copies


class Recall(metrics.Metric):
    """As tutorials of Keras write one."""

    def __init__(self, name: str = "my_recall", **options: Any) -> None:
        super().__init__(name=name, **options)
        self.true = self.add_weight(name="tp", initializer="zeros")
        self.all = self.add_variable((), name="all")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.true.assign_add(((y_true > 0.5) & (y_pred > 0.5)).sum())
        self.all.assign_add((y_true > 0.5).sum())

    def result(self) -> Any:
        return self.true / self.all


def test_a_custom_metric_with_variables() -> None:
    metric = Recall()
    assert metric(np.array([1, 1, 0]), np.array([0.9, 0.1, 0.8])) == 0.5
    assert [(v.name, float(v)) for v in metric.variables] == [("tp", 1.0), ("all", 2.0)]
    twin = copy.deepcopy(metric)
    metric.reset_state()
    assert [float(v) for v in metric.variables] == [0.0, 0.0]
    assert [float(v) for v in twin.variables] == [1.0, 2.0]
    assert twin.result() == 0.5
    assert metric.get_config() == {"name": "my_recall"}
    assert type(Recall.from_config({"name": "r"})) is Recall
    with pytest.raises(ValueError, match="expects initializer='zeros'"):
        metric.add_variable((), "ones")
    with pytest.raises(TypeError, match="Recall takes no argument 'nmae': did you mean 'name'"):
        Recall(nmae="x")


def test_a_metric_that_forgets_super() -> None:
    class Forgets(metrics.Metric):
        def __init__(self) -> None:
            self.largest = 0

    with pytest.raises(RuntimeError, match=r"Forgets.__init__ did not call super\(\)"):
        Forgets().name  # noqa: B018


def test_functions_that_are_no_metrics() -> None:
    with pytest.raises(TypeError, match=r"^Metric <lambda> must be a function of \(y_true,"):
        metrics.get(lambda y: y)
    for values in (["a", "b"], [object(), object()], [1j, 1j]):
        metric = metrics.MeanMetricWrapper(lambda y, p, values=values: np.array(values), "odd")
        with pytest.raises(TypeError, match="Metric odd is a mean of real numbers, received"):
            metric([0.0, 1.0], [0.0, 1.0])


class Holder:
    """With a lock, which can be neither copied nor pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def error(self, y_true: Any, y_pred: Any) -> Any:
        return abs(y_true - y_pred)


def tensors(y_true: Any, y_pred: Any) -> Tensor:
    return functions.square(y_pred - y_true)


FUNCTIONS: list[Any] = [
    Holder().error,
    tensors,
    functools.partial(metrics.binary_accuracy, threshold=0.3),
    lambda y_true, y_pred: abs(y_true - y_pred),
    losses.MeanSquaredError(),
]


@pytest.mark.parametrize("identifier", [*NAMES, *FUNCTIONS])
def test_copies_have_a_state_of_their_own(identifier: Any) -> None:
    same = np.testing.assert_array_equal
    metric = make(identifier)
    y = labels_for(str(identifier))
    first = metric(y, PROBABILITIES)
    twin = copy.deepcopy(metric)
    same(twin.result(), first)
    assert (twin.name, type(twin)) == (metric.name, type(metric))
    second = twin(y[:2], PROBABILITIES[:2])
    twin.reset_state()
    same(metric.result(), first)
    same(metric(y[:2], PROBABILITIES[:2]), second)
    if not isinstance(identifier, str):
        assert twin.function is metric.function
        assert twin.get_config() == metric.get_config()
    else:
        same(pickle.loads(pickle.dumps(metric)).result(), metric.result())


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_written_down(name: str) -> None:
    metric = make(name)
    written = json.loads(json.dumps(metrics.serialize(metric)))
    again = metrics.deserialize(written)
    assert type(again) is type(metric)
    assert again.name == metric.name
    assert metrics.serialize(again) == written
    assert metrics.deserialize({"class_name": "Accuracy"}).get_config()["name"] == "accuracy"
    assert type(metrics.deserialize({"class_name": "Accuracy"})) is metrics.Accuracy


def test_names_as_keras_takes_them() -> None:
    for name in ("Accuracy", "ACC", "accuracy"):
        metric = metrics.get(name)
        assert (type(metric), metric.name) == (metrics.AutoAccuracy, name)
    for name, kind in (("MSE", metrics.MeanSquaredError), ("AUC", metrics.AUC)):
        assert type(metrics.get(name)) is kind
    wrapper = metrics.MeanMetricWrapper(fn=tensors, name="squares", dtype="float32")
    assert wrapper(np.zeros((2, 1)), np.array([[1.0], [3.0]])) == 5.0
    options = metrics.MeanMetricWrapper(metrics.binary_accuracy, threshold=0.9)
    assert options([[1.0]], [[0.8]]) == 0.0
    assert options.get_config()["threshold"] == 0.9
