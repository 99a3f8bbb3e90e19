"""Layers of random numbers: what they change, when, and by which numbers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import check_gradients, functions, random
from gpunet.layers import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    Input,
    Layer,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)

rng = np.random.default_rng(0)

# How to make a layer, and the shape of its inputs.
LAYERS: list[tuple[Callable[..., Layer], tuple[int, ...]]] = [
    (lambda **options: Dropout(0.4, **options), (6, 5)),
    (lambda **options: Dropout(0.4, noise_shape=(None, 1, 5), **options), (6, 4, 5)),
    (lambda **options: AlphaDropout(0.4, **options), (6, 5)),
    (lambda **options: AlphaDropout(0.4, (None, 1), **options), (6, 5)),
    (lambda **options: GaussianNoise(0.4, **options), (6, 5)),
    (lambda **options: GaussianDropout(0.4, **options), (6, 5)),
    (lambda **options: SpatialDropout1D(0.4, **options), (6, 3, 4)),
    (lambda **options: SpatialDropout2D(0.4, **options), (6, 3, 2, 4)),
    (lambda **options: SpatialDropout2D(0.4, "channels_first", **options), (6, 3, 2, 4)),
    (lambda **options: SpatialDropout3D(0.4, **options), (6, 3, 2, 1, 4)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_training_alone_changes_the_input(
    make: Callable[..., Layer], shape: tuple[int, ...]
) -> None:
    x, layer = rng.normal(size=shape).astype("float32"), make()
    np.testing.assert_array_equal(layer(x).value, x)
    first, second = (layer(x, training=True).value for _ in range(2))
    assert first.dtype == np.float32
    assert (first != x).any()
    assert (first != second).any()
    assert layer(Input(shape[1:]), training=True).shape == (None, *shape[1:])
    check_gradients(make(seed=2), x.astype("float64"), training=True)


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_seeds_and_copies_repeat_the_numbers(
    make: Callable[..., Layer], shape: tuple[int, ...]
) -> None:
    x = rng.normal(size=shape).astype("float32")
    layer, same, other = make(seed=5), make(seed=5), make(seed=6)
    layer(x, training=True)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    y = layer(x, training=True).value
    for each in copies:
        np.testing.assert_array_equal(each(x, training=True).value, y)
    same(x, training=True)
    np.testing.assert_array_equal(same(x, training=True).value, y)
    other(x, training=True)
    assert (other(x, training=True).value != y).any()
    again = type(layer).from_config(layer.get_config())
    again(x, training=True)
    np.testing.assert_array_equal(again(x, training=True).value, y)
    random.seed(3)
    unseeded = make()(x, training=True).value
    random.seed(3)
    np.testing.assert_array_equal(make()(x, training=True).value, unseeded)


@pytest.mark.parametrize(
    ("layer", "shape", "shared"),
    [
        (Dropout(0.5, (None, 1, None)), (20, 7, 10), (1,)),
        (Dropout(0.5, [1, 7, 1]), (20, 7, 10), (0, 2)),
        (SpatialDropout1D(0.5), (20, 7, 10), (1,)),
        (SpatialDropout2D(0.5), (20, 3, 4, 10), (1, 2)),
        (SpatialDropout2D(0.5, data_format="channels_first"), (20, 10, 3, 4), (2, 3)),
        (SpatialDropout3D(0.5), (20, 3, 4, 2, 10), (1, 2, 3)),
        (SpatialDropout3D(0.5, "channels_first"), (20, 10, 3, 4, 2), (2, 3, 4)),
    ],
)
def test_elements_share_their_fate_along_axes(
    layer: Layer, shape: tuple[int, ...], shared: tuple[int, ...]
) -> None:
    y = layer(np.ones(shape, "float32"), training=True).value
    assert set(np.unique(y)) == {0, 2}
    assert (np.ptp(y, axis=shared) == 0).all()


def test_what_is_dropped_is_0_whatever_it_was() -> None:
    x = np.full((40, 3), np.inf, "float32")
    y = Dropout(0.5, (None, 1), seed=1)(x, training=True).value
    assert set(np.unique(y)) == {0, np.inf}
    for dropout in (Dropout(1.0), Dropout(1.0, (None, 1))):
        assert not dropout(np.ones((40, 3), "float32"), training=True).value.any()


def test_means_and_variances() -> None:
    """Of 200,000 numbers: five standard deviations of the mean are 0.012, of the variance 0.03."""
    x = rng.normal(size=(400, 500)).astype("float32")
    x = (x - x.mean()) / x.std()
    alpha = AlphaDropout(0.3, seed=1)(x, training=True).value
    assert abs(alpha.mean()) < 0.012
    assert abs(alpha.var() - 1) < 0.03
    noise = GaussianNoise(0.5, seed=1)(x, training=True).value - x
    assert abs(noise.mean()) < 0.012
    assert abs(noise.std() - 0.5) < 0.012
    factors = GaussianDropout(0.2, seed=1)(np.ones_like(x), training=True).value
    assert abs(factors.mean() - 1) < 0.012
    assert abs(factors.std() - 0.5) < 0.012  # sqrt(0.2 / 0.8)
    kept = Dropout(0.3, seed=1)(x, training=True).value != 0
    assert abs(kept.mean() - 0.7) < 0.012


def test_rates_of_0_draw_nothing() -> None:
    x, state = np.ones((2, 3), "float32"), random.get_state()
    for layer in (Dropout(0), AlphaDropout(0), GaussianNoise(0), GaussianDropout(0)):
        np.testing.assert_array_equal(layer(x, training=True).value, x)
    assert random.get_state() == state


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Dropout(1.1), ValueError, "Dropout: rate must be a number from 0 to 1, received"),
        (lambda: Dropout(-0.1), ValueError, "from 0 to 1, received -0.1"),
        (lambda: Dropout("half"), ValueError, "received 'half'"),
        (lambda: Dropout(0.5, noise_shape="ab"), ValueError, "noise_shape must hold positive"),
        (lambda: Dropout(0.5, noise_shape=(0, 1)), ValueError, "noise_shape must hold positive"),
        (lambda: Dropout(0.5, seed=-1), ValueError, "seed"),
        (
            lambda: Dropout(0.5, (None, 2))(np.ones((2, 3)), training=True),
            ValueError, r"'dropout'.*received \(2, 2\) for an input of shape \(2, 3\)",
        ),
        (
            lambda: Dropout(0.5, (None, 1, None))(np.ones((2, 3)), training=True),
            ValueError, r"noise_shape.*shape \(2, 3\)",
        ),
        (lambda: GaussianDropout(1), ValueError, "GaussianDropout: rate must be .* below 1"),
        (lambda: AlphaDropout(1.0), ValueError, "AlphaDropout: rate must be .* below 1"),
        (lambda: GaussianNoise(1.5), ValueError, "GaussianNoise: stddev must be .* 0 to 1"),
        (lambda: SpatialDropout1D(2), ValueError, "SpatialDropout1D: rate"),
        (lambda: SpatialDropout2D(0.5, "first"), ValueError, "data_format must be one of"),
        (lambda: SpatialDropout2D(0.5)(np.ones((2, 3, 4))), ValueError, "inputs of 4 dimensions"),
        (
            lambda: functions.alpha_dropout(np.ones(3), random.next_key(), rate=1),
            ValueError, "rate below 1",
        ),
        (
            lambda: functions.gaussian_dropout(np.ones(3), random.next_key(), rate=1),
            ValueError, "from 0 to below 1",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()
