"""Layers whose inputs may be strings: they prepare data, and do not stand in a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunet import symbolic
from gpunet.autograd import Tensor
from gpunet.layers.adapting import as_numpy
from gpunet.layers.building import STRINGS, name_layer
from gpunet.layers.categories import EncodingLayer
from gpunet.layers.fingerprints import farmhash64, siphash64

__all__ = ["StringLayer", "as_strings", "bucket", "checked_salt", "listed", "unique_map"]


class StringLayer(EncodingLayer):
    """A layer of strings, in NumPy arrays or lists: no tensors, which hold numbers.

    A subclass writes `call`, which is given an array.
    """

    def __call__(
        self, *args: Any, training: bool | None = None, mask: Any = None, **kwargs: Any
    ) -> Any:
        """Return ``call(x)`` for strings in an array or in nested lists."""
        try:
            if symbolic.is_symbolic(args, kwargs):
                raise TypeError(STRINGS)
            arrays = (as_numpy(x, type(self).__name__) for x in args)
            return self.call(*arrays, **kwargs)
        except (TypeError, ValueError) as error:
            name_layer(error, self)
            raise


def as_strings(x: np.ndarray, where: str, encoding: str = "utf-8") -> np.ndarray:
    """Return an array of Python's strings; bytes are decoded.

    Raises:
        TypeError: there is something else.
    """
    if x.size == 0:
        return x.astype(object)
    found = x.astype(object)
    for place, item in enumerate(found.reshape(-1)):
        if isinstance(item, bytes):
            found.reshape(-1)[place] = item.decode(encoding)
        elif not isinstance(item, str):
            raise TypeError(f"{where} expects strings, received {item!r}.")
    return found


def listed(values: Any) -> Any:
    """Return an array, a tensor or a sequence as a list for a config, None as it is."""
    if values is None:
        return None
    return np.asarray(values.value if isinstance(values, Tensor) else values).tolist()


def checked_salt(salt: Any, where: str) -> tuple[int, int] | None:
    """Return the key of a salt: two integers, or one for both; None without one."""
    if salt is None:
        return None
    pair = salt if isinstance(salt, list | tuple) else (salt, salt)
    if len(pair) != 2 or not all(
        type(part) is int or isinstance(part, np.integer) for part in pair
    ):
        raise ValueError(f"{where}: salt must be an integer, or two, received {salt!r}.")
    return int(pair[0]), int(pair[1])


def unique_map(values: Iterable[Any], function: Any) -> np.ndarray:
    """Return ``function(value)`` for each value as an array of int64, computed once for equal ones.

    >>> unique_map(["a", "bb", "a"], len)
    array([1, 2, 1])
    """
    known: dict[Any, int] = {}
    found = []
    for value in values:
        if value not in known:
            known[value] = function(value)
        found.append(known[value])
    return np.array(found, np.int64)


def bucket(value: Any, count: int, salt: tuple[int, int] | None) -> int:
    """Return the hash of a string, or of an integer as its digits, from 0 to below `count`."""
    data = str(value).encode()
    return (farmhash64(data) if salt is None else siphash64(data, salt)) % count
