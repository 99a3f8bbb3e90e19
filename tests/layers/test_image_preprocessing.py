"""Images of other sizes: values of Keras, gradients, integers, layouts, wrong arguments."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet import check_gradients, functions
from gpunet.layers import CenterCrop, Input, Layer, Resizing
from gpunet.models import Model

rng = np.random.default_rng(0)
SQUARE = np.array([[0, 1], [2, 3]], "float32")[None, ..., None]
IMAGES = rng.normal(size=(2, 7, 5, 3)).astype("float32")
METHODS = ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area")


@pytest.mark.parametrize(
    ("interpolation", "first_row"),
    [
        ("bilinear", [0, 0.25, 0.75, 1]),
        ("nearest", [0, 0, 1, 1]),
        ("area", [0, 0, 1, 1]),
        ("bicubic", [-0.2647, 0.0307, 0.6164, 0.9118]),
    ],
)
def test_enlarged(interpolation: str, first_row: list[float]) -> None:
    """Keras 3.15 on TensorFlow and JAX; on PyTorch, 'bicubic' begins with -0.3164, 0.0156."""
    y = Resizing(4, 4, interpolation)(SQUARE).value
    np.testing.assert_allclose(y[0, 0, :, 0], first_row, atol=5e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.8333, 3.5, 6.1667]),
        ({"interpolation": "nearest"}, [1, 4, 6]),
        ({"interpolation": "nearest", "antialias": True}, [1, 4, 6]),
        ({"interpolation": "area"}, [0.875, 3.5, 6.125]),
    ],
)
def test_made_smaller(options: dict[str, Any], expected: list[float]) -> None:
    """Keras 3.15, 8 to 3; areas by hand: the first is (0 + 1 + 2 * 2/3) / (8/3) = 0.875."""
    row = np.arange(8, dtype="float32")[None, None, :, None]
    y = Resizing(1, 3, **options)(row).value.ravel()
    np.testing.assert_allclose(y, expected, atol=5e-5)


def test_antialias_smooths_what_gets_smaller() -> None:
    """The weights of a result of size 2 of 8: a triangle of 4 pixels to each side."""
    row = np.zeros((1, 1, 8, 1), "float32")
    row[0, 0, 3] = 1
    plain, smooth = (Resizing(1, 2, antialias=a)(row).value.ravel() for a in (False, True))
    assert plain.tolist() == [0, 0]
    weights = np.maximum(1 - abs(np.arange(8) - 1.5) / 4, 0)
    np.testing.assert_allclose(smooth[0], weights[3] / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64"])
@pytest.mark.parametrize("interpolation", METHODS)
def test_integers_stay_integers(interpolation: str, dtype: str) -> None:
    x = rng.integers(0, 128, (2, 5, 6, 3)).astype(dtype)
    layer = Resizing(7, 3, interpolation)
    y = layer(x).value
    assert y.dtype == dtype
    wide = functions.resize(
        x.astype("float32" if y.itemsize < 4 else "float64"), (7, 3), interpolation
    )
    limits = np.iinfo(dtype)
    np.testing.assert_array_equal(
        y, np.clip(wide.value.round(), limits.min, limits.max).astype(dtype)
    )
    assert layer(Input((5, 6, 3), dtype=dtype)).dtype == dtype


def test_values_beyond_the_range_end_at_its_limits() -> None:
    x = np.array([0, 255, 255, 0], "uint8").reshape(1, 1, 4, 1)
    y = Resizing(1, 9, "bicubic")(x).value
    assert y.max() == 255 and y.min() == 0


@pytest.mark.parametrize("interpolation", METHODS)
@pytest.mark.parametrize("antialias", [False, True])
def test_gradients(interpolation: str, antialias: bool) -> None:
    for size in ((3, 9), (7, 5)):
        for options in ({}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}):
            layer = Resizing(*size, interpolation, antialias=antialias, **options)
            check_gradients(layer, IMAGES[:1, ..., :1].astype("float64"))
    check_gradients(lambda x: functions.resample(x, 0, 3, interpolation, antialias), np.arange(5.0))


LAYERS: list[Callable[..., Layer]] = [
    lambda **o: Resizing(4, 6, **o),
    lambda **o: Resizing(4, 6, "nearest", crop_to_aspect_ratio=True, **o),
    lambda **o: Resizing(4, 6, "bicubic", pad_to_aspect_ratio=True, fill_value=2.0, **o),
    lambda **o: CenterCrop(4, 2, **o),
    lambda **o: CenterCrop(3, 9, **o),
]


@pytest.mark.parametrize("make", LAYERS)
def test_layouts_graphs_and_configurations(make: Callable[..., Layer]) -> None:
    layer = make()
    y = layer(IMAGES).value
    first = make(data_format="channels_first")
    moved = first(IMAGES.transpose(0, 3, 1, 2)).value
    np.testing.assert_allclose(moved.transpose(0, 2, 3, 1), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer(IMAGES[0]).value, y[0])
    assert layer.compute_output_shape((None, 7, 5, 3)) == (None, *y.shape[1:])
    assert layer.compute_output_shape((7, 5, 3)) == y.shape[1:]
    assert first.compute_output_shape((None, 3, None, None)) == (None, *moved.shape[1:])
    model = Model(symbol := Input((None, None, 3)), layer(symbol))
    np.testing.assert_array_equal(model(IMAGES).value, y)
    for other in (
        type(layer).from_config(layer.get_config()),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
    ):
        np.testing.assert_array_equal(other(IMAGES).value, y)


def test_borders_are_equal() -> None:
    """4x4 to 2x5: 6 columns are missing, 3 on each side; to 2x3 1 of 2."""
    x = np.ones((1, 4, 4, 1), "float32")
    y = Resizing(4, 10, "nearest", pad_to_aspect_ratio=True, fill_value=7)(x).value
    assert y[0, 0, :, 0].tolist() == [7, 7, 7, 1, 1, 1, 1, 7, 7, 7]
    y = Resizing(10, 4, "nearest", pad_to_aspect_ratio=True)(x.astype("uint8")).value
    assert y[0, :, 0, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]


def test_center_crop() -> None:
    x = np.arange(24, dtype="float32").reshape(1, 4, 6, 1)
    np.testing.assert_array_equal(CenterCrop(2, 4)(x).value, x[:, 1:3, 1:5])
    np.testing.assert_array_equal(CenterCrop(3, 3)(x).value, x[:, :3, 1:4])  # one more at the end
    np.testing.assert_array_equal(CenterCrop(4, 6)(x).value, x)
    assert CenterCrop(2, 2)(x.astype("uint8")).dtype == np.float32
    check_gradients(CenterCrop(2, 3, dtype="float64"), x.astype("float64"))
    check_gradients(CenterCrop(5, 5, dtype="float64"), x.astype("float64"))


def test_center_crop_of_smaller_images_cuts_first() -> None:
    """Keras 3.15: upscaling first would give [0.75, 1.25, 1.75, 2.25]."""
    x = np.arange(8, dtype="float32").reshape(1, 2, 4, 1)
    np.testing.assert_allclose(CenterCrop(4, 4)(x).value[0, 0, :, 0], [1, 1.25, 1.75, 2])


def test_inference_and_training_are_the_same() -> None:
    """Keras 3.15: an image of the target's size is returned as it is."""
    x = rng.normal(size=(2, 3, 3, 1)).astype("float32")
    for training in (None, False, True):
        np.testing.assert_array_equal(CenterCrop(3, 3)(x, training=training).value, x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Resizing(0, 2), "height must be a positive integer"),
        (lambda: Resizing(2, 2.5), "width must be a positive integer"),
        (lambda: Resizing(2, 2, "cubic"), "interpolation must be one of"),
        (lambda: Resizing(2, 2, "bilinear", True, True), "cannot both be True"),
        (lambda: Resizing(2, 2, fill_mode="reflect"), "fill_mode must be one of 'constant'"),
        (lambda: Resizing(2, 2, fill_value="0"), "fill_value"),
        (lambda: Resizing(2, 2)(np.ones((4, 4))), r"received 2 dimensions.*x\[..., None\]"),
        (lambda: Resizing(2, 2)(np.ones((1, 2, 4, 4, 1))), "received 5 dimensions"),
        (lambda: CenterCrop(2, 2, "channels_first")(np.ones((4, 4))), "channels, height, width"),
        (lambda: CenterCrop(2, 2)(Input((4,))), "received 2 dimensions"),
        (lambda: Resizing(2, 2)({"images": IMAGES, "labels": IMAGES}), "images alone"),
        (lambda: functions.resize(IMAGES, (2, 2), "bilinear", False, True, True), "both be True"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()
