"""The base of every layer."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from gpunet import functions, initializers, random
from gpunet.autograd import Parameter, Tensor, no_grad
from gpunet.backend import array_module, asarray, to_numpy
from gpunet.naming import check_arguments

__all__ = ["Layer", "collect_updates"]

Shape = tuple[int | None, ...]  # the batch size, and any size not known yet, is None

_building = threading.RLock()  # layers are built by one thread at a time
_training: ContextVar[bool] = ContextVar("training", default=False)
_updates: ContextVar[list[tuple[Parameter, Any]] | None] = ContextVar("updates", default=None)


class Layer:
    """A function with weights: subclasses write `build`, which makes them, and `call`.

    Layers and parameters that a layer keeps in its attributes, also in lists, tuples and dicts,
    are found there: their weights are its own. What `call` computes with tensors, operators and
    `gpunet.functions` is differentiated without more ado.

    Arguments:
        input_shape: of one sample, without the batch; lets a model be built before any data.
        name: what messages and `summary()` call the layer; by default after its class.
        trainable: False to leave the layer's weights as they are.
        dtype: of the weights.

    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
    ...
    ...     def call(self, x):
    ...         return x * self.factor
    >>> Scale()(np.ones((2, 3), "float32")).shape
    (2, 3)
    """

    _takes_training: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Layer:
        check_arguments(cls.__init__, cls.__name__, kwargs)
        return super().__new__(cls)

    def __init__(
        self,
        *,
        input_shape: tuple[int | None, ...] | None = None,
        name: str | None = None,
        trainable: bool = True,
        dtype: Any = "float32",
    ) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.named_by_user = name is not None
        self.trainable = trainable
        self.dtype = _floating(dtype, self.name)
        self.built = False
        self.input_shape: Shape | None = None  # with the batch, once built
        self.given_input_shape = None if input_shape is None else as_sample_shape(input_shape)
        self._weights: list[Parameter] = []

    # What subclasses write

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs of `input_shape`, whose first size, the batch's, is None."""

    def call(self, x: Any) -> Any:
        """Return the output for `x`; may also take ``training``, True within `fit`."""
        raise NotImplementedError(f"{type(self).__name__} does not define call(self, x).")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the output's shape; by default found by a call on zeros."""
        sizes = tuple(1 if size is None else size for size in input_shape)
        with no_grad():
            output = self(array_module().zeros(sizes, self.compute_dtype))
        if not isinstance(output, Tensor):
            raise TypeError(
                f"{describe(self)} returns a {type(output).__name__}, expected one Tensor: the "
                "shapes of several outputs cannot be told, and a model must return one."
            )
        return (input_shape[0], *output.shape[1:])

    def check_input(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if the layer, once built, cannot take an input of this shape."""

    def takes_integers(self) -> bool:
        """Whether `call` is given arrays of integers as they are; by default they are cast."""
        return False

    # What layers are given

    def add_weight(
        self,
        shape: tuple[int, ...],
        initializer: Any = "glorot_uniform",
        *,
        name: str = "weight",
        trainable: bool = True,
        dtype: Any = None,
    ) -> Parameter:
        """Return a new parameter of this layer, for `build` to keep; its dtype is the layer's."""
        dtype = self.dtype if dtype is None else _floating(dtype, self.name)
        value = initializers.get(initializer)(shape, dtype=dtype)
        parameter = Parameter(asarray(value), name=name, trainable=trainable)
        self._weights.append(parameter)
        return parameter

    def build_once(self, input_shape: Any) -> None:
        """Call `build` if that was not done; a build that fails leaves the layer unbuilt."""
        if self.built:
            return
        with _building, self.unbuilt_on_error():
            if self.built:  # by another thread, meanwhile
                return
            try:
                self.build(input_shape)
            except (TypeError, ValueError) as error:
                name_layer(error, self)
                raise
            self.input_shape = input_shape
            self.built = True

    @contextmanager
    def unbuilt_on_error(self) -> Iterator[None]:
        """If the block fails, leave unbuilt what was unbuilt before, in this layer and below.

        The random numbers that building took come again.
        """
        unbuilt = [layer for layer in self._with_sublayers() if not layer.built]
        before = [{name: _shallow(item) for name, item in vars(layer).items()} for layer in unbuilt]
        state = random.get_state() if unbuilt else None
        try:
            yield
        except BaseException:
            for layer, attributes in zip(unbuilt, before, strict=True):
                vars(layer).clear()
                vars(layer).update(attributes)
            if state is not None:
                random.set_state(state)
            raise

    def __call__(self, x: Any, *, training: bool | None = None) -> Any:
        """Return ``call(x)``, after building the layer for x's shape if it is the first call.

        Arguments:
            x: a tensor, or an array or list that makes one; it is cast to the layer's dtype,
                unless the layer `takes_integers`. For a layer of several inputs a list or tuple of
                tensors.
            training: by default as in the layer that calls this one, and False outermost.
        """
        token = None if training is None else _training.set(training)
        try:
            if isinstance(x, list | tuple) and any(isinstance(item, Tensor) for item in x):
                x = [self._as_tensor(item) for item in x]
                self.build_once([(None, *item.shape[1:]) for item in x])
                x = [self._cast(item) for item in x]
            else:
                x = self._as_tensor(x)
                self.build_once((None, *x.shape[1:]))
                self.check_input(x.shape)
                x = self._cast(x)
            if self._call_takes_training():
                output = self.call(x, training=_training.get())  # type: ignore[call-arg]
            else:
                output = self.call(x)
            if not isinstance(output, Tensor | list | tuple | dict):
                raise TypeError(
                    f"call must return a Tensor, received {type(output).__name__}, which has no "
                    "gradient: compute with x, operators and gpunet.functions."
                )
            return output
        except (TypeError, ValueError) as error:
            name_layer(error, self)
            raise
        finally:
            if token is not None:
                _training.reset(token)

    def _as_tensor(self, x: Any, like: Any = None) -> Tensor:
        """Return what is no tensor yet as one where the weights live, and of their dtype.

        Arguments:
            x: a tensor, or what makes one.
            like: an array of the weights, where it is known: to find one takes time.
        """
        if isinstance(x, Tensor):
            return x
        if like is None and (weight := self._first_weight()) is not None:
            like = weight.value
        dtype = self.dtype if like is None else like.dtype
        if self.takes_integers() and hasattr(x, "dtype") and x.dtype.kind in "biu":
            dtype = x.dtype
        return Tensor(asarray(x, dtype=dtype, like=like))

    def _cast(self, x: Tensor) -> Tensor:
        """Return `x` in the dtype of the layer's own weights, if it has any."""
        if self._weights and x.dtype != self._weights[0].dtype and x.dtype.kind == "f":
            return functions.astype(x, self._weights[0].dtype)
        return x

    @classmethod
    def _call_takes_training(cls) -> bool:
        if "_takes_training" not in vars(cls):  # not inherited: a subclass may define call anew
            cls._takes_training = "training" in inspect.signature(cls.call).parameters
        return cls._takes_training

    def add_update(self, parameter: Parameter, value: Any) -> None:
        """Set a weight that training changes otherwise than by gradients, as a moving average.

        Within a training step the value is set together with the optimizer's update, and not at
        all if the step fails; elsewhere it is set at once.
        """
        array = value.value if isinstance(value, Tensor) else value
        pending = _updates.get()
        if pending is None:
            parameter.value[...] = array
        else:
            pending.append((parameter, array))

    # Weights

    @property
    def sublayers(self) -> list[Layer]:
        """The layers that this layer keeps in its attributes."""
        return [item for item in _kept_in(vars(self)) if isinstance(item, Layer)]

    def _with_sublayers(self) -> list[Layer]:
        """This layer, the layers in it and the layers in them, each once."""
        found = [self]
        for layer in found:
            found += [sublayer for sublayer in layer.sublayers if sublayer not in found]
        return found

    def _walk(
        self, trainable: bool = True, seen: set[int] | None = None
    ) -> Iterator[tuple[Parameter | random.Generator, bool]]:
        """Yield all that is kept in this layer and its layers, once, and whether it trains."""
        seen = set() if seen is None else seen
        seen.add(id(self))
        trainable = trainable and self.trainable
        for item in _kept_in(vars(self)):
            if id(item) in seen:
                continue
            if isinstance(item, Layer):
                yield from item._walk(trainable, seen)
            else:
                seen.add(id(item))
                yield item, trainable and getattr(item, "trainable", False)

    @property
    def weights(self) -> list[Parameter]:
        """All parameters: of the layer and its layers, in the order they were made."""
        return [item for item, _ in self._walk() if isinstance(item, Parameter)]

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that training changes."""
        return self.split_weights()[0]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """The parameters that training leaves alone."""
        return self.split_weights()[1]

    def split_weights(self) -> tuple[list[Parameter], list[Parameter]]:
        """Return the parameters that training changes, and those that it leaves alone."""
        split: tuple[list[Parameter], list[Parameter]] = ([], [])
        for item, trains in self._walk():
            if isinstance(item, Parameter):
                split[0 if trains else 1].append(item)
        return split

    @property
    def generators(self) -> list[random.Generator]:
        """The random generators of the layer and its layers, such as of ``Dropout(seed=1)``."""
        return [item for item, _ in self._walk() if isinstance(item, random.Generator)]

    @property
    def compute_dtype(self) -> Any:
        """The dtype of the weights, or of the weights to come."""
        weight = self._first_weight()
        return self.dtype if weight is None else weight.dtype

    def _first_weight(self) -> Parameter | None:
        """Return the first of the weights, if there is one; to list all takes time."""
        if self._weights:
            return self._weights[0]
        return next((item for item, _ in self._walk() if isinstance(item, Parameter)), None)

    def count_params(self) -> int:
        """Return the number of elements of all weights."""
        return sum(parameter.size for parameter in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all weights, in the order of `weights`, as NumPy arrays."""
        return [parameter.numpy().copy() for parameter in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Set all weights, in the order of `weights`; nothing is changed if one does not fit."""
        parameters = self.weights
        if len(weights) != len(parameters):
            hint = "" if self.built else " Build it first, by input_shape= or a first call."
            raise ValueError(
                f"{describe(self)} has {len(parameters)} weights, "
                f"set_weights received {len(weights)}.{hint}"
            )
        arrays = [to_numpy(weight) for weight in weights]
        for i, (parameter, array) in enumerate(zip(parameters, arrays, strict=True)):
            if array.shape != parameter.shape or array.dtype.kind not in "fiub":
                raise ValueError(
                    f"Weight {i} ({parameter.name!r}) of {describe(self)} has shape "
                    f"{parameter.shape}, set_weights received shape {array.shape} of dtype "
                    f"{array.dtype}. Nothing was changed."
                )
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.value[...] = asarray(array, dtype=parameter.dtype, like=parameter.value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def is_training() -> bool:
    """Return whether the layer that calls this is called in training."""
    return _training.get()


@contextmanager
def collect_updates() -> Iterator[list[tuple[Parameter, Any]]]:
    """Collect the values of `Layer.add_update` in the list that the context gives."""
    updates: list[tuple[Parameter, Any]] = []
    token = _updates.set(updates)
    try:
        yield updates
    finally:
        _updates.reset(token)


def describe(layer: Layer) -> str:
    """Return how messages call a layer: ``Layer 'dense_1' (Dense)``."""
    return f"Layer {layer.name!r} ({type(layer).__name__})"


def name_layer(error: Exception, layer: Layer) -> None:
    """Put the layer's name before the message of an error, unless a layer's is there."""
    if not getattr(error, "names_layer", False) and error.args:
        error.args = (f"{describe(layer)}: {error.args[0]}", *error.args[1:])
        error.names_layer = True  # type: ignore[attr-defined]


def snake_case(name: str) -> str:
    """Return ``max_pooling2d`` for ``MaxPooling2D``, as Keras names its layers."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def as_sample_shape(shape: Any) -> Shape:
    """Return the shape of one sample as a tuple of positive sizes or None."""
    sizes = tuple(shape) if isinstance(shape, list | tuple) else (shape,)
    for size in sizes:
        if size is not None and (isinstance(size, bool) or not _is_positive(size)):
            raise ValueError(
                f"input_shape must hold positive integers (or None where unknown) for one sample, "
                f"without the batch, received {shape!r}: for example input_shape=(28, 28, 1)."
            )
    return sizes


def _is_positive(size: Any) -> bool:
    return isinstance(size, int | np.integer) and bool(size > 0)


def _floating(dtype: Any, where: str) -> np.dtype:
    if np.dtype(dtype) not in (np.dtype("float32"), np.dtype("float64")):
        raise ValueError(f"dtype of {where!r} must be 'float32' or 'float64', received {dtype!r}.")
    return np.dtype(dtype)


def _shallow(item: Any) -> Any:
    """A copy of a container, so that what is added to it later is not in the copy."""
    return type(item)(item) if type(item) in (dict, list, set) else item


_CONTAINERS = (dict, list, tuple)
_KEPT = (Layer, Parameter, random.Generator)
_PLAIN = {type(None), bool, float, int, str}  # no use to look into: most attributes are such


def _kept_in(container: Any) -> Iterator[Any]:
    """Yield the layers, parameters and generators in a container and the containers in it."""
    seen: set[int] = set()
    waiting = [container]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _CONTAINERS):
            if id(item) not in seen:
                seen.add(id(item))
                items = list(item.values()) if isinstance(item, dict) else item
                waiting += [item for item in reversed(items) if type(item) not in _PLAIN]
        elif isinstance(item, _KEPT):
            yield item
