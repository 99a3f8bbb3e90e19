"""Batches for a model, from arrays or from whatever yields them; and what data must be like."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sized
from numbers import Real
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpunet import primitives, random
from gpunet.arguments import positive_integer
from gpunet.autograd import Array, Tensor
from gpunet.backend import get_array_module

__all__ = [
    "ArrayBatches",
    "Batches",
    "IterableBatches",
    "Rows",
    "as_array",
    "is_pair_of_arrays",
    "make_batches",
    "split",
]

Check = Callable[[Array, Array | None], None]

_CHECKED_AT_ONCE = 1 << 20  # elements


class Batches:
    """What `fit`, `evaluate` and `predict` loop over: ``(x, y)`` batches, epoch after epoch.

    `steps` is the number of batches in an epoch, None where that is not known.
    """

    steps: int | None

    def __iter__(self) -> Iterator[tuple[Array, Array | None]]:
        raise NotImplementedError

    def params(self) -> dict[str, Any]:
        """Return what callbacks may know of the batches."""
        return {"steps": self.steps}

    def joined(self, samples: int) -> Iterator[tuple[Array, Array | None, list[int]]]:
        """Yield the batches of an epoch, several as one where their size is free to choose.

        With each come the sizes of the batches that it joins.

        Arguments:
            samples: the most that such a batch may have.
        """
        for x, y in self:
            yield x, y, [len(x)]


class Rows(NamedTuple):
    """Which samples a batch takes.

    Attributes:
        order: the order of all samples in this pass; None as they come.
        start, stop: which part of it.
    """

    order: np.ndarray | None
    start: int
    stop: int


class ArrayBatches(Batches):
    """Slices of arrays, in order or shuffled anew in each epoch.

    Arguments:
        x, y: arrays with one row a sample; y may be None.
        batch_size: rows in a slice.
        shuffle: whether in a new order in each epoch.
        steps: slices in an epoch, all by default.
        free: whether `joined` may choose another batch size.
    """

    def __init__(
        self,
        x: Array,
        y: Array | None,
        batch_size: int,
        *,
        shuffle: bool,
        steps: int | None = None,
        free: bool = False,
    ) -> None:
        if shuffle:
            x, y = _readable_by_kernels(x), _readable_by_kernels(y)
        self.x, self.y, self.batch_size, self.shuffle = x, y, batch_size, shuffle
        available = math.ceil(len(x) / batch_size)
        if steps is not None and steps > available:
            raise ValueError(
                f"{steps} steps of batch_size={batch_size} need {steps * batch_size} samples, "
                f"the arrays hold {len(x)}: give at most {available} steps."
            )
        self.steps: int = available if steps is None else steps
        self.samples = min(len(x), self.steps * batch_size)
        self.free = free and not shuffle and self.steps == available
        self._stream = _passes(len(x), batch_size, shuffle)
        self._orders: tuple[np.ndarray | None, dict[ModuleType, Array]] = None, {}

    def __iter__(self) -> Iterator[tuple[Array, Array | None]]:
        # An epoch of fewer steps than there are batches is gone on from in the next.
        for rows in itertools.islice(self._stream, self.steps):
            yield self._taken(self.x, rows), self._taken(self.y, rows)

    def runs(self, most: int) -> Iterator[tuple[Rows, int]]:
        """Yield the batches of an epoch as the first of some of one size, and how many these are.

        Arguments:
            most: of them at a time; they are of one pass over the arrays.
        """
        left = self.steps
        while left > 0:
            rows = next(self._stream)
            whole = (len(self.x) - rows.start) // self.batch_size
            count = max(1, min(most, left, whole))
            for _ in range(count - 1):
                next(self._stream)
            left -= count
            yield rows, count

    def params(self) -> dict[str, Any]:
        """Return what callbacks may know of the batches, their size too."""
        return super().params() | {"batch_size": self.batch_size, "samples": len(self.x)}

    def joined(self, samples: int) -> Iterator[tuple[Array, Array | None, list[int]]]:
        """Yield the batches of an epoch, several as one where their size is free to choose."""
        size, count = self.batch_size, samples // self.batch_size
        if not self.free or count < 2:
            yield from super().joined(samples)
            return
        for first in range(0, len(self.x), count * size):
            rows = slice(first, min(first + count * size, len(self.x)))
            sizes = [min(size, rows.stop - start) for start in range(first, rows.stop, size)]
            yield self.x[rows], None if self.y is None else self.y[rows], sizes

    def _taken(self, array: Any, rows: Rows) -> Any:
        """Return the rows of a batch: a slice of the array, or what that of an order names."""
        batch = slice(rows.start, rows.stop)
        if array is None:
            return None
        if rows.order is None:
            return array[batch]
        if self._orders[0] is not rows.order:
            # To a GPU it goes once a pass; the rows of a batch are then a slice of it there.
            libraries = {get_array_module(self.x), get_array_module(self.y)}
            on_each = {library: library.asarray(rows.order) for library in libraries}
            self._orders = rows.order, on_each
        return primitives.gather_batch(array, self._orders[1][get_array_module(array)][batch])


def _passes(samples: int, batch_size: int, shuffle: bool) -> Iterator[Rows]:
    """Yield the batches of one pass over the samples after another, without end."""
    while True:
        order = random.permutation(samples) if shuffle else None
        for start in range(0, samples, batch_size):
            yield Rows(order, start, min(start + batch_size, samples))


def _readable_by_kernels(array: Any) -> Any:
    """Return an array to gather from, again and again: on a GPU a contiguous one."""
    library = get_array_module(array)
    return array if library is np else library.ascontiguousarray(array)


class IterableBatches(Batches):
    """Batches from a generator or any iterable, checked one by one.

    Arguments:
        batches: yields ``(x, y)``, or x alone where `with_targets` is False.
        steps: batches in an epoch. An iterator goes on where the epoch before it ended; other
            iterables start again in each epoch.
        check: called with each ``(x, y)``.
    """

    def __init__(
        self,
        batches: Iterable[Any],
        steps: int | None,
        check: Check,
        *,
        with_targets: bool = True,
    ) -> None:
        self.batches, self.with_targets, self.check = batches, with_targets, check
        self.iterator = iter(batches) if iter(batches) is batches else None
        self.steps = steps
        if steps is None and isinstance(batches, Sized):
            self.steps = len(batches)

    def __iter__(self) -> Iterator[tuple[Array, Array | None]]:
        iterator = iter(self.batches) if self.iterator is None else self.iterator
        step = 0
        for batch in itertools.islice(iterator, self.steps):
            step += 1
            try:
                pair = self._pair(batch)
            except (TypeError, ValueError) as error:
                error.args = (f"Batch {step} of the iterable: {error}",)
                raise
            yield pair
        self._check_end(step)

    def _check_end(self, step: int) -> None:
        if step == 0:
            raise ValueError(
                "The data yielded no batch. A generator is used up after one pass: give a list or "
                "another iterable that starts anew in each epoch, or an endless generator with "
                "steps_per_epoch=."
            )
        if self.steps is not None and step < self.steps:
            raise ValueError(
                f"The data ended after {step} batches of an epoch of {self.steps}: "
                "give a smaller steps_per_epoch, or a generator that goes on."
            )

    def _pair(self, batch: Any) -> tuple[Array, Array | None]:
        if not self.with_targets:
            x = batch[0] if isinstance(batch, tuple) else batch
            pair = as_array(x, "x"), None
        elif isinstance(batch, tuple | list) and len(batch) == 2:
            pair = as_array(batch[0], "x"), as_array(batch[1], "y")
        else:
            raise ValueError(
                f"expected a pair (x, y), received {type(batch).__name__}"
                f"{f' of {len(batch)}' if hasattr(batch, '__len__') else ''}."
            )
        _check_arrays(*pair, self.check)
        return pair


def make_batches(
    where: str,
    x: Any,
    y: Any,
    batch_size: int | None,
    steps: int | None,
    check: Check,
    *,
    shuffle: bool = False,
    with_targets: bool = True,
    whole: bool = False,
) -> Batches:
    """Return the batches of arrays, or of an iterable, checked as far as can be beforehand.

    Arguments:
        where: the method that takes the arguments, for messages.
        x, y: arrays with one row a sample; or an iterable of batches and None.
        batch_size: samples in a batch, 32 by default; the iterable's own if there is one. By
            default evaluations and predictions may join such batches.
        steps: batches in an epoch, all by default.
        check: whether the model takes x and y, as arrays; it raises where not.
        shuffle: whether the rows of arrays come in a new order in each epoch.
        with_targets: False where x comes alone.
        whole: whether arrays are one batch.
    """
    if steps is not None:
        positive_integer(steps, "the number of steps", where)
    if is_iterable_of_batches(x, y, with_targets):
        if batch_size is not None:
            raise ValueError(
                f"{where}: an iterable of batches sets their size itself, "
                f"received batch_size={batch_size}: leave it out."
            )
        return IterableBatches(x, steps, check, with_targets=with_targets)
    if with_targets and y is None:
        raise ValueError(
            f"{where}: expected targets y beside the inputs x, received none. "
            "Only an iterable of batches (x, y) comes without."
        )
    x = as_array(x, "x")
    y = as_array(y, "y") if with_targets else None
    size = 32 if batch_size is None else positive_integer(batch_size, "batch_size", where)
    if whole:
        size = len(x)
    _check_arrays(x, y, check, size)
    return ArrayBatches(x, y, size, shuffle=shuffle, steps=steps, free=batch_size is None)


def _check_arrays(x: Array, y: Array | None, check: Check, batch_size: int | None = None) -> None:
    if y is not None:
        check_lengths(x, y)
    check_finite(x, "x", batch_size)
    check(x, y)


def is_iterable_of_batches(x: Any, y: Any, with_targets: bool) -> bool:
    """Whether `x` yields batches, rather than being an array or a list of rows."""
    if hasattr(x, "shape") or y is not None:
        return False
    if not (hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))):
        return False
    # Rows can come in a list too: only where targets are missing must it be one of batches.
    return with_targets or not isinstance(x, list | tuple)


def is_pair_of_arrays(data: Any) -> bool:
    """Whether validation data is ``(x, y)`` rather than an iterable of such batches."""
    return (
        isinstance(data, tuple | list)
        and len(data) == 2
        and not any(isinstance(part, tuple) or _is_list_of_arrays(part) for part in data)
    )


def _is_list_of_arrays(part: Any) -> bool:
    return isinstance(part, list) and all(getattr(item, "ndim", 0) > 1 for item in part)


def as_array(data: Any, argument: str) -> Array:
    """Return numbers as an array that is not empty; say what is wrong if that cannot be."""
    if isinstance(data, Tensor):
        data = data.value
    if isinstance(data, np.ma.MaskedArray):
        raise TypeError(
            f"{argument} is a masked array, whose masked values would be used: fill them, such as "
            f"by {argument}.filled(0), or take those samples out."
        )
    if not (hasattr(data, "shape") and type(data).__module__.split(".")[0] in ("numpy", "cupy")):
        first = data[0] if isinstance(data, list | tuple) and data else None
        try:
            data = get_array_module(first).asarray(data)  # of several arrays of CuPy makes one
        except ValueError as error:
            raise ValueError(
                f"{argument} cannot be made an array of numbers ({error}): "
                "all its rows must have the same shape."
            ) from None
    if get_array_module(data) is not np:
        data = get_array_module(data).asarray(data)  # on the current device, if on another
    if data.dtype.kind not in "fiub":
        raise TypeError(
            f"{argument} must be an array of numbers, received dtype {data.dtype}: convert it, "
            f"such as by {argument}.astype('float32')"
            + (", and give all its rows the same shape." if data.dtype.kind == "O" else ".")
        )
    if data.ndim == 0:
        raise ValueError(f"{argument} must have one row for each sample, received one number.")
    if data.size == 0:
        raise ValueError(f"{argument} is empty: it has shape {data.shape}, with no sample in it.")
    return data


def check_finite(data: Array, argument: str, batch_size: int | None = None) -> None:
    """Raise `ValueError` for NaN or infinity; it names the sample, and its batch in order."""
    if data.dtype.kind != "f":
        return
    xp = get_array_module(data)
    rows = max(1, _CHECKED_AT_ONCE // max(1, data[0].size))
    for start in range(0, len(data), rows):
        finite = xp.isfinite(data[start : start + rows])
        if not finite.all():
            bad = start + int((~finite).reshape(len(finite), -1).any(axis=1).argmax())
            batch = "" if batch_size is None else f" (batch {bad // batch_size + 1} in order)"
            raise ValueError(
                f"{argument} holds NaN or infinity, first in sample {bad}{batch}: remove or "
                f"replace such values, for example by numpy.nan_to_num({argument})."
            )


def check_lengths(x: Array, y: Array) -> None:
    """Raise `ValueError` unless x and y have one row for each sample."""
    if len(x) != len(y):
        raise ValueError(
            f"x and y must have one row for each sample, received {len(x)} rows of x "
            f"(shape {x.shape}) and {len(y)} of y (shape {y.shape})."
        )


def split(
    x: Any, y: Any, validation_split: float
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the samples to train on, and the last share of them, to validate with."""
    if y is None:
        raise ValueError("validation_split needs arrays x and y: pass validation_data instead.")
    x, y = as_array(x, "x"), as_array(y, "y")
    check_lengths(x, y)
    if not isinstance(validation_split, Real) or not 0 < validation_split < 1:
        raise ValueError(
            f"validation_split must be a number above 0 and below 1, received "
            f"{validation_split!r}: it is the share of the samples, taken from the end, that is "
            "kept for validation."
        )
    kept = math.floor(len(x) * (1 - validation_split))
    if kept in (0, len(x)):
        raise ValueError(
            f"validation_split={validation_split} of {len(x)} samples leaves none to "
            f"{'train on' if kept == 0 else 'validate with'}."
        )
    return (x[:kept], y[:kept]), (x[kept:], y[kept:])
