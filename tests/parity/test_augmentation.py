"""Augmentation as Keras on PyTorch does it, where its numbers are fixed by ranges of one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import layers
from gpunet.functions.augmentation import contrast

keras = pytest.importorskip("keras")
pytest.importorskip("torch")

rng = np.random.default_rng(0)
X = rng.integers(0, 256, (3, 9, 12, 3)).astype("float32")

# PyTorch mirrors about the last pixel for 'reflect', so that it is no case here.
WARPS = [
    (name, {**factors, "fill_mode": mode, "interpolation": how, "fill_value": 5.0})
    for name, factors in (
        ("RandomRotation", {"factor": (0.07, 0.07)}),
        ("RandomRotation", {"factor": (-0.4, -0.4)}),
        ("RandomZoom", {"height_factor": (0.3, 0.3)}),
        ("RandomZoom", {"height_factor": (-0.4, -0.4), "width_factor": (0.2, 0.2)}),
        ("RandomTranslation", {"height_factor": (0.23, 0.23), "width_factor": (-0.31, -0.31)}),
    )
    for mode in ("constant", "nearest", "wrap")
    for how in ("bilinear", "nearest")
]
COLORS: list[tuple[str, dict[str, Any]]] = [
    ("RandomBrightness", {"factor": (0.3, 0.3)}),
    ("RandomBrightness", {"factor": (-0.3, -0.3), "value_range": (0, 200)}),
    ("RandomContrast", {"factor": (0.0, 0.0)}),
    ("RandomGrayscale", {"factor": 1.0}),
    ("RandomGrayscale", {"factor": 0.0}),
    ("RandomSaturation", {"factor": (0.2, 0.2)}),
    ("RandomInvert", {"factor": (1.0, 1.0)}),
    ("RandomPosterization", {"factor": (3, 3)}),
    ("Solarization", {"addition_factor": (0.0, 0.0), "threshold_factor": (0.0, 0.0)}),
    ("RandomErasing", {"factor": (1.0, 1.0), "scale": (1.0, 1.0), "fill_value": 9}),
    ("RandomErasing", {"factor": (0.0, 0.0)}),
    ("RandomColorJitter", {"brightness_factor": (0.2, 0.2), "saturation_factor": (0.3, 0.3)}),
]


@pytest.mark.parametrize(("name", "arguments"), WARPS + COLORS, ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_fixed_numbers_give_the_same_images(
    name: str, arguments: dict[str, Any], data_format: str
) -> None:
    if name == "RandomColorJitter" and data_format == "channels_first":
        pytest.skip("Keras 3.15 takes the last axis for the colors in any case")
    arguments = {**arguments, "data_format": data_format}
    x = X if data_format == "channels_last" else np.ascontiguousarray(np.moveaxis(X, 3, 1))
    ours, theirs = getattr(layers, name)(**arguments), getattr(keras.layers, name)(**arguments)
    found, expected = ours(x, training=True), theirs(x, training=True)
    # Places between pixels are rounded in float32: some 1e-6 of a pixel, times steps of 255.
    np.testing.assert_allclose(
        found.numpy(), keras.ops.convert_to_numpy(expected), rtol=1e-5, atol=3e-3
    )
    shape = (None, *x.shape[1:])
    assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))
    np.testing.assert_array_equal(ours(x, training=False).numpy(), x)


def test_contrast_for_the_factor_that_keras_drew() -> None:
    theirs = keras.layers.RandomContrast((0.5, 0.5), value_range=(-1e4, 1e4), seed=1)
    expected = keras.ops.convert_to_numpy(theirs(X, training=True))
    chosen = expected.std((1, 2)).mean(1) / X.std((1, 2)).mean(1)
    found = contrast(X, chosen, (-1e4, 1e4), np.dtype("float32"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-3)


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_mixtures_have_the_shapes_and_sums_of_keras(name: str) -> None:
    data = {"images": X, "labels": np.eye(3, dtype="float32")}
    found = getattr(layers, name)(seed=1)(dict(data), training=True)
    expected = getattr(keras.layers, name)(seed=1)(dict(data), training=True)
    for key in data:
        assert tuple(found[key].shape) == tuple(expected[key].shape)
    np.testing.assert_allclose(found["labels"].numpy().sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", [
    "RandomFlip", "RandomGrayscale", "MixUp", "CutMix", "RandomErasing", "RandomInvert",
    "Solarization", "RandomColorJitter", "RandomShear",
])  # fmt: skip
def test_configurations_have_the_arguments_of_keras(name: str) -> None:
    ours = getattr(layers, name)().get_config()
    theirs = getattr(keras.layers, name)().get_config()
    left_out = {"bounding_box_format", "dtype", "name", "trainable", "factor"}
    assert set(theirs) - left_out <= set(ours) | {"data_format"}


def test_a_call_without_training_changes_images_as_in_keras() -> None:
    arguments = {"height_factor": (0.25, 0.25), "width_factor": (0.25, 0.25)}
    ours, theirs = (
        module.RandomTranslation(**arguments, fill_mode="nearest")
        for module in (layers, keras.layers)
    )
    expected = keras.ops.convert_to_numpy(theirs(X))
    assert (expected != X).any()
    np.testing.assert_allclose(ours(X).numpy(), expected, atol=1e-3)
