"""Batches of arrays, or from any iterable that yields them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpunet import primitives, random
from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.utils.py_dataset import PyDataset

__all__ = ["ArrayBatches", "Batch", "Batches", "IterableBatches", "Rows"]

# The arguments that set the steps of an epoch.
_STEPS = {"training data": "steps_per_epoch", "validation data": "validation_steps"}


class Batch(NamedTuple):
    """Arrays with one row a sample; targets and weights are for each output an array or None."""

    inputs: tuple[Array, ...]  # of the model, in order
    targets: tuple[Array | None, ...] = ()  # empty in `predict`
    weights: tuple[Array | None, ...] = ()  # of the samples; empty where there are none

    @property
    def size(self) -> int:
        """The number of samples."""
        return len(self.inputs[0])

    def map(self, function: Callable[[Array], Any]) -> Batch:
        """Return a batch with ``function(array)`` in place of each array."""
        parts: Any = self
        return Batch(
            *(tuple(None if item is None else function(item) for item in part) for part in parts)
        )

    def arrays(self) -> list[Array]:
        """Return all arrays, in order."""
        return [item for part in self for item in part if item is not None]

    def replaced(self, arrays: Iterable[Array]) -> Batch:
        """Return a batch with other arrays in place of those of `arrays()`."""
        others = iter(arrays)
        return self.map(lambda _: next(others))


class Batches:
    """The batches that `fit`, `evaluate` and `predict` loop over, epoch after epoch.

    Attributes:
        steps: batches in an epoch, None where that is not known.
        structure: of a batch's inputs, as the model is called with them: 0 for one array.
    """

    steps: int | None
    structure: Any = 0

    def __iter__(self) -> Iterator[Batch]:
        raise NotImplementedError

    def peek(self) -> None:
        """Read the first batch ahead if that builds a model which has no weights yet."""

    def params(self) -> dict[str, Any]:
        """Return the `params` of callbacks."""
        return {"steps": self.steps}

    def close(self) -> None:
        """End the workers of an epoch that was left early; the next epoch starts others."""

    def joined(self, samples: int) -> Iterator[tuple[Batch, list[int]]]:
        """Yield the batches of an epoch with their sizes, several of up to `samples` as one."""
        for batch in self:
            yield batch, [batch.size]


class Rows(NamedTuple):
    """The samples of a batch: a part of the order of all."""

    order: np.ndarray | None  # of all samples in this pass; None as they come
    start: int
    stop: int


class ArrayBatches(Batches):
    """Slices of arrays, in order or newly shuffled in each epoch.

    Arguments:
        data: all samples.
        batch_size: rows in a slice.
        shuffle: whether in a new order in each epoch.
        steps: slices in an epoch, all by default.
        free: whether `joined` may choose another batch size.
        structure: of the inputs.

    Raises:
        ValueError: there are fewer samples than the steps need.
    """

    def __init__(
        self,
        data: Batch,
        batch_size: int,
        *,
        shuffle: bool,
        steps: int | None = None,
        free: bool = False,
        structure: Any = 0,
    ) -> None:
        if shuffle:
            data = data.map(_readable_by_kernels)
        self.data, self.batch_size, self.shuffle = data, batch_size, shuffle
        self.structure = structure
        available = math.ceil(data.size / batch_size)
        if steps is not None and steps > available:
            raise ValueError(
                f"{steps} steps of batch_size={batch_size} need {steps * batch_size} samples, "
                f"the arrays hold {data.size}: give at most {available} steps."
            )
        self.steps: int = available if steps is None else steps
        self.samples = min(data.size, self.steps * batch_size)
        self.free = free and not shuffle and self.steps == available
        self._stream = _passes(data.size, batch_size, shuffle)
        self._orders: tuple[np.ndarray | None, dict[ModuleType, Array]] = None, {}

    def __iter__(self) -> Iterator[Batch]:
        # An epoch with fewer steps than batches is continued in the next.
        for rows in itertools.islice(self._stream, self.steps):
            yield self._batch(rows)

    def runs(self, most: int) -> Iterator[tuple[Rows, int]]:
        """Yield the first batch of each run, and the run's length: at most `most`, of one size."""
        left = self.steps
        while left > 0:
            rows = next(self._stream)
            whole = (self.data.size - rows.start) // self.batch_size
            count = max(1, min(most, left, whole))
            for _ in range(count - 1):
                next(self._stream)
            left -= count
            yield rows, count

    def params(self) -> dict[str, Any]:
        return super().params() | {"batch_size": self.batch_size, "samples": self.data.size}

    def joined(self, samples: int) -> Iterator[tuple[Batch, list[int]]]:
        size, count = self.batch_size, samples // self.batch_size
        if not self.free or count < 2:
            yield from super().joined(samples)
            return
        for first in range(0, self.data.size, count * size):
            stop = min(first + count * size, self.data.size)
            sizes = [min(size, stop - start) for start in range(first, stop, size)]
            yield self._batch(Rows(None, first, stop)), sizes

    def _batch(self, rows: Rows) -> Batch:
        part = slice(rows.start, rows.stop)
        if rows.order is None:
            return self.data.map(lambda array: array[part])
        orders = self._on_devices(rows.order)
        return self.data.map(
            lambda array: primitives.gather_batch(array, orders[get_array_module(array)][part])
        )

    def _on_devices(self, order: np.ndarray) -> dict[ModuleType, Array]:
        """Return the order where the arrays are: a GPU gets it once in a pass."""
        if self._orders[0] is not order:
            libraries = {get_array_module(array) for array in self.data.arrays()}
            self._orders = order, {library: library.asarray(order) for library in libraries}
        return self._orders[1]


def _passes(samples: int, batch_size: int, shuffle: bool) -> Iterator[Rows]:
    """Yield the batches of one pass over the samples after another, without end."""
    while True:
        order = random.permutation(samples) if shuffle else None
        for start in range(0, samples, batch_size):
            yield Rows(order, start, min(start + batch_size, samples))


def _readable_by_kernels(array: Array) -> Array:
    """Return an array to gather from repeatedly: on a GPU a contiguous one."""
    library = get_array_module(array)
    return array if library is np else library.ascontiguousarray(array)


class IterableBatches(Batches):
    """Batches from a generator, a `Sequence` or any iterable, checked one by one.

    An iterator continues where the epoch before it ended; other iterables start again in each
    epoch. A sequence's ``on_epoch_begin()`` and ``on_epoch_end()`` are called where it has them.
    The workers of a `gpunet.utils.PyDataset` read ahead within an epoch, and end with it.

    Arguments:
        batches: yields ``(x, y)``, ``(x, y, sample_weight)``, or x alone in `predict`.
        steps: batches in an epoch; by default the length, where there is one.
        adapter: a `gpunet.training.adapter.DataAdapter`: makes a batch of what is yielded.
        shuffle: whether the batches of a `PyDataset` come in a new order in each epoch.
    """

    def __init__(
        self, batches: Iterable[Any], steps: int | None, adapter: Any, *, shuffle: bool = False
    ) -> None:
        self.batches, self.adapter, self.role = batches, adapter, adapter.role
        self.shuffle = shuffle
        self.is_sequence = isinstance(batches, PyDataset) or (
            hasattr(batches, "__getitem__") and hasattr(batches, "__len__")
        )
        self.iterator: Iterator[Any] | None = None
        if not self.is_sequence and iter(batches) is batches:
            self.iterator = iter(batches)
        self.steps = _length(batches, self.role) if steps is None else steps
        self._next: tuple[Batch, Generator[Any]] | None = None  # read ahead, of the epoch to come
        self._open_items: Generator[Any] | None = None  # of the last epoch

    @property
    def structure(self) -> Any:
        """The structure of the last batch's inputs."""
        return self.adapter.structure

    def peek(self) -> None:
        """Read the first batch ahead, which builds a model that has no weights yet."""
        if self._next is None:
            iterator = self._open()
            for item in itertools.islice(iterator, 1):
                self._next = self._prepared(item, 1), iterator

    def __iter__(self) -> Iterator[Batch]:
        step = 0
        if self._next is None:
            iterator = self._open()
        else:
            (batch, iterator), self._next = self._next, None
            step = 1
            yield batch
        left = None if self.steps is None else self.steps - step
        for item in itertools.islice(iterator, left):
            step += 1
            yield self._prepared(item, step)
        self.close()
        self._check_end(step)
        self._call_hook("on_epoch_end")

    def close(self) -> None:
        if self._open_items is not None:
            self._open_items.close()

    def _open(self) -> Generator[Any]:
        self._call_hook("on_epoch_begin")
        self._open_items = self._items()
        return self._open_items

    def _items(self) -> Generator[Any]:
        """Return the items of an epoch."""
        if isinstance(self.batches, PyDataset):
            return self.batches.read(self._shuffled(self.batches.num_batches))
        if self.iterator is not None:
            return self._checked(self.iterator)
        if self.is_sequence and not hasattr(self.batches, "__iter__"):
            return self._indexed()
        return self._checked(iter(self.batches))

    def _call_hook(self, name: str) -> None:
        hook = getattr(self.batches, name, None) if self.is_sequence else None
        if callable(hook):
            hook()

    def _shuffled(self, count: int | None) -> np.ndarray | None:
        """Return the order of an epoch, None for the order of the indexes."""
        return random.permutation(count) if self.shuffle and count else None

    def _checked(self, iterator: Iterator[Any]) -> Generator[Any]:
        try:
            # `yield from` would close the user's generator, which may be continued later.
            for item in iterator:  # noqa: UP028
                yield item
        except RuntimeError as error:
            if isinstance(error.__cause__, StopIteration):
                raise RuntimeError(
                    f"The generator of the {self.role} raised StopIteration: end it by return."
                ) from error
            raise
        finally:
            close = getattr(iterator, "close", None)
            if self.iterator is None and callable(close):
                close()

    def _indexed(self) -> Generator[Any]:
        """Yield the items of a sequence by their indexes."""
        data: Any = self.batches
        for index in itertools.count():
            try:
                item = data[index]
            except IndexError:
                return
            except KeyError as error:
                raise TypeError(
                    f"The {self.role}: {type(data).__name__}[{index}] raised KeyError({error}), "
                    "expected a sequence of batches with indexes from 0."
                ) from error
            yield item

    def _prepared(self, item: Any, step: int) -> Batch:
        try:
            return self.adapter.batch_of(item)
        except (TypeError, ValueError) as error:
            error.args = (f"Batch {step} of the {self.role}: {error}",)
            raise

    def _check_end(self, step: int) -> None:
        argument = _STEPS.get(self.role, "steps")
        if step == 0:
            raise ValueError(
                f"The {self.role} yielded no batch. A generator is used up after one pass: give a "
                "list or another iterable that starts anew in each epoch, or an endless generator "
                f"with {argument}=."
            )
        if self.steps is not None and step < self.steps:
            raise ValueError(
                f"The {self.role} ended after {step} batches of an epoch of {self.steps}: give a "
                f"smaller {argument}, or a generator that continues."
            )


def _length(batches: Any, role: str) -> int | None:
    """Return the number of batches, or None where an iterable does not know it."""
    if isinstance(batches, PyDataset):
        return batches.num_batches
    if not hasattr(batches, "__len__"):
        return None
    try:
        return len(batches)
    except TypeError:  # a DataLoader of data without a length
        return None
    except ValueError as error:
        raise ValueError(f"The {role}: {type(batches).__name__}.__len__(): {error}.") from error
