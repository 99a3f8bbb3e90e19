"""Forks while other threads work: no process is left with a lock that nobody releases.

A forked process has only the thread that forked: a lock that another thread held is never released
there. Platforms without `fork` need none of this.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["after_fork", "finish_before_fork", "reset_on_fork", "wait_before_fork"]

Callback = TypeVar("Callback", bound=Callable[[], object])
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Lock = TypeVar("Lock", bound=Any)

_forks = hasattr(os, "register_at_fork")


def after_fork(callback: Callback) -> Callback:
    """Call the function in each forked process before anything else; usable as a decorator."""
    if _forks:
        os.register_at_fork(after_in_child=callback)
    return callback


def reset_on_fork(lock: Lock) -> Lock:
    """Return the lock; a forked process finds it free.

    For what is held while custom code runs, or where a change cut short does no harm.

    >>> import threading
    >>> building = reset_on_fork(threading.RLock())
    """
    after_fork(lock._at_fork_reinit)  # as the standard library does with its own locks
    return lock


def wait_before_fork(lock: Lock) -> Lock:
    """Return the lock; a fork waits until no other thread holds it.

    For changes that end by themselves, and that a forked process could not repair: an import, a
    compilation. No two such locks may be taken inside one another.

    >>> import threading
    >>> importing = wait_before_fork(threading.RLock())
    """
    if _forks:
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release
        )
    return lock


_entering = threading.RLock()  # held while a call begins, and during a fork
_running: dict[object, int] = {}  # the thread of each call that a fork waits for


def finish_before_fork(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Return ``function(*args, **kwargs)``; a fork in another thread waits for its end.

    Any number of threads may make such calls at once. It is for products of matrices: a process
    forked while another thread is in OpenBLAS hangs in its own first product.

    >>> finish_before_fork(max, 3, 4)
    4
    """
    call = object()
    try:
        with _entering:
            _running[call] = threading.get_ident()
        return function(*args, **kwargs)
    finally:
        _running.pop(call, None)


def _wait_for_calls() -> None:
    """Block new calls, and wait for those of other threads."""
    _entering.acquire()
    here = threading.get_ident()
    while any(thread != here for thread in list(_running.values())):
        time.sleep(1e-4)


def _continue_in_child() -> None:
    _running.clear()
    _entering.release()


if _forks:
    os.register_at_fork(
        before=_wait_for_calls, after_in_parent=_entering.release, after_in_child=_continue_in_child
    )
