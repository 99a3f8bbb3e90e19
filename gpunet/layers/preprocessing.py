"""Layers that give numbers another mean and size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet import functions
from gpunet.arguments import boolean, integer, is_number, plain
from gpunet.backend import asarray, get_array_module, to_numpy
from gpunet.layers.adapting import batches_of
from gpunet.layers.layer import Layer, Shape

__all__ = ["Normalization", "Rescaling"]


class Rescaling(Layer):
    """Return ``x * scale + offset``, such as images of bytes as numbers from 0 to 1.

    As a model's first layer it takes integers as they are, and converts and scales them batch by
    batch: a data set of bytes needs a quarter of the memory that float32 takes.

    Arguments:
        scale, offset: numbers.
        options: those of every `Layer`; `dtype` is that of the result for integers.

    >>> Rescaling(1 / 127.5, offset=-1)(np.array([[0, 255]], "uint8")).value
    array([[-1.,  1.]], dtype=float32)
    """

    supports_masking = True

    def __init__(self, scale: float, offset: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale = _number(scale, "scale", self.dtype)
        self.offset = _number(offset, "offset", self.dtype)

    def takes_integers(self) -> bool:
        return True

    def call(self, x: Any) -> Any:
        dtype = None if x.dtype.kind == "f" else self.dtype
        return functions.rescale(x, scale=self.scale, offset=self.offset, dtype=dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def _number(value: Any, argument: str, dtype: np.dtype) -> float:
    """Return `value` if it is one number that is finite as a `dtype`, else raise `ValueError`."""
    found, limit = plain(value), float(np.finfo(dtype).max)
    if is_number(found) and -limit <= found <= limit:
        return float(found)
    raise ValueError(
        f"Rescaling: {argument} must be one finite number within the range of {dtype}, received "
        f"{value!r}: for example Rescaling(1 / 255) makes bytes numbers from 0 to 1."
    )


class Normalization(Layer):
    """The input less its mean, divided by its standard deviation, as `adapt` finds them in data.

    A standard deviation below 1e-7 counts as 1e-7. The weights are `mean` and `variance`, each of
    the sizes of the kept axes, and `count`, which is -1 until there are statistics and 0 from then
    on (Keras keeps it for old files). They are not trained.

    Arguments:
        axis: the axis or axes whose elements have statistics of their own; None for one mean and
            variance of all. It must not be the batch's: for data of shape (batch,) pass None.
        mean, variance: numbers, or arrays of the sizes of the kept axes, in place of `adapt`.
        invert: whether normalized numbers are made ordinary ones.
        options: those of every `Layer`.

    Raises:
        ValueError: an argument is malformed; the layer is called before `adapt`.

    >>> layer = Normalization()
    >>> layer.adapt(np.array([[0.0, 7.0], [2.0, 9.0]]))
    >>> layer(np.array([[0.0, 9.0]])).numpy()
    array([[-1.,  1.]], dtype=float32)
    """

    supports_masking = True

    def __init__(
        self,
        axis: Any = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        axes = () if axis is None else tuple(axis) if isinstance(axis, list | tuple) else (axis,)
        self.axis = tuple(integer(each, "axis", "Normalization") for each in axes)
        self.invert = boolean(invert, "invert", "Normalization")
        self._given = _statistics(mean, variance, len(self.axis))
        self._is_adapted = self._given is not None

    def build(self, input_shape: Shape) -> None:
        rank = len(input_shape)
        kept = sorted({axis % rank for axis in self.axis if -rank <= axis < rank})
        if len(kept) != len(self.axis) or 0 in kept:
            raise ValueError(
                f"Normalization: axis must name axes of the input other than the batch's, each "
                f"once, received {self.axis} for inputs of shape {tuple(input_shape)}; axis=None "
                "computes one mean and variance of all elements."
            )
        sizes = [input_shape[axis] for axis in kept]
        if None in sizes:
            raise ValueError(
                f"Normalization: sizes along axis {self.axis} must be known, received inputs of "
                f"shape {tuple(input_shape)}."
            )
        self._kept = dict(zip(kept, sizes, strict=True))
        self._shape = tuple(self._kept.get(axis, 1) for axis in range(rank))
        if self._given is not None:
            self._constants = [self._broadcast(array) for array in self._given]
            return
        fixed = {"trainable": False}
        self.mean = self.add_weight(sizes, "zeros", name="mean", **fixed)
        self.variance = self.add_weight(sizes, "ones", name="variance", **fixed)
        self.count = self.add_weight((), "zeros", name="count", **fixed)
        self.count.value[...] = -1

    def _broadcast(self, given: np.ndarray) -> Any:
        """Return a given mean or variance as an array that the input can be combined with."""
        sizes: Any = list(self._kept.values())
        shape: Any = self._shape
        try:
            wide = np.broadcast_to(given, sizes).reshape(shape)
        except ValueError:
            raise ValueError(
                f"Normalization: mean and variance of shape {given.shape} do not fit the sizes "
                f"{sizes} along axis {self.axis}."
            ) from None
        return asarray(wide.astype(self.dtype))

    def check_input(self, shape: Shape) -> None:
        found = {axis: shape[axis] for axis in self._kept if axis < len(shape)}
        if len(shape) != len(self._shape) or found != self._kept:
            raise ValueError(
                f"Normalization was built for inputs of {len(self._shape)} dimensions with sizes "
                f"{list(self._kept.values())} along axis {self.axis}, received shape "
                f"{tuple(shape)}."
            )

    def adapt(self, data: Any) -> None:
        """Compute the mean and variance of some data; those of earlier data are forgotten.

        Arguments:
            data: an array, or an iterable of batches: of arrays, or of tuples whose first is meant.

        Raises:
            ValueError: there are no data, their shape does not fit, or `mean` was given.
        """
        if self._given is not None:
            raise ValueError(
                "Normalization.adapt: the layer was given mean and variance: make one without them."
            )
        count, mean, squares = 0, np.zeros(()), np.zeros(())
        for batch in batches_of(data, "Normalization.adapt"):
            if not self.built:
                self.build((None, *batch.shape[1:]))
            self.check_input(batch.shape)
            others = tuple(axis for axis in range(batch.ndim) if axis not in self._kept)
            added = math.prod(batch.shape[axis] for axis in others)
            average = batch.mean(axis=others, dtype=np.float64)
            variance = batch.astype(np.float64).var(axis=others)
            # Chan, Golub and LeVeque, "Updating formulae", 1979
            count, difference = count + added, average - mean
            mean = mean + difference * (added / count)
            squares = squares + added * (variance + difference**2 * (1 - added / count))
        for weight, value in ((self.mean, mean), (self.variance, squares / count), (self.count, 0)):
            weight.value[...] = asarray(np.asarray(value, weight.dtype), like=weight.value)
        vars(self)["_is_adapted"] = True  # no attribute of which fusion would take note

    def _check_adapted(self) -> None:
        if self._is_adapted:
            return
        if float(to_numpy(self.count.value)) < 0:
            raise ValueError(
                "Normalization has no mean and variance yet: call adapt(data) first, or give mean= "
                "and variance=."
            )
        vars(self)["_is_adapted"] = True

    def call(self, x: Any) -> Any:
        self._check_adapted()
        if x.dtype.kind != "f":
            x = functions.astype(x, self.dtype)
        if self._given is None:
            mean, variance = (w.value.reshape(self._shape) for w in (self.mean, self.variance))
        else:
            mean, variance = (asarray(a, dtype=x.dtype, like=x.value) for a in self._constants)
        xp = get_array_module(x.value)
        deviation = xp.maximum(xp.sqrt(variance), 1e-7)
        return x * deviation + mean if self.invert else (x - mean) / deviation

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("mean", "variance"):
            config[name] = None if config[name] is None else np.asarray(config[name]).tolist()
        return config


def _statistics(mean: Any, variance: Any, axes: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a given mean and variance as arrays, None where there is neither."""
    if mean is None and variance is None:
        return None
    if mean is None or variance is None:
        raise ValueError(
            f"Normalization expects mean and variance together, received mean={mean!r} and "
            f"variance={variance!r}."
        )
    arrays = np.asarray(to_numpy(mean), float), np.asarray(to_numpy(variance), float)
    if arrays[0].shape != arrays[1].shape or arrays[0].ndim > axes:
        raise ValueError(
            f"Normalization expects mean and variance of one shape of at most {axes} axes, as many "
            f"as axis= names, received shapes {arrays[0].shape} and {arrays[1].shape}."
        )
    if not (np.isfinite(arrays[0]).all() and (arrays[1] >= 0).all()):
        raise ValueError(
            f"Normalization expects a finite mean and a variance of at least 0, received "
            f"mean={mean!r} and variance={variance!r}."
        )
    return arrays
