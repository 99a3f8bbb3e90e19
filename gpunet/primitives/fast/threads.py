"""One kernel on all cores: threads that take its tasks one by one.

A kernel is compiled without Python's lock, takes numbers of tasks until there are none left, and
each task writes what no other does: which thread takes which task changes no bit of the result.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import warnings
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpunet.fork import after_fork, reset_on_fork
from gpunet.primitives.fast.compile import Ints, kernel
from gpunet.primitives.fast.processors import processor_count
from gpunet.primitives.fast.simd import pause, read_now

__all__ = ["run", "thread_count"]

_MOMENT = 4000  # looks, with a pause of some 15 to 50 nanoseconds after each

_mutex = reset_on_fork(threading.Lock())  # held while `_busy` is read and set
_busy = False  # whether a thread of the program has the workers


def thread_count() -> int:
    """Return how many threads a kernel runs on: the processors that this process may use.

    ``GPUNET_NUM_THREADS`` in the environment lowers it; so does a system that starts no more.
    """
    return _allowed() if _made is None else _made.count  # no threads are started to count them


def run(kernel: Callable[..., Any], tasks: int, *arguments: Any) -> None:
    """Run ``kernel(counters, tasks, worker, *arguments)`` on all threads, and wait for its tasks.

    Arguments:
        kernel: takes tasks by `simd.take_task(counters)` until it gets a number that is not below
            `tasks`.
        tasks: how many there are.
        arguments: passed on. `worker`, before them, is 0 to below `thread_count()`.

    Raises:
        Exception: the first that the kernel raised, in whichever thread, when none runs it any
            more; the workers stay usable.
    """
    global _busy
    counters = np.zeros(1, np.int64)
    mine = False
    try:
        if tasks > 1:
            with _mutex:
                if not _busy:
                    _busy = mine = True  # no call between the two: no signal handler either
        if mine:
            _workers().run(kernel, counters, tasks, arguments)
        else:  # one task, or another thread of the program has the workers
            kernel(counters, tasks, 0, *arguments)
    finally:
        if mine:
            _busy = False


class _Job(NamedTuple):
    """A kernel to help with, the workers that do, and for each that is done: None or its error."""

    kernel: Callable[..., Any]
    counters: NDArray[np.int64]
    tasks: int
    arguments: tuple[Any, ...]
    helping: list[int]
    done: list[BaseException | None]


class _Workers:
    """Threads that help with a kernel; between kernels they watch for a moment, then sleep.

    A step is many short kernels one after another: to wake a thread for each would take as long as
    some of them. Nobody waits for a thread that comes late: once the tasks are all taken it finds
    none. Python's lock is held wherever one thread's assignments must be seen in order by another.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.job: _Job | None = None
        self.number = np.zeros(1, np.int64)  # of jobs so far: what threads watch
        self.asleep = [False] * count
        self.wake: list[SimpleQueue[None]] = [SimpleQueue() for _ in range(count)]
        _watch(self.number, 0)  # compiled here: no worker fails before its first job
        for worker in range(1, count):
            try:
                threading.Thread(
                    target=self._work, args=(worker,), name=f"gpunet-{worker}", daemon=True
                ).start()
            except RuntimeError:  # the system starts no more threads
                self.count = worker
                break

    def run(
        self, kernel: Callable[..., Any], counters: NDArray[np.int64], tasks: int,
        arguments: tuple[Any, ...],
    ) -> None:  # fmt: skip
        job = _Job(kernel, counters, tasks, arguments, [], [])
        try:
            self.job = job
            self.number[0] += 1
            for worker in range(1, min(self.count, tasks)):
                if self.asleep[worker]:
                    self.asleep[worker] = False
                    self.wake[worker].put(None)
            kernel(counters, tasks, 0, *arguments)
            self.job = None
            # Each thread takes one number more than there are tasks for it, and then it is done.
            while not _reaches(counters, tasks + 1 + len(job.helping)):
                for error in filter(None, job.done):
                    raise error
                time.sleep(0)
        except BaseException:  # also an interrupt: what the others write to is not left to them
            self.job = None
            counters[0] += tasks  # they take no more tasks
            while len(job.done) < len(job.helping):
                time.sleep(1e-4)
            raise

    def _work(self, worker: int) -> None:
        seen = 0
        while True:
            if not _reaches(self.number, seen + 1):
                self.asleep[worker] = True
                if self.number[0] == seen:  # looked at again: a job may just have come
                    self.wake[worker].get()
                self.asleep[worker] = False
            seen, job = int(self.number[0]), self.job
            if job is not None and worker < job.tasks:
                job.helping.append(worker)
                try:
                    job.kernel(job.counters, job.tasks, worker, *job.arguments)
                    job.done.append(None)
                except BaseException as error:  # raised by the caller of `run`
                    job.done.append(error)
            del job  # a thread that waits keeps no arrays


def _reaches(number: NDArray[np.int64], least: int) -> bool:
    """Watch a number that other threads change for a moment: whether it gets to `least`."""
    _watch(number, least)
    return bool(number[0] >= least)


@kernel
def _watch(number: Ints, least: int) -> None:
    for _ in range(_MOMENT):
        if read_now(number) >= least:
            return
        pause()


_made: _Workers | None = None


def _workers() -> _Workers:
    """Return the workers, made at the first call."""
    global _made
    if _made is None:
        _made = _Workers(_allowed())
        if _made.count < _allowed():
            warnings.warn(
                f"The system started {_made.count - 1} of {_allowed() - 1} worker threads: kernels "
                f"run on {_made.count}. A limit on threads (ulimit -u, a container's pids limit) "
                "is reached; raise it, or set GPUNET_NUM_THREADS.",
                RuntimeWarning,
                stacklevel=2,
            )
    return _made


@after_fork
def _forget_workers() -> None:
    """Make new workers at the next call: a forked process has no threads but one."""
    global _made, _busy
    _made, _busy = None, False


@functools.cache
def _allowed() -> int:
    wanted = os.environ.get("GPUNET_NUM_THREADS", "")
    count = processor_count()
    return min(count, int(wanted)) if wanted.isdigit() and int(wanted) else count
