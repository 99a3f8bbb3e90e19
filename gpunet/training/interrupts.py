"""Updates that no signal handler cuts short: an exception raised by one waits for a whole step.

A Python signal handler runs in the main thread, between any two bytecodes, and may raise: Ctrl-C, a
time limit by SIGALRM, a SIGTERM handler that calls ``sys.exit``. Within an update that would leave
half a step, or one that is not counted. So during training each handler is wrapped; a wrapped
handler that is called within `uninterruptible` is remembered, and called at the end of the block.

Why not otherwise:

- Blocking signals (`signal.pthread_sigmask`) holds for one thread. The system then delivers the
  signal to another, such as a kernel's worker, and Python still calls the handler in the main one.
- Wrapping the handlers at each update would cost two system calls a handler and update. They are
  wrapped once a loop; an update only looks for handlers that custom code, such as a callback, has
  set since (half a microsecond).

Python drops what a handler raises while an object is deleted (``__del__``), as arrays of the
training step are all the time; there a handler waits for the next update too.

A handler that is set meanwhile stays in place afterwards. Signals with no Python handler are left
alone, as is training in another thread, where no handler runs.
"""

from __future__ import annotations

import signal
import threading
from _signal import getsignal  # type: ignore[import-not-found]
from _signal import signal as set_handler
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

__all__ = ["deferred_interrupts", "uninterruptible"]

# `getsignal` and `set_handler` are those of `signal` but for enums, which cost 3 us a call.
# An update looks for new handlers of these: signals that end programs, timers, and users' own.
_NAMES = ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "VTALRM", "PROF", "XCPU", "BREAK"]
_WATCHED = [int(getattr(signal, f"SIG{name}")) for name in _NAMES if hasattr(signal, f"SIG{name}")]
_ALL = sorted(map(int, signal.valid_signals()))

_Handler = Callable[[int, FrameType | None], Any]


class _Deferrable:
    """A signal handler whose calls wait where an exception would do harm, or be lost."""

    def __init__(self, handler: _Handler) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> None:
        updates = _here.updates
        if updates is None or not (updates.depth or _must_not_raise(frame)):
            self.handler(number, frame)
        elif all(number != waiting for _, waiting, _ in updates.waiting):  # signals do not queue up
            updates.waiting.append((self.handler, number, frame))


def _must_not_raise(frame: FrameType | None) -> bool:
    """Return whether handlers are just being put back, or Python would drop the exception."""
    while frame is not None:
        if frame.f_code is _Loop.__exit__.__code__ or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


class _Updates:
    """Context of each update of a loop in the main thread."""

    def __init__(self) -> None:
        self.depth = 0  # how many are under way, one inside another
        self.waiting: list[tuple[_Handler, int, FrameType | None]] = []  # calls of handlers
        self.wrapped: dict[int, _Deferrable] = {}
        self.seen: tuple[Any, ...] = ()  # the handlers of `_WATCHED`

    def __enter__(self) -> None:
        self.depth += 1
        try:
            if tuple(map(getsignal, _WATCHED)) != self.seen:
                self.wrap(_WATCHED)
        except BaseException:  # raised by a handler that was not wrapped yet
            self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        self.depth -= 1
        if self.waiting and not self.depth:
            self.call_handlers()

    def wrap(self, numbers: Iterable[int]) -> None:
        """Wrap the Python handlers of these signals, where that is not done yet."""
        for number in numbers:
            handler = getsignal(number)
            if callable(handler) and not isinstance(handler, _Deferrable):
                wrapped = self.wrapped[number] = _Deferrable(handler)
                set_handler(number, wrapped)
        self.seen = tuple(map(getsignal, _WATCHED))

    def unwrap(self) -> None:
        """Put the handlers back, where nobody has set another since."""
        for number, wrapped in self.wrapped.items():
            if getsignal(number) is wrapped:
                set_handler(number, wrapped.handler)

    def call_handlers(self) -> None:
        """Call the handlers that wait, each even if one before it raises."""
        if self.waiting:
            handler, number, frame = self.waiting.pop(0)
            try:
                handler(number, frame)
            finally:
                self.call_handlers()


class _Loop:
    """Context of a training loop in the main thread, in which signal handlers are wrapped."""

    def __init__(self) -> None:
        self.updates = _Updates()

    def __enter__(self) -> None:
        try:
            _here.updates = self.updates
            with self.updates:
                self.updates.wrap(_ALL)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        updates = self.updates
        updates.depth += 1  # no wrapped handler raises from here on, nor before: `_must_not_raise`
        try:
            updates.unwrap()
        except BaseException:  # raised by a handler that was put back already
            updates.unwrap()
            raise
        finally:
            _here.updates = None
            updates.call_handlers()


class _Here(threading.local):
    updates: _Updates | None = None  # of the loop that runs


_here = _Here()
_nothing = nullcontext()


def deferred_interrupts() -> AbstractContextManager[None]:
    """Return the context of a training loop: signal handlers wait for its `uninterruptible` blocks.

    At any other time a handler is called at once. On exit the handlers are as before, but for those
    that were set within. Blocks may be nested.

    >>> usual = signal.signal(signal.SIGTERM, lambda number, frame: print("SIGTERM"))
    >>> with deferred_interrupts():
    ...     with uninterruptible():
    ...         signal.raise_signal(signal.SIGTERM)
    ...         print("a whole update")
    a whole update
    SIGTERM
    >>> _ = signal.signal(signal.SIGTERM, usual)
    """
    if _here.updates is not None or threading.current_thread() is not threading.main_thread():
        return _nothing
    return _Loop()


def uninterruptible() -> AbstractContextManager[None]:
    """Return a context at whose end signal handlers are called, within `deferred_interrupts`.

    If several raise, the last exception has the ones before it as its context.
    """
    return _here.updates or _nothing
