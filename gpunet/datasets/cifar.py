"""Reader of the archives of CIFAR-10 and CIFAR-100, which hold pickles: no code of them runs."""

from __future__ import annotations

import os
import pickle
import tarfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from gpunet.datasets.cache import RemoteFile, cache_folder, fetch
from gpunet.datasets.files import Bytes, LabelledImages, file_content

__all__ = ["Archive", "load_archive"]

_SIZE, _CHANNELS = 32, 3
_LARGEST_MEMBER = 1 << 28  # bytes; the largest of CIFAR-100 has 155 MB


class Archive(NamedTuple):
    """A published archive, and where its images and labels are."""

    remote: RemoteFile
    keras_names: tuple[str, ...]  # of the archive in Keras' folder of data
    train: tuple[str, ...]  # members, without their folder
    test: tuple[str, ...]

    def find(self) -> Path | None:
        """Return the path of a copy that gpunet or Keras has downloaded, None if there is none."""
        keras = Path(os.environ.get("KERAS_HOME", "").strip() or "~/.keras") / "datasets"
        keras = Path(os.path.expanduser(keras))
        places = [cache_folder() / self.remote.name]
        places += [folder / name for folder in (cache_folder(), keras) for name in self.keras_names]
        return next((path for path in places if path.is_file()), None)


def load_archive(archive: Archive, label_key: str, classes: int) -> LabelledImages:
    """Return ``(x_train, y_train), (x_test, y_test)`` of an archive; download it if it is missing.

    Arguments:
        archive: the published archive.
        label_key: the name of the labels in each member.
        classes: the number of classes.

    Returns:
        Images, uint8 (images, 32, 32, 3), and labels, uint8 (images, 1).

    Raises:
        ConnectionError, ImportError, OSError: as of `gpunet.datasets.cache.fetch`.
        ValueError: the file is damaged or has other content.
    """
    path = archive.find() or fetch(archive.remote)
    wanted = (*archive.train, *archive.test)
    with file_content(path) as content, tarfile.open(fileobj=content) as tar:
        parts = {}
        for member in tar:
            name = member.name.rpartition("/")[2]
            if name in wanted and member.isfile():
                parts[name] = _read_member(tar, member, label_key, classes)
        missing = [name for name in wanted if name not in parts]
        if missing:
            raise ValueError(f"expected the members {', '.join(wanted)}, {missing[0]} is missing")
    return _joined([parts[name] for name in archive.train]), _joined(
        [parts[name] for name in archive.test]
    )


def _joined(parts: list[tuple[Bytes, Bytes]]) -> tuple[Bytes, Bytes]:
    """Return images, channels last, and labels of several members."""
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels


def _read_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, label_key: str, classes: int
) -> tuple[Bytes, Bytes]:
    """Return images (n, 3, 32, 32) and labels (n, 1) of a member."""
    if member.size > _LARGEST_MEMBER:
        raise ValueError(f"the member {member.name} claims {member.size} bytes")
    stream = tar.extractfile(member)
    assert stream is not None  # a member that is a file
    content = _Unpickler(stream, encoding="bytes").load()
    if not isinstance(content, dict) or not {b"data", label_key.encode()} <= content.keys():
        raise ValueError(f"expected data and {label_key} in the member {member.name}")
    images = content[b"data"]
    if not isinstance(images, _Array):
        raise ValueError(f"expected an array of images in the member {member.name}")
    labels = np.array(content[label_key.encode()])
    count = len(labels)
    if labels.ndim != 1 or labels.dtype.kind != "i" or count == 0:
        raise ValueError(f"expected labels of images in the member {member.name}")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"expected labels from 0 to {classes - 1}, found {labels.max()}")
    data = images.bytes_of((count, _CHANNELS * _SIZE * _SIZE))
    return data.reshape(count, _CHANNELS, _SIZE, _SIZE), labels.astype(np.uint8)[:, np.newaxis]


class _Array:
    """An array in a pickle: keeps the state, which NumPy would use."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def bytes_of(self, shape: tuple[int, ...]) -> Bytes:
        """Return the bytes as uint8 of a shape; a pickled array is (version, shape, ..., bytes)."""
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise ValueError("expected the state of an array")
        _, found, dtype, by_columns, values = self.state
        is_uint8 = isinstance(dtype, _DType) and dtype.name in ("u1", b"u1")
        if found != shape or not is_uint8 or by_columns or not isinstance(values, bytes):
            raise ValueError(f"expected an array of uint8 {shape}, found the shape {found}")
        return np.frombuffer(values, np.uint8).reshape(shape)


class _DType:
    """A dtype in a pickle: keeps its name."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    """Reads containers, numbers and bytes; arrays become `_Array`, and nothing else is made."""

    def __init__(self, stream: IO[bytes], *, encoding: str) -> None:
        super().__init__(stream, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in (
            "numpy.core.multiarray",
            "numpy._core.multiarray",
        ):
            return lambda *_: _Array()
        if (module, name) == ("numpy", "ndarray"):
            return _Array
        if (module, name) == ("numpy", "dtype"):
            return _DType
        raise ValueError(f"it holds a {module}.{name}, expected images and labels alone")
