"""Small files of labelled images, for the tests of gpunet.datasets."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable

import numpy as np

from gpunet.datasets.files import LabelledImages

Arrays = dict[str, np.ndarray]


def make_arrays(count: int = 12) -> Arrays:
    rng = np.random.default_rng(count)
    arrays: Arrays = {}
    for split, images in (("train", count), ("test", count // 2)):
        arrays[f"x_{split}"] = rng.integers(0, 256, (images, 28, 28), dtype=np.uint8)
        arrays[f"y_{split}"] = rng.integers(0, 10, images, dtype=np.uint8)
    return arrays


def npz_bytes(arrays: Arrays, save: Callable[..., None] = np.savez_compressed) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def idx_bytes(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes())


def fashion_files(arrays: Arrays) -> dict[str, bytes]:
    return {
        f"{stem}-{kind}-ubyte.gz": idx_bytes(arrays[f"{axis}_{split}"])
        for stem, split in (("train", "train"), ("t10k", "test"))
        for kind, axis in (("images-idx3", "x"), ("labels-idx1", "y"))
    }


def assert_holds(data: LabelledImages, arrays: Arrays) -> None:
    (x_train, y_train), (x_test, y_test) = data
    for name, found in zip(
        ("x_train", "y_train", "x_test", "y_test"), (x_train, y_train, x_test, y_test), strict=True
    ):
        np.testing.assert_array_equal(found, arrays[name], strict=True)
        assert found.flags.c_contiguous
        assert found.flags.writeable
