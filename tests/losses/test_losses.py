"""Losses: Keras as oracle, gradients by differences, extreme logits, every target that is wrong."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet import check_gradients, functions, losses, no_grad
from gpunet.autograd import Tensor

# Both round in float32, 6e-8 relative; a logarithm of a probability near 1 has an absolute error
# of as much, and a sum over classes or a mean adds some up.
RELATIVE, ABSOLUTE = 1e-5, 2e-6


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def draw(seed: int, shape: tuple[int, ...], dtype: Any = np.float32) -> tuple[np.ndarray, ...]:
    """Return integer labels, one-hot labels, targets in [0, 1], and logits of this shape."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, shape[-1], shape[:-1])
    one_hot = np.eye(shape[-1], dtype=dtype)[labels]
    logits = (3 * generator.normal(size=shape)).astype(dtype)
    return labels, one_hot, generator.random(shape).astype(dtype), logits


def softmax(x: np.ndarray) -> np.ndarray:
    y = np.exp(x - x.max(axis=-1, keepdims=True))
    return y / y.sum(axis=-1, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# Values

FORMS: dict[str, tuple[str, Callable[..., tuple[np.ndarray, np.ndarray]], dict[str, Any]]] = {
    "categorical": (
        "CategoricalCrossentropy",
        lambda labels, one_hot, soft, z: (one_hot, softmax(z)),
        {},
    ),
    "categorical, not normalised": (
        "CategoricalCrossentropy",
        lambda labels, one_hot, soft, z: (one_hot, 3 * softmax(z)),
        {},
    ),
    "categorical, soft labels": (
        "CategoricalCrossentropy",
        lambda labels, one_hot, soft, z: (soft, softmax(z)),
        {"label_smoothing": 0.1},
    ),
    "categorical, logits": (
        "CategoricalCrossentropy",
        lambda labels, one_hot, soft, z: (one_hot.astype(np.uint8), z),
        {"from_logits": True, "label_smoothing": 0.2},
    ),
    "sparse": (
        "SparseCategoricalCrossentropy",
        lambda labels, one_hot, soft, z: (labels, softmax(z)),
        {},
    ),
    "sparse, a last axis of 1": (
        "SparseCategoricalCrossentropy",
        lambda labels, one_hot, soft, z: (labels[..., None].astype(np.uint8), softmax(z)),
        {},
    ),
    "sparse, logits": (
        "SparseCategoricalCrossentropy",
        lambda labels, one_hot, soft, z: (labels.astype(np.float32), z),
        {"from_logits": True},
    ),
    "binary": (
        "BinaryCrossentropy",
        lambda labels, one_hot, soft, z: (one_hot, sigmoid(z)),
        {"label_smoothing": 0.1},
    ),
    "binary, logits": (
        "BinaryCrossentropy",
        lambda labels, one_hot, soft, z: (soft, z),
        {"from_logits": True},
    ),
    "mse": ("MeanSquaredError", lambda labels, one_hot, soft, z: (soft, z), {}),
    "mae": ("MeanAbsoluteError", lambda labels, one_hot, soft, z: (one_hot.astype(int), z), {}),
}
FUNCTIONS = {
    "CategoricalCrossentropy": "categorical_crossentropy",
    "SparseCategoricalCrossentropy": "sparse_categorical_crossentropy",
    "BinaryCrossentropy": "binary_crossentropy",
    "MeanSquaredError": "mean_squared_error",
    "MeanAbsoluteError": "mean_absolute_error",
}


@pytest.mark.parametrize("form", FORMS)
def test_keras_gives_the_same(form: str, keras: Any) -> None:
    name, arrange, options = FORMS[form]

    @settings(max_examples=30)
    @given(st.integers(0, 999), st.integers(1, 6), st.sampled_from([(), (3,)]), st.integers(2, 8))
    def check(seed: int, batch: int, middle: tuple[int, ...], classes: int) -> None:
        y_true, y_pred = arrange(*draw(seed, (batch, *middle, classes)))
        theirs = getattr(keras.losses, FUNCTIONS[name])(y_true, y_pred, **options)
        ours = getattr(losses, FUNCTIONS[name])(y_true, y_pred, **options)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), RELATIVE, ABSOLUTE)
        ours = getattr(losses, name)(**options)(y_true, y_pred)
        theirs = getattr(keras.losses, name)(**options)(y_true, y_pred)
        assert ours.shape == ()
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), RELATIVE, ABSOLUTE)

    check()


def test_certain_and_wrong_is_limited_as_in_keras(keras: Any) -> None:
    right, wrong = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    for name in ("categorical_crossentropy", "binary_crossentropy"):
        ours, theirs = getattr(losses, name), getattr(keras.losses, name)
        for y_pred in (right, wrong):
            np.testing.assert_allclose(
                ours(right, y_pred).numpy(), theirs(right, y_pred).numpy(), RELATIVE, 2e-7
            )


def test_one_number_a_sample_without_a_last_axis() -> None:
    y_true, y_pred = np.array([0.0, 1.0]), np.array([0.5, 0.5])
    assert losses.mean_squared_error(y_true, y_pred).numpy().tolist() == [0.25, 0.25]
    assert losses.binary_crossentropy(y_true, y_pred).shape == (2,)


# The fused pairs

MADE_BY = {"softmax": functions.softmax, "sigmoid": functions.sigmoid}
SMOOTHED = {"label_smoothing": 0.1}
PAIRS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("softmax", "CategoricalCrossentropy", "one-hot", {}),
    ("softmax", "CategoricalCrossentropy", "one-hot", SMOOTHED),
    ("softmax", "SparseCategoricalCrossentropy", "labels", {}),
    ("sigmoid", "BinaryCrossentropy", "soft", {}),
    ("sigmoid", "BinaryCrossentropy", "one-hot", SMOOTHED),
    # not pairs: the loss must not take what was before the one for what was before the other
    ("sigmoid", "CategoricalCrossentropy", "one-hot", {}),
    ("sigmoid", "SparseCategoricalCrossentropy", "labels", {}),
    ("softmax", "BinaryCrossentropy", "soft", {}),
]


@pytest.mark.parametrize(("activation", "name", "form", "options"), PAIRS)
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4)])
def test_an_activation_before_the_loss_changes_no_value(
    activation: str, name: str, form: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    labels, one_hot, soft, z = draw(0, shape, np.float64)
    y_true = {"labels": labels, "one-hot": one_hot, "soft": soft}[form]
    loss = getattr(losses, name)(**options)
    by_hand = {"softmax": softmax, "sigmoid": sigmoid}[activation](z)
    x = Tensor(z, requires_grad=True)
    found = loss(y_true, MADE_BY[activation](x))
    # 1e-9: probabilities are only limited to 1e-7 where they were given as such.
    np.testing.assert_allclose(found.numpy(), loss(y_true, by_hand).numpy(), rtol=1e-9)
    with no_grad():
        alone = loss(y_true, MADE_BY[activation](Tensor(z)))
    np.testing.assert_allclose(found.numpy(), alone.numpy(), rtol=1e-9)
    check_gradients(lambda x: loss(y_true, MADE_BY[activation](x)), z)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4)])
def test_gradients(form: str, shape: tuple[int, ...]) -> None:
    name, arrange, options = FORMS[form]
    labels, one_hot, soft, z = draw(1, shape, np.float64)
    # Differences are good where the third derivative is not large: no probability near 0.
    y_true, y_pred = arrange(labels, one_hot, soft, z / 3)
    function = getattr(losses, FUNCTIONS[name])
    check_gradients(lambda x: function(y_true, x, **options), y_pred)
    check_gradients(lambda x: getattr(losses, name)(**options)(y_true, x), y_pred)


def test_targets_that_are_tensors_have_gradients_too() -> None:
    _, _, soft, z = draw(2, (4, 3), np.float64)
    for name in ("mean_squared_error", "mean_absolute_error"):
        check_gradients(getattr(losses, name), soft, z)


EXTREME = np.array([[1e4, -1e4], [-1e4, 1e4], [0.0, 1e4], [1e4, 1e4]], np.float32)
FIRST = np.array([[1.0, 0.0]] * 4, np.float32)
SOFTMAX_LOSS = [0.0, 2e4, 1e4, np.log(2)]
SIGMOID_LOSS = [0.0, 1e4, (np.log(2) + 1e4) / 2, 5e3]


@pytest.mark.parametrize("form", ["from logits", "after the activation"])
@pytest.mark.parametrize("kind", ["categorical", "sparse", "binary"])
def test_extreme_logits_stay_exact(kind: str, form: str) -> None:
    from_logits = form == "from logits"
    loss, activation, y_true, expected = {
        "categorical": (losses.categorical_crossentropy, functions.softmax, FIRST, SOFTMAX_LOSS),
        "sparse": (
            losses.sparse_categorical_crossentropy,
            functions.softmax,
            np.zeros(4, int),
            SOFTMAX_LOSS,
        ),
        "binary": (losses.binary_crossentropy, functions.sigmoid, FIRST, SIGMOID_LOSS),
    }[kind]
    x = Tensor(EXTREME, requires_grad=True)
    found = loss(y_true, x if from_logits else activation(x), from_logits=from_logits)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    found.sum().backward()
    probability = softmax(EXTREME) if kind != "binary" else (1 + np.sign(EXTREME)) / 2
    scale = 1 if kind != "binary" else 0.5
    np.testing.assert_allclose(x.grad, scale * (probability - FIRST), atol=1e-6)


@pytest.mark.parametrize("logit", [10.0, 15.0, 30.0])
def test_a_small_binary_loss_keeps_its_digits(logit: float) -> None:
    y_pred = Tensor(np.array([[logit], [-logit]], np.float32))
    found = losses.binary_crossentropy([[1.0], [0.0]], y_pred, from_logits=True)
    # float32 rounds the exponential by a few 6e-8.
    np.testing.assert_allclose(found.numpy(), np.log1p(np.exp(-logit)), rtol=1e-6)


@pytest.mark.parametrize("activation", MADE_BY)
def test_from_logits_after_an_activation_warns(activation: str) -> None:
    y_pred = MADE_BY[activation](Tensor(np.zeros((1, 2)), requires_grad=True))
    for name in ("categorical_crossentropy", "binary_crossentropy"):
        with pytest.warns(UserWarning, match=f"come out of {activation}: use from_logits=False"):
            getattr(losses, name)([[0.0, 1.0]], y_pred, from_logits=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.categorical_crossentropy([[0.0, 1.0]], y_pred)


# Names, functions, subclasses


def test_get() -> None:
    for name, kind in (
        ("mse", losses.MeanSquaredError),
        ("mean_squared_error", losses.MeanSquaredError),
        ("mae", losses.MeanAbsoluteError),
        ("mean_absolute_error", losses.MeanAbsoluteError),
        ("categorical_crossentropy", losses.CategoricalCrossentropy),
        ("sparse_categorical_crossentropy", losses.SparseCategoricalCrossentropy),
        ("binary_crossentropy", losses.BinaryCrossentropy),
    ):
        for identifier in (name, getattr(losses, name), kind):
            assert type(losses.get(identifier)) is kind
        assert losses.get(name).name == name
    loss = losses.BinaryCrossentropy()
    assert losses.get(loss) is loss


def test_a_function_of_ones_own() -> None:
    def cubed(y_true: Any, y_pred: Tensor) -> Tensor:
        return functions.absolute(y_pred - y_true) ** 3

    y_true, y_pred = np.zeros((2, 2)), np.array([[1.0, 2.0], [0.0, 1.0]])
    loss = losses.get(cubed)
    assert loss.name == "cubed"
    assert loss(y_true, y_pred).item() == 2.5
    assert losses.get(lambda t, p: cubed(t, p).sum())(y_true, y_pred).item() == 10.0
    loss.check_targets(np.array(["anything"]), (None, 3))


def test_a_loss_of_ones_own() -> None:
    class Weighted(losses.Loss):
        def __init__(self, weight: float = 2.0, name: str | None = None) -> None:
            super().__init__(name)
            self.weight = weight

        def call(self, y_true: Any, y_pred: Tensor) -> Tensor:
            return self.weight * functions.mean(abs(y_pred - y_true), axis=-1)

    assert Weighted()([[0.0, 0.0]], [[1.0, 3.0]]).item() == 4.0
    assert Weighted().name == "weighted"
    with pytest.raises(
        TypeError, match="Weighted takes no argument 'wieght': did you mean 'weight'"
    ):
        Weighted(wieght=1.0)  # type: ignore[call-arg]
    with pytest.raises(NotImplementedError, match="define call"):
        losses.Loss()([[0.0]], [[0.0]])


def test_a_loss_must_return_a_tensor() -> None:
    def forgets(y_true: Any, y_pred: Tensor) -> Any:
        return abs(y_pred.value - y_true).mean()

    with pytest.raises(TypeError, match=r"Loss forgets must return a Tensor.*received float64"):
        losses.get(forgets)(np.zeros((2, 1)), np.ones((2, 1)))


def test_unknown_names_and_settings() -> None:
    with pytest.raises(ValueError, match="did you mean 'categorical_crossentropy'"):
        losses.get("categorical_crossentrpy")
    with pytest.raises(TypeError, match=r"Expected a loss: a name.*or a function"):
        losses.get(None)
    with pytest.raises(TypeError, match="'from_logit': did you mean 'from_logits'"):
        losses.BinaryCrossentropy(from_logit=True)  # type: ignore[call-arg]
    for kind in (losses.CategoricalCrossentropy, losses.BinaryCrossentropy):
        for smoothing in (-0.1, 1.5, float("nan")):
            with pytest.raises(ValueError, match="label_smoothing from 0 to 1, received"):
                kind(label_smoothing=smoothing)
        for smoothing in ("0.1", None, True):
            with pytest.raises(
                TypeError, match=f"a number for label_smoothing, received {smoothing!r}"
            ):
                kind(label_smoothing=smoothing)


# Shapes and targets


@pytest.mark.parametrize(
    "name", sorted(set(FUNCTIONS.values()) - {"sparse_categorical_crossentropy"})
)
@pytest.mark.parametrize(
    ("y_true", "y_pred", "fix"),
    [
        ((4, 10), (4, 1), "as many outputs, 10"),
        ((4, 1), (4,), r"y_true\.squeeze\(-1\)"),
        ((1, 4), (4, 4), "never broadcast"),
        ((4,), (4, 4), "never broadcast"),
    ],
)
def test_shapes_never_broadcast(name: str, y_true: Any, y_pred: Any, fix: str) -> None:
    with pytest.raises(ValueError, match=fix) as error:
        getattr(losses, name)(np.zeros(y_true), np.zeros(y_pred))
    assert f"{name} expects y_true of the predictions' shape {y_pred}" in str(error.value)
    assert f"received {y_true}" in str(error.value)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "fix"),
    [
        ((4, 3), (4, 3), "one-hot labels use 'categorical_crossentropy'"),
        ((3,), (4, 3), "one label for each sample"),
        ((4, 3), (4, 5, 6), "one label for each sample"),
        ((), (4,), "a last axis of classes"),
    ],
)
def test_sparse_labels_of_a_wrong_shape(y_true: Any, y_pred: Any, fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        losses.sparse_categorical_crossentropy(np.zeros(y_true, int), np.ones(y_pred))


@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("from_logits", [False, True])
def test_a_label_that_is_no_class(label: int, from_logits: bool) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 3\), received"):
        losses.sparse_categorical_crossentropy([label], np.ones((1, 3)), from_logits)


def with_wrong(y: np.ndarray, index: Any, value: float) -> np.ndarray:
    y = y.copy()
    y[index] = value
    return y


ONE_HOT = np.eye(3)[[0, 2, 1, 1]]
LABELS = np.array([0, 2, 1, 1])
BINARY = np.array([[0.0], [1.0], [1.0], [0.0]])

GOOD = [
    ("categorical_crossentropy", ONE_HOT, (None, 3)),
    ("categorical_crossentropy", ONE_HOT.astype(np.uint8), (32, 3)),
    ("categorical_crossentropy", ONE_HOT.astype(bool), (None, 3)),
    ("categorical_crossentropy", 0.7 * ONE_HOT.astype(np.float32) + 0.1, (None, 3)),
    ("categorical_crossentropy", ONE_HOT.reshape(2, 2, 3), (None, 2, 3)),
    ("categorical_crossentropy", ONE_HOT[:0], (None, 3)),
    ("sparse_categorical_crossentropy", LABELS, (None, 3)),
    ("sparse_categorical_crossentropy", LABELS.astype(np.uint8), (None, 3)),
    ("sparse_categorical_crossentropy", LABELS.astype(np.float32), (None, 3)),
    ("sparse_categorical_crossentropy", LABELS[:, None], (None, 3)),
    ("sparse_categorical_crossentropy", LABELS == 1, (None, 3)),
    ("sparse_categorical_crossentropy", LABELS.reshape(2, 2), (None, 2, 3)),
    ("sparse_categorical_crossentropy", LABELS[:0], (None, 3)),
    ("binary_crossentropy", BINARY, (None, 1)),
    ("binary_crossentropy", BINARY == 1, (None, 1)),
    ("binary_crossentropy", 0.3 * ONE_HOT, (None, 3)),
    ("mse", 100 * ONE_HOT, (None, 3)),
    ("mae", LABELS[:, None], (None, 1)),
    ("mse", np.full((4, 1), 3e38, np.float32), (None, 1)),
    ("mse", BINARY[:0], (None, 1)),
    ("mse", BINARY[:, 0], (None, 1)),
    ("binary_crossentropy", BINARY[:, 0] == 1, (None, 1)),
    ("binary_crossentropy", ONE_HOT, (None, 3, 1)),
]


@pytest.mark.parametrize(("name", "y", "output_shape"), GOOD)
def test_good_targets_pass(name: str, y: np.ndarray, output_shape: Any) -> None:
    losses.get(name).check_targets(y, output_shape)


BAD = [
    # the other kind of labels
    ("categorical_crossentropy", LABELS, 3, r"'sparse_categorical_.*to_categorical\(y, 3\)"),
    ("categorical_crossentropy", LABELS[:, None], 3, r"labels of shape \(4, 1\): use 'sparse"),
    ("sparse_categorical_crossentropy", ONE_HOT, 3, r"'categorical_crossentropy', or y\.argmax"),
    ("sparse_categorical_crossentropy", np.ones((4, 5)), 3, "'categorical_crossentropy'"),
    # shapes
    ("categorical_crossentropy", ONE_HOT, 5, r"y of the predictions' shape \(4, 5\), received"),
    ("categorical_crossentropy", BINARY, 1, "at least 2 classes.*'binary_crossentropy'"),
    ("binary_crossentropy", ONE_HOT, 1, "as many outputs, 3"),
    ("mae", ONE_HOT, 1, "as many outputs, 3"),
    ("mse", np.float64(3.0), 1, "received"),
    ("sparse_categorical_crossentropy", np.int64(3), 3, "received"),
    # values
    ("categorical_crossentropy", with_wrong(ONE_HOT, (2, 1), 0.9), 3, r"sum to 1.*0\.9 at y\[2\]"),
    ("categorical_crossentropy", np.zeros((4, 3), np.uint8), 3, r"sum to 1, received 0 at y\[0\]"),
    ("categorical_crossentropy", 255 * ONE_HOT, 3, r"from 0 to 1 in y, received 255\.0 at y\[0, 0"),
    ("categorical_crossentropy", with_wrong(ONE_HOT, (1, 2), np.nan), 3, r"nan at y\[1, 2\]"),
    ("sparse_categorical_crossentropy", with_wrong(LABELS, 1, 3), 3, r"\[0, 3\).*4 outputs"),
    ("sparse_categorical_crossentropy", with_wrong(LABELS, 1, -1), 3, r"received -1 at y\[1\]"),
    (
        "sparse_categorical_crossentropy",
        LABELS * 1e300,
        3,
        r"2e\+300 at y\[1\]: correct the labels",
    ),
    ("sparse_categorical_crossentropy", LABELS + 1, 3, "count from 1: use y - 1"),
    ("sparse_categorical_crossentropy", LABELS + 0.5, 3, r"whole numbers in y, received 0\.5"),
    ("sparse_categorical_crossentropy", LABELS * np.nan, 3, "finite numbers in y, received nan"),
    ("binary_crossentropy", 2 * BINARY, 1, r"from 0 to 1 in y, received 2\.0 at y\[1, 0\]"),
    ("binary_crossentropy", -BINARY, 1, r"received -1\.0 at y\[1, 0\]"),
    ("binary_crossentropy", with_wrong(BINARY, 3, np.inf), 1, r"received inf at y\[3, 0\]"),
    ("mse", with_wrong(BINARY, 3, -np.inf), 1, r"finite numbers in y, received -inf at y\[3, 0\]"),
    ("mae", with_wrong(BINARY, 0, np.nan), 1, r"received nan at y\[0, 0\]"),
    # no numbers
    ("categorical_crossentropy", ONE_HOT.astype(str), 3, "numbers in y, received dtype <U"),
    ("sparse_categorical_crossentropy", LABELS.astype(object), 3, "received dtype object"),
    ("binary_crossentropy", BINARY.astype(object), 1, "received dtype object"),
    ("mse", BINARY.astype(complex), 1, "received dtype complex128"),
]


@pytest.mark.parametrize(("name", "y", "outputs", "message"), BAD)
def test_bad_targets_are_refused(name: str, y: np.ndarray, outputs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        losses.get(name).check_targets(y, (None, outputs))
    assert str(error.value).startswith(name)


@pytest.mark.parametrize("name", ["categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_a_model_without_a_class_axis(name: str) -> None:
    with pytest.raises(ValueError, match=r"predictions of shape \(batch, classes\)"):
        losses.get(name).check_targets(LABELS, (None,))
