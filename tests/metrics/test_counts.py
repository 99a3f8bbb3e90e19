"""Metrics of counts: on a device without reading back, in models, weights, what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import backend, layers, losses, metrics, optimizers, primitives
from gpunet.metrics.sums import binned_sums
from gpunet.models import Sequential
from tests.metrics.test_options import LABELS, NAMES, ONE_HOT, PROBABILITIES, WEIGHTS, make
from tests.support.cuda_on_cpu.cpu_executor import compiler
from tests.support.fake_cupy.module import Gpu, install

needs_compiler = pytest.mark.skipif(
    compiler() is None, reason="needs g++ to run kernels on the CPU"
)
READS = {"sparse_categorical_crossentropy"}  # looks for labels that are no class


@pytest.fixture
def gpu() -> Iterator[Any]:
    device = Gpu()
    with install(device) as cupy, primitives.use_twins(primitives.reference):
        device.cupy = cupy  # type: ignore[attr-defined]
        yield device


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_sums_stay_on_the_device(name: str, gpu: Any) -> None:
    y = LABELS if "sparse" in name else ONE_HOT
    expected, metric = make(name), make(name)
    on_gpu = [gpu.cupy.asarray(array) for array in (y, PROBABILITIES, WEIGHTS)]
    reads = gpu.reads
    for weighted in (False, True):
        metric.update_state(*on_gpu[: 2 + weighted])
        expected.update_state(y, PROBABILITIES, WEIGHTS if weighted else None)
    assert gpu.reads == reads or name in READS
    # float32 on both sides; some have other twins of softmax or logarithms
    np.testing.assert_allclose(metric.result(), expected.result(), rtol=1e-5, atol=1e-7)
    assert isinstance(metric.result(), float | np.ndarray)
    metric.update_state(y, PROBABILITIES)  # NumPy's arrays after those of the device
    expected.update_state(y, PROBABILITIES)
    np.testing.assert_allclose(metric.result(), expected.result(), rtol=1e-5, atol=1e-7)


@needs_compiler
@pytest.mark.parametrize(
    "metric",
    [
        metrics.AUC(multi_label=True, label_weights=[1, 0, 2, 1]),
        metrics.AUC(label_weights=[1, 0, 2, 1]),
        metrics.Precision(top_k=2, class_id=1, thresholds=[0.5, 0.1]),
        metrics.F1Score("micro", 0.3),
    ],
    ids=lambda metric: type(metric).__name__,
)
def test_options_on_the_device(metric: Any, gpu: Any) -> None:
    expected = type(metric).from_config(metric.get_config())
    expected.update_state(ONE_HOT, PROBABILITIES, WEIGHTS)
    arrays = [gpu.cupy.asarray(array) for array in (ONE_HOT, PROBABILITIES, WEIGHTS)]
    reads = gpu.reads
    metric.update_state(*arrays)
    assert gpu.reads == reads
    np.testing.assert_allclose(metric.result(), expected.result(), rtol=1e-6)


@needs_compiler
def test_bins_of_many_elements(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpunet.metrics.sums._MOST_AT_ONCE", 50)
    rng = np.random.default_rng(0)
    index, weights = rng.integers(0, 7, 100), rng.random(100)
    for given in (None, weights):
        on_gpu = None if given is None else gpu.cupy.asarray(given)
        found = binned_sums(gpu.cupy.asarray(index), on_gpu, 7).get()
        np.testing.assert_allclose(found, binned_sums(index, given, 7), rtol=1e-14)


@needs_compiler
def test_steps_are_captured(gpu: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.integers(0, 2, (8, 4))
    chosen = ["AUC", metrics.Precision(top_k=2), metrics.F1Score("macro", 0.5)]
    kernel = rng.normal(size=(3, 4))

    def history(capture: Any) -> dict[str, list[float]]:
        model = Sequential([layers.Input((3,)), layers.Dense(4, activation="sigmoid")])
        model.set_weights([kernel, np.zeros(4)])
        model.compile(
            optimizers.SGD(0.1), losses.BinaryFocalCrossentropy(), chosen,
            weighted_metrics=["Recall"], capture=capture,
        )  # fmt: skip
        weights = np.linspace(0, 1, 8, dtype="float32")
        return model.fit(x, y, 4, 3, 0, sample_weight=weights, shuffle=False).history

    with backend.use_backend("numpy"):
        expected = history("auto")
    with backend.use_backend("cupy"):
        found = history(True)
    assert list(found) == ["loss", "AUC", "precision", "f1_score", "Recall"]
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-5)


def test_a_model_is_fitted_with_them() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 3)).astype("float32"), rng.integers(0, 2, (40, 1))
    model = Sequential([layers.Input((3,)), layers.Dense(1, activation="sigmoid")])
    chosen = [
        "Precision", metrics.Recall(thresholds=[0.3, 0.5]), metrics.F1Score(threshold=0.5),
        metrics.BinaryIoU(), "TruePositives", "R2Score", metrics.PrecisionAtRecall(0.5),
    ]  # fmt: skip
    model.compile("adam", "huber", chosen, weighted_metrics=["FalseNegatives"])
    weights = rng.random(40).astype("float32")
    history = model.fit(x, y, 7, 2, 0, sample_weight=weights).history
    logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    p = model.predict(x, verbose=0)
    assert set(logs) == set(history)
    assert logs["Precision"] == pytest.approx(metrics.Precision()(y, p))
    np.testing.assert_allclose(logs["recall"], metrics.Recall([0.3, 0.5])(y, p))
    missed = metrics.FalseNegatives()(y, p, weights)
    assert logs["FalseNegatives"] == pytest.approx(missed, rel=1e-5)
    # As in Keras, an average of None is an array, of one class here
    assert float(logs["f1_score"]) == pytest.approx(metrics.F1Score("micro", 0.5)(y, p), rel=1e-5)


def test_weights_in_fit_and_evaluate() -> None:
    """The values of Keras 3.15, measured."""
    x = np.sqrt(np.array([[1.0], [2.0], [3.0], [4.0]], "float32"))
    y, weights = np.zeros((4, 1), "float32"), np.array([0, 0, 1, 1], "float32")
    for reduction, expected in (("sum_over_batch_size", 1.75), ("mean_with_sample_weight", 3.5)):
        model = Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
        loss = losses.MeanSquaredError(reduction=reduction)
        model.compile(optimizers.SGD(0.0), loss, ["mse"], weighted_metrics=["mse"])
        model.set_weights([np.ones((1, 1))])
        history = model.fit(x, y, sample_weight=weights, verbose=0).history
        logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
        for found in (logs, {key: values[0] for key, values in history.items()}):
            assert list(found) == ["loss", "mse", "weighted_mse"]
            np.testing.assert_allclose(list(found.values()), [expected, 2.5, 3.5], rtol=1e-6)


def test_before_the_first_batch() -> None:
    for name in NAMES:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = make(name).result()
        assert np.all(np.isnan(found) | (found == 0)), name


def test_weights_of_samples_and_of_places() -> None:
    y, p = np.array([[0, 1], [1, 1]]), np.array([[0, 0], [1, 1]])
    of_samples = metrics.MeanIoU(2)(y, p, [0.5, 2.0])
    of_places = metrics.MeanIoU(2)(y, p, [[0.5, 0.5], [2.0, 2.0]])
    assert of_samples == of_places == pytest.approx((0.5 / 1 + 4 / 4.5) / 2, rel=1e-6)
    whole = metrics.MeanIoU(2, dtype="int")(y, p, np.array([1, 4]))
    assert whole == pytest.approx(of_samples, rel=1e-6)
    assert metrics.TruePositives()(y, p, [0.5, 2.0]) == 4.0


def test_scores_on_a_threshold_are_not_above_it() -> None:
    p = np.array([0.3, 0.3, 0.7], np.float32)
    assert metrics.TruePositives(0.3)([1, 1, 1], p) == 1.0
    assert metrics.BinaryIoU([1], 0.3)([1, 1, 1], p.astype("float64")) == pytest.approx(1.0)


def test_unsorted_thresholds_keep_their_order() -> None:
    found = metrics.FalsePositives([0.9, 0.1, 0.5])([0, 0, 0], [0.2, 0.6, 0.95])
    assert found.tolist() == [1.0, 3.0, 2.0]


def test_an_adjusted_score_of_too_few_samples_warns() -> None:
    metric = metrics.R2Score(num_regressors=2)
    metric.update_state([[1.0], [2.0], [4.0]], [[1.0], [2.0], [3.0]])
    plain = metrics.R2Score()([[1.0], [2.0], [4.0]], [[1.0], [2.0], [3.0]])
    with pytest.warns(UserWarning, match="more than 3 targets, and there are 3"):
        assert metric.result() == plain


REFUSED: list[tuple[Any, type[Exception], str]] = [
    (lambda: metrics.Precision(1.5), ValueError, "thresholds must be from 0 to 1"),
    (lambda: metrics.Recall([]), ValueError, "thresholds must be from 0 to 1"),
    (lambda: metrics.TruePositives("half"), TypeError, "a number for thresholds"),
    (lambda: metrics.Precision(top_k=0), ValueError, "top_k must be a positive integer"),
    (lambda: metrics.Precision(class_id="a"), TypeError, "an integer for class_id"),
    (lambda: metrics.PrecisionAtRecall(1.5), ValueError, "recall from 0 to 1"),
    (lambda: metrics.RecallAtPrecision(0.5, 0), ValueError, "num_thresholds must be a positive"),
    (lambda: metrics.AUC(num_thresholds=1), ValueError, "at least 2"),
    (lambda: metrics.AUC(num_labels=3), ValueError, "needs multi_label=True"),
    (lambda: metrics.AUC(label_weights=[-1]), ValueError, "label_weights at least 0"),
    (lambda: metrics.AUC(curve="ROCK"), ValueError, "curve must be one of"),
    (lambda: metrics.FBetaScore(beta=0), ValueError, "beta above 0"),
    (lambda: metrics.F1Score(threshold=1.5), ValueError, "threshold above 0 and at most 1"),
    (lambda: metrics.F1Score("mean"), ValueError, "average must be one of"),
    (lambda: metrics.IoU(2, [2]), ValueError, r"target_class_ids in \[0, 2\)"),
    (lambda: metrics.IoU(2, []), ValueError, r"target_class_ids in \[0, 2\)"),
    (lambda: metrics.MeanIoU(0), ValueError, "num_classes must be a positive integer"),
    (lambda: metrics.R2Score("mean"), ValueError, "class_aggregation must be one of"),
    (lambda: metrics.R2Score(num_regressors=-1), ValueError, "num_regressors must be"),
    (lambda: metrics.get("Precison"), ValueError, "did you mean 'precision'"),
    (lambda: metrics.Recall(treshold=1), TypeError, "did you mean 'thresholds'"),
]


@pytest.mark.parametrize(("make_it", "error", "message"), REFUSED)
def test_options_that_cannot_be(make_it: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make_it()


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (metrics.Precision(class_id=4), "class_id=4, which is no class"),
        (metrics.Precision(top_k=5), "at least 5 classes"),
        (metrics.AUC(multi_label=True, num_labels=3), r"expects 3 labels.*shape \(6, 4\)"),
        (metrics.AUC(label_weights=[1, 2]), "expects 2 labels"),
        (metrics.MeanIoU(4, sparse_y_true=False), "as many labels as predictions"),
    ],
    ids=str,
)
def test_batches_that_do_not_fit(metric: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric.update_state(ONE_HOT, PROBABILITIES)


@pytest.mark.parametrize("name", [n for n in NAMES if "sparse" not in n])
def test_shapes_and_weights_that_do_not_fit(name: str) -> None:
    for y, p, w in (
        (ONE_HOT[:5], PROBABILITIES, None),
        (ONE_HOT, PROBABILITIES, np.ones(5)),
        (ONE_HOT, PROBABILITIES, np.ones((6, 3))),
    ):
        with pytest.raises(ValueError, match="expects"):
            make(name).update_state(y, p, w)


def test_scores_need_rows() -> None:
    for metric in (metrics.F1Score(), metrics.R2Score()):
        with pytest.raises(ValueError, match="reshape them to rows"):
            metric.update_state([1.0, 0.0], [1.0, 0.0])
    with pytest.raises(ValueError, match=r"shape \(batch, labels\), received shape \(2,\)"):
        metrics.AUC(multi_label=True).update_state([1.0, 0.0], [1.0, 0.0])
