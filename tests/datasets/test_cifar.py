"""gpunet.datasets.cifar10 and cifar100: the authors' archives, Keras' copies, JPEG files."""

from __future__ import annotations

import io
import pickle
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.datasets import cifar, cifar10, cifar100
from tests.datasets.conftest import real_data

COUNT = 6  # images in a member


def member(seed: int, parts: dict[str, Any]) -> dict[Any, Any]:
    """Return the content of a member as its author pickled it, with keys of bytes."""
    data = np.random.default_rng(seed).integers(0, 256, (COUNT, 3072), np.uint8)
    content: dict[str, Any] = {"data": data, "filenames": [b"a.png"] * COUNT} | parts
    return {key.encode(): value for key, value in content.items()}


def archive(members: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            packed = content if isinstance(content, bytes) else pickle.dumps(content, protocol=3)
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(packed)
            tar.addfile(info, io.BytesIO(packed))
    return stream.getvalue()


def ten() -> dict[str, Any]:
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    return {name: member(i, {"labels": [i, 9, 0, 1, 2, 3]}) for i, name in enumerate(names)} | {
        "batches.meta": b"anything"
    }


def check_ten(members: dict[str, Any]) -> None:
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert x_train.shape == (5 * COUNT, 32, 32, 3)
    assert y_train[:, 0].tolist()[::COUNT] == [0, 1, 2, 3, 4]
    assert (y_train.dtype, y_test.shape) == (np.uint8, (COUNT, 1))
    assert x_train.flags.c_contiguous
    planes = members["test_batch"][b"data"].reshape(COUNT, 3, 32, 32)
    np.testing.assert_array_equal(x_test, planes.transpose(0, 2, 3, 1), strict=True)


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar-10-batches-py-target_archive"])
def test_an_archive_in_the_cache_folder_is_used(cache_home: Path, name: str) -> None:
    members = ten()
    (cache_home / name).write_bytes(archive(members))
    check_ten(members)


def test_the_archive_of_keras_is_used(cache_home: Path) -> None:
    members = ten()
    keras = cache_home.parent / "keras" / "datasets"
    keras.mkdir(parents=True)
    (keras / "cifar-10-batches-py-target_archive").write_bytes(archive(members))
    check_ten(members)
    assert list(cache_home.iterdir()) == []


def test_archive_names_and_sources_are_those_of_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("keras")
    from keras.src.datasets import cifar10 as keras_cifar10
    from keras.src.datasets import cifar100 as keras_cifar100

    for theirs, ours in ((keras_cifar10, cifar10._ARCHIVE), (keras_cifar100, cifar100._ARCHIVE)):
        asked = {}

        def get_file(**given: Any) -> str:
            asked.update(given)  # noqa: B023
            raise InterruptedError

        monkeypatch.setattr(theirs, "get_file", get_file)
        with pytest.raises(InterruptedError):
            theirs.load_data()
        assert (ours.remote.url, ours.remote.sha256) == (asked["origin"], asked["file_hash"])
        assert f"{asked['fname']}_archive" in ours.keras_names


@pytest.mark.parametrize(("mode", "labels"), [("fine", [99, 0, 1, 2, 3, 4]), ("coarse", [19] * 6)])
def test_cifar100_has_fine_and_coarse_labels(
    cache_home: Path, mode: str, labels: list[int]
) -> None:
    both = {"fine_labels": [99, 0, 1, 2, 3, 4], "coarse_labels": [19] * 6}
    content = archive({"train": member(0, both), "test": member(1, both)})
    (cache_home / "cifar-100-python.tar.gz").write_bytes(content)
    (x_train, y_train), (x_test, _) = cifar100.load_data(mode)
    assert x_train.shape == x_test.shape == (COUNT, 32, 32, 3)
    np.testing.assert_array_equal(y_train, np.array(labels, np.uint8)[:, None], strict=True)


def test_cifar100_refuses_another_label_mode() -> None:
    with pytest.raises(ValueError, match="label_mode is 'fine' or 'coarse', received 'medium'"):
        cifar100.load_data("medium")


class Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": Evil()}, "holds a builtins.print"),
        ({"data": np.zeros((COUNT, 3072))}, "array of uint8"),
        ({"data": np.zeros((2, 3072), np.uint8)}, r"found the shape \(2, 3072\)"),
        ({"data": b"bytes"}, "array of images"),
        ({"labels": [10] * COUNT}, "labels from 0 to 9, found 10"),
        ({"labels": ["a"] * COUNT}, "expected labels"),
    ],
)
def test_damaged_members_are_refused_and_run_no_code(
    cache_home: Path, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    members = ten() | {"test_batch": member(5, {"labels": [0] * COUNT} | change)}
    path = cache_home / "cifar-10-python.tar.gz"
    path.write_bytes(archive(members))
    with pytest.raises(ValueError, match=message) as caught:
        cifar10.load_data()
    assert str(path) in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_missing_member_and_other_content_are_refused(cache_home: Path) -> None:
    members = ten()
    del members["data_batch_3"]
    path = cache_home / "cifar-10-python.tar.gz"
    path.write_bytes(archive(members))
    with pytest.raises(ValueError, match="data_batch_3 is missing"):
        cifar10.load_data()
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="cannot be used"):
        cifar10.load_data()


def test_a_large_claim_takes_no_memory(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "_LARGEST_MEMBER", 1000)
    (cache_home / "cifar-10-python.tar.gz").write_bytes(archive(ten()))
    with pytest.raises(ValueError, match=r"data_batch_1 claims \d+ bytes"):
        cifar10.load_data()


# JPEG files


def jpeg_arrays(train: int = 4, test: int = 2) -> dict[str, np.ndarray]:
    from PIL import Image

    arrays = {}
    for part, count in (("train", train), ("test", test)):
        files = []
        for i in range(count):
            stream = io.BytesIO()
            Image.new("RGB", (32, 32), (40 * i, 100, 200)).save(stream, "jpeg")
            files.append(stream.getvalue())
        arrays[f"{part}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, files)]).astype(np.int64)
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)
    return arrays


@pytest.fixture
def jpeg_file(cache_home: Path) -> Path:
    pytest.importorskip("PIL")
    path = cache_home / "cifar10-jpeg.npz"
    np.savez(path, **jpeg_arrays())
    return path


def test_jpeg_files_are_decoded_once(jpeg_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    first = cifar10.load_data()
    (x_train, y_train), (x_test, y_test) = first
    assert x_train.shape == (4, 32, 32, 3)
    assert y_train[:, 0].tolist() == [0, 1, 2, 3]
    assert (x_test.shape, y_test.shape) == ((2, 32, 32, 3), (2, 1))
    assert np.abs(x_train[3].astype(int) - (120, 100, 200)).max() <= 2  # JPEG is not exact
    assert {path.name for path in jpeg_file.parent.iterdir()} == {
        "cifar10-jpeg.npz",
        "cifar10-jpeg-decoded.npz",
    }
    monkeypatch.setattr(Image, "frombytes", None)
    for ours, again in zip(sum(first, ()), sum(cifar10.load_data(), ()), strict=True):
        np.testing.assert_array_equal(ours, again, strict=True)


def test_another_file_or_a_damaged_cache_is_decoded_anew(jpeg_file: Path) -> None:
    cifar10.load_data()
    np.savez(jpeg_file, **jpeg_arrays(train=7))
    assert len(cifar10.load_data()[0][0]) == 7
    (jpeg_file.parent / "cifar10-jpeg-decoded.npz").write_bytes(b"damaged")
    assert len(cifar10.load_data()[0][0]) == 7


def test_a_read_only_folder_is_left_alone(jpeg_file: Path) -> None:
    jpeg_file.parent.chmod(0o555)
    try:
        cifar10.load_data()
    finally:
        jpeg_file.parent.chmod(0o755)
    assert [path.name for path in jpeg_file.parent.iterdir()] == ["cifar10-jpeg.npz"]
    caches = jpeg_file.parents[1] / "caches"
    assert sys.platform != "linux" or list(caches.rglob("cifar10-jpeg-decoded.npz"))


def test_the_original_is_preferred(jpeg_file: Path) -> None:
    members = ten()
    (jpeg_file.parent / "cifar-10-python.tar.gz").write_bytes(archive(members))
    check_ten(members)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_offsets": np.array([0, 5, 3, 9, 12])}, "train_offsets to rise from 0"),
        ({"train_offsets": np.array([0, 5])}, "train_offsets for 4 labels"),
        ({"test_labels": np.array([0, 10], np.uint8)}, "labels from 0 to 9, found 10"),
        ({"test_jpeg": np.zeros(1244, np.uint8)}, "test"),
    ],
)
def test_damaged_jpeg_archives_are_refused(
    jpeg_file: Path, change: dict[str, Any], message: str
) -> None:
    np.savez(jpeg_file, **(jpeg_arrays() | change))
    with pytest.raises(ValueError, match=message) as caught:
        cifar10.load_data()
    assert str(jpeg_file) in str(caught.value)


def test_a_damaged_image_is_named(jpeg_file: Path) -> None:
    arrays = jpeg_arrays()
    broken = arrays["train_jpeg"].copy()
    start, stop = arrays["train_offsets"][1:3]
    broken[start:stop] = 0
    np.savez(jpeg_file, **(arrays | {"train_jpeg": broken}))
    with pytest.raises(ValueError, match="image 1 of train"):
        cifar10.load_data()


def test_without_pillow_the_error_names_the_extra(
    jpeg_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'Pillow.*pip install "gpunet\[datasets\]"'):
        cifar10.load_data()


@pytest.mark.slow
def test_real_jpeg_files() -> None:
    pytest.importorskip("PIL")
    real_data("cifar10-jpeg.npz")
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert (x_train.shape, x_test.shape) == ((50000, 32, 32, 3), (10000, 32, 32, 3))
    assert np.bincount(y_train[:, 0]).tolist() == [5000] * 10
    assert np.bincount(y_test[:, 0]).tolist() == [1000] * 10
