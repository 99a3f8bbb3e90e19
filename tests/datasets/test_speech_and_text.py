"""gpunet.datasets.spoken_digits and shakespeare."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.datasets import shakespeare, spoken_digits
from tests.datasets.conftest import real_data


def speech_arrays() -> dict[str, np.ndarray]:
    lengths = [3, 5, 2, 4]
    return {
        "audio": np.arange(-7, 7, dtype=np.int16),
        "offsets": np.cumsum([0, *lengths]).astype(np.int64),
        "labels": np.array([0, 0, 9, 9], np.uint8),
        "index": np.array([4, 5, 0, 49], np.uint8),
    }


@pytest.fixture
def speech_file(cache_home: Path) -> Path:
    path = cache_home / "fsdd.npz"
    np.savez(path, **speech_arrays())
    return path


def test_recordings_are_padded_and_cut(speech_file: Path) -> None:
    (x_train, y_train), (x_test, y_test) = spoken_digits.load_data(length=4)
    expected = np.array([[-4, -3, -2, -1], [3, 4, 5, 6]], np.int16)
    np.testing.assert_array_equal(x_train, expected, strict=True)
    np.testing.assert_array_equal(x_test, np.array([[-7, -6, -5, 0], [1, 2, 0, 0]], np.int16))
    np.testing.assert_array_equal(y_train, np.array([0, 9], np.uint8), strict=True)
    np.testing.assert_array_equal(y_test, np.array([0, 9], np.uint8), strict=True)


def test_recordings_keep_their_length(speech_file: Path) -> None:
    (x_train, _), (x_test, _) = spoken_digits.load_data(None)
    assert [x.tolist() for x in x_train] == [[-4, -3, -2, -1, 0], [3, 4, 5, 6]]
    assert [len(x) for x in x_test] == [3, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 3, 3, 10, 14])}, "offsets that rise from 0 to 14"),
        ({"offsets": np.array([0, 14])}, "for each recording, found 2, 4 and 4"),
        ({"labels": np.array([0, 0, 9, 10], np.uint8)}, "labels from 0 to 9, found 10"),
        ({"audio": np.zeros(14)}, "expected audio as int16"),
    ],
)
def test_damaged_speech_files_are_refused(
    speech_file: Path, change: dict[str, Any], message: str
) -> None:
    np.savez(speech_file, **(speech_arrays() | change))
    with pytest.raises(ValueError, match=message) as caught:
        spoken_digits.load_data()
    assert str(speech_file) in str(caught.value)


def test_missing_recordings_and_wrong_lengths_are_clear_errors(cache_home: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no fsdd\.npz in .*home.*GPUNET_HOME"):
        spoken_digits.load_data()
    with pytest.raises(ValueError, match="length must be a positive integer, received 0"):
        spoken_digits.load_data(0)


def test_real_spoken_digits() -> None:
    real_data("fsdd.npz")
    (x_train, y_train), (x_test, y_test) = spoken_digits.load_data()
    assert (x_train.shape, x_test.shape) == ((2700, 8000), (300, 8000))
    assert np.bincount(y_train).tolist() == [270] * 10
    assert np.bincount(y_test).tolist() == [30] * 10


# Text


def test_text_becomes_ids(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("banana é", encoding="utf-8")
    (train, test), vocabulary = shakespeare.load_data(path, test_split=0.25)
    assert vocabulary == [" ", "a", "b", "n", "é"]
    np.testing.assert_array_equal(train, np.array([2, 1, 3, 1, 3, 1], np.int32), strict=True)
    assert test.tolist() == [0, 4]
    assert shakespeare.load_text(path) == "banana é"
    (train, test), _ = shakespeare.load_data(path, test_split=0)
    assert (len(train), len(test)) == (8, 0)


def test_bad_texts_and_splits_are_clear_errors(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"gr\xfcn")
    with pytest.raises(ValueError, match=r"text\.txt is no UTF-8") as caught:
        shakespeare.load_data(path)
    assert str(path) in str(caught.value)
    path.write_text("")
    with pytest.raises(ValueError, match="is empty"):
        shakespeare.load_data(path)
    for split in (1, -0.1, "0.1", True, float("nan")):
        with pytest.raises(ValueError, match="test_split is a number from 0 to below 1"):
            shakespeare.load_data(path, split)  # type: ignore[arg-type]


def test_real_text_is_the_file_that_would_be_downloaded() -> None:
    home = real_data("tinyshakespeare.txt")
    content = (home / "tinyshakespeare.txt").read_bytes()
    assert hashlib.sha256(content).hexdigest() == shakespeare._FILE.sha256
    (train, test), vocabulary = shakespeare.load_data()
    assert (len(train), len(test), len(vocabulary)) == (1003854, 111540, 65)
    ids = np.concatenate([train, test])
    assert "".join(np.array(vocabulary)[ids[:13]]) == "First Citizen"
    assert "".join(vocabulary[i] for i in ids) == shakespeare.load_text()
