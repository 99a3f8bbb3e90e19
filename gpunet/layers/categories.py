"""Layers that make categories of numbers, and vectors of categories."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from gpunet import functions
from gpunet.arguments import (
    check_choice,
    check_number,
    number,
    positive_integer,
    refuse_unsupported,
)
from gpunet.autograd import Array, Tensor
from gpunet.backend import asarray, get_array_module
from gpunet.layers.adapting import batches_of
from gpunet.layers.layer import Layer, Shape
from gpunet.symbolic import Symbol

__all__ = ["CategoryEncoding", "Discretization"]

_OLDER_NAMES = {"binary": "multi_hot", "tf-idf": "tf_idf"}


class EncodingLayer(Layer):
    """A layer that makes categories and returns them, or vectors of them.

    Arguments:
        output_mode: one of `modes`: 'int' for the categories; 'one_hot' for a vector of each, which
            replaces a last axis of size 1; 'multi_hot' and 'count' for a vector of each sample, the
            last axis, with 1 for each of its categories or their number; 'tf_idf'.
        sparse: False; sparse results are not supported.
        dtype: of the result; by default `integers` for 'int', else float32.
        options: those of every `Layer`.
    """

    modes: tuple[str, ...] = ("int", "one_hot", "multi_hot", "count")
    integers = "int64"  # the dtype of categories

    def __init__(self, output_mode: Any, sparse: Any, dtype: Any = None, **options: Any) -> None:
        given = np.dtype(dtype) if isinstance(dtype, str | type | np.dtype) else None
        whole = given is not None and given.kind in "iu"
        super().__init__(dtype=None if whole else dtype, **options)
        kind = type(self).__name__
        mode = _OLDER_NAMES.get(output_mode, output_mode) if output_mode else output_mode
        self.output_mode = check_choice(mode, self.modes, "output_mode", kind)
        refuse_unsupported(kind, sparse=sparse)
        by_mode = np.dtype(self.integers) if mode == "int" else self.dtype
        self.output_dtype = given if whole and given is not None else by_mode

    def takes_integers(self) -> bool:
        return True

    @property
    def depth(self) -> int | None:
        """The number of categories."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return encoded_shape(tuple(input_shape), self.output_mode, self.depth)

    def output_symbols(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return Symbol(self.compute_output_shape(args[0].shape), self.output_dtype)

    def encoded(self, indices: Array, weights: Array | None = None) -> Tensor:
        """Return categories as the layer's output mode says."""
        depth = self.depth or 0
        return Tensor(encode(indices, self.output_mode, depth, self.output_dtype, weights))


def encoded_shape(shape: Shape, mode: str, depth: int | None) -> Shape:
    """Return the shape of what `encode` makes of categories of a shape."""
    if mode == "int":
        return shape
    if mode == "one_hot" and (len(shape) == 1 or shape[-1:] != (1,)):
        return (*shape, depth)
    return (*shape[:-1], depth)


def encode(
    indices: Array, mode: str, depth: int, dtype: Any, weights: Array | None = None
) -> Array:
    """Return categories, or vectors of them.

    Arguments:
        indices: (..., samples), integers. Those from 0 to below `depth` are counted, `depth` is
            left out. Others show as NaN where the results are floating-point numbers.
        mode: as in `EncodingLayer`.
        depth: the size of a vector.
        dtype: of the result.
        weights: of each index in 'count', in place of 1.

    >>> encode(np.array([[0, 2, 2]]), "count", 3, "float32")
    array([[1., 0., 2.]], dtype=float32)
    """
    if mode == "int":
        return indices.astype(dtype)
    xp, x = get_array_module(indices), indices.reshape(indices.shape or (1,))
    shape: Any = encoded_shape(x.shape, mode, depth)
    rows = math.prod(shape[:-1])
    samples = x.reshape(rows, -1 if rows else 0).astype(np.int64)
    wrong = (samples < 0) | (samples > depth)
    places = xp.where(wrong, depth, samples) + xp.arange(rows)[:, None] * (depth + 1)
    y = xp.zeros(rows * (depth + 1), dtype)
    for position in range(samples.shape[1]):  # one place in each row: none is added to twice
        if mode != "count":
            y[places[:, position]] = 1
        elif weights is None:
            y[places[:, position]] += 1
        else:
            y[places[:, position]] += weights.reshape(samples.shape)[:, position].astype(dtype)
    y = y.reshape(rows, depth + 1)[:, :depth]
    if y.dtype.kind == "f":
        y = xp.where(wrong.any(axis=1)[:, None], y.dtype.type(np.nan), y)
    return y.reshape(shape)


class Discretization(EncodingLayer):
    """The bin of each number: bin i holds numbers from boundary i - 1 on, up to below boundary i.

    Arguments:
        bin_boundaries: numbers that do not fall; the first and the last bin have no end.
        num_bins: in place of boundaries: `adapt` then finds such that bins hold equally many.
        epsilon: how exact that is, as a share of the data: less takes more memory.
        output_mode: 'int' for int32 bins, 'one_hot', 'multi_hot' or 'count'.
        sparse: False; sparse results are not supported.
        dtype, name, options: those of every `Layer`; `dtype` is that of vectors, and may be an
            integer type.

    Raises:
        ValueError: an argument is malformed; the layer is called before `adapt`.

    >>> Discretization([0.0, 1.0, 2.0])(np.array([-1.5, 1.0, 3.4, 0.5])).numpy()
    array([0, 2, 3, 1], dtype=int32)
    """

    integers = "int32"

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(output_mode, sparse, dtype, name=name, **options)
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError(
                "Discretization expects either bin_boundaries or num_bins, received "
                f"bin_boundaries={bin_boundaries!r} and num_bins={num_bins!r}."
            )
        self.num_bins = num_bins
        if num_bins is not None:
            self.num_bins = positive_integer(num_bins, "num_bins", "Discretization")
        self.epsilon = check_number("Discretization", "epsilon", epsilon, 1.0)
        if self.epsilon == 0:
            raise ValueError("Discretization expects epsilon above 0, received 0.")
        self.bin_boundaries = None if bin_boundaries is None else _ascending(bin_boundaries)
        self._table = Constant(self.bin_boundaries or [])

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Find boundaries between which data fall equally often; earlier data are forgotten.

        Arguments:
            data: an array, or an iterable of batches.
            steps: the most batches that are read.

        Raises:
            ValueError: there are no data, or boundaries were given.
        """
        if self.num_bins is None:
            raise ValueError(
                "Discretization.adapt: the layer was given bin_boundaries: pass num_bins= instead."
            )
        summary = np.zeros((2, 0), "float32")
        for batch in batches_of(data, "Discretization.adapt", steps):
            pair = np.concatenate([_summarized(batch, self.epsilon), summary], axis=1)
            summary = _compressed(pair[:, np.argsort(pair[0])], self.epsilon)
        self.bin_boundaries = _compressed(summary, 1 / self.num_bins)[0, :-1].tolist()
        self._table = Constant(self.bin_boundaries)

    @property
    def depth(self) -> int | None:
        return self.num_bins if self.bin_boundaries is None else len(self.bin_boundaries) + 1

    def call(self, x: Any) -> Any:
        if self.bin_boundaries is None:
            raise ValueError(
                "Discretization has no boundaries yet: call adapt(data) first, or give "
                "bin_boundaries=."
            )
        value = x.value if x.dtype.kind == "f" else x.value.astype(self.dtype)
        boundaries = self._table.like(value).astype(value.dtype)
        xp = get_array_module(value)
        return self.encoded(xp.searchsorted(boundaries, value, side="right"))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, with the boundaries that `adapt` found."""
        return super().get_config() | {"bin_boundaries": self.bin_boundaries}

    @classmethod
    def from_config(cls, config: Any) -> Discretization:
        """Return a layer with the arguments, and the boundaries, that `get_config` returned."""
        config = dict(config)
        if config.get("num_bins") is None or config.get("bin_boundaries") is None:
            return super().from_config(config)
        boundaries = config.pop("bin_boundaries")
        layer = super().from_config(config)
        layer.bin_boundaries = _ascending(boundaries)
        layer._table = Constant(layer.bin_boundaries)
        return layer


class Constant:
    """Numbers that a layer computes with, copied once to where its inputs are."""

    def __init__(self, values: Any, dtype: Any = None) -> None:
        self._copies = {"numpy": np.asarray(values, dtype)}

    def like(self, array: Array) -> Array:
        """Return the numbers where `array` is."""
        name = get_array_module(array).__name__
        if name not in self._copies:
            self._copies[name] = asarray(self._copies["numpy"], like=array)
        return self._copies[name]


def _ascending(boundaries: Any) -> list[float]:
    found = [number(each, "bin_boundaries", "Discretization") for each in boundaries]
    for position, (one, other) in enumerate(itertools.pairwise(found)):
        if one > other:
            raise ValueError(
                f"Discretization: bin_boundaries must not fall, received {one} before {other} at "
                f"position {position}: sort them."
            )
    return found


def _summarized(values: np.ndarray, epsilon: float) -> np.ndarray:
    """Return (2, count): every so many-th of the sorted values, and how many each stands for."""
    ordered = np.sort(np.asarray(values, "float32").reshape(-1))
    step = max(ordered.size / (1.0 / epsilon), 1)
    kept = ordered[int(step - 1) :: int(step)]
    return np.stack([kept, np.ones_like(kept) * step])


def _compressed(summary: np.ndarray, epsilon: float) -> np.ndarray:
    """Return a summary of values at equal shares of the whole, interpolated between those given."""
    values, weights = summary
    if values.size * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    reached = weights.cumsum()
    found = np.interp(shares, reached / reached[-1], values)
    upto = np.interp(shares, reached / reached[-1], reached)
    return np.stack([found, np.diff(upto, prepend=0)]).astype("float32")


class CategoryEncoding(EncodingLayer):
    """Vectors of integers: of each one, or of all of a sample.

    Keras 3.15 on PyTorch and JAX adds up axis 1 where there are more than 2; here it is the last.

    Arguments:
        num_tokens: how many integers there are; they are 0 to num_tokens - 1.
        output_mode: 'multi_hot' and 'count' make (..., integers) to (..., num_tokens), with 1 for
            each integer of the last axis, or their number; 'one_hot' makes a vector of each.
        sparse: False; sparse results are not supported.
        options: those of every `Layer`; `dtype` is that of the result, and may be an integer type.

    Raises:
        ValueError: an argument is malformed; an integer is out of range, on the CPU. On a GPU,
            where nothing is read back, its vector is NaN.

    >>> CategoryEncoding(4, "count")(np.array([[0, 1], [2, 2]])).numpy()
    array([[1., 1., 0., 0.],
           [0., 0., 2., 0.]], dtype=float32)
    """

    modes = ("one_hot", "multi_hot", "count")

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(output_mode, sparse, **options)
        self.num_tokens = positive_integer(num_tokens, "num_tokens", "CategoryEncoding")

    @property
    def depth(self) -> int | None:
        return self.num_tokens

    def call(self, x: Any, count_weights: Any = None) -> Any:
        if count_weights is not None:
            if self.output_mode != "count":
                raise ValueError(
                    "CategoryEncoding: count_weights are for output_mode='count', which is "
                    f"{self.output_mode!r}: leave them out."
                )
            count_weights = functions.astype(count_weights, self.output_dtype).value
            if count_weights.shape != x.shape:
                raise ValueError(
                    f"CategoryEncoding expects count_weights of the input's shape {x.shape}, "
                    f"received {count_weights.shape}."
                )
            count_weights = asarray(count_weights, like=x.value)
        return self.encoded(_in_range(x.value, self.num_tokens), count_weights)


def _in_range(x: Array, depth: int) -> Array:
    """Return integers, of which those out of range are -1; raise `ValueError` on the CPU."""
    xp, indices = get_array_module(x), x.astype(np.int64)
    wrong = (indices < 0) | (indices >= depth)
    if xp is np and wrong.any():
        raise ValueError(
            f"CategoryEncoding expects integers from 0 to {depth - 1}, received "
            f"{indices[wrong][0]}: raise num_tokens={depth}, or change the data."
        )
    return xp.where(wrong, -1, indices)
