"""Lazy data sets: items, mostly batches, that are made anew in each epoch."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gpunet import random
from gpunet.arguments import boolean, integer, positive_integer
from gpunet.utils.workers import (
    THREAD_NAME,
    call_ahead,
    core_count,
    item_keys,
    iterate_ahead,
    pass_seed,
)

__all__ = ["Dataset", "ShuffledDataset", "collate", "seed_of"]

_AUTOTUNE = -1  # of tf.data: as many as serve well
_AHEAD = 2


class Dataset:
    """Items from an iterable that starts anew in each epoch; `fit` takes batches ``(x, y)``.

    Each method returns another data set and reads nothing yet. Those of `tf.data.Dataset` that most
    scripts use are here, with the same meaning.

    Arguments:
        source: returns a new iterator over the items.
        length: the number of items, None where it is not known.
        batch_size: samples in an item, None where items are no batches.

    >>> numbers = Dataset(lambda: iter(range(5)), 5)
    >>> [item.tolist() for item in numbers.map(lambda i: 2 * i).batch(2)]
    [[0, 2], [4, 6], [8]]
    >>> list(numbers.skip(1).take(2)), len(numbers.batch(2))
    ([1, 2], 3)
    """

    def __init__(
        self,
        source: Callable[[], Iterable[Any]],
        length: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._source, self._length, self.batch_size = source, length, batch_size

    def __iter__(self) -> Iterator[Any]:
        return iter(self._source())

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError("The number of items of this data set is not known.")
        return self._length

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: int | None = None,
        deterministic: bool = True,
    ) -> Dataset:
        """Return the data set of ``map_func(item)``, or ``map_func(x, y)`` of an item ``(x, y)``.

        Items come in order, and numbers that the function draws from `gpunet.random` are the same
        for any number of threads.

        Arguments:
            map_func: the function.
            num_parallel_calls: threads that call it ahead, -1 for one a core, None for none.
            deterministic: accepted for Keras' scripts; the order is always kept.
        """
        boolean(deterministic, "deterministic", "Dataset.map")
        workers = _auto(num_parallel_calls, "num_parallel_calls", "Dataset.map", core_count())
        passes = itertools.count()

        def call(seed: int, numbered: tuple[int, Any]) -> Any:
            index, item = numbered
            with item_keys(seed, index):
                return map_func(*item) if isinstance(item, tuple) else map_func(item)

        def mapped() -> Iterator[Any]:
            seed = pass_seed(next(passes))
            if workers is None:
                for numbered in enumerate(self):
                    yield call(seed, numbered)
                return
            threads = ThreadPoolExecutor(workers, THREAD_NAME)
            results = call_ahead(lambda n: call(seed, n), enumerate(self), threads, 2 * workers)
            with contextlib.closing(results):
                yield from results

        return Dataset(mapped, self._length)

    def take(self, count: int) -> Dataset:
        """Return the data set of the first `count` items; of all for -1."""
        count = _count(count, "count", "Dataset.take")
        if count < 0:
            return self
        length = None if self._length is None else min(count, self._length)
        return Dataset(lambda: itertools.islice(self, count), length, self.batch_size)

    def skip(self, count: int) -> Dataset:
        """Return the data set without its first `count` items; without any for -1."""
        count = _count(count, "count", "Dataset.skip")
        if count < 0:
            return Dataset(lambda: (), 0, self.batch_size)
        length = None if self._length is None else max(0, self._length - count)
        return Dataset(lambda: itertools.islice(self, count, None), length, self.batch_size)

    def cache(self) -> Dataset:
        """Return a data set that keeps the items of its first complete pass in memory."""
        kept: list[Any] | None = None

        def cached() -> Iterator[Any]:
            nonlocal kept
            if kept is not None:
                yield from kept
                return
            items = []
            for item in self:
                items.append(item)
                yield item
            kept = items

        return Dataset(cached, self._length, self.batch_size)

    def prefetch(self, buffer_size: int) -> Dataset:
        """Return a data set whose items a thread makes ahead: up to `buffer_size`, -1 for two."""
        ahead = _auto(buffer_size, "buffer_size", "Dataset.prefetch", _AHEAD)
        if not ahead:
            return self
        return Dataset(lambda: iterate_ahead(self, ahead), self._length, self.batch_size)

    def batch(self, batch_size: int, drop_remainder: bool = False) -> Dataset:
        """Return the data set of batches of `batch_size` items, stacked along a new first axis.

        Arguments:
            batch_size: at least 1.
            drop_remainder: whether to leave out a last batch that is smaller.
        """
        size = positive_integer(batch_size, "batch_size", "Dataset.batch")
        whole = boolean(drop_remainder, "drop_remainder", "Dataset.batch")

        def batches() -> Iterator[Any]:
            items = iter(self)
            while chunk := list(itertools.islice(items, size)):
                if len(chunk) == size or not whole:
                    yield collate(chunk)

        length = None
        if self._length is not None:
            length = self._length // size if whole else -(-self._length // size)
        return Dataset(batches, length, size)

    def unbatch(self) -> Dataset:
        """Return the data set of the rows of the batches."""

        def rows() -> Iterator[Any]:
            for batch in self:
                yield from zip(*batch, strict=True) if isinstance(batch, tuple) else batch

        return Dataset(rows)

    def shuffle(
        self, buffer_size: int, seed: int | None = None, reshuffle_each_iteration: bool = True
    ) -> Dataset:
        """Return a data set that yields a random one of the next `buffer_size` items each time.

        Arguments:
            buffer_size: items held in memory; the length of the data set shuffles it whole.
            seed: an integer for an order of its own; None takes one from `gpunet.random`.
            reshuffle_each_iteration: whether each epoch has another order.
        """
        size = positive_integer(buffer_size, "buffer_size", "Dataset.shuffle")
        again = boolean(reshuffle_each_iteration, "reshuffle_each_iteration", "Dataset.shuffle")
        first, passes = seed_of(seed), itertools.count()

        def shuffled() -> Iterator[Any]:
            places = _random_places(first, next(passes) if again else 0, size)
            held: list[Any] = []
            for item in self:
                if len(held) < size:
                    held.append(item)
                    continue
                place = next(places)
                yield held[place]
                held[place] = item
            while held:
                place = next(places) % len(held)
                held[place], held[-1] = held[-1], held[place]
                yield held.pop()

        return Dataset(shuffled, self._length, self.batch_size)

    def repeat(self, count: int | None = None) -> Dataset:
        """Return the items `count` times one after another; without end for None and -1."""
        times = -1 if count is None else _count(count, "count", "Dataset.repeat")
        length = None if times < 0 or self._length is None else times * self._length

        def repeated() -> Iterator[Any]:
            for _ in itertools.count() if times < 0 else range(times):
                yield from self

        return Dataset(repeated, length, self.batch_size)

    def as_numpy_iterator(self) -> Iterator[Any]:
        """Return an iterator over the items, which are NumPy arrays already."""
        return iter(self)

    def cardinality(self) -> int:
        """Return the number of items, -2 where it is not known."""
        return -2 if self._length is None else self._length


class ShuffledDataset(Dataset):
    """Samples with a number each, in batches, in a new order in each epoch.

    Arguments:
        read: returns an iterator over the samples of some numbers, in order.
        count: the number of samples.
        batch_size: samples in a batch; None yields samples.
        seed: of the orders; None for the order of the numbers.
        combine: makes a batch of a list of samples.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], Iterator[Any]],
        count: int,
        batch_size: int | None,
        seed: int | None,
        combine: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        length = count if batch_size is None else -(-count // batch_size)
        super().__init__(self._batches, length, batch_size)
        self._read, self._count, self._seed = read, count, seed
        self._combine = combine or collate
        self._passes = 0

    def _batches(self) -> Iterator[Any]:
        order = np.arange(self._count)
        if self._seed is not None:
            generator = random.Generator(self._seed)
            generator.set_state((self._seed, self._passes + 1))
            order = generator.permutation(self._count)
            self._passes += 1
        samples = self._read(order)
        try:
            if self.batch_size is None:
                yield from samples
                return
            while chunk := list(itertools.islice(samples, self.batch_size)):
                yield self._combine(chunk)
        finally:
            close = getattr(samples, "close", None)
            if callable(close):
                close()


def _random_places(seed: int, number: int, size: int) -> Iterator[int]:
    """Yield random integers from 0 to size - 1 without end, for one pass over data."""
    generator = random.Generator(seed)
    generator.set_state((seed, number << 32))
    while True:
        numbers = generator.uniform(1024, dtype=np.float64)
        yield from np.minimum((numbers * size).astype(np.int64), size - 1).tolist()


def seed_of(seed: int | None) -> int:
    """Return a seed as it is given; None takes one from `gpunet.random`, one draw."""
    if seed is None:
        return int(random.bits(random.next_key(), 1, np.uint64)[0])
    return random.Generator(seed).get_state().seed


def collate(items: list[Any]) -> Any:
    """Return items as one: arrays stacked, the parts of tuples and dictionaries each for itself.

    >>> collate([(1, {"a": 2}), (3, {"a": 4})])
    (array([1, 3]), {'a': array([2, 4])})
    """
    first = items[0]
    if isinstance(first, tuple | list):
        parts = [collate(list(part)) for part in zip(*items, strict=True)]
        return tuple(parts) if isinstance(first, tuple) else parts
    if isinstance(first, dict):
        return {key: collate([item[key] for item in items]) for key in first}
    if isinstance(first, str):
        return np.array(items, dtype=object)
    return np.stack([np.asarray(item) for item in items])


def _count(value: Any, argument: str, where: str) -> int:
    """Return an integer of at least -1."""
    found = integer(value, argument, where)
    if found < -1:
        raise ValueError(f"{where}: {argument} must be at least -1, received {found}.")
    return found


def _auto(value: Any, argument: str, where: str, automatic: int) -> int | None:
    """Return a count, `automatic` for -1; None stays."""
    if value is None:
        return None
    found = _count(value, argument, where)
    return automatic if found == _AUTOTUNE else found
