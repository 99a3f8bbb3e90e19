"""Data sets of the files in a folder, labelled by their subfolders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from gpunet import random
from gpunet.arguments import boolean, check_choice, plain, positive_integer
from gpunet.utils.dataset import ShuffledDataset, collate, seed_of
from gpunet.utils.numerical import to_categorical
from gpunet.utils.workers import THREAD_NAME, call_ahead, core_count

__all__ = ["FileDataset", "Selection", "datasets_of_files"]

_LABEL_MODES = ("int", "categorical", "binary", None)
_SUBSETS = ("training", "validation", "both", None)
_MOST_THREADS = 8


class Selection(NamedTuple):
    """The arguments that the functions of this family share; see `image_dataset_from_directory`."""

    where: str  # the function, for messages
    directory: Any
    labels: Any
    label_mode: str | None
    class_names: Any
    batch_size: int | None
    shuffle: bool
    seed: int | None
    validation_split: float | None
    subset: str | None
    follow_links: bool
    verbose: bool


class FileDataset(ShuffledDataset):
    """Samples read from files, decoded ahead by threads.

    Order and content of the batches depend on the seed and the files alone.

    Attributes:
        class_names: the names of the classes, None without labels.
        file_paths: the path of each file. Without shuffling, in the order of the samples.

    Arguments:
        paths: of the files.
        labels: an array with a row for each file, or None.
        class_names: the names of the classes, or None.
        load: returns the content of a file.
        batch_size: files in a batch, None to yield them one by one.
        seed: of the order in each epoch, None for the order of the paths.
        combine: makes a batch of a list of contents.
    """

    def __init__(
        self,
        paths: list[str],
        labels: np.ndarray | None,
        class_names: list[str] | None,
        load: Callable[[str], Any],
        batch_size: int | None,
        seed: int | None,
        combine: Callable[[list[Any]], Any],
    ) -> None:
        self.file_paths, self.class_names = paths, class_names

        def read(order: np.ndarray) -> Iterator[Any]:
            workers = min(_MOST_THREADS, core_count())
            executor = ThreadPoolExecutor(workers, THREAD_NAME)
            contents = call_ahead(
                lambda i: load(paths[i]), order.tolist(), executor, 2 * (batch_size or workers)
            )
            with contextlib.closing(contents):
                for number, content in zip(order, contents, strict=True):
                    yield content if labels is None else (content, labels[number])

        def combine_samples(samples: list[Any]) -> Any:
            if labels is None:
                return combine(samples)
            contents, chosen = zip(*samples, strict=True)
            return combine(list(contents)), np.stack(chosen)

        super().__init__(read, len(paths), batch_size, seed, combine_samples)


def datasets_of_files(
    selection: Selection,
    formats: tuple[str, ...],
    load: Callable[[str], Any],
    combine: Callable[[list[Any]], Any] = collate,
) -> FileDataset | tuple[FileDataset, FileDataset]:
    """Return the data set of a folder, or for ``subset="both"`` those to train and validate with.

    Raises:
        OSError: the folder is not there or cannot be read.
        TypeError, ValueError: an argument is out of its range, or no file is found.
    """
    chosen = _checked(selection)
    paths, labels, names = _indexed(chosen, formats)
    if chosen.label_mode == "binary" and len(names or ()) != 2:
        raise ValueError(
            f"{chosen.where}: label_mode='binary' needs two classes, found {len(names or ())}: "
            f"{names}."
        )
    seed = None
    if chosen.shuffle:
        seed = seed_of(chosen.seed)
        order = random.Generator(seed).permutation(len(paths))
        paths = [paths[i] for i in order]
        labels = None if labels is None else labels[order]
    encoded = _encoded(labels, chosen, len(names or ()))

    def part(rows: slice, part_seed: int | None) -> FileDataset:
        return FileDataset(
            paths[rows], None if encoded is None else encoded[rows], names, load,
            chosen.batch_size, part_seed, combine,
        )  # fmt: skip

    if chosen.validation_split is None:
        return part(slice(None), seed)
    training, validation = _split(chosen, len(paths))
    if chosen.subset == "both":
        return part(training, seed), part(validation, None)
    return part(training if chosen.subset == "training" else validation, seed)


def _checked(given: Selection) -> Selection:
    """Return the arguments as plain values, after checking them."""
    where, labels = given.where, given.labels
    check_choice(given.label_mode, _LABEL_MODES, "label_mode", where)
    check_choice(given.subset, _SUBSETS, "subset", where)
    shuffle = boolean(given.shuffle, "shuffle", where)
    if isinstance(labels, np.ndarray):
        labels = labels.tolist()
    if isinstance(labels, str) and labels == "inferred":
        pass
    elif labels is not None and not isinstance(labels, list | tuple):
        raise ValueError(
            f"{where}: labels must be 'inferred' (from the subfolders), a list with an integer for "
            f"each file, or None, received {labels!r}."
        )
    elif given.class_names is not None:
        raise ValueError(f"{where}: class_names needs labels='inferred', received {labels!r}.")
    share = _checked_share(given, shuffle)
    size = given.batch_size
    if size is not None:
        size = positive_integer(size, "batch_size", where)
    mode = None if labels is None else given.label_mode
    return given._replace(
        labels=None if mode is None else labels, label_mode=mode, batch_size=size,
        shuffle=shuffle, validation_split=share,
    )  # fmt: skip


def _checked_share(given: Selection, shuffle: bool) -> float | None:
    where, share = given.where, plain(given.validation_split)
    if not share and share is not False and given.subset is None:
        return None
    if share is None or given.subset is None:
        raise ValueError(
            f"{where}: validation_split and subset are given together, such as "
            f"validation_split=0.2, subset='both'; received validation_split={share!r}, "
            f"subset={given.subset!r}."
        )
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 < float(share) < 1:
        raise ValueError(
            f"{where}: validation_split must be above 0 and below 1, received {share!r}."
        )
    if shuffle and given.seed is None:
        raise ValueError(
            f"{where}: validation_split with shuffle=True needs a seed, so that training and "
            "validation share no file: pass seed=0, or another."
        )
    return float(share)


def _split(chosen: Selection, count: int) -> tuple[slice, slice]:
    """Return the files to train on, and the last share of them, to validate with."""
    share = chosen.validation_split or 0.0
    held_out = int(share * count)
    if held_out == 0:
        raise ValueError(
            f"{chosen.where}: validation_split={share} of {count} files leaves none to validate "
            "with."
        )
    if chosen.verbose:
        if chosen.subset in ("training", "both"):
            print(f"Using {count - held_out} files for training.")
        if chosen.subset in ("validation", "both"):
            print(f"Using {held_out} files for validation.")
    return slice(count - held_out), slice(count - held_out, count)


def _indexed(
    chosen: Selection, formats: tuple[str, ...]
) -> tuple[list[str], np.ndarray | None, list[str] | None]:
    """Return paths in alphanumeric order by class, their labels, and the names of the classes."""
    directory, where = os.fspath(chosen.directory), chosen.where
    if not os.path.isdir(directory):
        raise FileNotFoundError(f"{where}: there is no folder {directory}.")
    inferred = chosen.labels == "inferred"
    folders = _class_folders(chosen, directory) if inferred else [""]
    found = [
        list(_files(os.path.join(directory, folder), formats, chosen.follow_links))
        for folder in folders
    ]
    paths = [path for files in found for path in files]
    labels: np.ndarray | None = None
    names: list[str] | None = None
    if inferred:
        labels, names = np.repeat(np.arange(len(folders)), list(map(len, found))), folders
    elif chosen.labels is not None:
        labels = np.array(chosen.labels)
        names = [str(label) for label in sorted(set(chosen.labels))]
    if not paths:
        hint = "in subfolders, one a class" if inferred else "in it"
        raise ValueError(
            f"{where}: expected files {', '.join(formats)} {hint}, found none in {directory}."
        )
    _check_labels(chosen, labels, len(paths), directory)
    if chosen.verbose:
        classes = "" if names is None else f" belonging to {len(names)} classes"
        print(f"Found {len(paths)} files{classes}.")
    return paths, labels, names


def _check_labels(chosen: Selection, labels: np.ndarray | None, count: int, directory: str) -> None:
    if labels is None:
        return
    if len(labels) != count:
        raise ValueError(
            f"{chosen.where}: expected a label for each of the {count} files in {directory}, "
            f"received {len(labels)} labels."
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(
            f"{chosen.where}: labels must be integers, received {chosen.labels[0]!r}, ...: number "
            "the classes from 0."
        )


def _class_folders(chosen: Selection, directory: str) -> list[str]:
    """Return the subfolders, or those that are chosen, in their order."""
    folders = sorted(
        entry.name for entry in os.scandir(directory)
        if entry.is_dir() and not entry.name.startswith(".")
    )  # fmt: skip
    if chosen.class_names is None:
        return folders
    names = list(chosen.class_names)
    unknown = [name for name in names if name not in folders]
    if unknown or len(set(names)) < len(names):
        raise ValueError(
            f"{chosen.where}: class_names must be different subfolders of {directory}, which are "
            f"{folders}; received {names}."
        )
    return names


def _files(directory: str, formats: tuple[str, ...], follow_links: bool) -> Iterator[str]:
    """Yield the paths of all files below a folder that end in one of the formats, sorted."""
    for folder, _, names in sorted(os.walk(directory, followlinks=follow_links)):
        for name in sorted(names):
            if name.lower().endswith(formats):
                yield os.path.join(folder, name)


def _encoded(labels: np.ndarray | None, chosen: Selection, classes: int) -> np.ndarray | None:
    """Return labels as the label mode asks for: int32 (n,), float32 (n, 1) or (n, classes)."""
    if labels is None or chosen.label_mode == "int":
        return None if labels is None else labels.astype(np.int32)
    if not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(
            f"{chosen.where}: label_mode={chosen.label_mode!r} needs labels from 0 to "
            f"{classes - 1}, received labels from {labels.min()} to {labels.max()}."
        )
    if chosen.label_mode == "binary":
        return labels.astype(np.float32)[:, np.newaxis]
    return to_categorical(labels, classes)
