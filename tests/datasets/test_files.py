"""gpunet.datasets.files: rejected files and their error messages."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpunet.datasets import files
from tests.support.dataset_files import Arrays, idx_bytes, make_arrays, npz_bytes


class Payload:
    """Appends to `ran` when unpickled."""

    ran: ClassVar[list[int]] = []

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return self.ran.append, (1,)


def with_member(arrays: Arrays, name: str, content: bytes) -> bytes:
    """Return an .npz whose array `name` is `content`."""
    stream = io.BytesIO(npz_bytes({key: value for key, value in arrays.items() if key != name}))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy_bytes(shape: tuple[int, ...], content: bytes) -> bytes:
    """Return a uint8 .npy with the header of `shape` and any content."""
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + content


ARRAYS = make_arrays()
BAD_NPZ = {
    "empty": (b"", "not a zip"),
    "no zip": (b"<html>Please log in</html>" * 50, "not a zip"),
    "cut short": (npz_bytes(ARRAYS)[:-100], "cannot be used"),
    "an array missing": (
        npz_bytes({"x_train": ARRAYS["x_train"]}),
        r"expected a member y_train\.npy .*found x_train\.npy",
    ),
    "floats": (
        npz_bytes({**ARRAYS, "x_test": ARRAYS["x_test"] / 255}),
        r"expected x_test as uint8 \(images, 28, 28\), found float64",
    ),
    "flat images": (
        npz_bytes({**ARRAYS, "x_train": ARRAYS["x_train"].reshape(12, 784)}),
        r"found uint8 \(12, 784\)",
    ),
    "one-hot labels": (
        npz_bytes({**ARRAYS, "y_train": np.eye(10, dtype=np.uint8)[ARRAYS["y_train"]]}),
        r"expected y_train as uint8 \(images\), found uint8 \(12, 10\)",
    ),
    "labels missing": (
        npz_bytes({**ARRAYS, "y_train": ARRAYS["y_train"][:-1]}),
        r"found images \(12, 28, 28\) and labels \(11,\)",
    ),
    "no images": (
        npz_bytes({name: array[:0] for name, array in ARRAYS.items()}),
        "with a label each",
    ),
    "labels out of range": (
        npz_bytes({**ARRAYS, "y_test": ARRAYS["y_test"] + np.uint8(10)}),
        "labels from 0 to 9, found 1",
    ),
    "no npy": (with_member(ARRAYS, "x_test", b"nothing"), "cannot be used: .*magic"),
    "pickled": (
        npz_bytes({**ARRAYS, "y_train": np.array([Payload()] * 12)}),
        r"expected y_train as uint8 \(images\), found object",
    ),
    "a false shape": (
        with_member(ARRAYS, "x_train", npy_bytes((10**12, 28, 28), bytes(1000))),
        "x_train claims the shape .*, more than the file can contain",
    ),
    "too long": (
        with_member(ARRAYS, "y_test", npy_bytes((6,), bytes(7))),
        "y_test is longer than its shape",
    ),
}


@pytest.mark.parametrize("kind", BAD_NPZ)
def test_a_bad_npz_is_a_clear_error(tmp_path: Path, kind: str) -> None:
    content, message = BAD_NPZ[kind]
    path = tmp_path / "mnist.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        files.read_npz(path)
    assert str(path) in str(caught.value)
    assert "Delete it" in str(caught.value)
    assert path.read_bytes() == content
    assert Payload.ran == []


IMAGES = make_arrays()["x_train"]
RAW = gzip.decompress(idx_bytes(IMAGES))
BAD_IDX = {
    "empty": (b"", "found the header b''"),
    "no gzip": (b"<html>Please log in</html>", "Not a gzipped file"),
    "gzip cut short": (idx_bytes(IMAGES)[:-200], "end-of-stream"),
    "checksum": (idx_bytes(IMAGES)[:-8] + bytes(8), "CRC"),
    "other head": (gzip.compress(b"\0\0\x0d\3" + RAW[4:]), r"3 axes, found the header .*\\r\\x03"),
    "labels": (idx_bytes(make_arrays()["y_train"]), "expected IDX bytes of 3 axes"),
    "head cut short": (gzip.compress(RAW[:9]), "cannot be used: unpack"),
    "values missing": (gzip.compress(RAW[:-1]), r"length does not match its shape \(12, 28, 28\)"),
    "values left over": (gzip.compress(RAW + b"\0"), "length does not match its shape"),
    "a false shape": (
        gzip.compress(RAW[:4] + struct.pack(">3I", 2**32 - 1, 28, 28) + RAW[16:]),
        "claims the shape .*, more than it can contain",
    ),
}


@pytest.mark.parametrize("kind", BAD_IDX)
def test_a_bad_idx_file_is_a_clear_error(tmp_path: Path, kind: str) -> None:
    content, message = BAD_IDX[kind]
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        files.read_idx(path, axes=3)
    assert str(path) in str(caught.value)


SMALL_NPZ = {name: array[:1] // 10 for name, array in ARRAYS.items()}
SMALL_IDX = idx_bytes(IMAGES[:1] // 10)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_raises_value_error(tmp_path: Path, data: st.DataObject) -> None:
    readers: list[tuple[bytes, Callable[[Path], object]]] = [
        (npz_bytes(SMALL_NPZ), files.read_npz),
        (npz_bytes(SMALL_NPZ, np.savez), files.read_npz),
        (SMALL_IDX, lambda path: files.read_idx(path, axes=3)),
    ]
    original, read = data.draw(st.sampled_from(readers))
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with contextlib.suppress(ValueError):  # any other error fails the test
        read(path)
