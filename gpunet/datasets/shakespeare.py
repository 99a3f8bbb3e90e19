"""Shakespeare: 1.1 MB of plays, for models of characters."""

from __future__ import annotations

import math
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpunet.datasets.cache import RemoteFile, fetch

__all__ = ["load_data", "load_text"]

# The author's repository, pinned to a commit.
_FILE = RemoteFile(
    "tinyshakespeare.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/"
    "d1d7aa34fdb3626174bce1d753e6cc6845ce7087/data/tinyshakespeare/input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)

Ids: TypeAlias = NDArray[np.int32]


def load_data(
    path: str | PathLike[str] | None = None, test_split: float = 0.1
) -> tuple[tuple[Ids, Ids], list[str]]:
    """Return ``(train, test), vocabulary``; download the text on first use.

    `train` and `test` are the ids of the characters in order, int32 (n,); `vocabulary` lists the
    characters of the whole text, sorted, so that ``vocabulary[id]`` is a character. For pairs of a
    window and the characters that follow see `gpunet.utils.timeseries_dataset_from_array`.

    Arguments:
        path: another text file in UTF-8; by default ``tinyshakespeare.txt`` in
            `gpunet.datasets.cache_folder()`.
        test_split: the share of the characters, at the end of the text, to test with.

    Raises:
        ConnectionError: the file is not in the cache and the download failed.
        ImportError: a download is needed and pooch is not installed.
        OSError: the file cannot be read, or the cache folder cannot be written.
        ValueError: the text is empty or no UTF-8, or `test_split` is not from 0 to below 1.

    Example:
        >>> from gpunet.datasets import shakespeare
        >>> (train, test), vocabulary = shakespeare.load_data()  # doctest: +SKIP
        >>> len(train), len(test), len(vocabulary)  # doctest: +SKIP
        (1003854, 111540, 65)
        >>> "".join(vocabulary[i] for i in train[:13])  # doctest: +SKIP
        'First Citizen'
    """
    share: Any = test_split
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= float(share) < 1:
        raise ValueError(f"test_split is a number from 0 to below 1, received {test_split!r}.")
    text = load_text(path)
    if not text:
        raise ValueError(f"The text file {path} is empty.")
    code_points = np.array(list(text)).view(np.uint32)
    characters, places = np.unique(code_points, return_inverse=True)
    ids: Ids = places.astype(np.int32)
    split = math.floor(len(ids) * (1 - float(share)))
    return (ids[:split], ids[split:]), [chr(point) for point in characters]


def load_text(path: str | PathLike[str] | None = None) -> str:
    r"""Return the whole text; download it on first use. Lines end in ``\n``.

    Arguments and errors are those of `load_data`.

    Example:
        >>> from gpunet.datasets import shakespeare
        >>> shakespeare.load_text()[:13]  # doctest: +SKIP
        'First Citizen'
    """
    file = fetch(_FILE) if path is None else Path(path).expanduser()
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"The text file {file} is no UTF-8: {error}. Convert it, or give another file."
        ) from error
