"""Activations by name, as configurations, and as layers fuse them."""

import functools

import numpy as np
import pytest

from gpunet import Tensor, activations, functions, layers, models, primitives
from gpunet.primitives import as_activation

LEAKY = functools.partial(activations.leaky_relu, negative_slope=0.1)


def test_names_in_any_case_and_what_is_no_name():
    assert activations.get(None) is activations.linear
    assert activations.get("ReLU") is activations.get("relu") is functions.relu
    assert activations.get("swish") is activations.get("silu")
    assert activations.get("hard_swish") is activations.hard_silu
    assert activations.get(LEAKY) is LEAKY
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        activations.get("rellu")
    with pytest.raises(TypeError, match="a name, a function or None, received 3"):
        activations.get(3)


NOT_ACTIVATIONS = {"deserialize", "fusible", "get", "serialize"}


@pytest.mark.parametrize("name", sorted({*activations.__all__} - NOT_ACTIVATIONS))
def test_each_activation_is_found_by_its_name_and_runs(name):
    if name == "fusible":
        return
    x = np.linspace(-2, 2, 8, dtype="float32").reshape(2, 4)
    function = activations.get(name)
    y = function(x, 0.5, 3.0) if name == "threshold" else function(x)
    assert y.shape == ((2, 2) if name == "glu" else (2, 4))
    assert activations.deserialize(activations.serialize(function)) is function


def test_options_are_part_of_a_configuration():
    config = activations.serialize(LEAKY)
    assert config == {"class_name": "leaky_relu", "config": {"negative_slope": 0.1}}
    x = np.array([-1.0, 2.0])
    np.testing.assert_array_equal(activations.get(config)(x).value, LEAKY(x).value)
    with pytest.raises(ValueError, match="custom functions have no configuration"):
        activations.serialize(lambda x: x)


def test_what_can_be_fused():
    assert activations.fusible(activations.relu) == primitives.RELU
    assert activations.fusible(activations.relu6) == as_activation("clipped_relu", max_value=6)
    assert activations.fusible(LEAKY) == as_activation("leaky_relu", negative_slope=0.1)
    bounded = functools.partial(activations.relu, negative_slope=0.1, threshold=1.0)
    assert activations.fusible(bounded).values == (0.1, float("inf"), 1.0)
    assert activations.fusible("sigmoid") is None
    assert activations.fusible("sigmoid", keeps_logits=False) == as_activation("sigmoid")
    for name in (None, "gelu", "softmax", lambda x: x, functools.partial(np.clip, a_min=0)):
        assert activations.fusible(name) is None


@pytest.mark.parametrize(
    "activation",
    [LEAKY, activations.relu6, functools.partial(activations.elu, alpha=0.3), activations.gelu],
    ids=["leaky_relu", "relu6", "elu", "gelu"],
)
@pytest.mark.parametrize("pool", [False, True])
def test_layers_apply_the_options(activation, pool):
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32") * 4
    first, last = layers.Conv2D(4, 3, activation=activation), layers.Dense(2, activation=activation)
    middle = [layers.MaxPooling2D(2)] if pool else []
    model = models.Sequential([first, *middle, layers.Flatten(), last])
    found = model.predict(x, verbose=0)
    y = activation(functions.conv2d(x, first.kernel, first.bias))
    if pool:
        y = functions.max_pool2d(y)
    y = activation(functions.dense(y.reshape(len(x), -1), last.kernel, last.bias))
    np.testing.assert_allclose(found, y.value, rtol=1e-5, atol=1e-5)


def test_gradients_go_through_fused_options():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 6, 6, 2)), rng.normal(size=(3, 3, 2, 4))
    activation = activations.fusible(LEAKY)
    for function, *arrays in (
        (functions.conv2d, x, kernel),
        (functions.conv2d_max_pool, x, kernel),
        (functions.dense, rng.normal(size=(3, 4)), rng.normal(size=(4, 5))),
    ):
        for dtype in ("float32", "float64"):
            fused, apart = (
                [Tensor(each.astype(dtype), requires_grad=True) for each in arrays]
                for _ in range(2)
            )
            function(*fused, activation=activation).sum().backward()
            functions.activate(function(*apart), activation).sum().backward()
            for one, other in zip(fused, apart, strict=True):
                np.testing.assert_allclose(one.grad, other.grad, rtol=1e-4, atol=1e-4)


def test_sigmoid_and_softmax_layers_keep_their_logits_for_the_loss():
    x = np.ones((2, 3), "float32")
    for activation in ("sigmoid", "softmax"):
        y = layers.Dense(2, activation=activation)(x)
        assert y.logits is not None
        assert y.activation == activation
    assert "sigmoid" in primitives.OUTPUT_ACTIVATIONS
