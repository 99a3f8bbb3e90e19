"""Layers of normalization: what they do beyond Keras' parity, their state, and what is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import check_gradients, functions, regularizers
from gpunet.layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    GroupNormalization,
    Input,
    Layer,
    LayerNormalization,
    MaxPooling2D,
    RMSNormalization,
    SpectralNormalization,
    UnitNormalization,
)
from gpunet.models import Model, NonFiniteLossError, Sequential

rng = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return (rng.normal(size=shape) * 2 + 0.5).astype("float32")


LAYERS: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: BatchNormalization(), (5, 4)),
    (lambda: BatchNormalization(axis=1, scale=False), (3, 4, 5, 2)),
    (lambda: BatchNormalization(axis=-2, center=False, renorm=True), (3, 4, 5)),
    (lambda: LayerNormalization(), (3, 7)),
    (lambda: LayerNormalization(axis=1), (3, 4, 5)),
    (lambda: LayerNormalization(axis=(2, 1), scale=False), (3, 4, 5, 2)),
    (lambda: GroupNormalization(2), (3, 4)),
    (lambda: GroupNormalization(3, axis=1), (2, 6, 4, 3)),
    (lambda: GroupNormalization(-1), (2, 4, 3)),
    (lambda: RMSNormalization(), (3, 7)),
    (lambda: RMSNormalization(axis=(1, 2)), (3, 4, 5)),
    (lambda: RMSNormalization(axis=1), (3, 4, 5)),
    (lambda: UnitNormalization(), (3, 7)),
    (lambda: UnitNormalization(axis=(1, -1)), (3, 4, 5)),
    (lambda: SpectralNormalization(Dense(3)), (2, 4)),
]
NAMES = [f"{type(make()).__name__}{i}" for i, (make, _) in enumerate(LAYERS)]
EACH = pytest.mark.parametrize(("make", "shape"), LAYERS, ids=NAMES)


@EACH
def test_shapes_and_gradients(make: Any, shape: tuple[int, ...]) -> None:
    layer, x = make(), drawn(*shape)
    y = layer(x)
    assert y.dtype == np.float32
    assert layer(Input(shape[1:])).shape == (None, *y.shape[1:])
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *y.shape[1:])
    check_gradients(layer, x)
    if not isinstance(layer, BatchNormalization):
        return
    layer.renorm = False  # whose correction has no gradient
    check_gradients(layer, x, training=True)
    if layer.axis == -1:
        check_gradients(layer, x, training=True, mask=np.arange(shape[0]) % 2 == 0)


@EACH
def test_layers_are_made_again_copied_and_pickled(make: Any, shape: tuple[int, ...]) -> None:
    layer, x = make(), drawn(*shape)
    expected = layer(x).numpy()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other(x).numpy(), expected)
    again = type(layer).from_config(make().get_config())
    again.build((None, *shape[1:]))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x).numpy(), expected)


@EACH
def test_float64_stays(make: Any, shape: tuple[int, ...]) -> None:
    layer = type(make()).from_config(make().get_config() | {"dtype": "float64"})
    if isinstance(layer, SpectralNormalization):
        layer = SpectralNormalization(Dense(3, dtype="float64"), dtype="float64")
    assert layer(drawn(*shape).astype("float64"), training=True).dtype == np.float64


@pytest.mark.parametrize("kind", [LayerNormalization, RMSNormalization])
def test_an_axis_in_the_middle_is_the_last_transposed(kind: Any) -> None:
    x = drawn(3, 4, 5)
    y = kind(axis=1)(x).numpy()
    np.testing.assert_array_equal(y, kind()(x.transpose(0, 2, 1)).numpy().transpose(0, 2, 1))


# The state of batch normalization


def test_one_batch_moves_the_averages_by_a_hundredth() -> None:
    """The variance of 0, 1, 2 and 3 is divided by 4: 1.25."""
    for x in (np.arange(4.0)[:, None], np.arange(4.0).reshape(2, 2, 1, 1)):
        layer = BatchNormalization()
        layer(x.astype("float32"), training=True)
        np.testing.assert_allclose(layer.moving_mean.numpy(), [0.015], rtol=1e-6)
        np.testing.assert_allclose(layer.moving_variance.numpy(), [1.0025], rtol=1e-6)


def test_weights_come_in_keras_order() -> None:
    layer = BatchNormalization(renorm=True)
    layer.build((None, 3))
    assert [w.name for w in layer.weights] == [
        "gamma", "beta", "moving_mean", "moving_variance", "moving_stddev", "renorm_mean",
        "renorm_stddev",
    ]  # fmt: skip
    assert [w.name for w in layer.trainable_weights] == ["gamma", "beta"]


@pytest.mark.parametrize("around", [False, True])
def test_frozen_layers_use_and_keep_their_averages(around: bool) -> None:
    x = drawn(6, 4)
    layer = BatchNormalization()
    model = Sequential([Input((4,)), layer])
    (model if around else layer).trainable = False
    before = layer.get_weights()
    y = model(x, training=True).numpy()
    np.testing.assert_allclose(y, x / np.sqrt(1.001), rtol=1e-5)
    for one, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(layer(x, training=True).numpy(), y)


def test_averages_move_with_the_step_alone() -> None:
    """Not by a failed step, nor by what builds, warms up, profiles, evaluates or predicts."""
    layer = BatchNormalization()
    model = Sequential([Input((3,)), layer, Dense(1)])
    model.compile("sgd", lambda y, p: functions.mean(p) * np.float32("nan"))
    x, y = drawn(8, 3), drawn(8, 1)
    before = model.get_weights()
    with pytest.raises(NonFiniteLossError):
        model.fit(x, y, verbose=0)
    gpunet.warmup(model, batch_size=4, verbose=0)
    gpunet.profile(model, batch_size=4, steps=1)
    model.compile("sgd", "mse")
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    model.fit(x, y, verbose=0)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.01 * x.mean(0), rtol=1e-5, atol=1e-7)


def test_evaluation_uses_the_averages() -> None:
    model = Sequential([Input((3,)), BatchNormalization(momentum=0.0)])
    model.compile("sgd", "mse")
    x, y = drawn(32, 3), np.zeros((32, 3), "float32")
    model.fit(x, y, batch_size=32, verbose=0)
    mean, variance = model.layers[0].get_weights()[2:]
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-5, atol=1e-6)
    gamma, beta = model.layers[0].get_weights()[:2]
    expected = (x[:2] - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    np.testing.assert_allclose(model.predict(x[:2], verbose=0), expected, rtol=1e-4, atol=1e-5)
    loss = model.evaluate(x[:2], y[:2], verbose=0)
    assert loss == pytest.approx(np.square(expected).mean(), rel=1e-4)


def test_masks_choose_what_is_averaged() -> None:
    x = drawn(6, 5, 3)
    mask = np.arange(30).reshape(6, 5) % 3 > 0
    layer = BatchNormalization(momentum=0.0)
    layer(x, training=True, mask=mask)
    np.testing.assert_allclose(layer.moving_mean.numpy(), x[mask].mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), x[mask].var(0), rtol=1e-5)
    x[~mask] = np.nan
    layer(x, training=True, mask=mask.tolist())
    assert np.isfinite(layer.moving_mean.numpy()).all()


def test_a_mask_may_be_a_symbol() -> None:
    x, mask = Input((5, 3)), Input((5,))
    model = Model([x, mask], BatchNormalization()(x, mask=mask))
    given = [drawn(4, 5, 3), np.ones((4, 5), "float32")]
    y = model(given, training=True).numpy()
    np.testing.assert_allclose(y.mean((0, 1)), 0, atol=1e-5)


def test_regularizers_of_gamma_and_beta_add_to_the_loss() -> None:
    layer = LayerNormalization(gamma_regularizer="l2", beta_regularizer=regularizers.L1(0.5))
    model = Sequential([Input((4,)), layer])
    model.compile("sgd", lambda y, p: functions.mean(p) * 0.0)
    assert model.evaluate(drawn(3, 4), drawn(3, 4), verbose=0) == pytest.approx(4 * 0.01)


# Training


class Block(Layer):
    """A convolution, batch normalization and relu."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.convolution = Conv2D(filters, 3, padding="same", use_bias=False)
        self.normalization = BatchNormalization(momentum=0.8)

    def call(self, x: Any) -> Any:
        return functions.relu(self.normalization(self.convolution(x)))


def test_a_convolutional_network_learns() -> None:
    """Which of four quarters of an image is bright, from raw numbers far from 0."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 256)
    x = generator.normal(100, 30, (256, 8, 8, 1)).astype("float32")
    for image, label in zip(x, labels, strict=True):
        image[label // 2 * 4 :][:4, label % 2 * 4 :][:, :4] += 40
    model = Sequential(
        [
            Input((8, 8, 1)), Block(8), MaxPooling2D(2), Block(16), Flatten(), Dense(4),
            BatchNormalization(momentum=0.8), Activation("softmax"),
        ]
    )  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(x[:192], labels[:192], epochs=12, batch_size=16, verbose=0).history
    assert history["loss"][-1] < 0.4 * history["loss"][0]
    _, accuracy = model.evaluate(x[192:], labels[192:], verbose=0)
    assert accuracy > 0.9


# What is refused


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: BatchNormalization(axis=[1, 2]), TypeError, "integer for axis"),
        (lambda: BatchNormalization(momentum=1.5), ValueError, "momentum"),
        (lambda: BatchNormalization(epsilon=-1), ValueError, "epsilon"),
        (lambda: BatchNormalization(synchronized=True), ValueError, "synchronized must be False"),
        (lambda: BatchNormalization(renorm_clipping={"rmox": 1}), ValueError, "'rmox'"),
        (
            lambda: BatchNormalization(renorm_clipping={"rmin": 2, "rmax": 1}),
            ValueError,
            "'rmin'.*must not be more",
        ),
        (lambda: LayerNormalization(beta_constraint="unit_norm"), ValueError, "must be None"),
        (lambda: LayerNormalization(axis="last"), TypeError, "integer for axis"),
        (lambda: GroupNormalization(0), ValueError, "positive integer, or -1"),
        (lambda: GroupNormalization(2.5), TypeError, "integer for groups"),
        (lambda: UnitNormalization(axis=None), TypeError, "integer for axis"),
        (lambda: SpectralNormalization(Dense(3), 0), ValueError, "power_iterations"),
        (lambda: SpectralNormalization("dense"), TypeError, "a layer to wrap, received str"),
        (lambda: SpectralNormalization(Flatten())(drawn(2, 3)), ValueError, "Flatten, which has"),
        (lambda: BatchNormalization(axis=2)(drawn(2, 3)), ValueError, "from -2 to 1.*axis=2"),
        (lambda: BatchNormalization(axis=0)(drawn(2, 3)), ValueError, "must be known"),
        (lambda: LayerNormalization(axis=(1, -1))(drawn(2, 3)), ValueError, "different axes"),
        (lambda: RMSNormalization(axis=())(drawn(2, 3)), ValueError, "different axes"),
        (lambda: UnitNormalization(axis=4)(drawn(2, 3)), ValueError, "different axes"),
        (lambda: GroupNormalization(32)(drawn(2, 16)), ValueError, "not be more than.* 16 in"),
        (lambda: GroupNormalization(6)(drawn(2, 16)), ValueError, "must divide.*, 16 in"),
        (lambda: LayerNormalization()(Input((None,))), ValueError, "must be known"),
        (
            lambda: BatchNormalization()(drawn(2, 3, 4), mask=np.ones((2, 3, 4))),
            ValueError,
            r"\(2, 3\), received \(2, 3, 4\)",
        ),
        (
            lambda: BatchNormalization()(drawn(2, 3, 4), mask=np.ones((3, 2))),
            ValueError,
            r"\(2, 3\) for one bool a step, received shape \(3, 2\)",
        ),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("make", [BatchNormalization, LayerNormalization, RMSNormalization])
def test_inputs_of_another_size_or_rank(make: Any) -> None:
    layer = make()
    layer(drawn(2, 3))
    for x in (drawn(2, 4), drawn(2, 5, 3)):
        with pytest.raises(ValueError, match=r"was built for inputs of shape \(None, 3\)"):
            layer(x)


def test_rms_scaling_is_deprecated() -> None:
    with pytest.warns(UserWarning, match="use RMSNormalization"):
        layer = LayerNormalization(rms_scaling=True)
    x = drawn(3, 5)
    expected = x / np.sqrt(x.var(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5)
    assert [w.name for w in layer.weights] == ["gamma"]
