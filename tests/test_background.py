"""Calls that an interrupt does not cut short."""

from __future__ import annotations

import signal
import threading

import pytest

from gpunet.background import call_in_background


def test_an_interrupt_ends_the_wait_and_not_the_call() -> None:
    finished, interrupted = threading.Event(), threading.Event()
    done: list[int] = []

    def work() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        interrupted.wait(10)
        done.append(1)
        finished.set()

    with pytest.raises(KeyboardInterrupt):
        call_in_background(work)
    assert done == []
    interrupted.set()
    assert finished.wait(10)


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        call_in_background(lambda: 1 / 0)


def test_other_threads_call_themselves() -> None:
    names: list[str] = []
    thread = threading.Thread(
        target=lambda: names.append(call_in_background(lambda: threading.current_thread().name))
    )
    thread.start()
    thread.join()
    assert names == [thread.name]
    assert call_in_background(lambda: threading.current_thread().name) != "MainThread"


def no_start(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_where_no_thread_can_be_started_the_caller_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_start)
    assert call_in_background(lambda: threading.current_thread().name) == "MainThread"
