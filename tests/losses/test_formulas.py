"""Losses that are formulas: gradients by differences, edges, what is refused, measured values."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

from gpunet import check_gradients, functions, layers, losses
from gpunet.autograd import Tensor
from gpunet.models import Sequential

RNG = np.random.default_rng(0)
SHAPES = [(5, 4), (3, 2, 4)]


def drawn(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(len(shape))
    labels = rng.integers(0, shape[-1], shape[:-1])
    embeddings = rng.normal(size=shape)
    return {
        "numbers": rng.normal(size=shape),
        "positive": rng.uniform(0.2, 3, shape),
        "shares": rng.dirichlet(np.ones(shape[-1]), shape[:-1]),
        "labels": labels,
        "one-hot": np.eye(shape[-1])[labels],
        "bits": rng.integers(0, 2, shape).astype(float),
        "of two": np.arange(len(labels)) % 2,
        "embeddings": embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True),
        "logits": rng.normal(size=shape) / 2,
        "within": rng.uniform(0.1, 0.9, shape),
    }


# loss, options, what the targets are, what the predictions are
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("MeanAbsolutePercentageError", {}, "positive", "numbers"),
    ("MeanSquaredLogarithmicError", {}, "positive", "within"),
    ("Huber", {"delta": 0.7}, "numbers", "logits"),
    ("LogCosh", {}, "numbers", "logits"),
    ("CosineSimilarity", {}, "numbers", "logits"),
    ("CosineSimilarity", {"axis": 0}, "numbers", "logits"),
    ("Hinge", {}, "bits", "logits"),
    ("SquaredHinge", {}, "bits", "logits"),
    ("CategoricalHinge", {}, "one-hot", "logits"),
    ("KLDivergence", {}, "shares", "within"),
    ("Poisson", {}, "positive", "within"),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True}, "bits", "within"),
    ("BinaryFocalCrossentropy", {"from_logits": True, "gamma": 1.5}, "bits", "logits"),
    ("CategoricalFocalCrossentropy", {"label_smoothing": 0.1}, "one-hot", "shares"),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "alpha": 1.0}, "one-hot", "logits"),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.7}, "labels", "shares"),
    ("Dice", {}, "bits", "within"),
    ("Dice", {"axis": -1}, "bits", "within"),
    ("Tversky", {"alpha": 0.3, "beta": 0.6}, "bits", "within"),
    ("Circle", {"gamma": 5.0}, "of two", "embeddings"),
]
every_case = pytest.mark.parametrize(
    ("name", "options", "targets", "predictions"), CASES, ids=lambda item: str(item)
)


@every_case
def test_gradients(name: str, options: Any, targets: str, predictions: str) -> None:
    for shape in SHAPES[:1] if name == "Circle" else SHAPES:
        given = drawn(shape)
        for reduction in ("sum_over_batch_size", None):
            loss = getattr(losses, name)(**options, reduction=reduction)
            check_gradients(lambda x, loss=loss, y=given[targets]: loss(y, x), given[predictions])


@every_case
def test_configurations_and_copies(name: str, options: Any, targets: str, predictions: str) -> None:
    loss = getattr(losses, name)(**options, reduction="sum", dtype="float64")
    given = drawn(SHAPES[0])
    expected = loss(given[targets], given[predictions]).item()
    written = json.loads(json.dumps(losses.serialize(loss)))
    for again in (
        losses.deserialize(written),
        copy.deepcopy(loss),
        pickle.loads(pickle.dumps(loss)),
    ):
        assert again.get_config() == loss.get_config()
        assert again(given[targets], given[predictions]).item() == expected


@every_case
def test_functions_take_lists_and_shapes_never_broadcast(
    name: str, options: Any, targets: str, predictions: str
) -> None:
    loss = getattr(losses, name)(**options)
    given = drawn(SHAPES[0])
    y, p = given[targets], given[predictions]
    assert loss(y.tolist(), p.tolist()).item() == pytest.approx(loss(y, p).item())
    with pytest.raises(ValueError, match="expect"):
        loss(y[:1], p)
    with pytest.raises(ValueError, match="expect"):
        loss.check_targets(np.full_like(y, np.nan, dtype=float), (None, *p.shape[1:]))
    loss.check_targets(y, (None, *p.shape[1:]))
    if targets != "one-hot":  # its examples are all 0
        loss.check_targets(loss.example_targets(p), (None, *p.shape[1:]))


# Masks and weights: values of Keras 3.15 that were measured


def test_one_weight_a_sample() -> None:
    y, p, w = np.zeros((4, 1)), np.array([[1.0], [2.0], [3.0], [4.0]]) ** 0.5, [0, 0, 1, 1]
    assert losses.MeanSquaredError()(y, p, w).item() == pytest.approx(1.75)
    mean = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    assert mean(y, p, w).item() == pytest.approx(3.5)


def test_one_weight_a_sample_of_steps() -> None:
    """As `fit` of Keras documents it; Keras lets the weights go along the steps."""
    y, p, w = np.zeros((3, 3, 1)), np.full((3, 3, 1), 2.0), [1.0, 0.0, 0.0]
    assert losses.MeanSquaredError()(y, p, w).item() == pytest.approx(4 / 3)
    assert losses.MeanSquaredError(reduction="sum")(y, p, w).item() == pytest.approx(12)


def test_a_mean_is_over_the_steps_that_count() -> None:
    errors = np.array([[1.0, 2.0, 5.0], [3.0, 5.0, 5.0]])
    mask = np.array([[True, True, False], [True, False, False]])
    p = Tensor(errors[..., None] ** 0.5)
    p.mask = mask
    y = np.zeros((2, 3, 1))
    assert losses.MeanSquaredError()(y, p).item() == pytest.approx(2.0)
    assert losses.MeanSquaredError(reduction="sum")(y, p).item() == pytest.approx(6.0)


# Edges


def test_certain_predictions_have_finite_gradients() -> None:
    one_hot, certain = np.eye(2), np.array([[0.0, 1.0], [1.0, 0.0]])
    for loss, y in (
        (losses.BinaryFocalCrossentropy(gamma=0.5), one_hot),
        (losses.CategoricalGeneralizedCrossEntropy(0.5), np.array([0, 1])),
        (losses.Dice(), one_hot),
        (losses.Tversky(), np.zeros((2, 2))),
        (losses.KLDivergence(), one_hot),
        (losses.Poisson(), one_hot),
        (losses.CosineSimilarity(), np.zeros((2, 2))),
        (losses.MeanAbsolutePercentageError(), np.zeros((2, 2))),
    ):
        for values in (certain, 1 - certain, np.zeros((2, 2))):
            p = Tensor(values.astype("float32"), requires_grad=True)
            found = loss(y, p)
            found.backward()
            assert np.isfinite(found.item()), loss
            assert np.isfinite(p.grad).all(), loss
    p = Tensor(certain, requires_grad=True)
    losses.CategoricalFocalCrossentropy(gamma=0.5)(one_hot, p).backward()
    assert np.isfinite(p.grad).all()
    found = losses.categorical_generalized_cross_entropy([0], [[0.0, 1.0]], 0.5)
    assert found.item() == 2.0


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_focal_losses_compute_from_logits(activation: str) -> None:
    z, y = np.array([[30.0, -30.0]], np.float32), np.array([[0.0, 1.0]])
    x = Tensor(z, requires_grad=True)
    loss = {
        "sigmoid": losses.BinaryFocalCrossentropy(),
        "softmax": losses.CategoricalFocalCrossentropy(alpha=1.0),
    }[activation]
    found = loss(y, getattr(functions, activation)(x))
    assert found.item() == pytest.approx(30 if activation == "sigmoid" else 60, rel=1e-5)
    found.backward()
    assert np.isfinite(x.grad).all()
    assert (x.grad != 0).any()


def test_a_circle_without_pairs() -> None:
    x = Tensor(np.eye(3), requires_grad=True)
    for y in ([0, 0, 0], [0, 1, 2]):
        found = losses.Circle()(y, x)
        assert found.item() == 0
        found.backward()
        assert np.isfinite(x.grad).all()


# Connectionist temporal classification


def test_ctc_adds_up_all_alignments() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(size=(1, 4, 3))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    for labels in ([1, 2], [1, 1], [2, 0], [0, 0]):
        total = 0.0
        for path in np.ndindex(3, 3, 3, 3):
            merged = [c for i, c in enumerate(path) if c and (i == 0 or path[i - 1] != c)]
            if merged == [c for c in labels if c]:
                total += np.prod([p[0, t, c] for t, c in enumerate(path)])
        assert losses.ctc([labels], z).item() == pytest.approx(-np.log(total), rel=1e-12)


def test_gradients_of_ctc() -> None:
    rng = np.random.default_rng(4)
    y = np.array([[1, 1, 0], [2, 3, 1], [0, 0, 0], [3, 0, 0]])
    check_gradients(lambda x: losses.ctc(y, x), rng.normal(size=(4, 6, 4)))
    check_gradients(lambda x: losses.CTC()(y, x, [1, 2, 0, 1]), rng.normal(size=(4, 6, 4)))


def test_padding_changes_no_ctc() -> None:
    rng = np.random.default_rng(5)
    y, z = np.array([[1, 1], [2, 0]]), rng.normal(size=(2, 6, 3))
    expected = [losses.ctc(y[:1], z[:1, :4]).item(), losses.ctc(y[1:], z[1:, 2:]).item()]
    mask = np.array([[True] * 4 + [False] * 2, [False] * 2 + [True] * 4])

    def padded(x: Tensor) -> Tensor:
        x.mask = mask
        return losses.CTC(reduction=None, dtype="float64")(y, x, [1.0, 2.0])

    found = padded(Tensor(z)).numpy()
    np.testing.assert_allclose(found, np.array(expected) * [1, 2], rtol=1e-12)
    check_gradients(padded, z)
    x = np.where(mask[..., None], z, 0).astype("float32")
    model = Sequential([layers.Input((6, 3)), layers.Masking(), layers.Dense(3)])
    model.compile("sgd", "ctc")
    before = model.evaluate(x, y, verbose=0)
    assert before == pytest.approx(
        losses.ctc(y, padded_predictions(model, x, mask)).numpy().mean(), rel=1e-5
    )
    assert model.fit(x, y, epochs=3, verbose=0).history["loss"][-1] < before


def padded_predictions(model: Sequential, x: np.ndarray, mask: np.ndarray) -> Tensor:
    predictions = Tensor(model.predict(x, verbose=0))
    predictions.mask = mask
    return predictions


def test_labels_that_do_not_fit_into_the_steps() -> None:
    y, x = np.array([[1, 1], [1, 2]]), Tensor(np.zeros((2, 2, 3)), requires_grad=True)
    found = losses.ctc(y, x)
    assert np.isinf(found.numpy()).tolist() == [True, False]
    found.sum().backward()
    assert np.isfinite(x.grad).all()
    assert (x.grad[0] == 0).all()
    with pytest.raises(ValueError, match=r"needs 3 steps to read the labels y\[0\]"):
        losses.CTC().check_targets(y, (None, 2, 3))
    losses.CTC().check_targets(y, (None, 3, 3))


@pytest.mark.parametrize(
    ("y", "shape", "message"),
    [
        ([[1, 3]], (None, 5, 3), r"labels in \[0, 3\) in y, received 3"),
        ([[0, 1]], (None, 5, 3), "zeros at the end of rows only"),
        ([1, 2], (None, 5, 3), r"shape \(samples, length\), received shape \(2,\)"),
        ([[1.5]], (None, 5, 3), "whole numbers in y"),
        ([[1]], (None, 3), "predictions of shape"),
    ],
)
def test_targets_that_are_no_sequences(y: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses.CTC().check_targets(np.array(y), shape)
    with pytest.raises(ValueError, match="ctc expects y_true of shape"):
        losses.ctc([1, 2], np.zeros((2, 4)))


def test_a_model_learns_by_ctc() -> None:
    x = np.repeat(np.eye(3, dtype="float32")[[[1, 2], [2, 1]]], 3, axis=1)
    y = np.array([[1, 2], [2, 1]])
    model = Sequential([layers.Input((6, 3)), layers.Dense(3)])
    model.compile("adam", "ctc")
    model.optimizer.learning_rate = 0.1
    history = model.fit(x, y, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.3 * history[0]


# Refused


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: losses.Huber(delta=-1), ValueError, "Huber expects delta at least 0"),
        (lambda: losses.Huber(delta="1"), TypeError, "a number for delta"),
        (lambda: losses.CosineSimilarity(axis=(0, 1)), TypeError, "an integer for axis"),
        (lambda: losses.Dice(axis="all"), TypeError, "an integer for axis"),
        (lambda: losses.Tversky(alpha=-1), ValueError, "alpha at least 0"),
        (lambda: losses.BinaryFocalCrossentropy(alpha=2), ValueError, "alpha from 0 to 1"),
        (lambda: losses.CategoricalFocalCrossentropy(alpha=[1, -1]), ValueError, "alpha at least"),
        (lambda: losses.CategoricalFocalCrossentropy(gamma=-1), ValueError, "gamma at least 0"),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1), ValueError, "q between 0 and 1"),
        (lambda: losses.Circle(gama=1), TypeError, "did you mean 'gamma'"),
        (lambda: losses.get("hubr"), ValueError, "did you mean 'huber'"),
        (lambda: losses.Dice(reduction="avg"), ValueError, "reduction must be one of"),
    ],
)
def test_options_that_cannot_be(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_one_alpha_for_each_class() -> None:
    loss = losses.CategoricalFocalCrossentropy(alpha=[0.5, 0.5])
    with pytest.raises(ValueError, match="for each of 3 classes, received 2"):
        loss(np.eye(3), np.full((3, 3), 1 / 3))


def test_losses_of_a_batch_take_no_weights() -> None:
    y, p = np.ones((2, 3)), np.full((2, 3), 0.5)
    for loss in (losses.Dice(), losses.Tversky(axis=0), losses.CosineSimilarity(axis=0)):
        assert not loss.averages_samples
        with pytest.raises(ValueError, match=r"one of the whole batch.*takes no sample_weight"):
            loss(y, p, [1.0, 2.0])
    assert losses.Dice(axis=-1).averages_samples
    assert losses.Dice(axis=-1)(y, p, [1.0, 2.0]).item() == pytest.approx(0.5)


def test_no_batches_are_joined_for_a_loss_of_a_batch() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((12, 3)).astype("float32"), rng.integers(0, 2, (12, 2)).astype("float32")
    model = Sequential([layers.Input((3,)), layers.Dense(2, activation="sigmoid")])
    for metric in (losses.dice, losses.Dice()):
        model.compile("sgd", "dice", [metric])
        found = model.evaluate(x, y, batch_size=3, verbose=0)
        p = model.predict(x, verbose=0)
        of_batches = [losses.dice(y[i : i + 3], p[i : i + 3]).item() for i in range(0, 12, 3)]
        np.testing.assert_allclose(found, np.mean(of_batches), rtol=1e-5)
