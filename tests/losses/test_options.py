"""Options of losses, with Keras as oracle: reductions, weights, axes, classes that do not count."""

from __future__ import annotations

import copy
import json
import os
from typing import Any

import numpy as np
import pytest

from gpunet import check_gradients, functions, losses
from gpunet.autograd import Tensor
from gpunet.losses.targets import matching

# As in test_losses: float32 on both sides.
RELATIVE, ABSOLUTE = 1e-5, 2e-6
REDUCTIONS = ["sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", None, "none"]

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, (5,))
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
LOGITS = RNG.normal(size=(5, 4)).astype(np.float32)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
WEIGHTS = np.array([0.0, 1.0, 2.0, 0.5, 3.0], np.float32)
CASES = {
    "MeanSquaredError": ONE_HOT,
    "MeanAbsoluteError": ONE_HOT,
    "BinaryCrossentropy": ONE_HOT,
    "CategoricalCrossentropy": ONE_HOT,
    "SparseCategoricalCrossentropy": LABELS,
}


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def same(ours: Tensor, theirs: Any) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), RELATIVE, ABSOLUTE)
    assert ours.shape == tuple(theirs.shape)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", [None, WEIGHTS, WEIGHTS[:, None]], ids=["no", "flat", "column"])
@pytest.mark.parametrize("name", CASES)
def test_reductions_and_weights(name: str, weights: Any, reduction: Any, keras: Any) -> None:
    ours = getattr(losses, name)(reduction=reduction)
    theirs = getattr(keras.losses, name)(reduction=reduction)
    found = ours(CASES[name], PROBABILITIES, weights)
    # Keras returns losses as a column for weights that are one, where it does not reduce them.
    same(found, theirs(CASES[name], PROBABILITIES, sample_weight=weights).reshape(found.shape))
    assert found.dtype == np.float32
    same(
        ours.per_sample(CASES[name], PROBABILITIES),
        getattr(keras.losses, name)(reduction=None)(CASES[name], PROBABILITIES),
    )


def test_weights_have_gradients() -> None:
    loss = losses.MeanSquaredError(reduction="mean_with_sample_weight")
    check_gradients(lambda x: loss(ONE_HOT, x, WEIGHTS), LOGITS.astype(np.float64))


def test_weights_that_do_not_fit() -> None:
    loss = losses.MeanSquaredError()
    for shape in ((4,), (4, 1), (5, 4), ()):
        if shape:
            with pytest.raises(ValueError, match=r"sample_weight of shape \(5,\).*received shape"):
                loss(ONE_HOT, PROBABILITIES, np.ones(shape))
    own = losses.get(lambda y_true, y_pred: functions.mean(y_pred))
    with pytest.raises(ValueError, match=r"losses of shape \(\)"):
        own(ONE_HOT, PROBABILITIES, WEIGHTS)
    assert (
        losses.MeanSquaredError(reduction="mean_with_sample_weight")(
            ONE_HOT, PROBABILITIES, np.zeros(5)
        ).item()
        == 0
    )


@pytest.mark.parametrize("axis", [1, -2])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("name", ["categorical", "sparse_categorical", "binary"])
def test_classes_on_another_axis(name: str, from_logits: bool, axis: int, keras: Any) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, (2, 5))
    y_true = labels if name[0] == "s" else np.eye(3, dtype=np.float32)[labels].transpose(0, 2, 1)
    y_pred = rng.normal(size=(2, 3, 5)).astype(np.float32)
    if not from_logits:
        y_pred = np.exp(y_pred) / np.exp(y_pred).sum(1, keepdims=True)
    function = f"{name}_crossentropy"
    options = {"from_logits": from_logits, "axis": axis}
    found = getattr(losses, function)(y_true, y_pred, **options)
    same(found, getattr(keras.losses, function)(y_true, y_pred, **options))
    loss = losses.get({"class_name": function, "config": options})
    np.testing.assert_allclose(loss(y_true, y_pred).item(), found.numpy().mean(), rtol=1e-6)
    loss.check_targets(y_true, (None, 3, 5))
    if name[0] == "s":
        same(getattr(losses, function)(labels[:, None], y_pred, **options), found)
        loss.check_targets(labels[:, None], (None, 3, 5))
        assert loss.example_targets(y_pred).shape == (2, 5)
        with pytest.raises(ValueError, match=r"labels in \[0, 3\)"):
            loss.check_targets(labels + 1, (None, 3, 5))
    assert not loss.fusable
    check_gradients(lambda x: loss(y_true, x), y_pred.astype(np.float64))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["no", "weights"])
@pytest.mark.parametrize("ignored", [-1, 255, 2])
def test_a_class_that_does_not_count(
    ignored: int, weights: Any, reduction: str, keras: Any
) -> None:
    labels = np.array([0, 2, ignored, 1, ignored])
    options = {"ignore_class": ignored, "reduction": reduction}
    loss = losses.SparseCategoricalCrossentropy(**options)
    theirs = keras.losses.SparseCategoricalCrossentropy(**options)
    same(loss(labels, PROBABILITIES, weights), theirs(labels, PROBABILITIES, weights))
    loss.check_targets(labels, (None, 4))
    found = losses.sparse_categorical_crossentropy(labels, PROBABILITIES, ignore_class=ignored)
    assert (found.numpy() == 0).tolist() == (labels == ignored).tolist()
    assert loss(np.full(5, ignored), PROBABILITIES, weights).item() == 0
    check_gradients(lambda x: loss(labels, x, weights), PROBABILITIES.astype(np.float64))


def test_targets_of_one_axis_are_a_column() -> None:
    y, p = np.array([0, 1, 1, 0], np.uint8), np.array([[0.1], [0.6], [0.8], [0.3]], np.float32)
    for name in ("mse", "mae", "bce"):
        loss = losses.get(name)
        assert loss(y, p).item() == loss(y[:, None], p).item()
    seen = []

    def custom(y_true: Any, y_pred: Tensor) -> Tensor:
        seen.append((y_true.shape, y_true.dtype))
        return functions.mean(y_pred - y_true, axis=-1)

    # 0 - 1 is 255 in uint8.
    assert losses.get(custom)(y, p).item() == pytest.approx(np.mean(p[:, 0] - [0, 1, 1, 0]))
    assert seen == [((4, 1), np.float32)]


@pytest.mark.parametrize(
    ("y", "shape", "result"),
    [
        (np.ones(4, np.uint8), (4, 1), ((4, 1), "float32")),
        (np.ones((4, 3), bool), (4, 3), ((4, 3), "float32")),
        (np.ones((4, 1), np.uint8), (4, 3), ((4, 1), "uint8")),
        (np.ones(4, np.int64), (4, 3), ((4,), "int64")),
        (np.ones((4, 2), np.int64), (4, 2, 3), ((4, 2), "int64")),
        (np.ones((4, 7), np.uint8), (4, 3), ((4, 7), "float32")),
        ([1, 2], (2, 1), ((2, 1), "float32")),
    ],
)
def test_matching_targets(y: Any, shape: Any, result: Any) -> None:
    found = matching(y, np.zeros(shape, np.float32))
    assert (found.shape, str(found.dtype)) == result


def test_the_dtype_of_a_loss() -> None:
    loss = losses.MeanSquaredError(dtype="float64")
    assert loss(ONE_HOT, PROBABILITIES).dtype == np.float64
    assert losses.MeanSquaredError()(ONE_HOT.astype(np.float64), PROBABILITIES).dtype == np.float32
    for smoothing in (np.float64(0.5), np.array(0.5)):
        loss = losses.CategoricalCrossentropy(label_smoothing=smoothing)
        assert loss(ONE_HOT, PROBABILITIES).dtype == np.float32
        assert (
            losses.binary_crossentropy(ONE_HOT, PROBABILITIES, label_smoothing=smoothing).dtype
            == np.float32
        )
    for dtype in ("int32", "abc"):
        with pytest.raises(ValueError, match="dtype must be a floating-point type"):
            losses.MeanSquaredError(dtype=dtype)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("MSE", losses.MeanSquaredError, "MSE"),
        ("bce", losses.BinaryCrossentropy, "bce"),
        ("BinaryCrossentropy", losses.BinaryCrossentropy, "binary_crossentropy"),
        ("categorical_crossentropy", losses.CategoricalCrossentropy, "categorical_crossentropy"),
        ("MeanAbsoluteError", losses.MeanAbsoluteError, "mean_absolute_error"),
    ],
)
def test_names_as_keras_takes_them(name: str, kind: type, expected: str) -> None:
    loss = losses.get(name)
    assert (type(loss), loss.name) == (kind, expected)


def test_losses_are_written_down() -> None:
    loss = losses.CategoricalCrossentropy(label_smoothing=np.float32(0.5), reduction="sum")
    written = json.loads(json.dumps(losses.serialize(loss)))
    assert written == {
        "class_name": "CategoricalCrossentropy",
        "config": {
            "from_logits": False,
            "label_smoothing": 0.5,
            "axis": -1,
            "reduction": "sum",
            "name": None,
            "dtype": None,
        },
    }
    assert losses.deserialize(written).get_config() == loss.get_config()
    assert losses.get(written).get_config() == loss.get_config()

    def power(y_true: Any, y_pred: Any, exponent: int = 2) -> Tensor:
        return abs(y_pred - y_true) ** exponent

    wrapped = losses.LossFunctionWrapper(power, exponent=3)
    assert wrapped.name == "power"
    assert wrapped([[0.0]], [[2.0]]).item() == 8.0
    again = losses.LossFunctionWrapper.from_config(wrapped.get_config())
    assert copy.deepcopy(again)([[0.0]], [[2.0]]).item() == 8.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: losses.MeanSquaredError(reduction="avg"), ValueError, "reduction must be one of"),
        (lambda: losses.MeanSquaredError(reduction="men"), ValueError, "did you mean 'mean'"),
        (lambda: losses.CategoricalCrossentropy(axis="1"), TypeError, "an integer for axis"),
        (lambda: losses.BinaryCrossentropy(from_logits=2), TypeError, "from_logits as True or"),
        (lambda: losses.Loss(nmae="x"), TypeError, "Loss takes no argument 'nmae': did you mean"),
        (lambda: losses.get("MSEE"), ValueError, "Unknown loss 'MSEE': did you mean 'mse'"),
    ],
)
def test_options_that_cannot_be(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_loss_that_forgets_super() -> None:
    class Forgets(losses.Loss):
        def __init__(self) -> None:
            self.weight = 2

    with pytest.raises(RuntimeError, match=r"Forgets.__init__ did not call super\(\)"):
        Forgets()([[0.0]], [[0.0]])


def test_a_function_of_other_arguments_is_no_loss() -> None:
    with pytest.raises(TypeError, match=r"^Loss <lambda> must be a function of \(y_true, y_pred\)"):
        losses.get(lambda y: y)


def test_only_plain_losses_are_fused() -> None:
    for loss, fusable in (
        (losses.CategoricalCrossentropy(label_smoothing=0.1), True),
        (losses.SparseCategoricalCrossentropy(reduction="mean"), True),
        (losses.SparseCategoricalCrossentropy(ignore_class=1), False),
        (losses.CategoricalCrossentropy(reduction="sum"), False),
        (losses.CategoricalCrossentropy(from_logits=True), False),
        (losses.CategoricalCrossentropy(dtype="float64"), False),
        (losses.BinaryCrossentropy(), False),
    ):
        assert loss.fusable is fusable
