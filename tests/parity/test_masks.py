"""Masks in Keras and in gpunet: layers, losses, metrics and a training run."""

import os

import numpy as np
import pytest

import gpunet

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras and PyTorch, about themselves

rng = np.random.default_rng(0)
X = rng.standard_normal((6, 5, 3)).astype("float32")
X[0, 3:], X[1, :2], X[2, 2], X[4, 1:] = 0, 0, 0, 0
Y = rng.standard_normal((6, 5, 2)).astype("float32")


def network(library):
    layers = library.layers
    x = layers.Input((5, 3))
    masked = layers.Masking()(x)
    hidden = layers.Dense(4, activation="tanh")(masked)
    merged = layers.Concatenate()([hidden, masked])
    return library.Model(x, layers.Dense(2)(layers.Dropout(0.0)(merged)))


@pytest.mark.parametrize("weights", [None, "of steps"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_training_with_a_mask_gives_keras_numbers(weights, reduction):
    """Three epochs by SGD: sums of some 60 terms in float32, errors below 1e-5.

    With weights in one batch: Keras' loss on PyTorch multiplies them in place by the share of
    unmasked steps of the batch, and its metrics then see these weights.
    """
    sample_weight = None if weights is None else rng.random((6, 5)).astype("float32")
    ours, theirs = network(gpunet), network(keras)
    ours.set_weights(theirs.get_weights())
    histories = []
    for library, model in ((gpunet, ours), (keras, theirs)):
        model.compile(
            library.optimizers.SGD(0.05),
            loss=library.losses.MeanSquaredError(reduction=reduction),
            metrics=["mae"],
            weighted_metrics=["mse"],
        )
        options = {"batch_size": 4 if weights is None else 6, "shuffle": False, "verbose": 0}
        options |= {"sample_weight": sample_weight, "validation_data": (X, Y)}
        history = model.fit(X, Y, epochs=3, **options)
        histories.append(history.history)
    assert set(histories[0]) == set(histories[1])
    for key, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][key], rtol=1e-5, err_msg=key)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_facts_of_a_masked_loss():
    """The divisor is the number of unmasked steps; a sum is not scaled."""
    x = np.array([[[1.0], [2.0], [0.0], [0.0]], [[3.0], [0.0], [0.0], [0.0]]], "float32")
    y = np.zeros((2, 4, 1), "float32")
    for reduction in ("sum_over_batch_size", "sum"):
        values = []
        for library in (gpunet, keras):
            model = library.models.Sequential([library.layers.Masking(input_shape=(4, 1))])
            model.compile("sgd", library.losses.MeanSquaredError(reduction=reduction))
            values.append([model.evaluate(x, y, batch_size=b, verbose=0) for b in (1, 2)])
        np.testing.assert_allclose(values[0], values[1], rtol=1e-6)


@pytest.mark.parametrize("kind", ["Add", "Multiply", "Maximum", "Concatenate", "Average"])
def test_masks_of_merging_layers(kind):
    other = X.copy()
    other[:, 0] = 0
    masks = []
    for library in (gpunet, keras):
        masking = library.layers.Masking()
        merged = getattr(library.layers, kind)()([masking(X), masking(other)])
        masks.append(merged.mask if library is gpunet else keras.src.backend.get_keras_mask(merged))
    np.testing.assert_array_equal(masks[0], np.asarray(masks[1]))


@pytest.mark.parametrize(
    "kind", ["BatchNormalization", "GroupNormalization", "LayerNormalization", "UnitNormalization"]
)
def test_normalization_passes_masks_on(kind):
    """Keras 3.15's layers do, but for RMSNormalization; the batch's statistics leave steps out."""
    options = {"groups": 2} if kind == "GroupNormalization" else {}
    models = []
    for library in (gpunet, keras):
        layers = library.layers
        x = layers.Input((5, 3))
        # Not 0 of steps of zeros, whose length has no gradient in Keras' UnitNormalization.
        dense = layers.Dense(4, activation="tanh", bias_initializer="ones")
        y = dense(layers.Masking()(x))
        y = layers.ReLU()(getattr(layers, kind)(**options)(y))
        models.append(library.Model(x, layers.LSTM(2)(y)))
    models[0].set_weights(models[1].get_weights())
    losses = []
    for library, model in zip((gpunet, keras), models, strict=True):
        model.compile(library.optimizers.SGD(0.05), "mse")
        losses.append([model.train_on_batch(X, Y[:, 0]) for _ in range(3)])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    predicted = [model.predict(X, verbose=0) for model in models]
    np.testing.assert_allclose(*predicted, rtol=1e-4, atol=1e-5)
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
