"""Updates that signal handlers wait for, and the models that are left when a handler raises."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gpunet import random
from gpunet.layers import Dense, Input
from gpunet.models import Sequential
from gpunet.training.interrupts import deferred_interrupts, uninterruptible

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has few signals")

SIGNALS = ["SIGINT", "SIGTERM", "SIGALRM", "SIGUSR1", "SIGHUP"]


class Signal(Exception):
    """Raised by a handler; its argument is the signal's name."""


def raises(number: int, frame: Any) -> None:
    raise Signal(signal.Signals(number).name)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Let the handlers of all `SIGNALS` raise."""
    before = [(getattr(signal, name), signal.getsignal(getattr(signal, name))) for name in SIGNALS]
    for number, _ in before:
        signal.signal(number, raises)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before:
        signal.signal(number, handler)


def send(name: str) -> None:
    signal.raise_signal(getattr(signal, name))


@pytest.mark.parametrize("name", SIGNALS)
def test_a_handler_waits_for_the_end_of_an_update(name: str) -> None:
    done: list[str] = []

    def train() -> None:
        with deferred_interrupts():
            with uninterruptible():
                with uninterruptible():
                    send(name)
                    done.append("inner")
                done.append("outer")
            done.append("after")

    with pytest.raises(Signal, match=name):
        train()
    assert done == ["inner", "outer"]
    assert signal.getsignal(getattr(signal, name)) is raises


@pytest.mark.parametrize("name", SIGNALS)
def test_outside_of_updates_a_handler_is_called_at_once(name: str) -> None:
    done: list[str] = []

    def train() -> None:
        with deferred_interrupts():
            with uninterruptible():
                done.append("update")
            send(name)
            done.append("after")

    with pytest.raises(Signal, match=name):
        train()
    assert done == ["update"]
    assert signal.getsignal(getattr(signal, name)) is raises


def test_outside_of_loops_nothing_waits() -> None:
    with pytest.raises(Signal), uninterruptible():
        send("SIGTERM")


def test_a_handler_that_is_set_within_the_loop_waits_too_and_stays() -> None:
    seen: list[Any] = []

    def other(number: int, frame: Any) -> None:
        seen.append(number)

    with deferred_interrupts():
        with uninterruptible():
            pass
        signal.signal(signal.SIGALRM, other)
        with uninterruptible():
            send("SIGALRM")
            assert seen == []
        assert seen == [signal.SIGALRM]
    assert signal.getsignal(signal.SIGALRM) is other


def test_a_handler_that_is_put_back_after_the_loop_waits_in_the_next() -> None:
    with deferred_interrupts():
        kept = signal.getsignal(signal.SIGTERM)  # as a callback does that sets its own for a time
    signal.signal(signal.SIGTERM, kept)
    with pytest.raises(Signal):
        send("SIGTERM")
    done: list[str] = []

    def train() -> None:
        with deferred_interrupts(), uninterruptible():
            send("SIGTERM")
            done.append("update")

    with pytest.raises(Signal):
        train()
    assert done == ["update"]


def test_all_handlers_that_wait_are_called_once() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))

    def train() -> None:
        with deferred_interrupts(), uninterruptible():
            for name in ("SIGTERM", "SIGUSR1", "SIGTERM", "SIGUSR1", "SIGHUP"):
                send(name)

    with pytest.raises(Signal, match="SIGHUP") as caught:
        train()
    assert seen == [signal.SIGUSR1]
    assert str(caught.value.__context__) == "SIGTERM"


def test_an_error_of_the_update_is_the_context_of_the_handlers() -> None:
    def train() -> None:
        with deferred_interrupts(), uninterruptible():
            send("SIGTERM")
            raise MemoryError

    with pytest.raises(Signal) as caught:
        train()
    assert isinstance(caught.value.__context__, MemoryError)


def test_a_signal_while_an_object_is_deleted_is_not_lost() -> None:
    class Deleted:
        def __del__(self) -> None:
            send("SIGTERM")

    done: list[str] = []

    def train() -> None:
        with deferred_interrupts():
            Deleted()
            with uninterruptible():
                done.append("update")
            done.append("after")

    with pytest.raises(Signal):
        train()
    assert done == ["update"]


@pytest.mark.parametrize("usual", [signal.SIG_IGN, signal.SIG_DFL])
def test_signals_without_a_python_handler_are_left_alone(usual: Any) -> None:
    signal.signal(signal.SIGUSR1, usual)
    with deferred_interrupts(), uninterruptible():
        assert signal.getsignal(signal.SIGUSR1) is usual
    assert signal.getsignal(signal.SIGUSR1) is usual


def test_loops_within_loops() -> None:
    with deferred_interrupts():
        outer = signal.getsignal(signal.SIGTERM)
        with deferred_interrupts():
            assert signal.getsignal(signal.SIGTERM) is outer
        with pytest.raises(Signal), uninterruptible():
            send("SIGTERM")
        assert signal.getsignal(signal.SIGTERM) is outer
    assert signal.getsignal(signal.SIGTERM) is raises


def test_other_threads_hold_nothing_back() -> None:
    begun, leave = threading.Event(), threading.Event()

    def work() -> None:
        with deferred_interrupts(), uninterruptible():
            begun.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    with pytest.raises(Signal):
        send("SIGTERM")
    leave.set()
    thread.join()


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Switch garbage collection off: Python drops what is raised in callbacks of the collector."""
    gc.disable()
    yield
    gc.enable()


def after(seconds: float) -> None:
    """Send SIGALRM after some seconds."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def test_signals_at_random_moments_leave_whole_updates_and_the_handlers(no_gc: None) -> None:
    delays = np.random.default_rng(0).uniform(1e-5, 1e-3, 400)
    counts, raised = [0, 0], 0
    for delay in delays:
        try:
            after(delay)
            for _ in range(1000):
                with deferred_interrupts():
                    with uninterruptible():
                        counts[0] += 1
                        counts[1] += 1
                    with uninterruptible():
                        counts[0] += 1
                        counts[1] += 1
        except Signal:
            raised += 1
        assert counts[0] == counts[1]
        assert all(signal.getsignal(getattr(signal, name)) is raises for name in SIGNALS)
    assert raised == len(delays)


X = np.random.default_rng(1).normal(size=(96, 100)).astype("float32")
Y = np.random.default_rng(2).integers(0, 5, 96)
STEPS = 6  # of an epoch


def model() -> Sequential:
    random.seed(7)
    made = Sequential(
        [Input((100,)), Dense(200, activation="tanh"), Dense(5, activation="softmax")]
    )
    made.compile("adam", "sparse_categorical_crossentropy")
    return made


def fit(made: Sequential, **options: Any) -> None:
    made.fit(X, Y, batch_size=len(X) // STEPS, shuffle=False, verbose=0, **options)


def assert_whole_steps(made: Sequential) -> None:
    """Assert that the weights are those of as many whole steps as the optimizer counts."""
    expected, left = model(), int(made.optimizer.iterations[0])
    while left:
        fit(expected, steps_per_epoch=min(left, STEPS))
        left -= min(left, STEPS)
    for ours, theirs in zip(made.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signal_in_an_update_leaves_a_whole_step(name: str, moment: str) -> None:
    made = model()
    update: Callable[..., None] = made.optimizer.update
    calls: list[int] = []

    def interrupted(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 3 and moment == "before":
            send(name)
        update(*arguments)
        if len(calls) == 3 and moment == "after":
            send(name)

    made.optimizer.update = interrupted
    with pytest.raises(Signal, match=name):
        fit(made)
    assert int(made.optimizer.iterations[0]) == 3
    assert_whole_steps(made)


def interrupt_at_random(count: int) -> None:
    fit(model())  # compiled, so that signals arrive in steps
    for delay in np.random.default_rng(3).uniform(1e-4, 0.03, count):
        made = model()
        raised = False
        try:
            after(delay)
            fit(made, epochs=100_000)
        except Signal:
            raised = True
        assert raised
        assert_whole_steps(made)


def test_a_time_limit_leaves_whole_steps(no_gc: None) -> None:
    interrupt_at_random(5)


@pytest.mark.slow
def test_many_time_limits_leave_whole_steps(no_gc: None) -> None:
    interrupt_at_random(200)
