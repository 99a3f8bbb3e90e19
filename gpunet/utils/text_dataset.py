"""Data sets of the text files in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpunet.arguments import check_choice, positive_integer
from gpunet.utils.directories import FileDataset, Selection, datasets_of_files

__all__ = ["text_dataset_from_directory"]

_WHERE = "text_dataset_from_directory"


def text_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Any = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> FileDataset | tuple[FileDataset, FileDataset]:
    """Return the data set of the .txt files in a folder, a subfolder for each class.

    Each epoch yields batches ``(texts, labels)``: strings, dtype object (batch,), and labels as
    `label_mode` says.

    Arguments:
        max_length: characters that are kept of a text, at its beginning; None keeps all. (Keras
            counts bytes of UTF-8.)
        directory, labels, label_mode, class_names, batch_size, shuffle, seed, validation_split,
            subset, follow_links, format, verbose: as in `image_dataset_from_directory`.

    Returns:
        A data set with `class_names`, `file_paths`, a length, and the methods of
        `gpunet.utils.Dataset`; two of them for ``subset="both"``.

    Raises:
        OSError: the folder or a file cannot be read.
        TypeError, ValueError: an argument is out of its range, no text is found, or a text is no
            UTF-8, which names the file.

    Example:
        >>> from gpunet.utils import text_dataset_from_directory
        >>> reviews = text_dataset_from_directory("aclImdb/train")  # doctest: +SKIP
        Found 25000 files belonging to 2 classes.
        >>> texts, labels = next(iter(reviews))  # doctest: +SKIP
        >>> texts.shape, labels.shape  # doctest: +SKIP
        ((32,), (32,))
    """
    check_choice(format, ("tf", "grain"), "format", _WHERE)
    length = None if max_length is None else positive_integer(max_length, "max_length", _WHERE)

    def load(path: str) -> str:
        try:
            return Path(path).read_bytes().decode("utf-8")[:length]
        except UnicodeDecodeError as error:
            raise ValueError(
                f"The text file {path} is no UTF-8: {error}. Convert it, or remove it."
            ) from error

    selection = Selection(
        _WHERE, directory, labels, label_mode, class_names, batch_size, shuffle, seed,
        validation_split, subset, follow_links, verbose,
    )  # fmt: skip
    return datasets_of_files(selection, (".txt",), load)
