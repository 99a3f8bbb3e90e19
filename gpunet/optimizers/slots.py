"""The slots of an optimizer over a flat buffer, and the weights that the buffer holds."""

from __future__ import annotations

import itertools
import operator
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from gpunet.autograd import Array
from gpunet.backend import asarray, get_array_module

__all__ = [
    "Segment", "Slots", "check_flat", "check_list", "lay_out", "new_buffer", "value_of",
    "with_gradients",
]  # fmt: skip


class Segment(NamedTuple):
    """Where a weight is in a flat buffer.

    Attributes:
        path: the weight's name, unique in its model, such as ``"dense/kernel"``.
        offset: the first of its elements.
        size: how many there are.
        shape: the weight's shape.
    """

    path: str
    offset: int
    size: int
    shape: tuple[int, ...]

    @property
    def part(self) -> slice:
        """The weight's elements in the buffer."""
        return slice(self.offset, self.offset + self.size)


def value_of(variable: Any) -> Array:
    """Return the array of a parameter or tensor, or the array given."""
    return getattr(variable, "value", variable)


def check_flat(where: str, parameters: Array) -> None:
    """Raise unless parameters are one flat buffer of floating-point numbers."""
    if parameters.ndim != 1:
        raise ValueError(
            f"{where} expects one flat buffer of parameters, shape (n,), received shape "
            f"{parameters.shape}: pass parameters.reshape(-1)."
        )
    if parameters.dtype.kind != "f":
        raise TypeError(
            f"{where} expects parameters of float32 or float64, received {parameters.dtype}: "
            "pass parameters.astype('float32')."
        )


def check_list(where: str, given: Any, expected: str, for_buffers: str) -> None:
    """Raise `TypeError` unless a list is given, and not a flat buffer."""
    if not isinstance(given, list | tuple):
        raise TypeError(
            f"{where} expects {expected}, received {type(given).__name__}: "
            f"for one flat buffer use {for_buffers}."
        )


def new_buffer(where: str, variables: Sequence[Any]) -> Array:
    """Return a flat buffer with room for some weights; raise unless they have one dtype."""
    values = [value_of(variable) for variable in variables]
    dtypes = {str(value.dtype) for value in values}
    if len(dtypes) != 1:
        raise ValueError(
            f"{where} expects at least one weight, and all of one dtype, received "
            f"{sorted(dtypes) or 'an empty list'}."
        )
    xp = get_array_module(*values)
    return xp.empty(sum(value.size for value in values), values[0].dtype)


def lay_out(variables: Sequence[Any]) -> tuple[Segment, ...]:
    """Return segments for weights that follow one another in a buffer."""
    arrays = [value_of(variable) for variable in variables]
    offsets = [0, *itertools.accumulate(array.size for array in arrays)]
    names = [_name_of(variable, f"weight_{i}") for i, variable in enumerate(variables)]
    triples = zip(names, offsets, arrays, strict=False)
    return tuple(Segment(name, start, array.size, array.shape) for name, start, array in triples)


def with_gradients(
    where: str, variables: Sequence[Any], grads: Sequence[Any]
) -> tuple[list[Any], list[Array]]:
    """Return the weights that have a gradient, and the gradients as arrays.

    Raises:
        ValueError: if they do not fit each other, or there is no gradient at all.
    """
    if len(variables) != len(grads) or not variables:
        raise ValueError(
            f"{where} expects one gradient for each weight, received {len(grads)} gradients and "
            f"{len(variables)} weights: pass apply(grads, model.trainable_weights)."
        )
    pairs = [(v, value_of(g)) for v, g in zip(variables, grads, strict=True) if g is not None]
    if len(pairs) < len(variables):
        missing = [v for v, g in zip(variables, grads, strict=True) if g is None]
        message = f"{where}: no gradient for {', '.join(repr(_name_of(v)) for v in missing)}"
        if not pairs:
            raise ValueError(f"{message}: call backward() on a loss that depends on them.")
        warnings.warn(f"{message}, left unchanged.", stacklevel=4)
    for variable, grad in pairs:
        if grad.shape != variable.shape:
            raise ValueError(
                f"{where} expects a gradient of shape {variable.shape} for {_name_of(variable)!r}, "
                f"received {grad.shape}: gradients come first, as apply(grads, variables)."
            )
    return [v for v, _ in pairs], [g for _, g in pairs]


def _name_of(variable: Any, default: str = "weight") -> str:
    return getattr(variable, "path", None) or getattr(variable, "name", None) or default


class Slots:
    """Buffers as long as the parameters, all zero at first.

    Arguments:
        names: of the slots.
        parameters: the flat buffer, an example of the slots' shape and dtype.
        segments: where each weight is.
        variables: the weights, in the order of `segments`; empty where they are not known.

    Attributes:
        arrays: the buffers by name.
    """

    def __init__(
        self,
        names: Iterable[str],
        parameters: Array,
        segments: Sequence[Segment],
        variables: Sequence[Any] = (),
    ) -> None:
        self.shape, self.dtype = parameters.shape, parameters.dtype
        self.segments, self.variables = tuple(segments), list(variables)
        xp = get_array_module(parameters)
        self.arrays: dict[str, Array] = {name: xp.zeros_like(parameters) for name in names}
        self._aside: dict[int, Any] = {}  # slots of weights that are frozen meanwhile

    def _by_variable(self) -> dict[int, tuple[Any, dict[str, Array]]]:
        """Return each weight and its part of each slot, by the weight's identity."""
        found = {
            id(variable): (variable, {name: a[segment.part] for name, a in self.arrays.items()})
            for variable, segment in zip(self.variables, self.segments, strict=False)
        }
        return self._aside | found

    def check_known(self, where: str, variables: Sequence[Any]) -> None:
        """Raise `ValueError` unless the slots are those of these weights, and perhaps of others."""
        known = self._by_variable()
        for variable in variables:
            if id(variable) not in known:
                raise ValueError(
                    f"{where} was built for other weights: {_name_of(variable)!r} of shape "
                    f"{variable.shape} is none of them. Give each model its own optimizer."
                )

    def copy_from(self, other: Slots) -> None:
        """Copy the slots of the weights that both have."""
        theirs = other._by_variable()
        for key, (_, arrays) in self._by_variable().items():
            for name, array in arrays.items():
                if key in theirs:
                    array[...] = theirs[key][1][name]

    def moved(
        self, parameters: Array, segments: Sequence[Segment], variables: Sequence[Any]
    ) -> Slots:
        """Return the same slots for another layout of known weights, all or some of them."""
        moved = Slots(self.arrays, parameters, segments, variables)
        moved.copy_from(self)
        known = {id(variable) for variable in variables}
        moved._aside = {
            key: (variable, {name: array.copy() for name, array in arrays.items()})
            for key, (variable, arrays) in self._by_variable().items()
            if key not in known
        }
        return moved

    def only(self, variables: Sequence[Any]) -> Slots:
        """Return these slots where they are of exactly these weights, else a copy of theirs."""
        if len(variables) == len(self.variables) and all(
            map(operator.is_, variables, self.variables)
        ):
            return self
        parameters = new_buffer("Slots.only", variables)
        chosen = Slots(self.arrays, parameters, lay_out(variables), variables)
        chosen.copy_from(self)
        return chosen

    def parts_without(self, variables: Sequence[Any], patterns: Sequence[str]) -> Iterator[slice]:
        """Yield the parts of the buffer, as few as there are, that spare some weights.

        Regular expressions spare the weights in whose paths they are found.
        """
        spared = {id(variable) for variable in variables}
        start = stop = 0
        for segment, variable in itertools.zip_longest(self.segments, self.variables):
            part = segment.part
            if id(variable) in spared or any(re.search(p, segment.path) for p in patterns):
                if stop > start:
                    yield slice(start, stop)
                start = part.stop
            stop = part.stop
        if stop > start:
            yield slice(start, stop)

    def flat(self, arrays: Sequence[Array]) -> Array:
        """Return one array a weight in one new buffer."""
        xp = get_array_module(*arrays)
        buffer = xp.zeros(self.shape, self.dtype)
        for segment, array in zip(self.segments, arrays, strict=True):
            buffer[segment.part] = asarray(array, like=buffer).reshape(-1)
        return buffer

    def spread(self, buffer: Array) -> None:
        """Write a buffer into the weights."""
        for segment, variable in zip(self.segments, self.variables, strict=True):
            value_of(variable)[...] = buffer[segment.part].reshape(segment.shape)
