"""Augmentation: what layers do to images, by fixed factors, and how their numbers are spread."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import layers, random
from gpunet.functions.augmentation import drawn_beta
from gpunet.layers import (
    CutMix,
    Dense,
    Flatten,
    GlobalAveragePooling1D,
    Input,
    Layer,
    Masking,
    MixUp,
    Pipeline,
    RandomBrightness,
    RandomColorJitter,
    RandomContrast,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    RandomGrayscale,
    RandomHue,
    RandomInvert,
    RandomPosterization,
    RandomRotation,
    RandomSaturation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
    Rescaling,
    Solarization,
    augmentation,
    color_augmentation,
    mixing,
)
from gpunet.models import Model, Sequential

rng = np.random.default_rng(0)
X = rng.integers(0, 256, (4, 6, 8, 3)).astype("float32")

MAKE: dict[str, Callable[..., Any]] = {
    "CutMix": CutMix,
    "MixUp": MixUp,
    "RandomBrightness": lambda **o: RandomBrightness(0.5, **o),
    "RandomColorJitter": lambda **o: RandomColorJitter(
        brightness_factor=0.2, contrast_factor=0.5, saturation_factor=0.9, hue_factor=0.5, **o
    ),
    "RandomContrast": lambda **o: RandomContrast(0.9, **o),
    "RandomCrop": lambda **o: RandomCrop(2, 3, **o),
    "RandomErasing": lambda **o: RandomErasing((1.0, 1.0), **o),
    "RandomFlip": RandomFlip,
    "RandomGrayscale": RandomGrayscale,
    "RandomHue": lambda **o: RandomHue(0.5, **o),
    "RandomInvert": RandomInvert,
    "RandomPosterization": lambda **o: RandomPosterization((1, 5), **o),
    "RandomRotation": lambda **o: RandomRotation(0.5, **o),
    "RandomSaturation": lambda **o: RandomSaturation(0.9, **o),
    "RandomShear": lambda **o: RandomShear(0.5, 0.5, **o),
    "RandomTranslation": lambda **o: RandomTranslation(0.5, 0.5, **o),
    "RandomZoom": lambda **o: RandomZoom(0.5, 0.3, **o),
    "Solarization": lambda **o: Solarization(0.5, 0.5, **o),
}
NAMES = list(MAKE)


def in_training(layer: Layer, x: Any = X) -> np.ndarray:
    return layer(x, training=True).numpy()


# All layers


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_images_and_images_differ(name: str) -> None:
    first, again, other = (in_training(MAKE[name](seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    layer = MAKE[name](seed=1)
    np.testing.assert_array_equal(in_training(layer), first)
    assert (in_training(layer) != first).any(), "the next call draws anew"


@pytest.mark.parametrize("name", NAMES)
def test_images_are_as_they_were_outside_of_training(name: str) -> None:
    layer = MAKE[name](seed=1)
    if name != "RandomCrop":
        np.testing.assert_array_equal(layer(X, training=False).numpy(), X)
    model = Sequential([Input(X.shape[1:]), layer])
    expected = layer(X, training=False).numpy()
    np.testing.assert_array_equal(model.predict(X, verbose=0), expected)
    # As in Keras 3.15, a call that nothing says is not in training is in training.
    np.testing.assert_array_equal(MAKE[name](seed=1)(X).numpy(), in_training(MAKE[name](seed=1)))


@pytest.mark.parametrize("name", NAMES)
def test_integers_become_floats(name: str) -> None:
    for training in (False, True):
        y = MAKE[name](seed=1)(X.astype("uint8"), training=training)
        assert y.dtype == np.float32
        expected = MAKE[name](seed=1)(X, training=training).numpy()
        np.testing.assert_array_equal(y.numpy(), expected)
    assert MAKE[name](dtype="float64")(X.astype("uint8")).dtype == np.float64


@pytest.mark.parametrize("name", NAMES)
def test_one_image_and_the_other_layout(name: str) -> None:
    if name not in ("CutMix", "MixUp"):
        single = in_training(MAKE[name](seed=1), X[0])
        np.testing.assert_array_equal(single, in_training(MAKE[name](seed=1), X[:1])[0])
    moved = np.ascontiguousarray(np.moveaxis(X, 3, 1))
    first = in_training(MAKE[name](seed=1, data_format="channels_first"), moved)
    expected = in_training(MAKE[name](seed=1))
    np.testing.assert_array_equal(np.moveaxis(first, 1, 3), expected)
    layer = MAKE[name](data_format="channels_first")
    assert layer.compute_output_shape((None, 3, 6, 8)) == (None, *first.shape[1:])
    assert MAKE[name]().compute_output_shape((6, 8, 3)) == expected.shape[1:]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_those_after_it(name: str) -> None:
    if name in ("CutMix", "MixUp"):
        pytest.skip("it mixes images")
    few = in_training(MAKE[name](seed=1), X[:2])
    many = in_training(MAKE[name](seed=1))[:2]
    np.testing.assert_allclose(few, many, rtol=1e-6, atol=1e-4)  # of float32 cosines in vectors


@pytest.mark.parametrize("name", NAMES)
def test_a_model_with_it_trains_on_batches_of_any_size(name: str) -> None:
    gpunet.random.seed(1)
    x = Input(X.shape[1:])
    y = MAKE[name](seed=1)(x)
    assert y.shape[0] is None
    model = Model(x, Dense(2)(Flatten()(y)))
    model.compile("sgd", "mse")
    history = model.fit(X / 255, np.ones((4, 2)), batch_size=3, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_configurations(name: str) -> None:
    layer = MAKE[name](seed=1, name="augment")
    expected = in_training(MAKE[name](seed=1))
    for other in (
        type(layer).from_config(layer.get_config()),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
    ):
        np.testing.assert_array_equal(in_training(other), expected)
        assert other.name == "augment"


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_through_it_is_refused_by_name(name: str) -> None:
    x = gpunet.Tensor(X, requires_grad=True)
    y = MAKE[name](seed=1)(x, training=True)
    with pytest.raises(ValueError, match="has no gradient in training: put it before the layers"):
        y.sum().backward()
    if name != "RandomCrop":
        MAKE[name]()(x, training=False).sum().backward()
        np.testing.assert_array_equal(x.grad, np.ones_like(X))


# Flips, facts of Keras


def test_flips_of_each_mode() -> None:
    x = rng.normal(size=(200, 2, 3, 1)).astype("float32")
    flips = {"": x, "h": x[:, :, ::-1], "v": x[:, ::-1], "hv": x[:, ::-1, ::-1]}
    for mode, expected in {
        "horizontal": ["", "h"], "vertical": ["", "v"],
        "horizontal_and_vertical": ["", "h", "v", "hv"],
    }.items():  # fmt: skip
        y = in_training(RandomFlip(mode, seed=3), x)
        found = {
            kind: [(one == other).all() for one, other in zip(y, flips[kind], strict=True)]
            for kind in expected
        }
        assert np.array(list(found.values())).sum(0).tolist() == [1] * len(x)
        share = len(x) / len(expected)  # binomial: within 5 standard deviations
        assert all(abs(sum(each) - share) < 5 * share**0.5 for each in found.values())


def test_flips_are_none_in_inference() -> None:
    """Row of facts: identity in inference."""
    np.testing.assert_array_equal(RandomFlip()(X, training=False).numpy(), X)
    model = Sequential([Input(X.shape[1:]), RandomFlip()])
    np.testing.assert_array_equal(model.predict(X, verbose=0), X)


# Rotation, zoom, translation, shear


def test_a_quarter_of_a_turn_is_exact_and_counter_clockwise() -> None:
    x = rng.normal(size=(2, 6, 6, 3)).astype("float32")
    for quarters in (1, 2, 3, 4, -1):
        y = in_training(RandomRotation((quarters / 4, quarters / 4)), x)
        np.testing.assert_array_equal(y, np.rot90(x, quarters, axes=(1, 2)))


def test_rotations_are_over_the_whole_circle() -> None:
    """Row of facts: a factor of 0.5 is -180 to 180 degrees, positive counter-clockwise."""
    layer = RandomRotation(0.5, seed=4)
    assert layer.bounds == (-0.5, 0.5)
    assert (layer.fill_mode, layer.interpolation) == ("reflect", "bilinear")
    x = np.zeros((400, 41, 41, 1), "float32")
    x[:, 20, 35] = 1  # to the right of the center
    y = in_training(RandomRotation(0.5, fill_mode="constant", seed=4), x)[..., 0]
    rows, columns = np.mgrid[:41, :41]
    weights = y / y.sum((1, 2), keepdims=True)
    up = 20 - (weights * rows).sum((1, 2))
    right = (weights * columns).sum((1, 2)) - 20
    angles = np.arctan2(up, right)
    counts, _ = np.histogram(angles, 8, (-np.pi, np.pi))
    assert counts.min() > 50 - 5 * 50**0.5
    assert counts.max() < 50 + 5 * 50**0.5
    drawn = random.bits(random.Generator(4).next_key(), 400) >> np.uint32(8)
    expected = (drawn * 2.0**-24 - 0.5) * 2 * np.pi
    np.testing.assert_allclose(angles, expected, atol=0.02)  # of a center of four pixels


def test_zoom_6_by_6_becomes_4_by_4() -> None:
    """Row of facts: a zoom of 0.5 divides the size by 1.5."""
    x = np.ones((1, 6, 6, 1), "float32")
    y = in_training(RandomZoom((0.5, 0.5), fill_mode="constant"), x)[0, :, :, 0]
    expected = np.zeros((6, 6))
    expected[1:5, 1:5] = 1
    np.testing.assert_array_equal(y, expected)
    x = np.arange(36, dtype="float32").reshape(1, 6, 6, 1)
    y = in_training(RandomZoom((0.5, 0.5), fill_mode="constant"), x)[0, :, :, 0]
    np.testing.assert_allclose(y[1, 1:5], [1.75, 3.25, 4.75, 6.25])
    layer = RandomZoom((0.2, 0.2))
    assert (layer.fill_mode, layer.interpolation) == ("reflect", "bilinear")


def test_zoom_of_each_axis() -> None:
    x = np.ones((1, 6, 6, 1), "float32")
    y = in_training(RandomZoom((0.5, 0.5), (0.0, 0.0), fill_mode="constant"), x)
    assert y.sum() == 4 * 6
    larger = in_training(RandomZoom((-0.5, -0.5), interpolation="nearest"), X[:, :, :6])
    np.testing.assert_array_equal(larger[:, 2:4, 2:4], X[:, 2:4, 2:4])
    drawn = RandomZoom(0.4, seed=2)
    heights = drawn.matrices(X, random.Generator(1).next_key())
    np.testing.assert_array_equal(heights[:, 0], heights[:, 4])  # the shape is kept


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("constant", [9, 9, 1, 2, 3]), ("nearest", [1, 1, 1, 2, 3]),
        ("wrap", [4, 5, 1, 2, 3]), ("reflect", [2, 1, 1, 2, 3]),
    ],
)  # fmt: skip
def test_translation_and_each_fill_mode(mode: str, expected: list[float]) -> None:
    x = np.arange(1.0, 6).reshape(1, 1, 5, 1)
    layer = RandomTranslation(0.0, (0.4, 0.4), fill_mode=mode, fill_value=9.0)
    np.testing.assert_allclose(in_training(layer, x).ravel(), expected)
    upright = RandomTranslation((0.4, 0.4), 0.0, fill_mode=mode, fill_value=9.0)
    turned = in_training(upright, x.transpose(0, 2, 1, 3))
    np.testing.assert_allclose(turned.ravel(), expected)


def test_shears_move_rows_by_their_place() -> None:
    x = np.zeros((40, 4, 9, 1), "float32")
    x[:, :, 4] = 1
    y = in_training(RandomShear((1.0, 1.0), seed=1, fill_mode="constant"), x)[..., 0]
    for image in y:
        places = image.argmax(1) - 4
        assert places.tolist() in ([0, 1, 2, 3], [0, -1, -2, -3])
    assert len({image.tobytes() for image in y}) == 2


# Crops, facts of Keras


def test_crops_are_windows_at_the_same_place_of_each_image() -> None:
    layer = RandomCrop(4, 5, seed=3)
    windows = {
        (top, left): X[:, top : top + 4, left : left + 5] for top in range(3) for left in range(4)
    }
    found = []
    for _ in range(100):
        y = in_training(layer)
        found += [place for place, window in windows.items() if (window == y).all()]
    assert len(found) == 100
    assert set(found) == set(windows)  # one of 12 is missed once in 500 times: the seed is fixed


def test_a_crop_as_high_as_the_image_still_moves_sideways() -> None:
    layer = RandomCrop(6, 5, seed=3)
    assert len({in_training(layer).tobytes() for _ in range(40)}) == 4


def test_crops_at_inference_are_resized_and_cropped() -> None:
    """Row of facts: what Keras documents, and what its output_shape says."""
    layer = RandomCrop(3, 3)
    y = layer(X, training=False)
    assert y.shape == (4, 3, 3, 3)
    window = X[:, :, 1:7]  # the largest square of the center, 6 x 6, halved
    expected = window.reshape(4, 3, 2, 3, 2, 3).mean((2, 4))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)
    model = Sequential([Input(X.shape[1:]), RandomCrop(3, 3), Flatten(), Dense(2)])
    model.compile("sgd", "mse")
    assert model.layers[0].output.shape == (None, 3, 3, 3)
    assert np.isfinite(model.evaluate(X, np.ones((4, 2)), verbose=0))


def test_a_larger_crop_is_cropped_to_the_shape_then_resized() -> None:
    """Row of facts, as of CenterCrop: [1, 1.25, 1.75, 2], not [0.75, 1.25, 1.75, 2.25]."""
    x = np.arange(8.0).reshape(1, 2, 4, 1)
    for training in (False, True):
        y = RandomCrop(4, 4)(x, training=training).numpy()
        np.testing.assert_allclose(y[0, 0, :, 0], [1, 1.25, 1.75, 2])
    assert RandomCrop(2, 4)(x, training=False).numpy().ravel().tolist() == list(range(8))


# Colors


def test_contrast_is_about_the_mean_of_each_channel() -> None:
    layer = RandomContrast((0.0, 0.5), (-1e6, 1e6), seed=1)
    y = in_training(layer)
    mean = X.mean((1, 2), keepdims=True, dtype="float64")
    factors = (y - mean) / (X - mean)
    factors = factors.reshape(4, -1)
    np.testing.assert_allclose(factors, factors[:, :1].repeat(factors.shape[1], 1), rtol=1e-3)
    assert ((factors[:, 0] >= 1) & (factors[:, 0] <= 1.5)).all()
    assert RandomContrast(0.3).bounds == (0.7, 1.3)
    clipped = in_training(RandomContrast((1.0, 1.0), (50, 200), seed=1))
    assert clipped.min() >= 50
    assert clipped.max() <= 200


def test_brightness_adds_a_part_of_the_range_and_clips() -> None:
    y = in_training(RandomBrightness((0.2, 0.2)))
    np.testing.assert_allclose(y, np.minimum(X + 51, 255), rtol=1e-6)
    y = in_training(RandomBrightness((-0.5, -0.5), (-255, 255)))
    np.testing.assert_allclose(y, X - 255, atol=1e-4)


def test_factors_are_spread_evenly() -> None:
    x = np.zeros((2000, 1, 1, 1), "float32")
    y = in_training(RandomBrightness(0.5, (-1, 1), seed=1), x).ravel()
    counts, _ = np.histogram(y, 10, (-1, 1))
    assert counts.sum() == 2000
    assert abs(counts - 200).max() < 5 * 200**0.5


def test_gray_images() -> None:
    y = in_training(RandomGrayscale(1.0))
    gray = X @ np.array([0.2989, 0.587, 0.114])
    np.testing.assert_allclose(y, gray[..., None].repeat(3, -1), rtol=1e-5)
    many = rng.normal(size=(400, 1, 1, 3)).astype("float32")
    changed = (in_training(RandomGrayscale(0.25, seed=1), many) != many).any((1, 2, 3)).sum()
    assert abs(changed - 100) < 5 * 75**0.5
    with pytest.raises(ValueError, match="expects images of 3 channels, red, green and blue"):
        RandomGrayscale()(X[..., :2])


def test_saturation_and_hue() -> None:
    np.testing.assert_allclose(in_training(RandomSaturation((0.5, 0.5))), X, atol=1e-3)
    gray = in_training(RandomSaturation((0.0, 0.0)))
    np.testing.assert_allclose(gray, X.max(3, keepdims=True).repeat(3, 3))
    pure = in_training(RandomSaturation((1.0, 1.0)))
    np.testing.assert_allclose(pure.min(3), 0, atol=1e-4)
    np.testing.assert_allclose(pure.max(3), X.max(3))
    # Half of the circle of colors: red becomes cyan, either way round.
    red = np.array([[[[200.0, 0, 0], [10, 10, 10]]]], "float32")
    y = in_training(RandomHue((1.0, 1.0), seed=1), red)
    np.testing.assert_allclose(y[0, 0], [[0, 200, 200], [10, 10, 10]], atol=1e-4)


def test_jitter_is_each_change_in_turn() -> None:
    fixed = {"brightness_factor": (0.1, 0.1), "contrast_factor": (0.0, 0.0)}
    y = in_training(RandomColorJitter(**fixed, saturation_factor=(0.3, 0.3)))
    parts = Pipeline(
        [RandomBrightness((0.1, 0.1)), RandomContrast((0.0, 0.0)), RandomSaturation((0.3, 0.3))]
    )
    np.testing.assert_allclose(y, in_training(parts), rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(in_training(RandomColorJitter()), X)
    assert in_training(RandomColorJitter(brightness_factor=0.1), X[..., :1]).shape[-1] == 1


def test_inversion_posterization_and_solarization() -> None:
    np.testing.assert_array_equal(in_training(RandomInvert((1.0, 1.0))), 255 - X)
    y = in_training(RandomPosterization(3))
    np.testing.assert_array_equal(y, X // 32 * 32)
    y = in_training(Solarization((0.1, 0.1), (0.5, 0.5)))
    added = np.minimum(X + 25.5, 255)
    np.testing.assert_allclose(y, np.where(added < 127.5, added, 255 - added), atol=1e-4)


# Mixtures


def test_mixup_mixes_images_and_labels_alike() -> None:
    x, labels = np.eye(64, dtype="float32").reshape(64, 8, 8, 1), np.eye(64)
    found = MixUp(0.5, seed=1)({"images": x, "labels": labels}, training=True)
    images, rows = found["images"].numpy().reshape(64, 64), found["labels"].numpy()
    np.testing.assert_allclose(images, rows, atol=1e-6)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
    partners = rows - np.diag(np.diag(rows))
    assert ((partners > 1e-6).sum(0) <= 1).all()  # each image is mixed into one other at most


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 3.0])
def test_weights_have_the_distribution_beta(alpha: float) -> None:
    """Mean 1/2 and variance 1 / (8 alpha + 4); within 6 standard errors of each."""
    generator = random.Generator(5)
    keys = generator.next_key(), generator.next_key()
    weights = drawn_beta(np.zeros((20000, 1, 1, 1), "float32"), keys, alpha)
    variance = 1 / (8 * alpha + 4)
    assert abs(weights.mean() - 0.5) < 6 * (variance / weights.size) ** 0.5
    assert abs(weights.var() - variance) < 6 * variance / weights.size**0.5
    assert weights.min() >= 0
    assert weights.max() <= 1


def test_cutmix_replaces_boxes_and_mixes_labels_by_their_area() -> None:
    x = np.arange(1.0, 33)[:, None, None, None] * np.ones((1, 10, 12, 1))
    data = {"images": x.astype("float32"), "labels": np.eye(32)}
    found = CutMix((1.0, 1.0), seed=1)(data, training=True)
    images, rows = found["images"].numpy()[..., 0], found["labels"].numpy()
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-6)
    changed = 0
    for number, (image, row) in enumerate(zip(images, rows, strict=True)):
        others = set(image.ravel()) - {number + 1.0}
        assert len(others) <= 1
        if others:
            changed += 1
            inside = image != number + 1
            top, left = inside.any(1), inside.any(0)
            np.testing.assert_array_equal(inside, top[:, None] & left[None])
            # A side of a box, in pixels, differs from the real one by less than one.
            height, width = top.sum(), left.sum()
            part = 1 - row[number]
            assert (height - 1) * (width - 1) / 120 <= part <= (height + 1) * (width + 1) / 120
            assert row[int(others.pop()) - 1] == pytest.approx(part, abs=1e-6)
    assert changed > 10


def test_erasing_fills_a_box() -> None:
    x = np.full((50, 20, 20, 3), 100.0, "float32")
    y = in_training(RandomErasing((1.0, 1.0), (0.1, 0.5), fill_value=(1, 2, 3), seed=1), x)
    for image in y:
        inside = (image == [1, 2, 3]).all(-1)
        assert ((image == 100).all(-1) | inside).all()
        assert 5 <= inside.any(0).sum() <= 15  # 20 sqrt(0.1) to 20 sqrt(0.5), give or take one
        np.testing.assert_array_equal(inside, inside.any(1)[:, None] & inside.any(0)[None])
    noise = in_training(RandomErasing((1.0, 1.0), (1.0, 1.0), seed=1), x)
    assert noise.min() == 0
    assert noise.max() == 255
    erased = (in_training(RandomErasing((0.3, 0.3), seed=1, fill_value=0), x) != x).any((1, 2, 3))
    assert abs(erased.sum() - 15) < 5 * 10.5**0.5
    with pytest.raises(ValueError, match="expected images of 3 channels, as the color"):
        RandomErasing(fill_value=(1, 2, 3))(X[..., :1], training=True)


# Pipelines, and data with labels


def test_a_pipeline_is_its_layers_in_turn() -> None:
    def parts() -> list[Layer]:
        return [RandomFlip(seed=1), RandomRotation(0.2, seed=2), RandomContrast(0.3, seed=3)]

    expected = X
    for layer in parts():
        expected = in_training(layer, expected)
    pipeline = Pipeline(parts())
    np.testing.assert_array_equal(pipeline(X.astype("uint8")).numpy(), expected)
    np.testing.assert_array_equal(pipeline(X, training=False).numpy(), X)
    assert pipeline.layers[1].bounds == (-0.2, 0.2)
    assert pipeline.compute_output_shape((None, 6, 8, 3)) == (None, 6, 8, 3)
    assert Pipeline([RandomCrop(2, 3)]).compute_output_shape((None, 6, 8, 3)) == (None, 2, 3, 3)


def test_a_pipeline_in_a_model_and_over_batches() -> None:
    model = Sequential(
        [Input(X.shape[1:]), Pipeline([RandomFlip(), RandomCrop(4, 4)]), Flatten(), Dense(2)]
    )
    model.compile("sgd", "mse")
    model.fit(X / 255, np.ones((4, 2)), batch_size=3, verbose=0)
    assert model.predict(X / 255, verbose=0).shape == (4, 2)
    pipeline = Pipeline([MixUp(seed=1), RandomFlip(seed=2)])
    data = {"images": X, "labels": np.eye(4)}
    batches = list(map(pipeline, ({key: value[:2] for key, value in data.items()}, data)))
    assert [batch["images"].shape[0] for batch in batches] == [2, 4]
    assert batches[1]["labels"].shape == (4, 4)
    with pytest.raises(ValueError, match="expects a list of layers"):
        Pipeline([abs])


def test_a_pipeline_passes_masks_on() -> None:
    x, mask = np.ones((2, 3, 4), "float32"), np.array([[True, True, False]] * 2)
    average = GlobalAveragePooling1D()
    expected = Pipeline([Masking(2.0), Rescaling(0.5), average])(x, mask=mask).numpy()
    np.testing.assert_array_equal(expected, average(0.5 * x, mask=mask).numpy())
    pipeline = Pipeline([Masking(2.0), Rescaling(0.5)])
    x[:, 2] = 2.0
    np.testing.assert_array_equal(pipeline(x).mask, mask)


def test_labels_stay_as_they_are_where_images_move() -> None:
    labels = np.array([1, 2, 3, 0])
    found = RandomFlip(seed=1)({"images": X, "labels": labels}, training=True)
    np.testing.assert_array_equal(found["labels"].numpy(), labels)
    np.testing.assert_array_equal(found["images"].numpy(), in_training(RandomFlip(seed=1)))


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomFlip("diagonal"), "mode must be one of 'horizontal'"),
        (lambda: RandomRotation(1.5), "factor must be a number from -1 to 1, or a pair"),
        (lambda: RandomRotation((0.1, 0.2, 0.3)), "or a pair of such numbers to draw between"),
        (lambda: RandomRotation("0.1"), "factor must be a number from -1 to 1"),
        (lambda: RandomRotation(0.1, fill_mode="mirror"), "fill_mode must be one of 'constant'"),
        (lambda: RandomRotation(0.1, interpolation="cubic"), "interpolation must be one of"),
        (lambda: RandomZoom(-1.0), "height_factor must be a number above -1 to 1"),
        (lambda: RandomZoom(0.1, (0, 2)), "width_factor must be a number above -1 to 1"),
        (lambda: RandomTranslation(0.1, float("nan")), "width_factor must be a number"),
        (lambda: RandomContrast(-0.5), "factor must be a number from 0 to 1"),
        (lambda: RandomBrightness(0.1, 255), "value_range must be two different numbers"),
        (lambda: RandomBrightness(0.1, (1, 1)), "value_range must be two different numbers"),
        (lambda: RandomCrop(0, 3), "height must be a positive integer"),
        (lambda: RandomGrayscale(2), "factor must be a number from 0 to 1"),
        (lambda: RandomPosterization(9), "factor must be a number from 1 to 8"),
        (lambda: MixUp(0), "alpha must be above 0"),
        (lambda: RandomErasing(fill_value=(1, 2)), "fill_value must be a number, three of them"),
        (lambda: RandomFlip(data_format="nhwc"), "data_format must be one of"),
        (lambda: RandomFlip(bounding_box_format="xyxy"), "received bounding_box_format: leave"),
        (lambda: RandomFlip()(np.ones((3, 4))), r"expects images of shape \(batch, height"),
        (
            lambda: RandomFlip()({"images": X, "bounding_boxes": np.ones((4, 1, 4))}),
            "bounding_boxes are not moved with the images here: leave 'bounding_boxes' out",
        ),
        (
            lambda: RandomFlip()({"images": X, "segmentation_masks": X}),
            "segmentation_masks are not moved with the images here",
        ),
        (lambda: RandomFlip()({"labels": np.ones(3)}), "expects images of shape"),
        (
            lambda: CutMix()({"images": X, "labels": np.eye(len(X) + 1)}),
            "expects one row of labels for each of the 4 images, received labels of shape",
        ),
        (
            lambda: MixUp()({"images": X, "labels": np.arange(4)}),
            "expects one row for each image, received labels of shape",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_every_layer_of_the_family_is_tested() -> None:
    family = {*augmentation.__all__, *color_augmentation.__all__, *mixing.__all__}
    assert family == set(MAKE)
    assert family < set(layers.__all__)
