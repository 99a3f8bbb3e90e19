"""Readers of untrusted files of arrays: checked, bounded, without pickle.

A compressed file can claim any size. Before allocating memory, the claim is compared with the
maximum for the file's size: deflate expands a byte to at most 1032.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Bytes", "Expected", "LabelledImages", "check_labels", "file_content", "read_arrays",
    "read_idx", "read_npz", "unusable_file",
]  # fmt: skip

Bytes: TypeAlias = NDArray[np.uint8]
LabelledImages: TypeAlias = tuple[tuple[Bytes, Bytes], tuple[Bytes, Bytes]]

_DEFLATE_RATIO = 1032
_SIZE = 28
_CLASSES = 10

_NPY_HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], tuple[tuple[int, ...], bool, Any]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Expected(NamedTuple):
    """An array that a file must hold."""

    dtype: str
    shape: tuple[str | int, ...]  # a name where any size is accepted


def read_npz(path: Path) -> LabelledImages:
    """Return the arrays of an .npz file with Keras' layout.

    The arrays are x_train and x_test, uint8 (images, 28, 28), and y_train and y_test, uint8
    (images,), with labels 0 to 9.

    Raises:
        ValueError: the file is damaged or has other content; names the file and the fix.
    """
    images = Expected("uint8", ("images", _SIZE, _SIZE))
    labels = Expected("uint8", ("images",))
    x_train, y_train, x_test, y_test = read_arrays(
        path, {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    )
    check_labels(path, x_train, y_train)
    check_labels(path, x_test, y_test)
    return (x_train, y_train), (x_test, y_test)


def read_arrays(path: Path, expected: dict[str, Expected]) -> list[NDArray[Any]]:
    """Return arrays of an .npz file by their names, in order, each with the expected header.

    Raises:
        ValueError: the file is damaged or has other content; names the file and the fix.
    """
    with file_content(path) as content, zipfile.ZipFile(content) as archive:
        return [_read_member(archive, name, wanted) for name, wanted in expected.items()]


def _read_member(archive: zipfile.ZipFile, name: str, expected: Expected) -> NDArray[Any]:
    """Return an array of an archive, after checking its header."""
    file = f"{name}.npy"
    if file not in archive.namelist():
        held = ", ".join(archive.namelist()) or "nothing"
        raise ValueError(f"expected a member {file} in the archive, found {held}")
    member = archive.getinfo(file)
    with archive.open(member) as stream:
        shape, _, dtype = _NPY_HEADERS[np.lib.format.read_magic(stream)](stream)
    fits = len(shape) == len(expected.shape) and all(
        isinstance(wanted, str) or size == wanted
        for size, wanted in zip(shape, expected.shape, strict=True)
    )
    if dtype != expected.dtype or not fits:
        wanted = ", ".join(map(str, expected.shape))
        raise ValueError(f"expected {name} as {expected.dtype} ({wanted}), found {dtype} {shape}")
    size = math.prod(shape) * dtype.itemsize
    if size > min(member.file_size, _DEFLATE_RATIO * member.compress_size):
        raise ValueError(f"{name} claims the shape {shape}, more than the file can contain")
    with archive.open(member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
        if stream.read(1):
            raise ValueError(f"{name} is longer than its shape {shape}")
    return np.ascontiguousarray(array)


def read_idx(path: Path, axes: int) -> Bytes:
    """Return the uint8 array of a gzipped IDX file, MNIST's original format.

    The format: bytes 0, 0, 8 (for uint8), the number of axes, the size of each axis as a big-endian
    uint32, the values.

    Arguments:
        path: the file.
        axes: expected number of axes.

    Raises:
        ValueError: the file is damaged or has other content; names the file and the fix.
    """
    with file_content(path) as content, gzip.GzipFile(fileobj=content) as stream:
        head = stream.read(4)
        if head != bytes((0, 0, 8, axes)):
            raise ValueError(f"expected IDX bytes of {axes} axes, found the header {head!r}")
        shape = struct.unpack(f">{axes}I", stream.read(4 * axes))
        count = math.prod(shape)
        if count > _DEFLATE_RATIO * len(content.getbuffer()):
            raise ValueError(f"it claims the shape {shape}, more than it can contain")
        values = stream.read(count)
        if len(values) != count or stream.read(1):
            raise ValueError(f"its length does not match its shape {shape}")
    return np.frombuffer(values, np.uint8).reshape(shape).copy()


def check_labels(path: Path, images: Bytes, labels: Bytes) -> None:
    """Raise `ValueError` unless each 28x28 image has a label from 0 to 9."""
    if images.shape != (len(labels), _SIZE, _SIZE) or len(labels) == 0:
        raise unusable_file(
            path,
            f"expected images of 28x28 with a label each, found images {images.shape} "
            f"and labels {labels.shape}",
        )
    if labels.max() >= _CLASSES:
        raise unusable_file(path, f"expected labels from 0 to 9, found {labels.max()}")


@contextlib.contextmanager
def file_content(path: Path) -> Iterator[io.BytesIO]:
    """Yield the bytes of a file; raise any error in the block as a `ValueError` about the file."""
    content = io.BytesIO(path.read_bytes())
    try:
        yield content
    except Exception as error:  # damaged bytes make zipfile, gzip and NumPy raise almost anything
        raise unusable_file(path, str(error) or type(error).__name__) from error


def unusable_file(path: Path, reason: str) -> ValueError:
    """Return the error about a damaged data file."""
    return ValueError(
        f"The data file {path} cannot be used: {reason}. Delete it to download it again, or "
        "replace it."
    )
