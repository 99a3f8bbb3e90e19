"""Find the layers, weights and random generators that a layer contains in its attributes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from gpunet import random
from gpunet.autograd import Parameter, Tensor
from gpunet.backend import asarray, to_numpy
from gpunet.layers.roles import attribute_was_set, attributes_version
from gpunet.regularizers import penalties

__all__ = ["Replaceable", "WeightOwner", "contained", "describe", "shallow_copy", "unique_name"]

_CONTAINERS = (dict, list, tuple)
_first_weights: WeakKeyDictionary[Any, tuple[int, ref[Parameter]]] = WeakKeyDictionary()
_PLAIN = {type(None), bool, float, int, str}  # most attributes: not worth looking into


def contained(container: Any, kinds: tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """Yield (attribute, item) for items of some kinds in a dictionary of attributes and within.

    Items of these kinds are not searched, should they be containers.
    """
    seen: set[int] = set()
    waiting = [(name, item) for name, item in reversed(container.items())]
    while waiting:
        name, item = waiting.pop()
        if isinstance(item, kinds):
            yield name, item
        elif isinstance(item, _CONTAINERS) and id(item) not in seen:
            seen.add(id(item))
            items = list(item.values()) if isinstance(item, dict) else item
            waiting += [(name, part) for part in reversed(items) if type(part) not in _PLAIN]


def unique_name(name: str, taken: Callable[[str], bool]) -> str:
    """Return the name, or with the first number that makes one that is not taken.

    >>> unique_name("dense", {"dense", "dense_1"}.__contains__)
    'dense_2'
    """
    if not taken(name):
        return name
    number = 1
    while taken(f"{name}_{number}"):
        number += 1
    return f"{name}_{number}"


def shallow_copy(item: Any) -> Any:
    """Return a copy of a plain container, so that later additions are not in the copy."""
    return type(item)(item) if type(item) in (dict, list, set) else item


class Replaceable:
    """A property that gives way to an attribute of the instance: ``self.output = Dense(2)``.

    Keras reserves such names; here custom layers may use them.
    """

    def __init__(self, get: Callable[[Any], Any]) -> None:
        self.get = get
        self.__doc__ = get.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else self.get(instance)


def _other_name(name: str) -> Replaceable:
    alias = Replaceable(operator.attrgetter(name))
    alias.__doc__ = f"Another name for `{name}`."
    return alias


_TRACKED = (Parameter, random.Generator)


class WeightOwner:
    """The weights of a layer: its own, and those of the layers in its attributes."""

    name: str
    trainable: bool
    trainable_was_set = False  # since the layer was made
    built: bool
    dtype: np.dtype
    _weights: list[Parameter]

    @property
    def sublayers(self) -> list[WeightOwner]:
        """The layers in this layer's attributes."""
        items = contained(vars(self), (*_TRACKED, WeightOwner))
        return [item for _, item in items if isinstance(item, WeightOwner)]

    def with_sublayers(self) -> list[WeightOwner]:
        """Return this layer, its sublayers and theirs, each once."""
        found = [self]
        for layer in found:
            found += [part for part in layer.sublayers if all(part is not f for f in found)]
        return found

    def set_trainable_alone(self, value: bool) -> None:
        """Set `trainable` of this layer, not of those in it."""
        object.__setattr__(self, "trainable", value)
        object.__setattr__(self, "trainable_was_set", True)
        attribute_was_set()

    def trains_within(self, outer_trains: bool) -> bool:
        """Return whether the layer's weights train where those of the layer around it do or do not.

        What was set last counts: layers within a frozen one are frozen, until one is set to train.
        """
        return self.trainable and (outer_trains or self.trainable_was_set)

    def _walk(
        self, prefix: str = "", trainable: bool | None = None, seen: set[int] | None = None
    ) -> Iterator[tuple[str, Any, bool]]:
        """Yield (path, weight or generator, whether it trains) of this layer and its sublayers."""
        seen = {id(self)} if seen is None else seen
        trainable = self.trainable if trainable is None else trainable
        names: set[str] = set()
        for attribute, item in contained(vars(self), (*_TRACKED, WeightOwner)):
            if id(item) in seen:
                continue
            seen.add(id(item))
            name = unique_name(getattr(item, "name", attribute), names.__contains__)
            names.add(name)
            if isinstance(item, WeightOwner):
                trains = item.trains_within(trainable)
                yield from item._walk(f"{prefix}{name}/", trains, seen)
            else:
                yield prefix + name, item, trainable and getattr(item, "trainable", False)

    def weight_paths(self) -> dict[str, Parameter]:
        """Return all weights by their unique paths, such as ``dense_1/kernel``."""
        return {path: item for path, item, _ in self._walk() if isinstance(item, Parameter)}

    @property
    def weights(self) -> list[Parameter]:
        """All weights of the layer and its sublayers, in the order they were made."""
        return [item for _, item, _ in self._walk() if isinstance(item, Parameter)]

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The weights that training changes."""
        return self.split_weights()[0]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        """The weights that training does not change by gradients."""
        return self.split_weights()[1]

    variables = _other_name("weights")
    trainable_variables = _other_name("trainable_weights")
    non_trainable_variables = _other_name("non_trainable_weights")

    @Replaceable
    def losses(self) -> list[Tensor]:
        """The losses of the regularizers of the trainable weights, one number each.

        Within a step or `regularizers.collect_losses()`, also those that layers have added.
        """
        return penalties(self.trainable_weights)

    def split_weights(self) -> tuple[list[Parameter], list[Parameter]]:
        """Return the trainable and the other weights."""
        split: tuple[list[Parameter], list[Parameter]] = ([], [])
        for _, item, trains in self._walk():
            if isinstance(item, Parameter):
                split[0 if trains and self.trainable else 1].append(item)
        return split

    @property
    def generators(self) -> list[random.Generator]:
        """The random generators of the layer and its sublayers, such as of ``Dropout(seed=1)``."""
        return [item for _, item, _ in self._walk() if isinstance(item, random.Generator)]

    @property
    def compute_dtype(self) -> Any:
        """The dtype of the weights, or of the weights to come."""
        weight = self._first_weight()
        return self.dtype if weight is None else weight.dtype

    def _first_weight(self) -> Parameter | None:
        """Return the first of the weights, if there is one; remembered, to look takes time."""
        if self._weights:
            return self._weights[0]
        version, reference = _first_weights.get(self, (None, None))
        weight = reference() if reference and version == attributes_version() else None
        if weight is None:
            found = (item for _, item, _ in self._walk() if isinstance(item, Parameter))
            weight = next(found, None)
            if weight is not None:
                _first_weights[self] = attributes_version(), ref(weight)
        return weight

    def count_params(self) -> int:
        """Return the number of elements of all weights."""
        return sum(parameter.size for parameter in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all weights, in the order of `weights`, as NumPy arrays."""
        return [parameter.numpy().copy() for parameter in self.weights]

    def set_weights(self, weights: list[Any]) -> None:
        """Set all weights, in the order of `weights`.

        Raises:
            TypeError: if it is no list.
            ValueError: if their number or the shape of one differs; nothing is changed.
        """
        if not isinstance(weights, list | tuple):
            raise TypeError(
                f"set_weights of {describe(self)} expects a list of arrays, as get_weights() "
                f"returns, received {type(weights).__name__}."
            )
        parameters = self.weights
        if len(weights) != len(parameters):
            hint = "" if self.built else " Build it first, by input_shape= or a first call."
            raise ValueError(
                f"{describe(self)} has {len(parameters)} weights, "
                f"set_weights received {len(weights)}.{hint}"
            )
        arrays = [_as_numpy(weight) for weight in weights]
        for i, (parameter, array) in enumerate(zip(parameters, arrays, strict=True)):
            if array.shape != parameter.shape or array.dtype.kind not in "fiub":
                raise ValueError(
                    f"Weight {i} ({parameter.name!r}) of {describe(self)} has shape "
                    f"{parameter.shape}, set_weights received shape {array.shape} of dtype "
                    f"{array.dtype}. Nothing was changed."
                )
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.value[...] = asarray(array, dtype=parameter.dtype, like=parameter.value)


def _as_numpy(weight: Any) -> np.ndarray:
    try:
        return to_numpy(weight)
    except (TypeError, ValueError):  # rows of several lengths
        return np.array(None)


def describe(layer: Any) -> str:
    """Return how messages call a layer: ``Layer 'dense_1' (Dense)``."""
    return f"Layer {layer.name!r} ({type(layer).__name__})"
