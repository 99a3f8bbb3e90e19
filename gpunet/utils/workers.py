"""Calls in threads or processes ahead of the time when their results are needed, in order."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from gpunet import random

__all__ = ["THREAD_NAME", "call_ahead", "core_count", "item_keys", "iterate_ahead", "pass_seed"]

Item = TypeVar("Item")
Result = TypeVar("Result")

THREAD_NAME = "gpunet data"

_END: Any = object()
_SALT = 0x9E3779B97F4A7C15  # keeps the keys of data apart from those of other draws


def core_count() -> int:
    """Return how many cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def call_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], executor: Executor, ahead: int
) -> Generator[Result]:
    """Yield ``function(item)`` for each item, in order, and shut the executor down at the end.

    Up to `ahead` calls begin before their results are taken. The exception of a call is raised
    where its result would be. However the iteration ends, no worker is left.

    Arguments:
        function: called in threads in the context of the caller.
        items: read in the thread of the caller.
        executor: makes the calls.
        ahead: at least 1.
    """
    waiting: deque[Any] = deque()

    def submit(item: Item) -> None:
        if isinstance(executor, ThreadPoolExecutor):
            waiting.append(executor.submit(contextvars.copy_context().run, function, item))
        else:
            waiting.append(executor.submit(function, item))

    iterator = iter(items)
    try:
        for item in itertools.islice(iterator, ahead):
            submit(item)
        while waiting:
            result = waiting.popleft().result()
            for item in itertools.islice(iterator, 1):
                submit(item)
            yield result
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def iterate_ahead(items: Iterable[Item], ahead: int) -> Generator[Item]:
    """Yield the items of an iterable, which another thread reads up to `ahead` before."""
    iterator = iter(items)
    results = call_ahead(
        lambda _: next(iterator, _END), itertools.count(), ThreadPoolExecutor(1, THREAD_NAME), ahead
    )
    try:
        yield from itertools.takewhile(lambda item: item is not _END, results)
    finally:
        for opened in (results, iterator):
            close = getattr(opened, "close", None)
            if callable(close):
                close()


def pass_seed(number: int) -> int:
    """Return a seed for one pass over data; it takes no draw.

    It depends on the state of `gpunet.random` and on the number of the pass alone.
    """
    seed, draw = random.get_state()
    return _mixed(_mixed(seed ^ _SALT, draw), number)


@contextlib.contextmanager
def item_keys(seed: int, index: int) -> Iterator[None]:
    """Within the block, draws of `gpunet.random` depend on a seed and the index of an item alone.

    So an item has the same numbers in any thread or process, and no other draw depends on it.
    """
    item_seed, draws = _mixed(seed, index), itertools.count()

    def key(generator: random.Generator) -> Any:
        if generator is not random.global_generator:
            return None
        return np.array([item_seed, next(draws)], np.uint64)

    with random.keys_from(key):
        yield


def _mixed(seed: int, number: int) -> int:
    """Return 64 random bits that depend on two integers."""
    return int(random.bits(np.array([seed, number], np.uint64), 1, np.uint64)[0])
