"""Forks while other threads hold locks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from gpunet import random
from gpunet.fork import after_fork, finish_before_fork, reset_on_fork, wait_before_fork
from tests.support.doors import reference
from tests.support.processes import forks, needs_fork, succeeds_in_fork

pytestmark = [needs_fork, forks]


@contextmanager
def held_elsewhere(lock: Any, seconds: float = 60) -> Iterator[None]:
    """Let another thread hold a lock until the block ends, or for some seconds."""
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            leave.wait(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        leave.set()
        thread.join()


@pytest.mark.parametrize("kind", [threading.Lock, threading.RLock])
def test_a_lock_that_is_reset_is_free_in_a_forked_process(kind: Any) -> None:
    lock = reset_on_fork(kind())
    with held_elsewhere(lock):
        assert succeeds_in_fork(lambda: lock.acquire(timeout=5))
        assert not lock.acquire(blocking=False)  # here it is still held


def test_a_fork_waits_for_a_lock() -> None:
    lock, begun = wait_before_fork(threading.RLock()), time.monotonic()
    with held_elsewhere(lock, seconds=0.2):
        assert succeeds_in_fork(lambda: lock.acquire(timeout=5))
    assert time.monotonic() - begun >= 0.2
    assert lock.acquire(timeout=5)
    assert succeeds_in_fork(lambda: True)  # its own lock lets a thread fork
    lock.release()


def test_a_fork_waits_for_calls_in_other_threads() -> None:
    begun, finished = threading.Event(), []

    def work() -> None:
        begun.set()
        time.sleep(0.2)
        finished.append(1)

    thread = threading.Thread(target=finish_before_fork, args=(work,))
    thread.start()
    begun.wait()
    assert succeeds_in_fork(lambda: finished == [1] and finish_before_fork(max, 3, 4) == 4)
    assert finish_before_fork(lambda: succeeds_in_fork(lambda: True))  # its own does not matter
    thread.join()


def test_products_of_matrices_in_other_threads_leave_no_forked_process_hanging() -> None:
    x, kernel, stop = np.ones((64, 10, 10, 2)), np.ones((3, 3, 2, 20)), threading.Event()

    def work() -> None:
        while not stop.is_set():
            reference.conv2d_forward(x, kernel)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert succeeds_in_fork(lambda: reference.conv2d_forward(x, kernel).shape[0] == 64)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_function_is_called_in_forked_processes_alone() -> None:
    called: list[int] = []
    after_fork(lambda: called.append(1))
    assert succeeds_in_fork(lambda: called == [1])
    assert called == []


def test_a_forked_process_draws_while_a_thread_of_its_parent_draws() -> None:
    with held_elsewhere(random._lock):
        assert succeeds_in_fork(lambda: random.uniform((3,)).shape == (3,))
