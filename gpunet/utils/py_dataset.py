"""Data sets that a program defines by its batches: PyDataset, also named Sequence."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpunet.arguments import boolean, positive_integer
from gpunet.utils.workers import THREAD_NAME, call_ahead, item_keys, pass_seed

__all__ = ["PyDataset", "Sequence"]


class PyDataset:
    """Base of data sets with a batch for each index, which workers can read ahead.

    A subclass has ``__getitem__(index)``, which returns a whole batch ``(x, y)``, ``(x, y,
    sample_weight)``, or x alone, and ``__len__()``, the number of batches; or in place of
    ``__len__`` a property `num_batches`, None for data without end. It may have `on_epoch_begin`
    and `on_epoch_end`.

    `fit`, `evaluate` and `predict` take it as `x`. `fit` shuffles the order of the batches unless
    ``shuffle=False``. Batches come in the same order, with the same numbers drawn from
    `gpunet.random` in ``__getitem__``, for any number of workers; these draws change no others.

    Arguments:
        workers: threads or processes that read batches ahead in `fit`, `evaluate` and `predict`;
            with 0, and with 1 without multiprocessing, the loop reads them itself. Iterating over
            the data set by hand reads them one by one too.
        use_multiprocessing: whether the workers are processes. Where these are not forked the data
            set must be picklable. A process reads the data set as it was at the start of the epoch.
        max_queue_size: batches that are read ahead at most.

    Raises:
        TypeError, ValueError: an argument is out of its range.

    >>> import numpy as np
    >>> class Squares(PyDataset):
    ...     def __len__(self):
    ...         return 2
    ...     def __getitem__(self, index):
    ...         x = np.arange(3 * index, 3 * index + 3)
    ...         return x, x**2
    >>> [y.tolist() for _, y in Squares(workers=2)]
    [[0, 1, 4], [9, 16, 25]]
    """

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    # Class attributes serve subclasses that do not call super().__init__.
    _workers, _use_multiprocessing, _max_queue_size = 1, False, 10
    _passes = 0  # so far, over all calls of `fit`

    @property
    def workers(self) -> int:
        """How many threads or processes read ahead."""
        return self._workers

    @workers.setter
    def workers(self, value: int) -> None:
        self._workers = positive_integer(value, "workers", type(self).__name__, or_zero=True)

    @property
    def use_multiprocessing(self) -> bool:
        """Whether the workers are processes."""
        return self._use_multiprocessing

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        self._use_multiprocessing = boolean(value, "use_multiprocessing", type(self).__name__)

    @property
    def max_queue_size(self) -> int:
        """How many batches are read ahead at most."""
        return self._max_queue_size

    @max_queue_size.setter
    def max_queue_size(self, value: int) -> None:
        self._max_queue_size = positive_integer(value, "max_queue_size", type(self).__name__)

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} needs __getitem__(index), which returns the batch of an index."
        )

    def __iter__(self) -> Iterator[Any]:
        for index in self._indexes():
            yield self[index]

    @property
    def num_batches(self) -> int | None:
        """The number of batches, None for data without end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(
            f"{type(self).__name__} needs __len__(), or the property num_batches: the number of "
            "batches, None for data without end."
        )

    def on_epoch_begin(self) -> None:
        """Prepare for an epoch; called before its first batch is read."""

    def on_epoch_end(self) -> None:
        """Prepare for the next epoch; called after the last batch, when no worker reads."""

    def _indexes(self) -> Iterable[int]:
        count = self.num_batches
        return itertools.count() if count is None else range(count)

    def read(self, order: Iterable[int] | None = None) -> Generator[Any]:
        """Yield the batches of one epoch, read by the workers.

        Arguments:
            order: the indexes of the batches, by default all in order.

        Raises:
            Exception: of ``__getitem__``, with a note of the batch's index.
        """
        seed, self._passes = pass_seed(self._passes), self._passes + 1
        order = self._indexes() if order is None else map(int, order)
        if self.workers == 0 or (self.workers == 1 and not self.use_multiprocessing):
            for index in order:
                yield _batch(self, seed, index)
            return
        if self.use_multiprocessing:
            from concurrent.futures import ProcessPoolExecutor  # slow to import

            executor: Any = ProcessPoolExecutor(
                self.workers, initializer=_set_process_data, initargs=(self, seed)
            )
            batches = call_ahead(_batch_of_process, order, executor, self.max_queue_size)
        else:
            executor = ThreadPoolExecutor(self.workers, THREAD_NAME)
            batches = call_ahead(
                lambda index: _batch(self, seed, index), order, executor, self.max_queue_size
            )
        with contextlib.closing(batches):
            yield from batches


Sequence = PyDataset  # its name in Keras 2


def _batch(data: PyDataset, seed: int, index: int) -> Any:
    """Return the batch of an index, whose random numbers depend on the seed and index alone."""
    try:
        with item_keys(seed, index):
            return data[index]
    except Exception as error:
        error.add_note(f"Raised by {type(data).__name__}[{index}].")
        raise


_process_data: tuple[PyDataset, int] | None = None  # of a worker process


def _set_process_data(data: PyDataset, seed: int) -> None:
    global _process_data
    _process_data = data, seed


def _batch_of_process(index: int) -> Any:
    assert _process_data is not None
    return _batch(*_process_data, index)
