"""Build a layer once, by one thread at a time, and leave nothing behind where that fails."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpunet import random
from gpunet.fork import reset_on_fork
from gpunet.layers.tracking import describe, shallow_copy

__all__ = [
    "STRINGS", "Shape", "as_sample_shape", "built_once", "checked_name", "name_layer",
    "shape_without_batch", "unbuilt_on_error", "weight_dtype",
]  # fmt: skip

STRINGS = (
    "strings are no numbers, and cannot be the input of a model: call TextVectorization or "
    "StringLookup on the data, ids = layer(texts), and feed these to the model, whose input is "
    "Input(shape, dtype='int64')."
)
Shape = tuple[int | None, ...]  # the batch size, and any size not known yet, is None

_building = reset_on_fork(threading.RLock())


def built_once(build: Callable[..., None]) -> Callable[..., None]:
    """Wrap a `build` method: only its first call does anything, and it sets `built`.

    A call from the `build` of a subclass (``super().build(shape)``) runs as part of that one.
    """

    @functools.wraps(build)
    def once(self: Any, *shapes: Any, **named: Any) -> None:
        if self.built and not self._is_building:
            return
        with _building:
            if self._is_building:
                build(self, *shapes, **named)
            elif not self.built:  # another thread may have built it meanwhile
                _build(self, build, shapes, named)

    once.wraps_build = True  # type: ignore[attr-defined]
    return once


def _build(
    layer: Any, build: Callable[..., None], shapes: tuple[Any, ...], named: dict[str, Any]
) -> None:
    given = [*shapes, *named.values()]
    with unbuilt_on_error(layer):
        layer._is_building = True
        try:
            build(layer, *shapes, **named)
        except (TypeError, ValueError) as error:
            name_layer(error, layer)
            raise
        finally:
            layer._is_building = False
        if given and layer.input_shape is None:
            layer.input_shape = shape_without_batch(given[0])
        layer.built = True


@contextmanager
def unbuilt_on_error(layer: Any) -> Iterator[None]:
    """Return a layer and its sublayers to what they were before if the block raises.

    That is for those that were not built before; random numbers drawn meanwhile come again.
    """
    unbuilt = [part for part in layer.with_sublayers() if not part.built]
    before = [{name: shallow_copy(item) for name, item in vars(p).items()} for p in unbuilt]
    state = random.get_state() if unbuilt else None
    try:
        yield
    except BaseException:
        for part, attributes in zip(unbuilt, before, strict=True):
            vars(part).clear()
            vars(part).update(attributes)
        if state is not None:
            random.set_state(state)
        raise


def name_layer(error: Exception, layer: Any) -> None:
    """Put the layer's name before the message of an error, unless another layer's is there."""
    if not getattr(error, "names_layer", False) and error.args:
        error.args = (f"{describe(layer)}: {error.args[0]}", *error.args[1:])
        error.names_layer = True  # type: ignore[attr-defined]


def as_sample_shape(shape: Any, argument: str = "input_shape") -> Shape:
    """Return the shape of one sample as a tuple of positive sizes or None.

    Raises:
        ValueError: if a size is neither a positive integer nor None.
    """
    sizes = tuple(shape) if isinstance(shape, list | tuple) else (shape,)
    for size in sizes:
        is_integer = isinstance(size, int | np.integer) and not isinstance(size, bool)
        if size is not None and not (is_integer and size > 0):
            raise ValueError(
                f"{argument} must hold positive integers (or None where unknown) for one sample, "
                f"without the batch, received {shape!r}: for example {argument}=(28, 28, 1)."
            )
    return tuple(None if size is None else int(size) for size in sizes)


def shape_without_batch(shape: Any) -> Any:
    """Return a shape, or a nested structure of shapes, with None for each batch size."""
    if isinstance(shape, dict):
        return {key: shape_without_batch(item) for key, item in shape.items()}
    if isinstance(shape, list | tuple) and any(isinstance(s, list | tuple | dict) for s in shape):
        return [shape_without_batch(item) for item in shape]
    return (None, *tuple(shape)[1:]) if isinstance(shape, list | tuple) and len(shape) else shape


def checked_name(name: str | None) -> str | None:
    """Return the name of a layer or weight, or None.

    Raises:
        ValueError: it is no string, or contains a slash.
    """
    if name is not None and (not isinstance(name, str) or "/" in name):
        raise ValueError(
            f"a name must be a string without '/', which separates names in the paths of weights, "
            f"received {name!r}."
        )
    return name


def weight_dtype(dtype: Any, where: str) -> np.dtype:
    """Return the dtype of weights; raise `ValueError` for others than floats."""
    try:
        found = np.dtype("float32" if dtype is None else dtype)
    except TypeError:
        found = np.dtype(object)
    if found not in (np.dtype("float32"), np.dtype("float64")):
        raise ValueError(f"dtype of {where!r} must be 'float32' or 'float64', received {dtype!r}.")
    return found
