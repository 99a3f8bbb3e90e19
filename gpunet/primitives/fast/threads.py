"""One kernel on all cores: threads that take its tasks one by one.

A kernel is compiled without Python's lock, takes numbers of tasks until there are none left, and
each task writes what no other does: which thread takes which task changes no bit of the result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["run", "thread_count"]

_limit = threading.Lock()  # held by the thread that has the others at its service


def thread_count() -> int:
    """Return how many threads a kernel runs on: the processors this process may use.

    ``GPUNET_NUM_THREADS`` in the environment lowers it.
    """
    return _workers().count


def run(kernel: Callable[..., Any], tasks: int, *arguments: Any) -> None:
    """Run ``kernel(counters, tasks, worker, *arguments)`` on all threads, and wait for its tasks.

    Arguments:
        kernel: takes tasks by `simd.take_task(counters)` while it gets numbers below `tasks`.
        tasks: how many there are.
        arguments: passed on. `worker`, before them, is 0 to below `thread_count()`.
    """
    counters = np.zeros(1, np.int64)
    if tasks > 1 and _limit.acquire(blocking=False):
        try:
            _workers().run(kernel, counters, tasks, arguments)
        finally:
            _limit.release()
    else:  # one task, or another thread of the program has the workers
        kernel(counters, tasks, 0, *arguments)


class _Workers:
    """Threads that sleep until there is a kernel to help with."""

    def __init__(self, count: int) -> None:
        self.count, self.process = count, os.getpid()
        self.jobs: list[SimpleQueue[tuple[Any, ...]]] = [SimpleQueue() for _ in range(count - 1)]
        self.done: SimpleQueue[int] = SimpleQueue()
        for worker in range(1, count):
            threading.Thread(
                target=self._work, args=(worker,), name=f"gpunet-{worker}", daemon=True
            ).start()

    def run(
        self,
        kernel: Callable[..., Any],
        counters: NDArray[np.int64],
        tasks: int,
        arguments: tuple[Any, ...],
    ) -> None:
        jobs = self.jobs[: tasks - 1]
        for job in jobs:
            job.put((kernel, counters, tasks, arguments))
        try:
            kernel(counters, tasks, 0, *arguments)
        finally:
            counters[0] = tasks  # if the kernel failed here, the others stop too
            for _ in jobs:
                self.done.get()

    def _work(self, worker: int) -> None:
        while True:
            kernel, counters, tasks, arguments = self.jobs[worker - 1].get()
            try:
                kernel(counters, tasks, worker, *arguments)
            finally:
                del kernel, counters, arguments  # a sleeping thread keeps no arrays
                self.done.put(worker)


_made: _Workers | None = None


def _workers() -> _Workers:
    """Return the threads, made at the first call in this process (a fork has none)."""
    global _made
    if _made is None or _made.process != os.getpid():
        _made = _Workers(_allowed())
    return _made


def _allowed() -> int:
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    wanted = os.environ.get("GPUNET_NUM_THREADS", "")
    return min(count, int(wanted)) if wanted.isdigit() and int(wanted) else count
