"""Locks that a forked process finds free, whatever the threads of its parent were doing.

A forked process has only the thread that forked: a lock that another thread held is never released
there. Platforms without `fork` need none of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["after_fork", "reset_on_fork", "wait_before_fork"]

Callback = TypeVar("Callback", bound=Callable[[], object])
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
