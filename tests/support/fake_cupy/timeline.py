"""Which work on a fake GPU is known to be over: vector clocks of its streams and of the host.

Fake work is over when its call returns, so that nothing ever comes too early; what is found here
is what would come too early on a GPU, because nobody waited for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["NULL", "Access", "Clock", "FakeError", "Timeline"]

NULL = 0  # the number of the legacy default stream

Clock = dict[int, int]  # for each stream, the serial number of its last work that is over


class FakeError(BaseException):
    """A program that CuPy would run, and that would be wrong or could be: see the message.

    It is no `Exception`: a program that goes another way on errors does not pass over it.
    """


class Access(NamedTuple):
    """Work that read or wrote memory."""

    stream: int
    serial: int
    name: str


class Timeline:
    """The order of what happens on a GPU.

    Attributes:
        blocking: the streams that wait for the null stream, and it for them.
        serial: the number of the last work.
    """

    def __init__(self) -> None:
        self.blocking: set[int] = set()
        self.serial = 0
        self._host: Clock = {}
        self._clocks: dict[int, Clock] = {}
        self._pending: list[tuple[int, int, Callable[[], None]]] = []

    def reach(self, stream: int) -> Clock:
        """Return what is over when work that is put in a stream now begins."""
        clock = self._clock(stream)
        _join(clock, self._host)
        if stream == NULL:
            for other in self.blocking:
                _join(clock, self._clock(other))
        elif stream in self.blocking:
            _join(clock, self._clock(NULL))
        return clock

    def add(self, stream: int, name: str, reads: Iterable[Any], writes: Iterable[Any]) -> None:
        """Put work in a stream that reads and writes some chunks of memory.

        Raises:
            FakeError: other work on one of them may not be over yet.
        """
        clock = self.reach(stream)
        for chunk in reads:
            self._check(clock, stream, name, "reads", chunk, [chunk.written])
        for chunk in writes:
            self._check(clock, stream, name, "writes", chunk, [chunk.written, *chunk.read.values()])
        self.serial += 1
        clock[stream] = self.serial
        access = Access(stream, self.serial, name)
        for chunk in reads:
            chunk.read[stream] = access
        for chunk in writes:
            chunk.written, chunk.read = access, {}

    def wait(self, stream: int, clock: Clock) -> None:
        """Let a stream wait for what is over at `clock`."""
        _join(self._clock(stream), clock)

    def wait_on_host(self, clock: Clock) -> None:
        """Let the host wait for what is over at `clock`, and do what it left until then."""
        _join(self._host, clock)
        due = [action for action in self._pending if self._host.get(action[0], 0) >= action[1]]
        self._pending = [action for action in self._pending if action not in due]
        for _, _, act in due:
            act()

    def everything(self) -> Clock:
        """Return the clock at which all work is over."""
        return dict.fromkeys(self._clocks, self.serial)

    def when_over(self, stream: int, act: Callable[[], None]) -> None:
        """Call `act` when the host has waited for the last work of a stream."""
        self._pending.append((stream, self._clock(stream).get(stream, 0), act))

    def _clock(self, stream: int) -> Clock:
        return self._clocks.setdefault(stream, {})

    def _check(
        self,
        clock: Clock,
        stream: int,
        name: str,
        does: str,
        chunk: Any,
        before: Iterable[Access | None],
    ) -> None:
        for access in before:
            if access is not None and clock.get(access.stream, 0) < access.serial:
                did = "writes" if access is chunk.written else "reads"
                raise FakeError(
                    f"race: {name} on stream {stream} {does} memory that {access.name} on stream "
                    f"{access.stream} {did}, and does not wait for it: record an event there after "
                    "the work and let this stream wait for it, or let the host synchronize."
                )


def _join(clock: Clock, other: Clock) -> None:
    for stream, serial in other.items():
        clock[stream] = max(clock.get(stream, 0), serial)
