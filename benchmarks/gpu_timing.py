"""GPU time, measured by events; and deadlines.

A kernel of a few microseconds ends before Python has queued the next one. So copies are queued
first, and the calls to measure behind them: the events around the calls then measure GPU time
without gaps. Each measurement checks that the host was fast enough, and reports if it was not.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

__all__ = [
    "OUT_OF_TIME",
    "CupyStream",
    "Deadline",
    "DeviceTimer",
    "Stream",
    "TorchStream",
    "summarize",
]

Summary = dict[str, Any]

OUT_OF_TIME = "not measured: out of time"

_COPIED = 1 << 28  # size of a copy that keeps the GPU busy
_FEWEST_COPIES, _MOST_COPIES = 4, 128
_MOST_CALLS = 50  # back to back; a GPU's queue holds about a thousand launches


class Deadline:
    """A point in time.

    Arguments:
        seconds: from now.
        clock: returns the time in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.end = clock, clock() + seconds

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self.end - self.clock())

    def passed(self) -> bool:
        """Return whether the deadline has passed."""
        return self.left() == 0

    def part(self, seconds: float) -> Deadline:
        """Return a deadline `seconds` from now, but no later than this one."""
        return Deadline(min(seconds, self.left()), self.clock)


class Stream(Protocol):
    """The part of a GPU library that timing needs."""

    def event(self) -> Any:
        """Record an event in the stream, and return it."""

    def is_done(self, event: Any) -> bool:
        """Return whether the GPU has reached the event."""

    def elapsed(self, start: Any, end: Any) -> float:
        """Wait for both events; return the seconds between them."""

    def copy(self) -> None:
        """Queue a copy that takes tens to hundreds of microseconds."""

    def synchronize(self) -> None:
        """Wait for all queued operations."""


class CupyStream:
    """CuPy's current stream."""

    def __init__(self, cupy: Any, copy_bytes: int = _COPIED) -> None:
        self._cupy = cupy
        self._source = cupy.zeros(copy_bytes, cupy.uint8)
        self._target = cupy.zeros(copy_bytes, cupy.uint8)

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

    def __init__(self, torch: Any, copy_bytes: int = _COPIED) -> None:
        self._torch = torch
        self._source = torch.zeros(copy_bytes, dtype=torch.uint8, device="cuda")
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
    """Measures the GPU time of a call.

    Arguments:
        stream: the library's stream.
        rounds: measurements; the median counts.
        round_seconds: approximate duration of a measurement: short calls are repeated.
    """

    def __init__(self, stream: Stream, rounds: int = 15, round_seconds: float = 1e-3) -> None:
        self.stream, self.rounds, self.round_seconds = stream, rounds, round_seconds
        self._copies = _FEWEST_COPIES

    def measure(self, call: Callable[[int], Any], warm_up: int = 3) -> Summary:
        """Return median and quartiles of a call's seconds, and how they were measured.

        Arguments:
            call: queues the operations; its argument counts the calls, so that each call can use
                other arrays.
            warm_up: calls that are not timed; the first one compiles.
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
        """Return the seconds of `calls` calls, and whether the GPU never waited for the host."""
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
    """Return the median, quartiles and count of times, in seconds."""
    low, median, high = statistics.quantiles(times * 2, n=4, method="inclusive")
    return {"median": median, "quartiles": [low, high], "count": len(times)}
