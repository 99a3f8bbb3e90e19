"""Masks: made by layers, passed on by layers, used by losses and metrics."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, functions
from gpunet.autograd import Tensor
from gpunet.layers import (
    Activation,
    Add,
    Concatenate,
    Conv2D,
    Dense,
    Dot,
    Dropout,
    Flatten,
    Layer,
    Masking,
    Maximum,
    Rescaling,
    Reshape,
)  # fmt: skip
from gpunet.models import Sequential

rng = np.random.default_rng(0)
X = rng.standard_normal((4, 5, 3)).astype("float32")
X[0, 3:], X[1, :2], X[2, 2] = 0, 0, 0  # padding right, left, inside
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 1, 1, 1]], bool)


class Doubled(Layer):
    """A layer without masks."""

    def call(self, x):
        return 2 * x


class Rows(Layer):
    """A layer that returns its input, and creates a mask of rows."""

    def call(self, x):
        return x

    def compute_mask(self, inputs, mask=None):
        return (inputs != 0).any(-1)


def test_masking_masks_steps_of_the_value_and_sets_them_to_0():
    x = X.copy()
    x[~MASK] = 7
    y = Masking(7)(x)
    np.testing.assert_array_equal(y.mask, MASK)
    np.testing.assert_array_equal(y.value, X)


def test_masking_has_a_gradient_where_it_counts():
    x = Tensor(X, requires_grad=True)
    functions.sum(functions.square(Masking()(x))).backward()
    np.testing.assert_array_equal(x.grad, 2 * X)  # X is 0 where it does not count
    x = Tensor(np.full_like(X, 7), requires_grad=True)
    functions.sum(Masking(7)(x)).backward()
    np.testing.assert_array_equal(x.grad, 0 * X)


@pytest.mark.parametrize("value", ["0", None, [0.0]])
def test_masking_refuses_other_values_than_numbers(value):
    with pytest.raises(ValueError, match="mask_value must be a number"):
        Masking(value)


def test_masking_needs_features():
    with pytest.raises(ValueError, match=r"expects inputs of shape \(batch, ..., features\)"):
        Masking()(np.zeros(3, "float32"))


@pytest.mark.parametrize(
    "layer",
    [Dense(2), Dense(2, "softmax"), Activation("relu"), Dropout(0.5), Rescaling(2.0)],
    ids=lambda layer: layer.name,
)
def test_layers_that_keep_steps_pass_masks_on(layer):
    for training in (False, True):
        np.testing.assert_array_equal(layer(Masking()(X), training=training).mask, MASK)
    assert layer(X).mask is None


@pytest.mark.parametrize("layer", [Doubled(), Flatten(), Reshape((3, 5))], ids=lambda x: x.name)
def test_other_layers_drop_masks_with_a_warning(layer):
    x = Masking()(X)
    with pytest.warns(UserWarning, match=f"{layer.name}.* received an input with a mask"):
        assert layer(x).mask is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(X)


def test_support_can_be_set_on_a_layer():
    layer = Doubled()
    layer.supports_masking = True
    np.testing.assert_array_equal(layer(Masking()(X)).mask, MASK)


def test_a_mask_that_a_layer_creates_is_not_put_onto_its_input():
    x = Tensor(X)
    y = Rows()(x)
    np.testing.assert_array_equal(y.mask, MASK)
    assert x.mask is None


def test_a_given_mask_reaches_call_and_output():
    class Takes(Layer):
        def call(self, x, mask=None):
            self.received = mask
            return 2 * x

        def compute_mask(self, inputs, previous_mask):
            return previous_mask

    layer = Takes()
    for mask in (MASK, MASK.tolist(), MASK.astype("int32"), Tensor(MASK)):
        np.testing.assert_array_equal(layer(X, mask=mask).mask, MASK)
        np.testing.assert_array_equal(layer.received, MASK)
        assert layer.received.dtype == bool
    layer(Masking()(X))
    np.testing.assert_array_equal(layer.received, MASK)
    with pytest.raises(
        ValueError, match=r"first sizes of its input of shape \(4, 5, 3\).*\(4, 3\)"
    ):
        layer(X, mask=np.ones((4, 3), bool))


def test_layers_of_several_inputs_get_the_mask_of_each_by_name():
    class Attend(Layer):
        def call(self, query, value, query_mask=None, value_mask=None):
            self.received = query_mask, value_mask
            return query + value

    layer = Attend()
    masked = Masking()(X)
    layer(X, masked)
    assert layer.received[0] is None
    np.testing.assert_array_equal(layer.received[1], MASK)
    with pytest.warns(UserWarning, match="received an input with a mask"):
        layer(masked, value=masked)
    np.testing.assert_array_equal(layer.received[0], MASK)
    np.testing.assert_array_equal(layer.received[1], MASK)


def test_merging_layers_combine_masks():
    other = X.copy()
    other[:, 0] = 0
    other[0, 4] = 1
    one, two = Masking()(X), Masking()(other)
    np.testing.assert_array_equal(Add()([one, two]).mask, one.mask | two.mask)
    np.testing.assert_array_equal(Maximum()([one, two]).mask, one.mask | two.mask)
    assert Add()([one, Tensor(X)]).mask is None
    joined = Concatenate(axis=1)([one, two]).mask
    np.testing.assert_array_equal(joined, np.concatenate([one.mask, two.mask], 1))
    np.testing.assert_array_equal(Concatenate()([one, two]).mask, one.mask | two.mask)
    assert Concatenate()([one, Tensor(X)]).mask.all()
    assert Dot(axes=2)([one, two]).mask is None


def test_a_mask_survives_a_cast():
    layer = Dense(2, dtype="float64")
    np.testing.assert_array_equal(layer(Masking()(X)).mask, MASK)


# In models


def test_masks_go_through_graphs_and_inner_models():
    inner = Sequential([Dense(4, "relu"), Dropout(0.1)])
    x = Input((5, 3))
    model = Model(x, Dense(2)(inner(Masking()(x))))
    np.testing.assert_array_equal(model(X).mask, MASK)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model))(X).mask, MASK)
    np.testing.assert_array_equal(copy.deepcopy(model)(X).mask, MASK)


def test_a_model_takes_a_mask_of_its_input():
    model = Sequential([Dense(4, "relu", input_shape=(5, 3)), Dense(2)])
    x = Tensor(X)
    np.testing.assert_array_equal(model(x, mask=MASK).mask, MASK)
    assert x.mask is None
    x.mask = MASK
    np.testing.assert_array_equal(model(x).mask, MASK)


def test_a_mask_can_be_an_input_of_a_model():
    class Last(Layer):
        supports_masking = True

        def call(self, x, mask=None):
            return x * functions.reshape(mask.astype("float32"), (*mask.shape, 1))

    x, mask = Input((5, 3)), Input((5,), dtype="bool")
    model = Model([x, mask], Last()(x, mask=mask))
    np.testing.assert_array_equal(model([X + 1, MASK]).value, (X + 1) * MASK[..., None])


def test_chains_of_rows_pass_masks_of_samples_on():
    """Masking of rows gives a mask of samples; the chain after it runs layer by layer."""
    x = X[:, :, 0].copy()
    x[1] = 0
    layers = [Dense(4, "relu", input_shape=(5,)), Dense(3, "softmax")]
    plain, masked = Sequential(layers), Sequential([Masking(input_shape=(5,)), *layers])
    np.testing.assert_array_equal(masked(x).mask, [True, False, True, True])
    np.testing.assert_array_equal(masked(x).value, plain(x).value)
    y = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    counts = np.array([1, 0, 1, 1], bool)
    results = []
    for model, inputs, targets in ((masked, x, y), (plain, x[counts], y[counts])):
        model.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
        results.append(model.evaluate(inputs, targets, verbose=0))
    np.testing.assert_allclose(*results, rtol=1e-6)
    weights = plain.get_weights()
    plain.fit(x[counts], y[counts], verbose=0)
    expected = plain.get_weights()
    plain.set_weights(weights)
    masked.fit(x, y, verbose=0)
    for ours, theirs in zip(masked.get_weights(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_chains_of_images_drop_a_mask_with_a_warning():
    images = Tensor(rng.standard_normal((2, 6, 6, 1)).astype("float32"))
    model = Sequential([Conv2D(2, 3, input_shape=(6, 6, 1)), Activation("relu"), Flatten()])
    expected = model(images).value
    images.mask = np.ones((2, 6), bool)
    with pytest.warns(UserWarning, match="Conv2D"):
        y = model(images)
    assert y.mask is None
    np.testing.assert_allclose(y.value, expected, rtol=1e-6)


# Losses and metrics

Y = rng.standard_normal((4, 5, 2)).astype("float32")


def predictions():
    y = Tensor(rng.standard_normal((4, 5, 2)).astype("float32"))
    y.mask = MASK
    return y


def test_the_divisor_of_a_loss_is_the_number_of_unmasked_steps():
    y = predictions()
    each = np.square(y.value - Y).mean(-1)
    mean, total, kept = (
        gpunet.losses.MeanSquaredError(reduction=reduction)(Y, y).value
        for reduction in ("sum_over_batch_size", "sum", "none")
    )
    np.testing.assert_allclose(mean, each[MASK].mean(), rtol=1e-6)
    np.testing.assert_allclose(total, each[MASK].sum(), rtol=1e-6)
    np.testing.assert_allclose(kept, each * MASK, rtol=1e-6)


def test_weights_and_mask_go_together():
    y, weights = predictions(), np.array([1.0, 2.0, 0.0, 3.0], "float32")
    each = np.square(y.value - Y).mean(-1) * weights[:, None]
    value = gpunet.losses.MeanSquaredError()(Y, y, sample_weight=weights).value
    np.testing.assert_allclose(value, each[MASK].sum() / MASK.sum(), rtol=1e-6)
    value = gpunet.losses.MeanSquaredError(reduction="mean_with_sample_weight")(Y, y, weights)
    counted = (weights[:, None] * MASK).sum()
    np.testing.assert_allclose(value.value, each[MASK].sum() / counted, rtol=1e-6)


def test_a_loss_of_masked_steps_alone_is_0():
    y = predictions()
    y.mask = np.zeros((4, 5), bool)
    assert gpunet.losses.MeanSquaredError()(Y, y).item() == 0


def test_a_mask_that_does_not_fit_the_losses_is_an_error():
    y = predictions()
    y.mask = np.ones((4, 4), bool)
    with pytest.raises(ValueError, match=r"a mask of shape \(4, 4\), and has losses of shape"):
        gpunet.losses.MeanSquaredError()(Y, y)


def test_metrics_count_unmasked_steps():
    y = predictions()
    each = np.square(y.value - Y).mean(-1)
    metric = gpunet.metrics.MeanSquaredError()
    metric.update_state(Y, y)
    np.testing.assert_allclose(metric.result(), each[MASK].mean(), rtol=1e-6)
    weights = np.array([1.0, 2.0, 0.0, 3.0], "float32")
    metric.reset_state()
    metric.update_state(Y, y, sample_weight=weights)
    expected = np.average(each[MASK], weights=(weights[:, None] * MASK)[MASK])
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)


def test_training_does_not_see_masked_steps():
    """Gradients, losses and metrics are the same whatever the targets of masked steps are."""
    other = np.where(MASK[..., None], Y, 100).astype("float32")
    histories, weights = [], []
    for y in (Y, other):
        gpunet.random.seed(1)
        model = Sequential([Masking(input_shape=(5, 3)), Dense(4, "tanh"), Dense(2)])
        model.compile("adam", "mse", metrics=["mae"], weighted_metrics=["mse"])
        options = {"batch_size": 2, "verbose": 0, "validation_data": (X, y)}
        histories.append(model.fit(X, y, epochs=2, **options).history)
        weights.append(model.get_weights())
    assert histories[0] == histories[1]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_evaluation_keeps_the_batches_of_a_model_with_masks():
    """As in Keras: the mean over batches, weighted by their sizes, of means over what counts."""
    model = Sequential([Masking(input_shape=(5, 3)), Dense(2)])
    model.compile("sgd", "mse")
    means = [model.evaluate(X[i : i + 2], Y[i : i + 2], verbose=0) for i in (0, 2)]
    np.testing.assert_allclose(model.evaluate(X, Y, batch_size=2, verbose=0), np.mean(means))


def test_custom_compute_metrics_gets_masks():
    class Own(Model):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            self.received = y_pred.mask
            return super().compute_metrics(x, y, y_pred, sample_weight)

    x = Input((5, 3))
    model = Own(x, Dense(2)(Masking()(x)))
    model.compile("sgd", "mse", metrics=["mse"])
    loss, mse = model.evaluate(X, Y, verbose=0)
    np.testing.assert_array_equal(model.received, MASK)
    np.testing.assert_allclose(loss, mse, rtol=1e-6)
