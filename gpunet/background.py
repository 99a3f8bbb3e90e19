"""Calls that no signal handler cuts short, for what cannot be repaired when half done."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["call_in_background"]

T = TypeVar("T")


def call_in_background(function: Callable[[], T]) -> T:
    """Return ``function()``; an exception in a signal handler ends the wait, not the call.

    Signal handlers run, and raise, in the main thread alone: there the call is left to another
    thread. After Ctrl-C it runs to its end, and a process that ends waits for that. So the function
    takes a lock, which the next call waits for, and keeps its result itself.

    >>> call_in_background(lambda: 6 * 7)
    42
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    result: Future[T] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            result.set_result(context.run(function))
        except BaseException as error:
            result.set_exception(error)

    try:
        threading.Thread(target=work, name="background call of gpunet").start()
    except RuntimeError:  # the system starts no more threads
        return function()
    return result.result()
