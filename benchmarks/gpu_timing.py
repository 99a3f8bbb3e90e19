"""Time on a GPU, by events; and the time that is left for it.

A kernel of few microseconds is over before Python has queued the next one. So the GPU is first
given copies to do, and what is to be measured is queued behind them: the events around it then see
the GPU's own time, with no gap in which it waits for the host. Whether the host was in time is
checked for each measurement, and said where it was not.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["CupyStream", "Deadline", "DeviceTimer", "Stream", "TorchStream", "summarize"]

Summary = dict[str, Any]

_COPIED = 1 << 28  # bytes of a copy that the GPU is kept busy with
_FEWEST_COPIES, _MOST_COPIES = 4, 128
_MOST_CALLS = 50  # in a row; a GPU's queue holds about a thousand launches


class Deadline:
    """The moment until which something may take.

    Arguments:
        seconds: from now on.
        clock: tells the time.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.end = clock, clock() + seconds

    def left(self) -> float:
        """Return how many seconds are left, 0 if none are."""
        return max(0.0, self.end - self.clock())

    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left() == 0

    def part(self, seconds: float) -> Deadline:
        """Return a deadline `seconds` from now, or this one if that comes first."""
        return Deadline(min(seconds, self.left()), self.clock)


class Stream(Protocol):
    """What timing needs of a GPU library."""

    def event(self) -> Any:
        """Return an event, put into the stream now."""

    def is_done(self, event: Any) -> bool:
        """Whether the GPU has come to the event."""

    def elapsed(self, start: Any, end: Any) -> float:
        """Return the seconds between two events, once the GPU has come to both."""

    def copy(self) -> None:
        """Queue a copy that takes some tens or hundreds of microseconds."""

    def synchronize(self) -> None:
        """Wait for all that is queued."""


class CupyStream:
    """CuPy's current stream."""

    def __init__(self, cupy: Any, copied: int = _COPIED) -> None:
        self._cupy = cupy
        self._source = cupy.zeros(copied, cupy.uint8)
        self._target = cupy.zeros(copied, cupy.uint8)

    def event(self) -> Any:
        event = self._cupy.cuda.Event()
        event.record()
        return event

    def is_done(self, event: Any) -> bool:
        return event.done

    def elapsed(self, start: Any, end: Any) -> float:
        end.synchronize()
        return self._cupy.cuda.get_elapsed_time(start, end) / 1e3

    def copy(self) -> None:
        self._cupy.copyto(self._target, self._source)

    def synchronize(self) -> None:
        self._cupy.cuda.Device().synchronize()


class TorchStream:
    """PyTorch's current stream."""

    def __init__(self, torch: Any, copied: int = _COPIED) -> None:
        self._torch = torch
        self._source = torch.zeros(copied, dtype=torch.uint8, device="cuda")
        self._target = torch.zeros_like(self._source)

    def event(self) -> Any:
        event = self._torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def is_done(self, event: Any) -> bool:
        return event.query()

    def elapsed(self, start: Any, end: Any) -> float:
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    def copy(self) -> None:
        self._target.copy_(self._source)

    def synchronize(self) -> None:
        self._torch.cuda.synchronize()


class DeviceTimer:
    """Measures how long the GPU works at a call.

    Arguments:
        stream: the library's events.
        rounds: measurements of which the median counts.
        round_seconds: about how long each of them is: short calls are made many times in it.
    """

    def __init__(self, stream: Stream, rounds: int = 15, round_seconds: float = 1e-3) -> None:
        self.stream, self.rounds, self.round_seconds = stream, rounds, round_seconds
        self._copies = _FEWEST_COPIES

    def measure(self, call: Callable[[int], Any], warm_up: int = 3) -> Summary:
        """Return median and quartiles of the seconds of a call, and how they were found.

        Arguments:
            call: queues the work; it is given a number that goes up by 1 from call to call, so
                that it can take other arrays each time.
            warm_up: calls that do not count; the first compiles.
        """
        for number in range(warm_up):
            call(number)
        self.stream.synchronize()
        self._copies = _FEWEST_COPIES
        first, _ = self._round(call, 3)
        calls = max(1, min(_MOST_CALLS, math.ceil(self.round_seconds / max(first / 3, 1e-7))))
        times, in_time = [], True
        for _ in range(self.rounds):
            seconds, queued = self._round(call, calls)
            times.append(seconds / calls)
            in_time &= queued
        return summarize(times) | {"calls": calls, "host_bound": not in_time}

    def _round(self, call: Callable[[int], Any], calls: int) -> tuple[float, bool]:
        """Return the seconds of some calls, and whether the GPU never waited for the host."""
        while True:
            for _ in range(self._copies):
                self.stream.copy()
            start = self.stream.event()
            for number in range(calls):
                call(number)
            end = self.stream.event()
            in_time = not self.stream.is_done(start)
            seconds = self.stream.elapsed(start, end)
            if in_time or self._copies >= _MOST_COPIES:
                return seconds, in_time
            self._copies *= 2


def summarize(times: list[float]) -> Summary:
    """Return the median, the quartiles and the number of times, in seconds."""
    low, median, high = statistics.quantiles(times * 2, n=4, method="inclusive")
    return {"median": median, "quartiles": [low, high], "count": len(times)}
