"""Losses beside Keras': values and gradients with weights, masks and each reduction."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import losses
from gpunet.autograd import Tensor

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
if keras.backend.backend() != "torch":
    pytest.skip("gradients are compared by PyTorch: KERAS_BACKEND=torch", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras and PyTorch, about themselves

Array = np.ndarray[Any, np.dtype[Any]]

# float32 on both sides: some tens of terms, each rounded by 6e-8 of values up to 10; relative to
# 100 for percentages, which rtol covers.
CLOSE = {"rtol": 1e-5, "atol": 5e-6}
REDUCTIONS = ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None]
FLAT, STEPS = (6, 4), (6, 3, 4)

Drawn = tuple[Array, Array]


def rng(shape: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng(sum(shape))


def numbers(shape: tuple[int, ...]) -> Drawn:
    draw = rng(shape).standard_normal
    return draw(shape).astype("float32"), draw(shape).astype("float32")


def positive(shape: tuple[int, ...]) -> Drawn:
    draw = rng(shape).uniform
    return draw(0, 3, shape).astype("float32"), draw(0.1, 3, shape).astype("float32")


def shares(shape: tuple[int, ...]) -> Drawn:
    draw = rng(shape).dirichlet
    ones = np.ones(shape[-1])
    return draw(ones, shape[:-1]).astype("float32"), draw(ones, shape[:-1]).astype("float32")


def signs(shape: tuple[int, ...]) -> Drawn:
    return np.sign(numbers(shape)[0]), numbers(shape)[1]


def bits(shape: tuple[int, ...]) -> Drawn:
    y = rng(shape).integers(0, 2, shape).astype("float32")
    return y, rng(shape).uniform(0.02, 0.98, shape).astype("float32")


def bits_and_logits(shape: tuple[int, ...]) -> Drawn:
    return bits(shape)[0], numbers(shape)[1]


def labels(shape: tuple[int, ...]) -> Array:
    return rng(shape).integers(0, shape[-1], shape[:-1])


def one_hot(shape: tuple[int, ...]) -> Drawn:
    return np.eye(shape[-1], dtype="float32")[labels(shape)], shares(shape)[1]


def one_hot_and_logits(shape: tuple[int, ...]) -> Drawn:
    return one_hot(shape)[0], numbers(shape)[1]


def classes(shape: tuple[int, ...]) -> Drawn:
    return labels(shape), shares(shape)[1]


def embeddings(shape: tuple[int, ...]) -> Drawn:
    x = numbers(shape)[0]
    return np.array([0, 1, 2, 0, 1, 7]), x / np.linalg.norm(x, axis=-1, keepdims=True)


def sequences(shape: tuple[int, ...]) -> Drawn:
    y = np.array([[1, 1, 0], [2, 3, 1], [1, 0, 0], [0, 0, 0], [3, 2, 0], [2, 2, 2]])
    return y, 2 * numbers((6, 7, 4))[0]


Case = tuple[str, dict[str, Any], Callable[[tuple[int, ...]], Drawn]]
CASES: list[Case] = [
    ("MeanSquaredError", {}, numbers),
    ("MeanAbsoluteError", {}, numbers),
    ("MeanAbsolutePercentageError", {}, positive),
    ("MeanSquaredLogarithmicError", {}, positive),
    ("MeanSquaredLogarithmicError", {}, numbers),
    ("Huber", {}, numbers),
    ("Huber", {"delta": 0.3}, numbers),
    ("LogCosh", {}, numbers),
    ("CosineSimilarity", {}, numbers),
    ("Hinge", {}, signs),
    ("Hinge", {}, bits),
    ("Hinge", {}, numbers),
    ("SquaredHinge", {}, signs),
    ("SquaredHinge", {}, bits),
    ("CategoricalHinge", {}, one_hot),
    ("KLDivergence", {}, shares),
    ("KLDivergence", {}, one_hot),
    ("Poisson", {}, positive),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, bits),
    ("BinaryCrossentropy", {"from_logits": True}, bits_and_logits),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, one_hot),
    ("SparseCategoricalCrossentropy", {}, classes),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, classes),
    ("BinaryFocalCrossentropy", {}, bits),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 0.5}, bits),
    (
        "BinaryFocalCrossentropy",
        {"from_logits": True, "apply_class_balancing": True, "alpha": 0.7, "label_smoothing": 0.2},
        bits_and_logits,
    ),
    ("CategoricalFocalCrossentropy", {}, one_hot),
    ("CategoricalFocalCrossentropy", {"alpha": [0.1, 0.2, 0.3, 0.4], "gamma": 1.0}, one_hot),
    (
        "CategoricalFocalCrossentropy",
        {"from_logits": True, "label_smoothing": 0.2, "gamma": 0.0},
        one_hot_and_logits,
    ),
    ("CategoricalGeneralizedCrossEntropy", {}, classes),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.9}, classes),
    ("Dice", {}, bits),
    ("Dice", {"axis": -1}, bits),
    ("Tversky", {}, bits),
    ("Tversky", {"axis": -1}, bits),
    ("Circle", {}, embeddings),
    ("Circle", {"remove_diagonal": False, "gamma": 20.0, "margin": 0.25}, embeddings),
    ("CTC", {}, sequences),
]
OF_BATCHES = [case for case in CASES if case[0] in ("Dice", "Tversky") and not case[1]]
OF_SAMPLES = [case for case in CASES if case not in OF_BATCHES]
WITH_MASKS = [
    case
    for case in OF_SAMPLES
    if case[2] not in (embeddings, sequences) and "ignore_class" not in case[1]
]
every_loss = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
every_loss_of_samples = pytest.mark.parametrize(
    "case", OF_SAMPLES, ids=lambda case: f"{case[0]}-{case[1]}"
)


def shapes_of(case: Case) -> list[tuple[int, ...]]:
    return [FLAT] if case[2] in (embeddings, sequences) else [FLAT, STEPS]


def compare(
    case: Case, y_true: Array, y_pred: Array, weights: Any, reduction: Any, mask: Any = None
) -> None:
    """Compare values and gradients; Keras may return weighted losses as a column."""
    name, options, _ = case
    ours = getattr(losses, name)(**options, reduction=reduction)
    theirs = getattr(keras.losses, name)(**options, reduction=reduction)
    given, wanted = Tensor(y_pred, requires_grad=True), torch.tensor(y_pred, requires_grad=True)
    given.mask = mask
    if mask is not None:
        keras.src.backend.set_keras_mask(wanted, torch.tensor(mask))
    found = ours(y_true, given, weights)
    expected = theirs(y_true, wanted, sample_weight=weights)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found.numpy(), expected.detach().numpy().reshape(found.shape), **CLOSE
    )
    factors = np.random.default_rng(1).uniform(0.5, 1.5, found.shape).astype("float32")
    found.backward(factors)
    (expected.reshape(found.shape) * torch.tensor(factors)).sum().backward()
    np.testing.assert_allclose(given.grad, wanted.grad.numpy(), **CLOSE)


@every_loss
def test_values_and_gradients(case: Case) -> None:
    for shape, reduction in itertools.product(shapes_of(case), REDUCTIONS):
        compare(case, *case[2](shape), None, reduction)


@every_loss_of_samples
def test_weights(case: Case) -> None:
    weights = np.array([0.0, 1.0, 2.0, 0.5, 3.0, 1.0], np.float32)
    for shape, reduction in itertools.product(shapes_of(case), REDUCTIONS):
        y_true, y_pred = case[2](shape)
        if shape == FLAT:
            compare(case, y_true, y_pred, weights, reduction)
            compare(case, y_true, y_pred, weights[:, None], reduction)
        else:
            by_step = weights[:, None] * np.array([1.0, 0.0, 2.0], np.float32)
            compare(case, y_true, y_pred, by_step, reduction)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", WITH_MASKS, ids=lambda case: f"{case[0]}-{case[1]}")
def test_masks(case: Case, weighted: bool) -> None:
    y_true, y_pred = case[2](STEPS)
    mask = np.random.default_rng(2).random((6, 3)) < 0.6
    weights = np.random.default_rng(3).random((6, 3)).astype("float32") if weighted else None
    for reduction in REDUCTIONS:
        compare(case, y_true, y_pred, weights, reduction, mask)


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        *itertools.product(("Dice", "Tversky"), (0, 1, (1, 2), (0, 1), -2, [0, 1, 2])),
        *itertools.product(["CosineSimilarity"], (0, 1, -2)),
    ],
)
def test_other_axes(name: str, axis: Any) -> None:
    for reduction in ("sum_over_batch_size", "sum", None):
        compare((name, {"axis": axis}, bits), *bits(STEPS), None, reduction)


@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("name", ["BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"])
def test_classes_on_another_axis(name: str, from_logits: bool, axis: int) -> None:
    y_true, y_pred = (one_hot_and_logits if from_logits else one_hot)(STEPS)
    y_true, y_pred = (np.ascontiguousarray(y.transpose(0, 2, 1)) for y in (y_true, y_pred))
    options = {"from_logits": from_logits, "axis": axis}
    compare((name, options, one_hot), y_true, y_pred, None, None)


def test_alpha_of_tversky_weighs_false_positives() -> None:
    """As Keras documents it; its code has `alpha` and `beta` the other way round."""
    y_true, y_pred = bits(FLAT)
    ours = losses.Tversky(alpha=0.2, beta=0.9)(y_true, y_pred)
    theirs = keras.losses.Tversky(alpha=0.9, beta=0.2)(y_true, y_pred)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), **CLOSE)
    nothing_there = losses.Tversky(alpha=0.2, beta=0.0)([[1.0, 0.0]], [[1.0, 1.0]])
    assert nothing_there.item() == pytest.approx(1 - 1 / 1.2, rel=1e-6)


def test_references_of_the_circle_loss() -> None:
    y, x = embeddings(FLAT)
    _, references = embeddings((5, 4))
    labels_of = np.array([0, 1, 1, 2, 9])
    given = {"ref_labels": labels_of, "ref_embeddings": references, "remove_diagonal": False}
    ours = losses.circle(y, x, **given)
    np.testing.assert_allclose(ours.numpy(), keras.losses.circle(y, x, **given).numpy(), **CLOSE)


FUNCTIONS = [
    name
    for name, item in vars(keras.losses).items()
    if inspect.isfunction(item) and name not in ("deserialize", "get", "serialize")
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_keras_arguments(name: str) -> None:
    ours, theirs = (
        list(inspect.signature(getattr(library, name)).parameters.values())
        for library in (losses, keras.losses)
    )
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


def test_names_and_aliases() -> None:
    from keras.src.losses import ALL_OBJECTS_DICT

    for name in ALL_OBJECTS_DICT:
        if name not in ("Loss", "LossFunctionWrapper"):
            found, theirs = losses.get(name), keras.losses.get(name)
            kind = type(theirs).__name__ if isinstance(theirs, keras.Loss) else theirs.__name__
            assert type(found) is type(losses.get(kind)), name


@pytest.mark.parametrize("name", sorted({case[0] for case in CASES}))
def test_default_names(name: str) -> None:
    assert getattr(losses, name)().name == getattr(keras.losses, name)().name


FACTS: list[tuple[str, dict[str, Any], Any, Any, float]] = [  # of Keras 3.15, measured
    ("BinaryFocalCrossentropy", {}, [[1.0]], [[0.8]], 0.008926),
    ("CosineSimilarity", {}, [[1.0, 2.0]], [[2.0, 4.0]], -1.0),
    ("CosineSimilarity", {}, [[0.0, 0.0]], [[2.0, 4.0]], 0.0),
    ("KLDivergence", {}, [[1.0, 0.0]], [[0.5, 0.5]], 0.6931456),
    ("KLDivergence", {}, [[2.0]], [[0.5]], 0.6931472),
    ("Poisson", {}, [[1.0]], [[0.0]], 16.118095),
]


@pytest.mark.parametrize(("name", "options", "y_true", "y_pred", "value"), FACTS)
def test_values_that_were_measured(
    name: str, options: Any, y_true: Any, y_pred: Any, value: float
) -> None:
    y_true, y_pred = np.array(y_true, "float32"), np.array(y_pred, "float32")
    for library in (losses, keras.losses):
        found = getattr(library, name)(**options)(y_true, y_pred)
        assert float(found) == pytest.approx(value, rel=1e-4, abs=1e-6)
