"""Initial values of weights: callables `(shape, dtype) -> NumPy array`, with Keras' names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gpunet import random
from gpunet.arguments import number
from gpunet.configurable import Configurable, Registry
from gpunet.naming import find

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity",
    "IdentityInitializer", "Initializer", "LecunNormal", "LecunUniform", "Ones", "Orthogonal",
    "OrthogonalInitializer", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling",
    "Zeros", "constant", "deserialize", "get", "glorot_normal", "glorot_uniform", "he_normal",
    "he_uniform", "identity", "lecun_normal", "lecun_uniform", "ones", "orthogonal",
    "random_normal", "random_uniform", "serialize", "truncated_normal", "variance_scaling", "zeros",
]  # fmt: skip

Shape: TypeAlias = tuple[int, ...]

# A normal distribution cut off at two standard deviations keeps this part of its deviation.
_TRUNCATED_STDDEV = 0.87962566103423978

_MODES: Mapping[str, Callable[[float, float], float]] = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
}
_DISTRIBUTIONS = {
    "normal": "truncated_normal",
    "truncated_normal": "truncated_normal",
    "untruncated_normal": "untruncated_normal",
    "uniform": "uniform",
}


class Initializer(Configurable):
    """A rule for the initial values of a weight; a subclass writes `__call__`."""

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return a new NumPy array of this shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} has no method __call__(shape, dtype).")


class Zeros(Initializer):
    """All values are 0."""

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        return np.zeros(shape, dtype)


class Ones(Initializer):
    """All values are 1."""

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        return np.ones(shape, dtype)


class Constant(Initializer):
    """All values are `value`, a number, or an array that broadcasts to the shape."""

    def __init__(self, value: ArrayLike = 0.0) -> None:
        if np.asarray(value).dtype.kind not in "biuf":
            raise TypeError(
                f"Constant expects a number or an array of numbers for value, received {value!r}."
            )
        self.value = value

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        return np.full(shape, self.value, dtype)


class Identity(Initializer):
    """The identity matrix times `gain`; ones on the main diagonal where it is not square."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = number(gain, "gain", "Identity")

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return the matrix; `shape` is (rows, columns)."""
        if len(shape) != 2:
            raise ValueError(
                f"The initializer Identity makes a matrix: expected a shape (rows, columns), "
                f"received {tuple(shape)}. Use another initializer for this weight."
            )
        return np.asarray(self.gain * np.eye(*shape), dtype)


class _RandomInitializer(Initializer):
    """An initializer that draws random numbers.

    Arguments:
        seed: None draws new numbers at each call, from `gpunet.random`. An integer in [0, 2**64)
            gives the same numbers at each call.
    """

    def __init__(self, seed: int | None = None) -> None:
        random.Generator(seed)  # raises here for a bad seed
        self.seed = seed

    def _generator(self) -> random.Generator:
        """Return a generator for one call."""
        if self.seed is not None:
            return random.Generator(self.seed)
        return random.global_generator


class RandomNormal(_RandomInitializer):
    """Numbers of the normal distribution.

    Arguments:
        mean: the mean.
        stddev: the standard deviation.
        seed: None, or an integer for the same numbers at each call.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = number(mean, "mean", type(self).__name__)
        self.stddev = number(stddev, "stddev", type(self).__name__)

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return random numbers; the dtype is float32 or float64."""
        return self._generator().normal(shape, self.mean, self.stddev, dtype)


class TruncatedNormal(RandomNormal):
    """Numbers of the normal distribution cut off at two standard deviations from the mean.

    Arguments:
        mean: the mean.
        stddev: the standard deviation before the cut.
        seed: None, or an integer for the same numbers at each call.
    """

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return random numbers; the dtype is float32 or float64."""
        return self._generator().truncated_normal(shape, self.mean, self.stddev, dtype)


class RandomUniform(_RandomInitializer):
    """Numbers spread evenly over [minval, maxval).

    Arguments:
        minval: the lower bound.
        maxval: the upper bound.
        seed: None, or an integer for the same numbers at each call.
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        self.minval = number(minval, "minval", type(self).__name__)
        self.maxval = number(maxval, "maxval", type(self).__name__)

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return random numbers; the dtype is float32 or float64."""
        return self._generator().uniform(shape, self.minval, self.maxval, dtype)


class VarianceScaling(_RandomInitializer):
    """Random numbers of variance `scale / n`, where n counts the units that a weight connects.

    Of a shape (..., inputs, outputs), fan_in is the product of all sizes but the last, and fan_out
    that of all but the last but one: a kernel (height, width, in, out) counts its window in both.

    Arguments:
        scale: a positive number.
        mode: n is ``"fan_in"``, ``"fan_out"``, or their mean ``"fan_avg"``.
        distribution: ``"truncated_normal"`` (or ``"normal"``), ``"untruncated_normal"`` or
            ``"uniform"``, all of mean 0.
        seed: None, or an integer for the same numbers at each call.

    >>> initializer = VarianceScaling(2.0, "fan_in", "uniform", seed=0)
    >>> initializer((3, 3, 16, 32)).shape
    (3, 3, 16, 32)
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self.scale = number(scale, "scale", type(self).__name__)
        if self.scale <= 0:
            raise ValueError(f"{type(self).__name__} expects a scale > 0, received {scale!r}.")
        find("mode of VarianceScaling", mode, _MODES)
        self.mode = mode
        self.distribution = find("distribution of VarianceScaling", distribution, _DISTRIBUTIONS)

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return random numbers; the dtype is float32 or float64."""
        variance = self.scale / max(1.0, _MODES[self.mode](*_fans(shape)))
        generator = self._generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return generator.uniform(shape, -limit, limit, dtype)
        if self.distribution == "untruncated_normal":
            return generator.normal(shape, 0.0, math.sqrt(variance), dtype)
        stddev = math.sqrt(variance) / _TRUNCATED_STDDEV
        return generator.truncated_normal(shape, 0.0, stddev, dtype)


class GlorotUniform(VarianceScaling):
    """Uniform in ± sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio, 2010."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (fan_in + fan_out). Source: Glorot and Bengio, 2010."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeUniform(VarianceScaling):
    """Uniform in ± sqrt(6 / fan_in), for layers before a ReLU. Source: He et al., 2015."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(VarianceScaling):
    """Truncated normal of variance 2 / fan_in, before a ReLU. Source: He et al., 2015."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class LecunUniform(VarianceScaling):
    """Uniform in ± sqrt(3 / fan_in). Source: LeCun, Bottou, Orr and Müller, 1998."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    """Truncated normal of variance 1 / fan_in. Source: LeCun, Bottou, Orr and Müller, 1998."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


class Orthogonal(_RandomInitializer):
    """A random matrix of orthonormal columns (or rows, if there are fewer), times `gain`.

    A shape (..., outputs) of more than two axes is filled as the matrix (all others, outputs).
    Source: Saxe, McClelland and Ganguli, 2014; uniform over all such matrices by the signs that
    Mezzadri, 2007, gives to the QR decomposition.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = number(gain, "gain", "Orthogonal")

    def __call__(self, shape: Shape, dtype: DTypeLike = "float32") -> NDArray[Any]:
        """Return the weight, computed in float64."""
        if len(shape) < 2:
            raise ValueError(
                f"The initializer Orthogonal makes a matrix: expected a shape of two axes or more, "
                f"received {tuple(shape)}. Use another initializer for this weight."
            )
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(self._generator().normal(tall, dtype=np.float64))
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        matrix = q.T if rows < columns else q  # (rows, columns)
        return np.ascontiguousarray(self.gain * matrix.reshape(shape), dtype)


def _fans(shape: Shape) -> tuple[int, int]:
    """Return how many inputs an output has, and how many outputs an input has."""
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


# Keras' other names
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
constant, identity, ones, orthogonal, zeros = Constant, Identity, Ones, Orthogonal, Zeros
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
random_normal, random_uniform = RandomNormal, RandomUniform
truncated_normal, variance_scaling = TruncatedNormal, VarianceScaling

_REGISTRY = Registry(
    "initializer",
    Initializer,
    globals().values(),
    {"normal": RandomNormal, "one": Ones, "uniform": RandomUniform, "zero": Zeros},
    function="(shape, dtype) -> array",
)
serialize = _REGISTRY.serialize
deserialize = _REGISTRY.deserialize


def get(identifier: Any) -> Any:
    """Return the initializer of a name, a class or a config, or the function given; None for None.

    Arguments:
        identifier: a name such as ``"he_normal"`` or ``"HeNormal"``, an `Initializer`, its class
            or its config, any function `(shape, dtype) -> array`, or None.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if it is none of these.

    >>> get("zeros")((2, 2))
    array([[0., 0.],
           [0., 0.]], dtype=float32)
    """
    return None if identifier is None else _REGISTRY.get(identifier)
