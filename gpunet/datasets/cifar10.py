"""CIFAR-10: 32x32 color images of ten classes, 50,000 for training and 10,000 for testing."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import tempfile
from pathlib import Path

import numpy as np

from gpunet.datasets.cache import RemoteFile, cache_folder
from gpunet.datasets.cifar import Archive, load_archive
from gpunet.datasets.files import Bytes, Expected, LabelledImages, read_arrays, unusable_file
from gpunet.folders import user_cache_folder

__all__ = ["CLASS_NAMES", "load_data"]

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

# The author's file, with its checksum in Keras.
_ARCHIVE = Archive(
    RemoteFile(
        "cifar-10-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    ),
    keras_names=("cifar-10-batches-py-target_archive", "cifar-10-batches-py_archive"),
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test=("test_batch",),
)
_JPEG = "cifar10-jpeg.npz"
_DECODED = "cifar10-jpeg-decoded.npz"
_PARTS = ("train", "test")
_SIZE = 32


def load_data() -> LabelledImages:
    """Return ``(x_train, y_train), (x_test, y_test)``; download the archive on first use.

    Images are uint8 (images, 32, 32, 3); labels are uint8 (images, 1), indexes of `CLASS_NAMES`.
    The first of these files is used, unchanged:

    - ``cifar-10-python.tar.gz``, the original, in `gpunet.datasets.cache_folder()`;
    - the archive that Keras has downloaded;
    - ``cifar10-jpeg.npz`` in the cache folder, with JPEG files of all images: for each part,
      ``train`` and ``test``, ``<part>_jpeg`` uint8, all files one after another,
      ``<part>_offsets`` int64 (images + 1,) and ``<part>_labels`` uint8 (images,). Compressed
      images differ slightly from the original. They are decoded once, in about six seconds, and
      cached in the cache folder, or in the user's if that is read-only;
    - the original, downloaded.

    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Raises:
        ConnectionError: no file is there and the download failed.
        ImportError: a download is needed and pooch is not installed, or JPEG files and Pillow is
            not.
        OSError: the cache folder cannot be written.
        ValueError: a file is damaged or has other content.

    Example:
        >>> from gpunet.datasets import cifar10
        >>> (x_train, y_train), (x_test, y_test) = cifar10.load_data()  # doctest: +SKIP
        >>> x_train.shape, y_train.shape  # doctest: +SKIP
        ((50000, 32, 32, 3), (50000, 1))
    """
    jpeg = cache_folder() / _JPEG
    if _ARCHIVE.find() is None and jpeg.is_file():
        return _load_jpeg(jpeg)
    return load_archive(_ARCHIVE, "labels", len(CLASS_NAMES))


def _load_jpeg(path: Path) -> LabelledImages:
    """Return the images of a file of JPEG files, decoded now or in an earlier call."""
    status = path.stat()
    source = np.array([status.st_size, status.st_mtime_ns], np.int64)
    folders = (cache_folder(), user_cache_folder())
    for folder in folders:
        decoded = _read_decoded(folder / _DECODED, source)
        if decoded is not None:
            return decoded
    decoded = _decode(path)
    for folder in folders:
        if _write_decoded(folder / _DECODED, decoded, source):
            break
    return decoded


def _read_decoded(path: Path, source: np.ndarray) -> LabelledImages | None:
    """Return cached images, None where there are none of this source."""
    images = Expected("uint8", ("images", _SIZE, _SIZE, 3))
    labels = Expected("uint8", ("images", 1))
    expected = {"source": Expected("int64", (2,)), "x_train": images, "y_train": labels}
    try:
        found, *arrays = read_arrays(path, expected | {"x_test": images, "y_test": labels})
    except (OSError, ValueError):  # absent or damaged: the images are decoded again
        return None
    x_train, y_train, x_test, y_test = arrays
    whole = len(x_train) == len(y_train) and len(x_test) == len(y_test)
    if not whole or not np.array_equal(found, source):
        return None
    return (x_train, y_train), (x_test, y_test)


def _write_decoded(path: Path, data: LabelledImages, source: np.ndarray) -> bool:
    """Write images to a cache file, at once; return whether its folder may be written."""
    (x_train, y_train), (x_test, y_test) = data
    arrays = {"source": source, "x_train": x_train, "y_train": y_train}
    arrays |= {"x_test": x_test, "y_test": y_test}
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.stat().st_mode & stat.S_IWUSR:  # root could write there all the same
            return False
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npz")
        with open(handle, "wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except OSError:
        return False
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # it is there only if something failed
    return True


def _decode(path: Path) -> LabelledImages:
    """Return the images of a file of JPEG files.

    One thread decodes them: such small images are decoded faster than threads hand over.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            f"Reading the JPEG files in {path.name} needs Pillow, which is not installed. "
            'Install it: pip install "gpunet[datasets]".'
        ) from error
    expected: dict[str, Expected] = {}
    for part in _PARTS:
        expected[f"{part}_jpeg"] = Expected("uint8", ("bytes",))
        expected[f"{part}_offsets"] = Expected("int64", ("images + 1",))
        expected[f"{part}_labels"] = Expected("uint8", ("images",))
    arrays = read_arrays(path, expected)

    def decode_part(part: str, files: Bytes, offsets: np.ndarray, labels: Bytes) -> Bytes:
        _check_part(path, part, files, offsets, labels)
        images = np.empty((len(labels), _SIZE, _SIZE, 3), np.uint8)
        for i, (start, stop) in enumerate(itertools.pairwise(offsets)):
            content = files[start:stop].tobytes()
            try:  # the codec, without Pillow's search for a format: three times as fast
                image = Image.frombytes("RGB", (_SIZE, _SIZE), content, "jpeg", "RGB", "")
            except ValueError as error:
                raise unusable_file(path, f"image {i} of {part}: {error}") from error
            images[i] = np.asarray(image)
        return images

    train, test = arrays[:3], arrays[3:]
    return (
        (decode_part("train", *train), train[2][:, np.newaxis]),
        (decode_part("test", *test), test[2][:, np.newaxis]),
    )


def _check_part(path: Path, part: str, files: Bytes, offsets: np.ndarray, labels: Bytes) -> None:
    if len(labels) == 0 or len(offsets) != len(labels) + 1:
        raise unusable_file(
            path,
            f"expected {part}_offsets for {len(labels)} labels and the end, found {len(offsets)}",
        )
    if offsets[0] != 0 or offsets[-1] != len(files) or (np.diff(offsets) < 0).any():
        raise unusable_file(path, f"expected {part}_offsets to rise from 0 to {len(files)}")
    if labels.max() >= len(CLASS_NAMES):
        raise unusable_file(path, f"expected labels from 0 to 9, found {labels.max()}")
