"""gpunet.utils: pad_sequences, normalize, single images and their resizing; beside Keras."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet
from gpunet import utils
from gpunet.utils import array_to_img, img_to_array, load_img, pad_sequences, save_img
from gpunet.utils.resizing import INTERPOLATIONS, crop_box, resize, resize_with_padding

pillow = pytest.importorskip("PIL.Image")


def test_names_in_preprocessing() -> None:
    assert gpunet.preprocessing.sequence.pad_sequences is pad_sequences
    assert gpunet.preprocessing.image.load_img is load_img
    name = "timeseries_dataset_from_array"
    assert getattr(gpunet.preprocessing, name) is getattr(utils, name)


# Sequences


@pytest.mark.parametrize("maxlen", [None, 1, 2, 5])
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("case", ["lists", "arrays", "vectors", "strings"])
def test_pad_sequences_is_that_of_keras(
    maxlen: int | None, padding: str, truncating: str, case: str
) -> None:
    keras = pytest.importorskip("keras")
    options: dict[str, Any] = {"maxlen": maxlen, "padding": padding, "truncating": truncating}
    sequences: Any = [[1], [], [2, 3, 4]]
    if case == "arrays":
        sequences, options["dtype"] = [np.arange(4.5), np.arange(2)], "float32"
        options["value"] = -1.5
    elif case == "vectors":
        sequences = [np.ones((2, 3)), [], np.zeros((4, 3))]
    elif case == "strings":
        sequences, options["dtype"], options["value"] = [["a"], ["b", "c", "d"]], object, "pad"
    ours = pad_sequences(sequences, **options)
    theirs = keras.utils.pad_sequences(sequences, **options)
    np.testing.assert_array_equal(ours, theirs, strict=True)


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        ([1, 2], {}, "received 1 at position 0"),
        (3, {}, "a list of sequences, received int"),
        ([[1]], {"padding": "both"}, "padding must be one of 'pre', 'post'"),
        ([[1]], {"truncating": "left"}, "truncating must be one of"),
        ([[1]], {"maxlen": 0}, "maxlen must be a positive integer"),
        ([[1]], {"value": "pad"}, "needs dtype=object"),
        ([np.ones((1, 2)), np.ones((1, 3))], {}, r"sequence 1 have shape \(3,\), expected \(2,\)"),
    ],
)
def test_bad_sequences_are_refused(sequences: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pad_sequences(sequences, **options)


# Rows


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_normalize_is_that_of_keras(order: float, axis: int, dtype: str) -> None:
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).normal(size=(4, 3)) * 10
    x[2] = 0
    x = x.astype(dtype)
    ours = utils.normalize(x, axis, order)
    np.testing.assert_allclose(ours, keras.utils.normalize(x, axis, order), rtol=1e-6)
    assert (ours[2] == 0).all()


def test_normalize_along_the_first_axis_does_what_the_documentation_says() -> None:
    """Keras 3.15 divides by norms along axis 0 as if they were norms of the rows."""
    x = np.array([[3.0, 0.0], [4.0, 5.0]])
    np.testing.assert_allclose(utils.normalize(x, axis=0), [[0.6, 0], [0.8, 1]])
    np.testing.assert_allclose(utils.normalize(x, axis=None), x / np.sqrt(50))


# Images


def picture(mode: str, size: tuple[int, int] = (9, 7)) -> Any:
    """Return an image of a width and height with drawn pixels."""
    rng = np.random.default_rng(len(mode))
    channels = {"RGB": 3, "RGBA": 4, "L": 1}[mode]
    pixels = rng.integers(0, 256, (size[1], size[0], channels), np.uint8)
    return pillow.fromarray(pixels[..., 0] if channels == 1 else pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
@pytest.mark.parametrize("target_size", [None, (5, 4), (14, 20)])
@pytest.mark.parametrize("keep_aspect_ratio", [False, True])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box"])
def test_load_img_is_that_of_keras(
    tmp_path: Path,
    mode: str,
    color_mode: str,
    target_size: Any,
    keep_aspect_ratio: bool,
    interpolation: str,
) -> None:
    keras = pytest.importorskip("keras")
    path = tmp_path / "image.png"
    picture(mode).save(path)
    arguments = (color_mode, target_size, interpolation, keep_aspect_ratio)
    ours, theirs = load_img(path, *arguments), keras.utils.load_img(path, *arguments)
    assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("data_format", [None, "channels_first"])
@pytest.mark.parametrize("scale", [False, True])
def test_arrays_become_the_images_of_keras_and_return(
    channels: int, data_format: str | None, scale: bool
) -> None:
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(channels).uniform(0, 255, (6, 5, channels)).astype("float32")
    x = x.transpose(2, 0, 1) if data_format else x
    ours = array_to_img(x, data_format, scale)
    theirs = keras.utils.array_to_img(x, data_format, scale)
    assert ours.mode == theirs.mode
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    np.testing.assert_array_equal(
        img_to_array(ours, data_format), keras.utils.img_to_array(theirs, data_format), strict=True
    )
    np.testing.assert_array_equal(img_to_array(ours, data_format).shape, x.shape)


def test_gray_images_with_large_numbers_have_32_bits() -> None:
    image = array_to_img(np.full((2, 2, 1), 1000.0), scale=False)
    assert image.mode == "I"
    assert img_to_array(image).max() == 1000
    assert np.asarray(array_to_img(np.zeros((2, 2, 1)))).max() == 0  # a constant image stays


def test_images_are_saved_as_their_name_says(tmp_path: Path) -> None:
    x = np.arange(48.0).reshape(4, 4, 3)
    save_img(tmp_path / "a.png", x, scale=False)
    np.testing.assert_array_equal(img_to_array(load_img(tmp_path / "a.png")), x)
    save_img(tmp_path / "a.jpg", x)
    assert (tmp_path / "a.jpg").read_bytes()[6:10] == b"JFIF"
    stream = io.BytesIO()
    save_img(stream, x, file_format="jpg", quality=90)
    assert pillow.open(stream).format == "JPEG"
    with pytest.warns(UserWarning, match="no alpha channel"):
        save_img(tmp_path / "b.jpg", np.ones((2, 2, 4)))


def test_bad_images_are_clear_errors(tmp_path: Path) -> None:
    path = tmp_path / "damaged.png"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"damaged\.png cannot be decoded: it is no image"):
        load_img(path)
    stream = io.BytesIO()
    picture("RGB").save(stream, "png")
    path.write_bytes(stream.getvalue()[:100])
    with pytest.raises(ValueError, match=r"damaged\.png cannot be decoded"):
        load_img(str(path))
    with pytest.raises(FileNotFoundError):
        load_img(tmp_path / "absent.png")
    with pytest.raises(TypeError, match=r"a file name or io\.BytesIO, received int"):
        load_img(7)
    with pytest.raises(ValueError, match="color_mode must be one of"):
        load_img(path, "gray")
    picture("RGB").save(path)
    with pytest.raises(ValueError, match="Unknown interpolation 'cubic'"):
        load_img(path, target_size=(2, 2), interpolation="cubic")
    with pytest.raises(ValueError, match="one image with an axis of channels"):
        array_to_img(np.ones((2, 2)))
    with pytest.raises(ValueError, match="1, 3 or 4 channels, received 2"):
        array_to_img(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="expects one image, received shape"):
        img_to_array(np.ones((1, 2, 2, 3)))


# Resizing


def test_resizing_has_the_values_seen_in_keras() -> None:
    """Keras 3.15 on TensorFlow and JAX: 2x2 to 4x4, and 0 to 7 on 3 pixels."""
    square = np.array([[0.0, 1.0], [2.0, 3.0]])[..., None]

    def first_row(interpolation: str) -> np.ndarray:
        return resize(square, (4, 4), interpolation)[0, :, 0]

    np.testing.assert_allclose(first_row("bilinear"), [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(first_row("nearest"), [0, 0, 1, 1])
    np.testing.assert_allclose(first_row("bicubic"), [-0.2647, 0.0307, 0.6164, 0.9118], atol=5e-5)
    line = np.arange(8.0).reshape(1, 8, 1)
    np.testing.assert_allclose(
        resize(line, (1, 3), "bilinear")[0, :, 0], [0.8333, 3.5, 6.1667], atol=5e-5
    )
    np.testing.assert_array_equal(resize(line, (1, 3), "nearest")[0, :, 0], [1, 4, 6])
    # Each of three pixels covers 8/3: the mean of 0, 1 and two thirds of 2, and so on.
    np.testing.assert_allclose(
        resize(line, (1, 3), "area")[0, :, 0], [0.875, 3.5, 6.125], rtol=1e-6
    )


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(3, 11), (7, 5), (20, 20)])
def test_resizing_is_that_of_keras(interpolation: str, size: tuple[int, int]) -> None:
    keras = pytest.importorskip("keras")
    image = np.random.default_rng(0).uniform(0, 255, (10, 8, 3)).astype("float32")
    theirs = keras.ops.convert_to_numpy(keras.ops.image.resize(image, size, interpolation))
    # Two interpolations of numbers up to 255, each with three roundings of 2**-24.
    np.testing.assert_allclose(resize(image, size, interpolation), theirs, atol=6 * 255 * 2**-24)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(3, 4), (9, 31), (10, 8), (1, 1)])
def test_each_interpolation_keeps_constants(interpolation: str, size: tuple[int, int]) -> None:
    image = np.full((10, 8, 2), 3, np.uint8)
    resized = resize(image, size, interpolation)
    assert (resized.dtype, resized.shape) == (np.float32, (*size, 2))
    np.testing.assert_allclose(resized, 3, rtol=1e-5)


def test_places_are_exact_where_floats_are_not() -> None:
    """(5 + 1/2) 36 / 33 is 6, and 21 / (21 / 39) is 39: TensorFlow gives 38 columns there."""
    line = np.arange(36.0).reshape(1, 36, 1)
    assert resize(line, (1, 33), "nearest")[0, 5, 0] == 6
    padded = resize_with_padding(np.ones((6, 21, 1)), (14, 39), "bilinear")
    assert padded[1:12].min() > 0.99
    assert padded[[0, 12, 13]].max() == 0


def test_an_image_of_the_right_size_stays() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    for interpolation in INTERPOLATIONS:
        np.testing.assert_array_equal(resize(image, (5, 4), interpolation), image)


def test_crops_and_padding_keep_the_aspect_ratio() -> None:
    assert crop_box((340, 500), (200, 200)) == (slice(0, 340), slice(80, 420))
    assert crop_box((500, 340), (10, 20)) == (slice(165, 335), slice(0, 340))
    padded = resize_with_padding(np.ones((4, 8, 1)), (8, 8), "bilinear")
    assert padded[:, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_pad_sequences_names_the_sequence_that_no_dtype_fits() -> None:
    message = r"sequence 1 cannot be an array of dtype int32.*dtype=object for strings"
    with pytest.raises(ValueError, match=message):
        pad_sequences([[1], ["a"]])
