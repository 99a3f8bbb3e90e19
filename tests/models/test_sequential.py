"""Sequential: building, names, summary, what cannot be added."""

import numpy as np
import pytest

import gpunet
from examples.mnist_cnn import build_model
from gpunet.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from gpunet.models import Sequential


def test_the_program_is_built_as_keras_builds_it():
    model = build_model()
    assert model.built
    assert model.output_shape == (None, 10)
    assert model.count_params() == 60_554 == sum(w.size for w in model.get_weights())
    assert [layer.name for layer in model.layers] == [
        "conv2d", "max_pooling2d", "conv2d_1", "max_pooling2d_1", "conv2d_2", "max_pooling2d_2",
        "flatten", "dense", "dense_1",
    ]  # fmt: skip


def test_summary():
    lines = []
    build_model().summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "conv2d_1 (Conv2D)               (None, 11, 11, 64)   18,496" in text
    assert "Total params: 60,554 (236.54 KiB)" in text
    assert "Non-trainable params: 0" in text


def test_summary_before_building_says_what_is_not_known():
    lines = []
    Sequential([Dense(3)]).summary(print_fn=lines.append)
    assert "dense (Dense)  ?             0 (unbuilt)" in lines[0]


@pytest.mark.parametrize("first", [[Input((6,)), Dense(4)], [Dense(4, input_shape=(6,))]])
def test_input_and_input_shape_build_at_once(first):
    model = Sequential([*first, Dense(2)])
    assert [w.shape for w in model.get_weights()] == [(6, 4), (4,), (4, 2), (2,)]


def test_without_a_shape_the_first_call_builds():
    model = Sequential([Flatten(), Dense(2)])
    assert not model.built
    assert model.get_weights() == []
    assert model(np.ones((5, 2, 3))).shape == (5, 2)
    assert model.output_shape == (None, 2)
    model.add(Dense(7))
    assert model.output_shape == (None, 7)


def test_one_seed_gives_one_set_of_weights():
    gpunet.random.seed(4)
    first = build_model().get_weights()
    gpunet.random.seed(4)
    second = build_model().get_weights()
    third = build_model().get_weights()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != third[0]).any()


def test_models_nest():
    inner = Sequential([Dense(4, activation="relu"), Dense(3)], name="inner")
    model = Sequential([Input((5,)), inner, Dense(2)])
    assert model.output_shape == (None, 2)
    assert len(model.get_weights()) == 6


def test_pop_takes_the_last_layer_away():
    model = Sequential([Input((5,)), Dense(4), Dense(3)])
    assert model.pop().units == 3
    assert model.output_shape == (None, 4)
    model.pop()
    with pytest.raises(IndexError, match="no layer"):
        model.pop()


def test_a_layer_that_does_not_fit_is_not_added():
    model = Sequential([Input((8, 8, 1)), MaxPooling2D(4)])
    with pytest.raises(ValueError, match=r"Layer 'conv2d' \(Conv2D\).*height"):
        model.add(Conv2D(4, 3))
    assert len(model.layers) == 1
    model.add(Flatten())
    assert model.output_shape == (None, 4)


def test_a_model_that_fails_to_build_is_left_unbuilt():
    model = Sequential([Flatten(), Dense(4), Conv2D(4, 3)])
    with pytest.raises(ValueError, match="Layer 'conv2d'"):
        model(np.ones((2, 3, 3)))
    assert not any(layer.built for layer in model.layers)
    assert model.weights == []


def test_what_cannot_be_added():
    model = Sequential([Dense(4, name="a")])
    with pytest.raises(ValueError, match="has a layer 'a' already"):
        model.add(Dense(4, name="a"))
    with pytest.raises(ValueError, match="each instance once"):
        model.add(model.layers[0])
    with pytest.raises(TypeError, match=r"Dense\(\.\.\.\) with parentheses"):
        model.add(Dense)
    with pytest.raises(TypeError, match="received 'relu'"):
        model.add("relu")
    with pytest.raises(ValueError, match="must come first"):
        model.add(Input((3,)))


def test_inputs_of_another_shape_name_the_model_and_the_fix():
    model = build_model()
    with pytest.raises(ValueError, match=r"'sequential'.*\(28, 28, 1\).*received \(2, 28\)"):
        model(np.ones((2, 28)))
    with pytest.raises(ValueError, match=r"x\[None\]"):
        model(np.ones((28, 28, 1)))
    with pytest.raises(ValueError, match=r"received \(2, 32, 32, 1\)"):
        model(np.ones((2, 32, 32, 1)))


def test_no_layers():
    with pytest.raises(ValueError, match="no layers"):
        Sequential()(np.ones((2, 3)))


def test_a_missing_channel_axis_is_added_where_the_shape_is_known():
    model, x = build_model(), np.random.default_rng(0).random((2, 28, 28, 1)).astype("float32")
    np.testing.assert_array_equal(model(x[..., 0]).numpy(), model(x).numpy())
    line = Sequential([Dense(1, input_shape=(1,))])
    np.testing.assert_array_equal(line(x[0, 0, :, 0]).numpy(), line(x[0, 0]).numpy())


@pytest.mark.parametrize("first", [[], [Input((3,))]])
def test_several_arrays_are_no_input(first):
    x = np.ones((4, 3), "float32")
    model = Sequential([*first, Dense(1)])
    model.compile("sgd", "mse")
    for use in (lambda: model.predict([x, x], verbose=0), lambda: model.fit([x, x], x, verbose=0)):
        with pytest.raises(ValueError, match=r"x is a list of 2 arrays.*'sequential' takes 1: "):
            use()
    assert model.predict([x], verbose=0).shape == (4, 1)
