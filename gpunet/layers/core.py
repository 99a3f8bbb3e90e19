"""Layers of every network: input, dense, activation, dropout, and changes of shape."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from gpunet import activations, functions, random
from gpunet.layers.layer import Layer, Shape, as_sample_shape
from gpunet.naming import check_arguments
from gpunet.primitives.checks import is_number

__all__ = ["Activation", "Dense", "Dropout", "Flatten", "Input", "Rescaling", "Reshape"]


class Input:
    """What a model takes: the shape of one sample. It stands first in a `Sequential`.

    Arguments:
        shape: of one sample, without the batch.
        name: what messages call it.

    >>> Input((28, 28, 1)).shape
    (28, 28, 1)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Input:
        check_arguments(cls.__init__, cls.__name__, kwargs)
        return super().__new__(cls)

    def __init__(self, shape: Any, name: str = "input") -> None:
        self.shape, self.name = as_sample_shape(shape), name

    def __repr__(self) -> str:
        return f"Input({self.shape})"


class Dense(Layer):
    """A fully connected layer: ``activation(x @ kernel + bias)`` over the last axis.

    Arguments:
        units: size of the output's last axis.
        activation: a name of `gpunet.activations`, a function, or None.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: names or instances of `gpunet.initializers`.

    >>> Dense(4, activation="relu", input_shape=(8,))
    <Dense 'dense'>
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        input_shape: tuple[int | None, ...] | None = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(input_shape=input_shape, name=name, trainable=trainable, dtype=dtype)
        self.units = positive_integer(units, "units", "Dense")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "Dense expects inputs of shape (batch, ..., features) with a known number of "
                f"features, received {input_shape}."
            )
        self.kernel = self.add_weight(
            (input_shape[-1], self.units), self.kernel_initializer, name="kernel"
        )
        self.bias = (
            self.add_weight((self.units,), self.bias_initializer, name="bias")
            if self.use_bias
            else None
        )

    def check_input(self, shape: tuple[int, ...]) -> None:
        features = self.kernel.shape[0]
        if len(shape) < 2 or shape[-1] != features:
            hint = (
                "put Flatten() before it"
                if math.prod(shape[1:]) == features
                else f"it was built for {features} features"
            )
            raise ValueError(
                f"Dense expected inputs of shape (batch, ..., {features}), "
                f"received {tuple(shape)}: {hint}."
            )

    def call(self, x: Any) -> Any:
        fused = activations.fusible(self.activation)
        y = functions.dense(x, self.kernel, self.bias, activation=fused)
        return self.activation(y) if fused is None else y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)


class Activation(Layer):
    """An activation as a layer of its own.

    Arguments:
        activation: a name of `gpunet.activations`, or a function.
    """

    def __init__(
        self,
        activation: Any,
        *,
        input_shape: tuple[int | None, ...] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape=input_shape, name=name)
        self.activation = activations.get(activation)

    def call(self, x: Any) -> Any:
        return self.activation(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class Dropout(Layer):
    """In training, set a share of the inputs to 0 and scale the others to make up for it.

    Arguments:
        rate: the share, from 0 to below 1.
        seed: None to draw from `gpunet.random`'s numbers, an integer for numbers of its own.
    """

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        *,
        input_shape: tuple[int | None, ...] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape=input_shape, name=name)
        if not isinstance(rate, Real) or not 0 <= rate < 1:
            raise ValueError(
                f"Dropout: rate must be a number from 0 to below 1, received {rate!r}: "
                "it is the share of the inputs that is set to 0."
            )
        self.rate: float = float(rate)
        self.generator: random.Generator | None = None if seed is None else random.Generator(seed)

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return x
        key = random.next_key() if self.generator is None else self.generator.next_key()
        return functions.dropout(x, key, rate=self.rate)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class Rescaling(Layer):
    """Return ``x * scale + offset``, such as images of bytes as numbers from 0 to 1.

    As a model's first layer it takes integers as they are, and converts and scales them batch by
    batch: a data set of bytes needs a quarter of the memory that float32 takes.

    Arguments:
        scale, offset: numbers.
        dtype: of the result; of tensors that hold floating-point numbers it is theirs.

    >>> Rescaling(1 / 127.5, offset=-1)(np.array([[0, 255]], "uint8")).value
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        scale: float,
        offset: float = 0.0,
        *,
        input_shape: tuple[int | None, ...] | None = None,
        name: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__(input_shape=input_shape, name=name, dtype=dtype)
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
    limit = float(np.finfo(dtype).max)
    if is_number(value) and -limit <= value <= limit:
        return float(value)
    raise ValueError(
        f"Rescaling: {argument} must be one finite number within the range of {dtype}, received "
        f"{value!r}: for example Rescaling(1 / 255) makes bytes numbers from 0 to 1."
    )


class Reshape(Layer):
    """Give each sample another shape.

    Arguments:
        target_shape: of one sample; one size may be -1, for whatever is left.
    """

    def __init__(
        self,
        target_shape: tuple[int, ...],
        *,
        input_shape: tuple[int | None, ...] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape=input_shape, name=name)
        sizes = target_shape if isinstance(target_shape, list | tuple) else (target_shape,)
        self.target_shape = tuple(sizes)
        if sizes.count(-1) > 1 or any(
            not isinstance(s, int | np.integer) or (s < 1 and s != -1) for s in sizes
        ):
            raise ValueError(
                "Reshape: target_shape must hold positive integers and at most one -1, "
                f"received {target_shape}."
            )

    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)  # an impossible shape is told here

    def call(self, x: Any) -> Any:
        return functions.reshape(x, (x.shape[0], *self._sizes(x.shape[1:])))

    def _sizes(self, sample_shape: Shape) -> Shape:
        if None in sample_shape:
            return tuple(None if size == -1 else size for size in self.target_shape)
        size = math.prod(s for s in sample_shape if s is not None)
        known = math.prod(s for s in self.target_shape if s != -1)
        if size % known or (size != known and -1 not in self.target_shape):
            raise ValueError(
                f"Reshape cannot make samples of shape {self.target_shape} from samples of shape "
                f"{tuple(sample_shape)}, which have {size} elements."
            )
        return tuple(size // known if s == -1 else s for s in self.target_shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self._sizes(input_shape[1:]))


class Flatten(Layer):
    """Make each sample one row: (batch, height, width, channels) to (batch, features)."""

    def __init__(
        self,
        data_format: str = "channels_last",
        *,
        input_shape: tuple[int | None, ...] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(input_shape=input_shape, name=name)
        self.data_format = check_data_format(data_format, "Flatten")

    def call(self, x: Any) -> Any:
        if self.data_format == "channels_first" and x.ndim > 2:
            # As in Keras, the features come out in the order of channels_last.
            x = functions.transpose(x, (0, *range(2, x.ndim), 1))
        return functions.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        sizes = input_shape[1:]
        if None in sizes:
            return (input_shape[0], None)
        return (input_shape[0], math.prod(size for size in sizes if size is not None))


def positive_integer(value: Any, argument: str, where: str) -> int:
    """Return `value` if it is a positive integer, else raise `ValueError`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{where}: {argument} must be a positive integer, received {value!r}.")
    return int(value)


def check_data_format(data_format: str, where: str) -> str:
    """Return `data_format` if it is a known layout, else raise `ValueError`."""
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"{where}: data_format must be 'channels_last' or 'channels_first', "
            f"received {data_format!r}."
        )
    return data_format
