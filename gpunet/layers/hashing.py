"""Layers that make categories of anything, by hashes."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.arguments import positive_integer
from gpunet.autograd import Tensor
from gpunet.backend import asarray, to_numpy
from gpunet.layers.adapting import as_numpy
from gpunet.layers.building import name_layer
from gpunet.layers.categories import EncodingLayer
from gpunet.layers.fingerprints import combined, farmhash64
from gpunet.layers.strings import StringLayer, as_strings, bucket, checked_salt, unique_map
from gpunet.symbolic import is_symbolic

__all__ = ["HashedCrossing", "Hashing"]


class Hashing(StringLayer):
    """A category for each string or integer: its hash, modulo the number of bins.

    The hash is FarmHash64, or SipHash64 with a salt, of the string or of the integer's digits, as
    in Keras on every backend. Hashes are computed on the CPU: integers of a GPU are copied.

    Arguments:
        num_bins: the number of categories.
        mask_value: a value of category 0; the others are then 1 and more.
        salt: an integer, or two, that change all hashes.
        output_mode: 'int' for int64 categories, 'one_hot', 'multi_hot' or 'count'.
        sparse: False; sparse results are not supported.
        options: those of every `Layer`; `dtype` is that of the result, and may be an integer type.

    >>> Hashing(3)(["A", "B", "C", "D", "E"]).numpy()
    array([1, 0, 1, 1, 2])
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(output_mode, sparse, **options)
        self.num_bins = positive_integer(num_bins, "num_bins", "Hashing")
        self.mask_value, self.salt = mask_value, checked_salt(salt, "Hashing")

    @property
    def depth(self) -> int | None:
        return self.num_bins

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the categories of strings, integers or, in a model, of a symbol of integers."""
        if is_symbolic(args, kwargs) or any(isinstance(x, Tensor) for x in args):
            return EncodingLayer.__call__(self, *args, **kwargs)
        return super().__call__(*args, **kwargs)

    def call(self, x: Any) -> Any:
        value = to_numpy(getattr(x, "value", x))
        masked = self.mask_value is not None and self.num_bins > 1
        count = self.num_bins - masked

        def category(item: Any) -> int:
            if masked and item == self.mask_value:
                return 0
            return bucket(item, count, self.salt) + masked

        indices = unique_map(_hashable(value, "Hashing").reshape(-1).tolist(), category)
        return self.encoded(asarray(indices.reshape(value.shape), like=getattr(x, "value", None)))


class HashedCrossing(EncodingLayer):
    """A category for each combination of features: the hash of all, modulo the number of bins.

    Arguments:
        num_bins: the number of categories.
        output_mode: 'int' for int64 categories, or 'one_hot'.
        sparse: False; sparse results are not supported.
        name, dtype, options: those of every `Layer`; `dtype` is that of the result, and may be an
            integer type.

    >>> HashedCrossing(5)([np.array(["A", "B", "A"]), np.array([101, 101, 102])]).numpy()
    array([1, 4, 3])
    """

    modes = ("int", "one_hot")

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        name: str | None = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(output_mode, sparse, dtype, name=name, **options)
        self.num_bins = positive_integer(num_bins, "num_bins", "HashedCrossing")

    @property
    def depth(self) -> int | None:
        return self.num_bins

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the categories for a list of features, each (batch,), (batch, 1) or one value."""
        try:
            if is_symbolic(args, kwargs):
                raise TypeError(
                    "HashedCrossing prepares data and cannot stand in a model: call it on the "
                    "features, and feed the result to the model."
                )
            x = args[0] if args else None
            if not isinstance(x, list | tuple) or len(x) < 2:
                raise ValueError("HashedCrossing expects a list of at least two features.")
            return self.call([as_numpy(each, "HashedCrossing") for each in x])
        except (TypeError, ValueError) as error:
            name_layer(error, self)
            raise

    def call(self, features: Any) -> Any:
        shape = features[0].shape
        one_value = len(shape) < 2 or (len(shape) == 2 and shape[1] == 1)
        if not one_value or any(each.shape != shape for each in features):
            raise ValueError(
                "HashedCrossing expects features of one shape, (), (batch,) or (batch, 1), "
                f"received {[each.shape for each in features]}."
            )
        if any(each.dtype.kind == "f" for each in features):
            raise ValueError("HashedCrossing expects strings or integers, received floats.")
        columns = [_hashable(each, "HashedCrossing").reshape(-1).tolist() for each in features]
        key = 0xDECAFCAFFE  # TensorFlow's
        hashes = [
            functools.reduce(combined, map(_number, row), key) for row in zip(*columns, strict=True)
        ]
        indices = np.array([each % self.num_bins for each in hashes], np.int64)
        return self.encoded(asarray(indices.reshape(shape)))


def _number(item: Any) -> int:
    """Return what TensorFlow crosses: the hash of a string, an integer as 64 bits."""
    return farmhash64(item.encode()) if isinstance(item, str) else item & ((1 << 64) - 1)


def _hashable(x: np.ndarray, where: str) -> np.ndarray:
    """Return strings and integers as they are, floating-point numbers cut to integers."""
    if x.dtype.kind in "biuf":
        return x.astype(np.int64)
    return as_strings(x, where)
