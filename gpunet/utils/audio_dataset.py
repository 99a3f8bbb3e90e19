"""Data sets of the WAV files in a folder."""

from __future__ import annotations

import wave
from typing import Any

import numpy as np

from gpunet.arguments import boolean, positive_integer
from gpunet.utils.directories import FileDataset, Selection, datasets_of_files

__all__ = ["audio_dataset_from_directory", "read_wav"]

_WHERE = "audio_dataset_from_directory"


def audio_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    sampling_rate: int | None = None,
    output_sequence_length: int | None = None,
    ragged: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    verbose: bool = True,
) -> FileDataset | tuple[FileDataset, FileDataset]:
    """Return the data set of the .wav files in a folder, a subfolder for each class.

    Each epoch yields batches ``(audio, labels)``: float32 (batch, samples, channels) from -1 to 1,
    and labels as `label_mode` says.

    Arguments:
        sampling_rate: samples a second that all files must have; None accepts any. Files of another
            rate are an error: they are not resampled.
        output_sequence_length: samples of each recording; longer ones are cut, shorter ones end in
            zeros. None pads to the longest of the batch.
        ragged: must be False: batches are arrays.
        directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split,
            subset, follow_links, verbose: as in `image_dataset_from_directory`.

    Returns:
        A data set with `class_names`, `file_paths`, a length, and the methods of
        `gpunet.utils.Dataset`; two of them for ``subset="both"``.

    Raises:
        OSError: the folder or a file cannot be read.
        TypeError, ValueError: an argument is out of its range, no file is found, or a file is no
            PCM of 8 to 32 bits, which names the file.

    Example:
        >>> from gpunet.utils import audio_dataset_from_directory
        >>> speech = audio_dataset_from_directory(  # doctest: +SKIP
        ...     "speech_commands", output_sequence_length=16000
        ... )
        Found 105829 files belonging to 35 classes.
        >>> audio, labels = next(iter(speech))  # doctest: +SKIP
        >>> audio.shape, labels.shape  # doctest: +SKIP
        ((32, 16000, 1), (32,))
    """
    if boolean(ragged, "ragged", _WHERE):
        raise ValueError(
            f"{_WHERE}: batches are arrays, received ragged=True. Leave it out: recordings are "
            "padded with zeros to the longest of the batch."
        )
    rate = sampling_rate
    if rate is not None:
        rate = positive_integer(rate, "sampling_rate", _WHERE)
    length = output_sequence_length
    if length is not None:
        length = positive_integer(length, "output_sequence_length", _WHERE)

    def load(path: str) -> np.ndarray:
        audio, found = read_wav(path)
        if rate is not None and found != rate:
            raise ValueError(
                f"The audio file {path} has {found} samples a second, expected "
                f"sampling_rate={rate}: resample it beforehand."
            )
        return audio if length is None else _fitted(audio, length)

    def combine(recordings: list[np.ndarray]) -> np.ndarray:
        longest = max(len(audio) for audio in recordings)
        return np.stack([_fitted(audio, longest) for audio in recordings])

    selection = Selection(
        _WHERE, directory, labels, label_mode, class_names, batch_size, shuffle, seed,
        validation_split, subset, follow_links, verbose,
    )  # fmt: skip
    return datasets_of_files(selection, (".wav",), load, combine)


def read_wav(path: str) -> tuple[np.ndarray, int]:
    """Return the samples of a WAV file, float32 (samples, channels), and their number a second.

    Integers of b bits are divided by 2**(b - 1), so that samples are from -1 to below 1.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no PCM of 8, 16, 24 or 32 bits; names the file.
    """
    try:
        with wave.open(path, "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(
            f"The audio file {path} cannot be decoded: {error or 'it ends too early'}. Expected a "
            "WAV file of integers (PCM)."
        ) from error
    count = len(content) // (width * channels)
    samples = np.frombuffer(content, np.uint8, count * channels * width)
    if width == 1:  # unsigned, unlike the others
        return (samples.reshape(count, channels).astype(np.float32) - 128) / 128, rate
    if width not in (2, 3, 4):
        raise ValueError(f"The audio file {path} has {8 * width} bits a sample, expected 8 to 32.")
    high = np.zeros((count * channels, 4), np.uint8)  # the number in the high bytes of an int32
    high[:, 4 - width :] = samples.reshape(-1, width)
    integers = high.view("<i4").reshape(count, channels)
    return (integers / 2.0**31).astype(np.float32), rate


def _fitted(audio: np.ndarray, length: int) -> np.ndarray:
    """Return a recording cut or padded with zeros to a length."""
    if len(audio) >= length:
        return audio[:length]
    return np.pad(audio, ((0, length - len(audio)), (0, 0)))
