"""gpunet.utils: data sets of images, texts and recordings in folders."""

from __future__ import annotations

import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet import random
from gpunet.layers import Dense, Flatten, Rescaling
from gpunet.models import Sequential
from gpunet.utils import (
    audio_dataset_from_directory,
    directories,
    image_dataset_from_directory,
    load_img,
    text_dataset_from_directory,
)
from gpunet.utils.workers import THREAD_NAME

pillow = pytest.importorskip("PIL.Image")
FUNCTIONS = [
    image_dataset_from_directory,
    text_dataset_from_directory,
    audio_dataset_from_directory,
]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if THREAD_NAME in thread.name]


def gray(path: Path, value: int, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.new("RGB", size, (value, value, value)).save(path)


def write_wav(path: Path, samples: np.ndarray, width: int = 2, rate: int = 8000) -> None:
    """Write integers of `width` bytes, (samples,) or (samples, channels), as a WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            file.writeframes(samples.astype(np.uint8).tobytes())
        else:
            four = samples.astype("<i4").reshape(-1, 1).view(np.uint8)
            file.writeframes(four[:, :width].tobytes())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of 12 images in three classes; image i is i times 10 gray."""
    for i in range(12):
        suffix = ("png", "bmp", "PNG", "gif")[i % 4]
        gray(tmp_path / "data" / "abc"[i // 4] / f"{i:02}.{suffix}", 10 * i)
    (tmp_path / "data" / "a" / "notes.md").write_text("no image")
    (tmp_path / "data" / ".hidden").mkdir()
    return tmp_path / "data"


def load(folder: Path, **options: Any) -> Any:
    small = {"image_size": (4, 4), "batch_size": 5, "verbose": False, "shuffle": False}
    return image_dataset_from_directory(folder, **(small | options))


def numbers(data: Any) -> list[int]:
    """Return the numbers of the images of an epoch, in order."""
    return [round(float(image.mean()) / 10) for x, _ in data for image in x]


def test_images_come_in_batches_with_their_classes(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load(images, verbose=True)
    assert capsys.readouterr().out == "Found 12 files belonging to 3 classes.\n"
    assert data.class_names == ["a", "b", "c"]
    assert [Path(path).stem for path in data.file_paths] == [f"{i:02}" for i in range(12)]
    batches = list(data)
    assert len(data) == len(batches) == 3
    assert [x.shape for x, _ in batches] == [(5, 4, 4, 3), (5, 4, 4, 3), (2, 4, 4, 3)]
    assert {(x.dtype.name, y.dtype.name) for x, y in batches} == {("float32", "int32")}
    assert numbers(data) == list(range(12))
    assert np.concatenate([y for _, y in batches]).tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_label_modes(images: Path) -> None:
    _, y = next(iter(load(images, label_mode="categorical", batch_size=9)))
    np.testing.assert_array_equal(y, np.eye(3, dtype=np.float32)[[0] * 4 + [1] * 4 + [2]])
    assert y.dtype == np.float32
    _, y = next(iter(load(images, label_mode="binary", class_names=["c", "a"], batch_size=8)))
    np.testing.assert_array_equal(y, np.repeat(np.float32([0, 1]), 4)[:, None], strict=True)
    for options in ({"label_mode": None}, {"labels": None}):
        data = load(images, **options)
        assert next(iter(data)).shape == (5, 4, 4, 3)
    assert data.class_names is None
    data = load(images, labels=list(range(12)))
    assert data.class_names == [str(i) for i in range(12)]
    assert np.concatenate([y for _, y in data]).tolist() == list(range(12))


def test_single_images_and_layouts(images: Path) -> None:
    x, y = next(iter(load(images, batch_size=None)))
    assert (x.shape, y.shape, len(load(images, batch_size=None))) == ((4, 4, 3), (), 12)
    for mode, channels in (("grayscale", 1), ("rgba", 4)):
        assert next(iter(load(images, color_mode=mode)))[0].shape == (5, 4, 4, channels)
    x, _ = next(iter(load(images, data_format="channels_first", image_size=(2, 6))))
    assert x.shape == (5, 3, 2, 6)
    assert next(iter(load(images, image_size=3)))[0].shape == (5, 3, 3, 3)


def test_images_are_resized_cropped_and_padded(tmp_path: Path) -> None:
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:] = np.array([0, 30, 60, 90])[:, None]
    (tmp_path / "a").mkdir()
    pillow.fromarray(pixels).save(tmp_path / "a" / "x.png")

    def row(**options: Any) -> list[float]:
        options = {"image_size": (2, 2), "color_mode": "grayscale", "batch_size": None} | options
        image, _ = next(iter(load(tmp_path, **options)))
        return image[0, :, 0].tolist()

    assert row() == [15, 75]  # halfway between pixels 0, 1 and 2, 3
    assert row(interpolation="nearest") == [30, 90]
    assert row(interpolation="area") == [15, 75]
    assert row(crop_to_aspect_ratio=True) == [30, 60]
    assert row(pad_to_aspect_ratio=True, image_size=(4, 4)) == [0, 0, 0, 0]


def test_shuffling_by_seed(images: Path) -> None:
    data = load(images, shuffle=True, seed=5)
    first, second = numbers(data), numbers(data)
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    again = load(images, shuffle=True, seed=5)
    assert [numbers(again), numbers(again)] == [first, second]
    assert again.file_paths == data.file_paths
    labels = np.concatenate([y for _, y in load(images, shuffle=True, seed=5)])
    assert [number // 4 for number in first] == labels.tolist()
    random.seed(1)
    first = numbers(load(images, shuffle=True))
    random.seed(1)
    assert numbers(load(images, shuffle=True)) == first


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_any_number_of_threads_gives_the_same_bits(
    images: Path, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(load(images, shuffle=True, seed=5, image_size=(7, 3)))
    monkeypatch.setattr(directories, "core_count", lambda: cores)
    state = random.get_state()
    for (x, y), (x0, y0) in zip(
        load(images, shuffle=True, seed=5, image_size=(7, 3)), expected, strict=True
    ):
        np.testing.assert_array_equal(x, x0, strict=True)
        np.testing.assert_array_equal(y, y0, strict=True)
    assert random.get_state() == state


def test_splits_share_no_file(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"shuffle": True, "seed": 3, "validation_split": 0.3}
    train, validation = load(images, subset="both", verbose=True, **options)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Using 9 files for training.",
        "Using 3 files for validation.",
    ]
    assert len(validation.file_paths) == 3
    assert sorted(train.file_paths + validation.file_paths) == sorted(load(images).file_paths)
    assert numbers(validation) == numbers(validation)  # keeps its order
    assert [f"{i:02}" for i in numbers(validation)] == [
        Path(path).stem for path in validation.file_paths
    ]
    for part, name in ((train, "training"), (validation, "validation")):
        assert load(images, subset=name, **options).file_paths == part.file_paths
    tail = load(images, validation_split=0.25, subset="validation")
    assert numbers(tail) == [9, 10, 11]


def test_breaking_out_leaves_no_thread(images: Path) -> None:
    for _ in load(images, batch_size=1):
        break
    items = iter(load(images, batch_size=None))
    next(items)
    items.close()


def test_a_damaged_image_is_named_and_ends_the_threads(images: Path) -> None:
    path = images / "b" / "05.bmp"
    path.write_bytes(path.read_bytes()[:60])
    batches = iter(load(images))
    next(batches)
    with pytest.raises(ValueError, match=r"b/05\.bmp cannot be decoded"):
        next(batches)
    with pytest.raises(ValueError, match=r"b/05\.bmp cannot be decoded") as caught:
        model().fit(load(images), verbose=0)
    assert not [t for t in threading.enumerate() if THREAD_NAME in t.name], caught


def model() -> Sequential:
    layers = [Rescaling(1 / 255, input_shape=(4, 4, 3)), Flatten(), Dense(3, activation="softmax")]
    made = Sequential(layers)
    made.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return made


def test_models_train_on_folders(images: Path) -> None:
    train, validation = load(images, shuffle=True, seed=3, validation_split=0.3, subset="both")
    made = model()
    cached = train.cache().shuffle(100).prefetch(buffer_size=-1)
    history = made.fit(cached, validation_data=validation, epochs=2, verbose=0)
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    made.evaluate(validation, verbose=0)
    assert made.predict(validation, verbose=0).shape == (3, 3)


def test_links_are_followed_when_asked(images: Path, tmp_path: Path) -> None:
    gray(tmp_path / "elsewhere" / "far.png", 7)
    try:
        (images / "a" / "link").symlink_to(tmp_path / "elsewhere")
    except OSError:
        pytest.skip("needs the right to make links")
    assert len(load(images).file_paths) == 12
    assert len(load(images, follow_links=True).file_paths) == 13


def test_loading_equals_load_img(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    pillow.fromarray(rng.integers(0, 256, (9, 8, 4), np.uint8)).save(tmp_path / "a" / "x.png")
    for mode in ("rgb", "rgba", "grayscale"):
        x, _ = next(iter(load(tmp_path, color_mode=mode, image_size=(9, 8))))
        expected = np.asarray(load_img(tmp_path / "a" / "x.png", mode)).reshape(9, 8, -1)
        np.testing.assert_array_equal(x[0], expected)


# Arguments that all three share

BAD: list[tuple[dict[str, Any], str]] = [
    ({"label_mode": "onehot"}, "label_mode must be one of 'int', 'categorical', 'binary', None"),
    ({"labels": "guess"}, "labels must be 'inferred'"),
    ({"labels": [0, 1], "class_names": ["a"]}, "class_names needs labels='inferred'"),
    ({"labels": [0, 1]}, "a label for each of the"),
    ({"class_names": ["a", "z"]}, "class_names must be different subfolders"),
    ({"validation_split": 0.5}, "validation_split and subset are given together"),
    ({"subset": "training"}, "validation_split and subset are given together"),
    ({"validation_split": 1.5, "subset": "both"}, "above 0 and below 1, received 1.5"),
    ({"validation_split": 0.01, "subset": "both", "seed": 1}, "leaves none to validate with"),
    ({"validation_split": 0.5, "subset": "test"}, "subset must be one of"),
    ({"validation_split": 0.5, "subset": "both", "shuffle": True}, "needs a seed"),
    ({"batch_size": 0}, "batch_size must be a positive integer"),
    ({"label_mode": "binary"}, "needs two classes, found 3"),
]


@pytest.fixture
def mixed(images: Path) -> Path:
    """Return a folder with images, texts and recordings in three classes."""
    for i in range(6):
        folder = images / "abc"[i // 2]
        (folder / f"{i}.txt").write_text(f"Text {i}: ü", encoding="utf-8")
        write_wav(folder / f"{i}.wav", np.full(i + 1, 256 * i))
    return images


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_arguments_are_refused(
    function: Callable[..., Any], options: dict[str, Any], message: str, mixed: Path
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        function(mixed, **({"verbose": False, "shuffle": False} | options))
    assert function.__name__ in str(caught.value)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_empty_and_missing_folders_are_clear_errors(
    function: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*absent"):
        function(tmp_path / "absent")
    with pytest.raises(ValueError, match="in subfolders, one a class, found none in"):
        function(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match=r"expected files .*\.(png|txt|wav) in it, found none"):
        function(tmp_path, labels=None)


def test_bad_image_options_are_refused(images: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"color_mode": "gray"}, "color_mode must be one of"),
        ({"interpolation": "cubic"}, "interpolation must be one of"),
        ({"image_size": (2, 3, 4)}, r"image_size is \(height, width\)"),
        ({"image_size": (0, 3)}, "image_size must be a positive integer"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "received both"),
        ({"format": "np"}, "format must be one of"),
        ({"labels": ["x"] * 12}, "labels must be integers"),
        ({"labels": [0, 1, 2, 5] * 3, "label_mode": "categorical"}, "labels from 0 to 3"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            load(images, **options)


# Texts


def test_texts_come_as_strings(mixed: Path) -> None:
    data = text_dataset_from_directory(mixed, batch_size=4, shuffle=False, verbose=False)
    (texts, labels), (rest, _) = data
    assert texts.tolist() == [f"Text {i}: ü" for i in range(4)]
    assert (labels.tolist(), len(rest)) == ([0, 0, 1, 1], 2)
    short = text_dataset_from_directory(mixed, labels=None, max_length=5, shuffle=False)
    assert next(iter(short)).tolist() == ["Text "] * 6
    assert list(data.map(lambda text, y: len(text))) == [4, 2]


def test_text_that_is_no_utf8_is_named(mixed: Path) -> None:
    (mixed / "b" / "3.txt").write_bytes(b"gr\xfcn")
    with pytest.raises(ValueError, match=r"b/3\.txt is no UTF-8"):
        list(text_dataset_from_directory(mixed, verbose=False))


# Recordings


def test_recordings_are_padded_to_the_longest_of_the_batch(mixed: Path) -> None:
    data = audio_dataset_from_directory(mixed, batch_size=4, shuffle=False, verbose=False)
    (audio, labels), (rest, _) = data
    assert (audio.shape, rest.shape) == ((4, 4, 1), (2, 6, 1))
    assert audio.dtype == np.float32
    assert audio[2, :, 0].tolist() == [2 / 128] * 3 + [0]
    assert labels.tolist() == [0, 0, 1, 1]
    fixed = audio_dataset_from_directory(
        mixed, output_sequence_length=3, sampling_rate=8000, shuffle=False, verbose=False
    )
    audio, _ = next(iter(fixed))
    assert audio.shape == (6, 3, 1)
    assert audio[0, :, 0].tolist() == [0, 0, 0]
    assert audio[5, :, 0].tolist() == [5 / 128] * 3


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_each_width_of_integers_is_read(tmp_path: Path, width: int, channels: int) -> None:
    largest = 2 ** (8 * width - 1)
    integers = np.array([[-largest, largest - 1], [0, 1], [-1, largest // 2]])[:, :channels]
    write_wav(tmp_path / "a" / "x.wav", integers + largest * (width == 1), width)
    audio, _ = next(iter(audio_dataset_from_directory(tmp_path, verbose=False)))
    expected = (integers / largest).astype(np.float32)
    np.testing.assert_array_equal(audio, expected[None], strict=True)


def test_bad_recordings_and_options_are_clear_errors(mixed: Path) -> None:
    def first(**options: Any) -> Any:
        return next(iter(audio_dataset_from_directory(mixed, verbose=False, **options)))

    with pytest.raises(ValueError, match=r"\.wav has 8000 samples a second, expected .*=16000"):
        first(sampling_rate=16000)
    with pytest.raises(ValueError, match="received ragged=True"):
        first(ragged=True)
    with pytest.raises(ValueError, match="output_sequence_length must be a positive"):
        first(output_sequence_length=0)
    (mixed / "a" / "0.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"a/0\.wav cannot be decoded"):
        first()
