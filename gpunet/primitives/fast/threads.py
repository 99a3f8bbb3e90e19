"""One kernel on all cores: threads that take its tasks one by one.

A kernel is compiled without Python's lock, takes numbers of tasks until there are none left, and
each task writes what no other does: which thread takes which task changes no bit of the result.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

from gpunet.fork import after_fork, reset_on_fork
from gpunet.primitives.fast.compile import Ints, kernel
from gpunet.primitives.fast.processors import processor_count
from gpunet.primitives.fast.sharing import help_for_ever, make_desk

__all__ = ["run", "thread_count"]

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
        kernel: takes tasks by `sharing.next_task(counters, tasks, worker)` until it gets a number
            that is not below `tasks`.
        tasks: how many there are.
        arguments: passed on. `worker`, before them, is 0 to below `thread_count()`.
    """
    global _busy
    mine = False
    try:
        if tasks > 1:
            with _mutex:
                if not _busy:
                    _busy = mine = True  # no call between the two: no signal handler either
        if mine:
            _workers().run(kernel, tasks, arguments)
        else:  # one task, or another thread of the program has the workers
            kernel(make_desk(0), tasks, 0, *arguments)
    finally:
        if mine:
            _busy = False


class _Workers:
    """Threads that help with kernels."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.desk = make_desk(count - 1)
        _help(self.desk, 0)  # compiled here: no worker fails before its first job
        for worker in range(1, count):
            try:
                threading.Thread(
                    target=_help, args=(self.desk, worker), name=f"gpunet-{worker}", daemon=True
                ).start()
            except RuntimeError:  # the system starts no more threads
                self.count = worker
                break

    def run(self, kernel: Callable[..., Any], tasks: int, arguments: tuple[Any, ...]) -> None:
        self.desk[0] = 0
        kernel(self.desk, tasks, 0, *arguments)


@kernel
def _help(desk: Ints, worker: int) -> None:
    if worker:
        help_for_ever(desk, worker)


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
