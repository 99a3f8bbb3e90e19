"""Metrics beside Keras': five batches, with weights and without, and again after a reset."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import losses, metrics

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras, about itself

Array = np.ndarray[Any, np.dtype[Any]]

# Keras adds up in float32 some 100 values near 1, each rounded by 6e-8, and takes ratios of them.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}
SIZES = (7, 4, 1, 5, 6)

Drawn = tuple[Array, Array]
Draw = Callable[[np.random.Generator, int], Drawn]


def numbers(rng: np.random.Generator, size: int) -> Drawn:
    y = rng.standard_normal((size, 3)).astype("float32")
    return y, y + rng.standard_normal((size, 3)).astype("float32")


def one_number(rng: np.random.Generator, size: int) -> Drawn:
    y, p = numbers(rng, size)
    return y[:, :1], p[:, :1]


def positive(rng: np.random.Generator, size: int) -> Drawn:
    return (rng.uniform(0.1, 3, (size, 3)).astype("float32") for _ in range(2))  # type: ignore


def steps(rng: np.random.Generator, size: int) -> Drawn:
    y = rng.standard_normal((size, 4, 3)).astype("float32")
    return y, y + rng.standard_normal((size, 4, 3)).astype("float32")


def shares(rng: np.random.Generator, size: int) -> Drawn:
    draw = rng.dirichlet
    return draw(np.ones(4), size).astype("float32"), draw(np.ones(4), size).astype("float32")


def one_hot(rng: np.random.Generator, size: int) -> Drawn:
    return np.eye(4, dtype="float32")[rng.integers(0, 4, size)], shares(rng, size)[1]


def classes(rng: np.random.Generator, size: int) -> Drawn:
    return rng.integers(0, 4, size), shares(rng, size)[1]


def sorted_ids(rng: np.random.Generator, size: int) -> Drawn:
    y = rng.integers(0, 4, size)
    return y, np.stack([rng.permutation(4)[:3] for _ in range(size)])


def bits(rng: np.random.Generator, size: int) -> Drawn:
    return rng.integers(0, 2, size), rng.random(size).astype("float32")


def several_bits(rng: np.random.Generator, size: int) -> Drawn:
    return rng.integers(0, 2, (size, 4)), rng.random((size, 4)).astype("float32")


def several_bits_and_logits(rng: np.random.Generator, size: int) -> Drawn:
    y, p = several_bits(rng, size)
    return y, (4 * p - 2).astype("float32")


def round_scores(rng: np.random.Generator, size: int) -> Drawn:
    """Scores that are thresholds themselves."""
    y, p = several_bits(rng, size)
    return y, (np.round(10 * p) / 10).astype("float32")


def signs(rng: np.random.Generator, size: int) -> Drawn:
    y, p = numbers(rng, size)
    return np.sign(y), p


def pixels(rng: np.random.Generator, size: int) -> Drawn:
    return rng.integers(0, 3, (size, 5)), rng.integers(0, 3, (size, 5))


def odd_pixels(rng: np.random.Generator, size: int) -> Drawn:
    """With labels and predictions that are no classes."""
    y, p = pixels(rng, size)
    return np.where(y == 2, 255, y), np.where(rng.random(p.shape) < 0.1, 7, p)


def binary_pixels(rng: np.random.Generator, size: int) -> Drawn:
    return rng.integers(0, 2, (size, 5)), rng.random((size, 5)).astype("float32")


def one_hot_pixels(rng: np.random.Generator, size: int) -> Drawn:
    y = np.eye(3, dtype="float32")[rng.integers(0, 3, (size, 5))]
    return y, rng.random((size, 5, 3)).astype("float32")


def channels_first(rng: np.random.Generator, size: int) -> Drawn:
    return rng.integers(0, 3, (size, 5)), rng.random((size, 3, 5)).astype("float32")


CASES: list[tuple[str, dict[str, Any], Draw]] = [
    ("MeanSquaredError", {}, numbers),
    ("RootMeanSquaredError", {}, numbers),
    ("RootMeanSquaredError", {}, one_number),
    ("MeanAbsoluteError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, positive),
    ("MeanSquaredLogarithmicError", {}, positive),
    ("LogCoshError", {}, numbers),
    ("CosineSimilarity", {}, numbers),
    ("CosineSimilarity", {"axis": 1}, steps),
    ("R2Score", {}, one_number),
    ("R2Score", {}, numbers),
    ("R2Score", {"class_aggregation": None}, numbers),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, numbers),
    ("R2Score", {"num_regressors": 2}, one_number),
    ("PearsonCorrelation", {}, numbers),
    ("ConcordanceCorrelation", {}, numbers),
    ("ConcordanceCorrelation", {"axis": 1}, steps),
    ("Hinge", {}, signs),
    ("Hinge", {}, several_bits),
    ("SquaredHinge", {}, signs),
    ("CategoricalHinge", {}, one_hot),
    ("KLDivergence", {}, shares),
    ("Poisson", {}, positive),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, several_bits),
    ("BinaryCrossentropy", {"from_logits": True}, several_bits_and_logits),
    ("CategoricalCrossentropy", {}, one_hot),
    ("SparseCategoricalCrossentropy", {}, classes),
    ("Accuracy", {}, pixels),
    ("BinaryAccuracy", {"threshold": 0.3}, several_bits),
    ("CategoricalAccuracy", {}, one_hot),
    ("SparseCategoricalAccuracy", {}, classes),
    ("TopKCategoricalAccuracy", {"k": 2}, one_hot),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, classes),
    ("SparseTopKCategoricalAccuracy", {"k": 2, "from_sorted_ids": True}, sorted_ids),
    *[
        (f"{truth}{sign}", options, draw)
        for (truth, sign), (options, draw) in itertools.product(
            itertools.product(("True", "False"), ("Positives", "Negatives")),
            [
                ({}, bits),
                ({"thresholds": [0.8, 0.3]}, several_bits),
                ({"thresholds": [0.0, 0.5, 1.0]}, round_scores),
            ],
        )
    ],
    *[
        (name, options, draw)
        for name, (options, draw) in itertools.product(
            ("Precision", "Recall"),
            [
                ({}, bits),
                ({}, one_hot),
                ({"thresholds": [0.7, 0.1, 0.3]}, round_scores),
                ({"thresholds": 0.25, "class_id": 2}, several_bits),
                ({"top_k": 2}, several_bits),
                ({"top_k": 2, "class_id": -1}, several_bits),
                ({"top_k": 3, "thresholds": 0.4}, several_bits),
            ],
        )
    ],
    *[
        (name, {argument: least, **options}, draw)
        for (name, argument), least, (options, draw) in itertools.product(
            [
                ("SensitivityAtSpecificity", "specificity"),
                ("SpecificityAtSensitivity", "sensitivity"),
                ("PrecisionAtRecall", "recall"),
                ("RecallAtPrecision", "precision"),
            ],
            (0.3, 0.62),
            [
                ({}, bits),
                ({"num_thresholds": 1}, bits),
                ({"num_thresholds": 2}, several_bits),
                ({"num_thresholds": 11, "class_id": 1}, several_bits),
            ],
        )
    ],
    *[
        ("AUC", {"curve": curve, "summation_method": method, **options}, draw)
        for curve, method, (options, draw) in itertools.product(
            ("ROC", "PR", "PRGAIN"),
            ("interpolation", "minoring", "majoring"),
            [
                ({}, bits),
                ({"thresholds": [0.3, 0.55, 0.7]}, several_bits),
                ({"multi_label": True, "num_labels": 4}, several_bits),
                (
                    {"multi_label": True, "label_weights": [1.0, 0.5, 2.0, 0.0]},
                    several_bits,
                ),
            ],
        )
    ],
    ("AUC", {"label_weights": [1.0, 0.5, 2.0, 0.0]}, several_bits),
    ("AUC", {"from_logits": True, "num_thresholds": 50}, several_bits_and_logits),
    ("AUC", {"num_thresholds": 11}, round_scores),
    *[
        ("F1Score", {"average": average, "threshold": threshold}, draw)
        for average, (threshold, draw) in itertools.product(
            (None, "micro", "macro", "weighted"), [(None, one_hot), (0.4, several_bits)]
        )
    ],
    ("FBetaScore", {"beta": 2.0}, one_hot),
    ("FBetaScore", {"beta": 0.5, "average": "micro", "threshold": 0.7}, several_bits),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 2]}, pixels),
    ("IoU", {"num_classes": 4, "target_class_ids": [3, 1]}, pixels),
    ("IoU", {"num_classes": 3, "target_class_ids": [0, 1], "ignore_class": 255}, odd_pixels),
    (
        "IoU",
        {
            "num_classes": 3, "target_class_ids": [0], "sparse_y_true": False,
            "sparse_y_pred": False,
        },
        one_hot_pixels,
    ),
    ("BinaryIoU", {}, binary_pixels),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}, binary_pixels),
    ("MeanIoU", {"num_classes": 3}, pixels),
    ("MeanIoU", {"num_classes": 3, "ignore_class": 1}, odd_pixels),
    ("OneHotIoU", {"num_classes": 3, "target_class_ids": (0, 2)}, one_hot_pixels),
    ("OneHotMeanIoU", {"num_classes": 3}, one_hot_pixels),
]  # fmt: skip


def weights_for(kind: str, y: Array, rng: np.random.Generator) -> Array:
    """Return weights as Keras takes them, which this library does too."""
    if "IoU" in kind:  # Keras has one for each place, and rounds them
        return rng.integers(0, 4, y.shape[:2])
    return rng.uniform(0, 3, len(y)).astype("float32")


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("name", "options", "draw"), CASES, ids=lambda x: getattr(x, "__name__", str(x))
)
def test_five_batches(name: str, options: dict[str, Any], draw: Draw, weighted: bool) -> None:
    ours, theirs = (getattr(library, name)(**options) for library in (metrics, keras.metrics))
    rng = np.random.default_rng(len(name))
    for sizes in (SIZES, SIZES[:2]):
        for size in sizes:
            y, p = draw(rng, size)
            weights = weights_for(name, y, rng) if weighted else None
            ours.update_state(y, p, weights)
            theirs.update_state(y, p, weights)
            expected = np.asarray(keras.ops.convert_to_numpy(theirs.result()))
            found = ours.result()
            assert np.shape(found) == expected.shape
            np.testing.assert_allclose(found, expected, **CLOSE, equal_nan=True)
        ours.reset_state()
        theirs.reset_state()


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", ["Mean", "Sum"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 4)], ids=str)
def test_means_and_sums_of_values(name: str, shape: tuple[int, ...], weighted: bool) -> None:
    ours, theirs = (getattr(library, name)() for library in (metrics, keras.metrics))
    rng = np.random.default_rng(1)
    for _ in range(2):
        for size in SIZES:
            values = rng.standard_normal((size, *shape)).astype("float32")
            weights = rng.random(size).astype("float32") if weighted else None
            ours.update_state(values, weights)
            theirs.update_state(values, weights)
            assert ours.result() == pytest.approx(float(theirs.result()), rel=2e-5, abs=2e-5)
        ours.reset_state()
        theirs.reset_state()
    assert ours.result() == float(theirs.result()) == 0


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("function", ["huber", "binary_focal_crossentropy"])
def test_functions_as_metrics(function: str, weighted: bool) -> None:
    ours = metrics.MeanMetricWrapper(getattr(losses, function))
    theirs = keras.metrics.MeanMetricWrapper(getattr(keras.losses, function))
    rng = np.random.default_rng(2)
    for size in SIZES:
        y, p = several_bits(rng, size)
        weights = rng.random(size).astype("float32") if weighted else None
        ours.update_state(y.astype("float32"), p, weights)
        theirs.update_state(y.astype("float32"), p, weights)
        np.testing.assert_allclose(ours.result(), float(theirs.result()), **CLOSE)


def test_classes_on_the_first_axis() -> None:
    """Keras takes the sum of scores of classes over the same axis, which it does not have."""
    rng = np.random.default_rng(3)
    y, p = channels_first(rng, 6)
    options = {"num_classes": 3, "sparse_y_pred": False}
    ours = metrics.MeanIoU(**options, axis=1)(y, p)
    theirs = keras.metrics.MeanIoU(**options)
    theirs.update_state(y, p.transpose(0, 2, 1))
    assert ours == pytest.approx(float(theirs.result()), rel=1e-5)


def test_an_ignored_class_of_a_crossentropy() -> None:
    """Keras leaves it out of the mean only where weights are given."""
    rng = np.random.default_rng(4)
    y, p = classes(rng, 8)
    options = {"ignore_class": 1}
    theirs = keras.metrics.SparseCategoricalCrossentropy(**options)
    theirs.update_state(y, p, np.ones(8, "float32"))
    for weights in (None, np.ones(8), np.full((8, 1), 2.0)):
        ours = metrics.SparseCategoricalCrossentropy(**options)(y, p, weights)
        assert ours == pytest.approx(float(theirs.result()), rel=1e-5)
    assert metrics.SparseCategoricalCrossentropy(**options)(y[:, None], p) == ours


REQUIRED = {
    "IoU": (2, [0]), "MeanIoU": (2,), "OneHotIoU": (2, [0]), "OneHotMeanIoU": (2,),
    "SensitivityAtSpecificity": (0.5,), "SpecificityAtSensitivity": (0.5,),
    "PrecisionAtRecall": (0.5,), "RecallAtPrecision": (0.5,),
}  # fmt: skip
CLASSES = [
    name
    for name, item in vars(keras.metrics).items()
    if inspect.isclass(item) and name not in ("Metric", "MeanMetricWrapper")
]


@pytest.mark.parametrize("name", CLASSES)
def test_names(name: str) -> None:
    keras.utils.clear_session()
    given = REQUIRED.get(name, ())
    ours, theirs = (getattr(library, name)(*given) for library in (metrics, keras.metrics))
    assert ours.name == theirs.name
    assert any(name == case[0] for case in CASES) or name in ("Mean", "Sum")


def test_identifiers() -> None:
    from keras.src.metrics import ALL_OBJECTS_DICT

    for name, kind in ALL_OBJECTS_DICT.items():
        if kind.__name__ not in ("Metric", "MeanMetricWrapper", *REQUIRED):
            expected = "AutoAccuracy" if name.lower() == "accuracy" else kind.__name__
            assert type(metrics.get(name)).__name__ == expected


FUNCTIONS = [
    name
    for name, item in vars(keras.metrics).items()
    if inspect.isfunction(item) and name not in ("deserialize", "get", "serialize")
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_keras_arguments(name: str) -> None:
    ours, theirs = (
        list(inspect.signature(getattr(library, name)).parameters.values())
        for library in (metrics, keras.metrics)
    )
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]
