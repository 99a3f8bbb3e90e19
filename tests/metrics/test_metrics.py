"""Metrics: Keras as oracle over drawn shapes, ties, names, shapes that do not fit."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gpunet import functions, metrics
from gpunet.autograd import Tensor

# Keras sums in float32: some 100 values near 1 are rounded by 6e-8 each.
KERAS_TOLERANCE = 1e-5

# Few different values, so that there are ties.
SCORES = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


@st.composite
def batches(draw: st.DrawFn, kind: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw up to three batches of (y_true, y_pred) of different sizes."""
    middle = draw(st.sampled_from([(), (), (3,)]))
    classes = draw(st.integers(2, 8))
    drawn = []
    for size in draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)):
        shape = (size, *middle, classes)
        y_pred = draw(arrays(np.float32, shape, elements=SCORES))
        labels = draw(arrays(np.int64, shape[:-1], elements=st.integers(0, classes - 1)))
        if kind == "one-hot":
            y_true = np.eye(classes, dtype=np.float32)[labels]
        elif kind == "binary":
            y_true = (labels[..., None] == np.arange(classes)).astype(np.float32)
        elif kind == "column":
            y_true = labels[..., None]
        else:
            y_true = labels
        drawn.append((y_true, y_pred))
    return drawn


def compare(ours: Any, theirs: Any, drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for y_true, y_pred in drawn:
        ours.update_state(y_true, y_pred)
        theirs.update_state(y_true, y_pred)
        assert ours.result() == pytest.approx(float(theirs.result()), abs=KERAS_TOLERANCE)
        assert isinstance(ours.result(), float)


NAMES = {
    "CategoricalAccuracy": "one-hot",
    "SparseCategoricalAccuracy": "labels",
    "BinaryAccuracy": "binary",
    "MeanSquaredError": "binary",
    "MeanAbsoluteError": "binary",
}


@pytest.mark.parametrize("name", NAMES)
def test_keras_gives_the_same(name: str, keras: Any) -> None:
    @given(batches(NAMES[name]))
    def check(drawn: list[tuple[np.ndarray, np.ndarray]]) -> None:
        compare(getattr(metrics, name)(), getattr(keras.metrics, name)(), drawn)

    check()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("TopKCategoricalAccuracy", "one-hot"), ("SparseTopKCategoricalAccuracy", "labels")],
)
def test_keras_gives_the_same_top_k(name: str, kind: str, keras: Any) -> None:
    @given(batches(kind), st.integers(1, 8))
    def check(drawn: list[tuple[np.ndarray, np.ndarray]], k: int) -> None:
        assume(k <= drawn[0][1].shape[-1])  # on PyTorch, Keras has no more than there are classes
        compare(getattr(metrics, name)(k), getattr(keras.metrics, name)(k), drawn)

    check()


@given(batches("binary"), st.floats(0.01, 0.99))
def test_a_threshold_of_ones_own(
    drawn: list[tuple[np.ndarray, np.ndarray]], threshold: float
) -> None:
    metric = metrics.BinaryAccuracy(threshold=threshold)
    right = []
    for y_true, y_pred in drawn:
        metric.update_state(y_true, y_pred)
        right += [(p > threshold) == t for p, t in zip(y_pred.flat, y_true.flat, strict=True)]
    assert metric.result() == pytest.approx(np.mean(right), abs=1e-12)


def test_accuracy_counts_equal_labels(keras: Any) -> None:
    drawn = [(np.array([[1], [2], [3]]), np.array([[0], [2], [3]]))]
    compare(metrics.Accuracy(), keras.metrics.Accuracy(), drawn)


# What 'accuracy' means


@pytest.mark.parametrize(
    ("y_true", "y_pred", "meaning"),
    [
        ((4, 1), (4, 1), metrics.binary_accuracy),
        ((4,), (4,), metrics.binary_accuracy),
        ((4, 10), (4, 10), metrics.categorical_accuracy),
        ((4,), (4, 10), metrics.sparse_categorical_accuracy),
        ((4, 1), (4, 10), metrics.sparse_categorical_accuracy),
        ((4, 5, 10), (4, 5, 10), metrics.categorical_accuracy),
        ((4, 5), (4, 5, 10), metrics.sparse_categorical_accuracy),
        ((4, 5, 1), (4, 5, 10), metrics.sparse_categorical_accuracy),
    ],
)
def test_accuracy_is_the_one_that_fits(y_true: Any, y_pred: Any, meaning: Any) -> None:
    assert metrics.accuracy_for(y_true, y_pred) is meaning
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(0, 2, y_true), generator.random(y_pred)
    metric = metrics.get("accuracy")
    metric.update_state(labels, scores)
    assert metric.result() == meaning(labels, scores).mean()


@given(batches("one-hot"), st.sampled_from(["one-hot", "labels", "column", "first column"]))
def test_accuracy_is_what_keras_takes_it_for(
    drawn: list[tuple[np.ndarray, np.ndarray]], form: str
) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    from keras.src.trainers.compile_utils import get_metric

    for y_true, y_pred in drawn:
        if form == "labels":
            y_true = y_true.argmax(-1)
        elif form == "column":
            y_true = y_true.argmax(-1)[..., None]
        elif form == "first column":
            y_true, y_pred = y_true[..., :1], y_pred[..., :1]
        compare(metrics.get("acc"), get_metric("acc", y_true, y_pred), [(y_true, y_pred)])


# Ties, labels that are no class, what is not a number


def test_all_scores_equal_to_the_last_of_the_top_k_count() -> None:
    scores = np.array([[0.1, 0.4, 0.4, 0.1]])
    found = [metrics.sparse_top_k_categorical_accuracy([i], scores, k=1)[0] for i in range(4)]
    assert found == [False, True, True, False]
    found = [metrics.sparse_top_k_categorical_accuracy([i], scores, k=3)[0] for i in range(4)]
    assert all(found)


def test_a_tie_for_the_largest_is_won_by_the_first() -> None:
    scores = np.array([[0.4, 0.4, 0.2]] * 2)
    assert metrics.sparse_categorical_accuracy([0, 1], scores).tolist() == [True, False]


def test_top_k_beyond_the_number_of_classes_finds_every_class() -> None:
    assert metrics.sparse_top_k_categorical_accuracy([2], [[0.5, 0.3, 0.2]], k=5).tolist() == [True]


def test_a_label_that_is_no_class_is_never_found() -> None:
    scores = np.ones((3, 4))
    found = metrics.sparse_top_k_categorical_accuracy([-1, 4, 3], scores, k=4)
    assert found.tolist() == [False, False, True]
    found = metrics.sparse_categorical_accuracy(np.array([-1, 4]), scores[:2])
    assert not found.any()


def test_nan_is_not_among_the_largest() -> None:
    found = metrics.sparse_top_k_categorical_accuracy([0, 1], [[np.nan, 0.5], [np.nan, 0.5]], k=2)
    assert found.tolist() == [False, True]


def test_whole_numbers_do_not_wrap_around() -> None:
    y_true, y_pred = np.array([[3]], np.uint8), np.array([[1]], np.uint8)
    for name, expected in (("mse", 4.0), ("mae", 2.0)):
        metric = metrics.get(name)
        metric.update_state(y_true, y_pred)
        assert metric.result() == expected


# Running


def test_a_smaller_last_batch_counts_by_its_samples() -> None:
    metric = metrics.SparseCategoricalAccuracy()
    metric.update_state(np.zeros(3, int), np.array([[1.0, 0.0]] * 3))
    metric.update_state(np.ones(1, int), np.array([[1.0, 0.0]]))
    assert metric.result() == 0.75
    metric.reset_state()
    assert metric.result() == 0.0


def test_a_long_sum_is_exact() -> None:
    # In float32 a sum stops growing by 0.1 where its steps are larger than that, at 2**21.
    metric = metrics.Mean()
    values = np.full(1 << 22, 0.1, np.float32)
    for _ in range(4):
        metric.update_state(values)
    assert metric.result() == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_tensors_and_lists_are_taken() -> None:
    metric = metrics.CategoricalAccuracy()
    metric.update_state(Tensor(np.eye(2)), Tensor(np.eye(2)))
    metric.update_state([[0, 1], [0, 1]], [[0.1, 0.9], [0.9, 0.1]])
    assert metric.result() == 0.75


# One's own


def worst(y_true: Any, y_pred: Any) -> Any:
    return abs(y_true - y_pred).max(axis=-1)


def test_a_function_is_named_after_itself() -> None:
    metric = metrics.get(worst)
    metric.update_state(np.zeros((2, 3)), np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0]]))
    assert (metric.name, metric.result()) == ("worst", 2.5)


def test_a_function_that_returns_one_number_counts_for_the_whole_batch() -> None:
    metric = metrics.get(lambda y_true, y_pred: abs(y_true - y_pred).mean())
    metric.update_state(np.zeros((3, 1)), np.ones((3, 1)))
    metric.update_state(np.zeros((1, 1)), np.zeros((1, 1)))
    assert metric.result() == 0.75


def test_a_function_may_compute_with_tensors() -> None:
    metric = metrics.get(lambda y_true, y_pred: functions.square(y_pred - y_true))
    metric.update_state(np.zeros((2, 1)), np.array([[1.0], [3.0]]))
    assert metric.result() == 5.0


def test_a_metric_of_ones_own() -> None:
    class LargestSeen(metrics.Metric):
        largest = 0.0

        def update_state(self, y_true: Any, y_pred: Any) -> None:
            self.largest = max(self.largest, float(y_pred.max()))

        def result(self) -> float:
            return self.largest

        def reset_state(self) -> None:
            self.largest = 0.0

    metric = metrics.get(LargestSeen)
    assert metric.name == "largest_seen"
    assert metrics.get(metric) is metric
    metric.update_state(None, np.array([1.0, 3.0]))
    assert metric.result() == 3.0
    for method in ("result", "reset_state", "update_state"):
        with pytest.raises(NotImplementedError, match=f"define {method}"):
            getattr(metrics.Metric(), method)()


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "acc",
        "mse",
        "mae",
        "binary_accuracy",
        "categorical_accuracy",
        "sparse_categorical_accuracy",
        "top_k_categorical_accuracy",
        "sparse_top_k_categorical_accuracy",
        "mean_squared_error",
        "mean_absolute_error",
    ],
)
def test_the_name_asked_for_is_the_key(name: str) -> None:
    assert metrics.get(name).name == name


# Bad input


def test_unknown_names_and_arguments() -> None:
    with pytest.raises(ValueError, match="Unknown metric 'acuracy': did you mean 'accuracy'"):
        metrics.get("acuracy")
    with pytest.raises(TypeError, match=r"Expected a metric: a name.*received 3 of type int"):
        metrics.get(3)
    with pytest.raises(TypeError, match="'tresh': did you mean 'threshold'"):
        metrics.BinaryAccuracy(tresh=0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize("k", [0, -1, 2.0, True, None])
def test_k_must_be_a_positive_whole_number(k: Any) -> None:
    for kind in (metrics.TopKCategoricalAccuracy, metrics.SparseTopKCategoricalAccuracy):
        with pytest.raises(
            ValueError, match="TopKCategoricalAccuracy: k must be a positive integer"
        ):
            kind(k)


@pytest.mark.parametrize(
    ("name", "y_true", "y_pred", "fix"),
    [
        ("binary_accuracy", (4, 10), (4, 1), "never broadcast"),
        ("binary_accuracy", (1, 4), (4, 4), "never broadcast"),
        ("mse", (1, 4), (4, 4), "never broadcast"),
        ("mae", (4, 1), (4,), r"squeeze\(-1\)"),
        ("categorical_accuracy", (4,), (4, 10), "'sparse_categorical_accuracy'"),
        ("categorical_accuracy", (4, 9), (4, 10), "one shape"),
        ("categorical_accuracy", (4,), (4,), "one shape"),
        ("sparse_categorical_accuracy", (4, 10), (4, 10), "'categorical_accuracy'"),
        ("sparse_categorical_accuracy", (3,), (4, 10), "received"),
        ("sparse_categorical_accuracy", (), (4,), "received"),
        ("top_k_categorical_accuracy", (4,), (4, 10), "'sparse_top_k_categorical_accuracy'"),
        ("sparse_top_k_categorical_accuracy", (4, 10), (4, 10), "'top_k_categorical_accuracy'"),
    ],
)
def test_shapes_never_broadcast(name: str, y_true: Any, y_pred: Any, fix: str) -> None:
    metric = metrics.get(name)
    with pytest.raises(ValueError, match=fix) as error:
        metric.update_state(np.zeros(y_true), np.zeros(y_pred))
    assert str(y_true) in str(error.value)
    assert metric.result() == 0.0
