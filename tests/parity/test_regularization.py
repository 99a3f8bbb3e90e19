"""Layers of random numbers: other numbers than Keras', of the same distributions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import layers

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

# The class, its arguments, the shape of its inputs. Without AlphaDropout(1) and GaussianDropout(1),
# which Keras 3.15 accepts and where it divides by zero.
CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Dropout", {"rate": 0.3}, (40, 30)),
    ("Dropout", {"rate": 0.3, "noise_shape": (None, 1, None)}, (40, 3, 30)),
    ("Dropout", {"rate": 1.0}, (4, 3)),
    ("AlphaDropout", {"rate": 0.3}, (40, 30)),
    ("AlphaDropout", {"rate": 0.6, "noise_shape": (None, 1)}, (400, 3)),
    ("SpatialDropout1D", {"rate": 0.3}, (40, 3, 30)),
    ("SpatialDropout2D", {"rate": 0.3}, (40, 2, 3, 30)),
    ("SpatialDropout2D", {"rate": 0.3, "data_format": "channels_first"}, (40, 30, 3, 2)),
    ("SpatialDropout3D", {"rate": 0.3, "data_format": "channels_first"}, (40, 30, 3, 1, 2)),
    ("SpatialDropout3D", {"rate": 0.3}, (40, 3, 1, 2, 30)),
]


@pytest.mark.parametrize(("name", "arguments", "shape"), CASES, ids=str)
def test_values_and_where_they_are_shared(
    name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    x = np.ones(shape, "float32")
    ours, theirs = getattr(layers, name)(**arguments), getattr(keras.layers, name)(**arguments)
    found = ours(x, training=True).value
    expected = theirs(torch.tensor(x), training=True).cpu().numpy()
    np.testing.assert_allclose(np.unique(found), np.unique(expected), rtol=1e-6)
    for axis in range(len(shape)):
        assert np.ptp(found, axis).any() == np.ptp(expected, axis).any()
    np.testing.assert_array_equal(ours(x).value, theirs(torch.tensor(x)).cpu().numpy())
    assert ours.supports_masking == theirs.supports_masking


@pytest.mark.parametrize(
    ("name", "amount"), [("GaussianNoise", 0.3), ("GaussianDropout", 0.3), ("GaussianNoise", 1)]
)
def test_noise_has_the_same_spread(name: str, amount: float) -> None:
    """Standard deviations of 250,000 numbers, each known to 0.0015 of itself: 6 of them."""
    x = np.full((500, 500), 2, "float32")
    ours, theirs = getattr(layers, name)(amount), getattr(keras.layers, name)(amount)
    found = ours(x, training=True).value
    expected = theirs(torch.tensor(x), training=True).cpu().numpy()
    np.testing.assert_allclose(found.std(), expected.std(), rtol=0.013)
    np.testing.assert_allclose(found.mean(), expected.mean(), atol=0.013 * found.std())


@pytest.mark.parametrize(
    ("name", "amount"),
    [("Dropout", 1.1), ("AlphaDropout", -0.1), ("GaussianNoise", 1.5), ("GaussianDropout", 1.1)],
)
def test_amounts_out_of_range_are_refused(name: str, amount: float) -> None:
    for module in (layers, keras.layers):
        with pytest.raises(ValueError, match=r"rate|stddev"):
            getattr(module, name)(amount)


def test_a_share_of_1_leaves_nothing_of_dropout_and_is_refused_elsewhere() -> None:
    """Keras 3.15: Dropout(1.0) gives zeros; GaussianDropout(1.0) fails in its first step."""
    with pytest.raises(ZeroDivisionError):
        keras.layers.GaussianDropout(1.0)(torch.ones(2), training=True)
    with pytest.raises(ValueError, match="below 1"):
        layers.GaussianDropout(1.0)


@pytest.mark.parametrize("with_layer", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_training_with_losses_of_outputs(with_layer: bool) -> None:
    """Three epochs of SGD, in batches of 8, 8 and 4."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(20, 6)).astype("float32"), rng.integers(0, 3, 20)
    models = []
    for module in (gpunet, keras):
        of = module.layers
        regularizer = None if with_layer else module.regularizers.L1L2(0.02, 0.01)
        between = [of.ActivityRegularization(0.02, 0.01)] if with_layer else []
        models.append(
            module.Sequential(
                [
                    module.Input((6,)),
                    of.Dense(5, activation="tanh", activity_regularizer=regularizer),
                    *between,
                    of.Dense(3, activation="softmax"),
                ]
            )
        )
    ours, theirs = models
    ours.set_weights(theirs.get_weights())
    options = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
    losses = []
    for model, module in zip(models, (gpunet, keras), strict=True):
        model.compile(module.optimizers.SGD(0.3), "sparse_categorical_crossentropy")
        history = model.fit(x, y, validation_split=0.2, **options).history
        losses.append([*history["loss"], *history["val_loss"]])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for our, their in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-5)
