"""check_gradients finds what is wrong, and leaves all as it was."""

import numpy as np
import pytest

from gpunet import check_gradients, differentiable, functions, layers, models, random


@differentiable
def wrong_by_a_thousandth(x):
    return x * x, lambda output_grad: 2.001 * x * output_grad


@differentiable
def wrong_in_one_place(x):
    def backward(output_grad):
        input_grad = 2 * x * output_grad
        input_grad[0] = 0
        return input_grad

    return x * x, backward


@pytest.mark.parametrize("function", [wrong_by_a_thousandth, wrong_in_one_place])
def test_a_wrong_gradient_is_found(function):
    with pytest.raises(AssertionError, match=r"input 0, shape \(5,\)"):
        check_gradients(function, np.linspace(0.5, 2.0, 5))


def test_a_gradient_that_is_missing_is_found():
    def detached(x):
        return x.detach() * 2.0 + 0.0 * x

    with pytest.raises(AssertionError, match="input 0"):
        check_gradients(detached, np.ones(3))


def test_a_wrong_weight_is_named():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

        def call(self, x):
            return wrong_by_a_thousandth(self.factor) * x

    with pytest.raises(AssertionError, match="weight 'factor'"):
        check_gradients(Scale(), np.linspace(0.5, 2.0, 6).reshape(2, 3))


def test_a_model_in_training_with_dropout_and_its_weights_are_left_alone():
    model = models.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(4, 3, activation="elu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.3),
            layers.Dropout(0.3, seed=5),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    before = model.get_weights()
    state = random.get_state()
    check_gradients(model, np.random.default_rng(0).normal(size=(3, 8, 8, 2)), training=True)
    assert all(parameter.dtype == np.float32 for parameter in model.weights)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert random.get_state() == state


def test_a_layer_not_built_yet_is_built():
    check_gradients(layers.Dense(3, activation="gelu"), np.ones((2, 4)))


def test_integer_inputs_are_passed_on():
    labels = np.array([0, 2])
    check_gradients(functions.softmax_cross_entropy, np.ones((2, 3)), labels)


def test_nothing_to_check_is_no_success():
    with pytest.raises(ValueError, match="nothing to differentiate"):
        check_gradients(lambda x: x * 1.5, np.arange(5))
