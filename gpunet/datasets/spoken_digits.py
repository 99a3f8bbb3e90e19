"""Spoken digits: 3,000 recordings of the digits 0 to 9 by six speakers, 8,000 samples a second."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpunet.arguments import positive_integer
from gpunet.datasets.cache import cache_folder
from gpunet.datasets.files import Expected, read_arrays, unusable_file

__all__ = ["SAMPLING_RATE", "load_data"]

SAMPLING_RATE = 8000  # samples a second

_FILE = "fsdd.npz"
_TEST_INDEXES = 5

Recordings: TypeAlias = NDArray[np.int16] | list[NDArray[np.int16]]
LabelledRecordings: TypeAlias = tuple[
    tuple[Recordings, NDArray[np.uint8]], tuple[Recordings, NDArray[np.uint8]]
]


def load_data(length: int | None = SAMPLING_RATE) -> LabelledRecordings:
    """Return ``(x_train, y_train), (x_test, y_test)`` of the Free Spoken Digit Dataset.

    Recordings are int16 samples from -32768 to 32767, 8,000 a second; labels are uint8 (n,), 0 to
    9. The usual split: of the 50 recordings of a digit by a speaker, the first five are for
    testing, 300 in all, and 2,700 for training.

    The data are read from ``fsdd.npz`` in `gpunet.datasets.cache_folder()`. It holds ``audio``,
    int16, all recordings one after another; ``offsets``, int64 (n + 1,); ``labels`` and ``index``,
    uint8 (n,). Source: Jackson et al., Free Spoken Digit Dataset, CC BY-SA 4.0.

    Arguments:
        length: samples of each recording, by default one second: shorter recordings end in zeros,
            longer ones (one in 150) are cut. None for lists of arrays, each as long as its
            recording.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or has other content, or the length is below 1.

    Example:
        >>> from gpunet.datasets import spoken_digits
        >>> (x_train, y_train), (x_test, y_test) = spoken_digits.load_data()  # doctest: +SKIP
        >>> x_train.shape, y_train.shape  # doctest: +SKIP
        ((2700, 8000), (2700,))
    """
    if length is not None:
        length = positive_integer(length, "length", "spoken_digits.load_data")
    path = cache_folder() / _FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {_FILE} in {path.parent}. Make it of the recordings at "
            "https://github.com/Jakobovski/free-spoken-digit-dataset, as the documentation of "
            "gpunet.datasets.spoken_digits.load_data describes, or set GPUNET_HOME to the folder "
            "that holds it."
        )
    audio, offsets, labels, index = _read(path)
    recordings = np.split(audio, offsets[1:-1])
    for_test = index < _TEST_INDEXES

    def part(chosen: NDArray[np.bool_]) -> tuple[Recordings, NDArray[np.uint8]]:
        kept = [recordings[i] for i in np.flatnonzero(chosen)]
        return kept if length is None else _padded(kept, length), labels[chosen]

    return part(~for_test), part(for_test)


def _read(path: Path) -> list[np.ndarray]:
    """Return audio, offsets, labels and index, checked."""
    one_each = Expected("uint8", ("recordings",))
    audio, offsets, labels, index = read_arrays(
        path,
        {
            "audio": Expected("int16", ("samples",)),
            "offsets": Expected("int64", ("recordings + 1",)),
            "labels": one_each,
            "index": one_each,
        },
    )
    if len(labels) == 0 or len(offsets) != len(labels) + 1 or len(index) != len(labels):
        raise unusable_file(
            path,
            f"expected an offset, label and index for each recording, found {len(offsets)}, "
            f"{len(labels)} and {len(index)}",
        )
    if offsets[0] != 0 or offsets[-1] != len(audio) or (np.diff(offsets) <= 0).any():
        raise unusable_file(path, f"expected offsets that rise from 0 to {len(audio)}")
    if labels.max() > 9:
        raise unusable_file(path, f"expected labels from 0 to 9, found {labels.max()}")
    return [audio, offsets, labels, index]


def _padded(recordings: list[NDArray[np.int16]], length: int) -> NDArray[np.int16]:
    padded = np.zeros((len(recordings), length), np.int16)
    for row, recording in zip(padded, recordings, strict=True):
        row[: len(recording)] = recording[:length]
    return padded
