"""Split data in two."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gpunet import random
from gpunet.arguments import boolean, plain
from gpunet.utils.dataset import Dataset, seed_of

__all__ = ["split_dataset"]


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    preferred_backend: str | None = None,
) -> tuple[Dataset, Dataset]:
    """Return the left and the right part of data, as two data sets.

    Arguments:
        dataset: an array; a tuple or list of arrays of equal length, such as ``(x, y)``; a
            `gpunet.utils.Dataset`; or samples with a length and indexes, such as a data set of
            PyTorch. It is held in memory.
        left_size: how many samples are in the left part, or the share of all where it is a float;
            None for all others.
        right_size: the same for the right part.
        shuffle: whether to shuffle the samples before.
        seed: an integer for the order; None takes one from `gpunet.random`.
        preferred_backend: accepted for Keras' scripts; the result is always the same.

    Returns:
        Two data sets of samples: rows, or tuples of rows. Of a data set in batches, batches of the
        same size.

    Raises:
        TypeError: the data are none of the above, or a size is no number.
        ValueError: no size is given, a size is out of range, or a part would be empty.

    >>> left, right = split_dataset((np.arange(5), np.arange(5) ** 2), left_size=0.6)
    >>> [(int(x), int(y)) for x, y in right], len(left)
    ([(3, 9), (4, 16)], 3)
    """
    samples, batch_size = _samples(dataset)
    left, right = _sizes(left_size, right_size, len(samples))
    order = np.arange(len(samples))
    if boolean(shuffle, "shuffle", "split_dataset"):
        order = random.Generator(seed_of(seed)).permutation(len(samples))

    def part(chosen: np.ndarray) -> Dataset:
        rows = Dataset(lambda: (samples[i] for i in chosen.tolist()), len(chosen))
        return rows if batch_size is None else rows.batch(batch_size)

    return part(order[:left]), part(order[len(order) - right :])


def _samples(dataset: Any) -> tuple[Any, int | None]:
    """Return a sequence of samples, and the batch size of a data set in batches."""
    if isinstance(dataset, Dataset):
        size = dataset.batch_size
        return list(dataset if size is None else dataset.unbatch()), size
    if isinstance(dataset, np.ndarray) and dataset.ndim:
        return dataset, None
    if isinstance(dataset, list | tuple):
        return _rows(dataset), None
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        return [dataset[i] for i in range(len(dataset))], None
    raise TypeError(
        "split_dataset expects an array, a list or tuple of arrays, or a data set, received "
        f"{type(dataset).__name__}."
    )


def _rows(arrays: Any) -> list[Any]:
    """Return the tuples of the rows of arrays."""
    if not arrays or not all(isinstance(array, np.ndarray) and array.ndim for array in arrays):
        kinds = [type(array).__name__ for array in itertools.islice(arrays, 3)]
        raise ValueError(
            f"split_dataset expects a list or tuple of NumPy arrays, received {kinds}: convert "
            "lists by numpy.array."
        )
    if len({len(array) for array in arrays}) > 1:
        lengths = [len(array) for array in arrays]
        raise ValueError(f"split_dataset expects arrays of one length, received {lengths}.")
    return list(zip(*arrays, strict=True))


def _sizes(left: Any, right: Any, total: int) -> tuple[int, int]:
    """Return the sizes of both parts as counts."""
    if left is None and right is None:
        raise ValueError("split_dataset needs left_size or right_size, received neither.")
    count = _count(left, "left_size", total)
    other = _count(right, "right_size", total)
    lefts = total - (other or 0) if count is None else count
    rights = total - lefts if other is None else other
    shares = isinstance(plain(left), float) and isinstance(plain(right), float)
    if lefts + rights > total or (shares and left + right > 1):
        raise ValueError(
            f"split_dataset: left_size={left!r} and right_size={right!r} are more than the {total} "
            "samples."
        )
    if not (lefts and rights):
        raise ValueError(
            f"split_dataset: left_size={left!r} and right_size={right!r} of {total} samples leave "
            f"the {'right' if lefts else 'left'} part empty."
        )
    return lefts, rights


def _count(size: Any, argument: str, total: int) -> int | None:
    size = plain(size)
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int | float):
        raise TypeError(f"split_dataset expects a number for {argument}, received {size!r}.")
    largest = total if isinstance(size, int) else 1
    if not 0 < size < largest:
        raise ValueError(
            f"split_dataset: {argument} must be a count above 0 and below {total}, the samples, or "
            f"a share above 0 and below 1, received {size!r}."
        )
    return size if isinstance(size, int) else round(size * total)
