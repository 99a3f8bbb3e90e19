"""Regularizers: their values, and how they enter the step of training."""

import numpy as np
import pytest

from gpunet import Parameter, functions, regularizers
from gpunet.layers import Conv2D, Dense, Flatten, Input, Layer
from gpunet.models import Model, Sequential
from gpunet.optimizers import SGD

rng = np.random.default_rng(0)
W = np.array([[1.0, -2.0], [0.5, 0.0]])


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        ("l1", 0.01 * 3.5),
        ("L2", 0.01 * 5.25),
        ("l1_l2", 0.0),
        (regularizers.L1L2(l1=0.1, l2=0.2), 0.1 * 3.5 + 0.2 * 5.25),
        (lambda x: functions.square(x).mean(), 5.25 / 4),
    ],
)
def test_values(regularizer, expected):
    weight = Parameter(W)
    found = regularizers.get(regularizer)(weight)
    np.testing.assert_allclose(found.value, expected, rtol=1e-14)
    assert found.dtype == np.float64


def test_they_are_written_down_and_made_again():
    config = regularizers.serialize(regularizers.L1L2(0.1, 0.2))
    assert config == {"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.2}}
    assert regularizers.get(config).get_config() == {"l1": 0.1, "l2": 0.2}
    layer = Dense.from_config(Dense(2, kernel_regularizer="l2").get_config())
    assert isinstance(layer.kernel_regularizer, regularizers.L2)


def test_what_is_no_regularizer_is_refused():
    with pytest.raises(ValueError, match="did you mean 'l2'"):
        Dense(2, kernel_regularizer="l3")
    with pytest.raises(ValueError, match="l2"):
        regularizers.L2(-1.0)
    with pytest.raises(TypeError, match="Flatten takes no argument"):
        Flatten(kernel_regularizer="l2")
    layer = Dense(2, kernel_regularizer=lambda x: x * 2.0, input_shape=(3,))
    layer.build((None, 3))
    with pytest.raises(TypeError, match="of weight 'kernel' must return a tensor of one number"):
        _ = layer.losses


def classifier(l2, fuse, **options):
    model = Sequential(
        [
            Input((6, 6, 1)),
            Conv2D(2, 3, kernel_regularizer=regularizers.L2(l2), activation="relu"),
            Flatten(),
            Dense(3, activation="softmax", bias_regularizer=regularizers.L1(l2)),
        ]
    )
    model.compile(SGD(0.1), "categorical_crossentropy", ["accuracy"], fuse=fuse, **options)
    return model


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_step_adds_them_to_loss_and_gradients(fuse, weighted):
    x = rng.normal(size=(8, 6, 6, 1)).astype("float32")
    y = np.eye(3, dtype="float32")[rng.integers(0, 3, 8)]
    weight = np.ones(8, "float32") if weighted else None
    plain, regular = classifier(0.0, fuse), classifier(0.05, fuse)
    start = [rng.normal(size=w.shape).astype("float32") for w in plain.weights]
    plain.set_weights(start)
    regular.set_weights(start)
    kernel, bias = start[0], start[3]
    expected = 0.05 * (np.square(kernel).sum() + np.abs(bias).sum())
    np.testing.assert_allclose(sum(map(float, regular.losses)), expected, rtol=1e-6)
    evaluated = [model.evaluate(x, y, verbose=0)[0] for model in (regular, plain)]
    np.testing.assert_allclose(evaluated[0] - evaluated[1], expected, rtol=1e-5)
    found, base = (m.train_on_batch(x, y, weight, return_dict=True) for m in (regular, plain))
    np.testing.assert_allclose(found["loss"] - base["loss"], expected, rtol=1e-5)
    assert found["accuracy"] == base["accuracy"]
    steps = [0.1 * 0.05 * 2 * kernel, 0, 0, 0.1 * 0.05 * np.sign(bias)]
    for ours, other, step in zip(regular.get_weights(), plain.get_weights(), steps, strict=True):
        np.testing.assert_allclose(other - ours, step + 0 * ours, atol=1e-6)


def test_frozen_weights_have_no_penalty():
    model = classifier(0.05, True)
    model.layers[0].trainable = False
    assert len(model.losses) == 1
    x, y = np.ones((2, 6, 6, 1), "float32"), np.eye(3, dtype="float32")[:2]
    model.compile("sgd", "categorical_crossentropy")
    before = model.layers[0].get_weights()[0]
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], before)


class Scale(Layer):
    def build(self, input_shape):
        self.factor = self.add_weight(input_shape[-1:], "ones", name="factor", regularizer="l2")

    def call(self, x):
        return x * self.factor


def test_a_custom_layer_and_a_custom_loss():
    class Custom(Model):
        def __init__(self):
            super().__init__()
            self.scale = Scale()

        def call(self, x):
            return self.scale(x)

        def compute_loss(self, x, y, y_pred, sample_weight=None):
            return super().compute_loss(x, y, y_pred, sample_weight) * 2.0

    model = Custom()
    model.compile("sgd", "mse")
    x = np.ones((4, 3), "float32")
    loss = model.train_on_batch(x, x)
    np.testing.assert_allclose(loss, 2 * 0.01 * 3, rtol=1e-6)
