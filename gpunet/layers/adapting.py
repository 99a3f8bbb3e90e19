"""The data that `adapt` takes, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from gpunet.autograd import Tensor
from gpunet.backend import to_numpy

__all__ = ["as_numpy", "batches_of", "is_one_batch"]


def batches_of(data: Any, where: str, steps: int | None = None) -> Iterator[np.ndarray]:
    """Yield the inputs of each batch of some data, as NumPy arrays.

    Arguments:
        data: an array or tensor, which is one batch; a list of numbers, strings or lists, which
            makes one; or an iterable of batches (a list of arrays, a generator, or an object with
            a length and batches by index). Of a batch that is a tuple, as (x, y), the first counts;
            batches without an element are passed over.
        where: the method, for messages.
        steps: the most batches that are read; None for all.

    Raises:
        TypeError, ValueError: the data are something else, or there are none.

    >>> [x.tolist() for x in batches_of(((np.arange(2), "labels") for _ in range(2)), "adapt")]
    [[0, 1], [0, 1]]
    """
    batches = _batches(data, where)
    empty = True
    for batch in islice(batches, steps):
        x = as_numpy(batch[0] if isinstance(batch, tuple) and _is_array(batch[0]) else batch, where)
        if x.size:
            empty = False
            yield x
    if empty:
        raise ValueError(f"{where} expects data, received none: give at least one batch.")


def _batches(data: Any, where: str) -> Iterator[Any]:
    if is_one_batch(data):
        return iter([list(data) if isinstance(data, tuple) else data])
    if hasattr(data, "__iter__"):
        return iter(data)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return (data[i] for i in range(len(data)))
    raise TypeError(
        f"{where} expects an array, a list or an iterable of batches, received "
        f"{type(data).__name__}."
    )


def is_one_batch(data: Any) -> bool:
    """Return whether data are one array, or lists that make one, and not batches of them."""
    if isinstance(data, list | tuple):
        return not (data and _is_array(data[0]))
    return isinstance(data, str | bytes | int | float) or _is_array(data)


def _is_array(item: Any) -> bool:
    return isinstance(item, Tensor) or getattr(item, "ndim", 0) > 0


def as_numpy(x: Any, where: str) -> np.ndarray:
    """Return an array, a tensor or nested lists as a NumPy array.

    Raises:
        ValueError: lists within have several lengths.
    """
    try:
        return to_numpy(x.value if isinstance(x, Tensor) else x)
    except ValueError:
        raise ValueError(
            f"{where} expects rows of one length, received several lengths: fill the short ones "
            "up, such as by ''."
        ) from None
