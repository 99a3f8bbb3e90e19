"""Streams, events and graphs as CuPy 14 has them, as strict: cupy/cuda/stream.pyx and graph.pyx.

All that is put in a stream goes through `perform`. It is carried out at once, with a look at what
it should have waited for, or becomes a node of the graph that the stream captures.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests.support.fake_cupy.gpu import CUDARuntimeError, now, refuse
from tests.support.fake_cupy.memory import Chunk
from tests.support.fake_cupy.timeline import NULL, Clock, FakeError

__all__ = ["Event", "Graph", "Stream", "get_current_stream", "get_elapsed_time", "perform"]

_numbers = itertools.count(16)  # the first ones stand for default streams


class Work(NamedTuple):
    """What is put in a stream.

    Attributes:
        call: carries it out.
        after: called when it was carried out; returns what to do when the host waited for it.
    """

    name: str
    call: Callable[[], None]
    reads: tuple[Chunk, ...]
    writes: tuple[Chunk, ...]
    after: Callable[[], Callable[[], None]] | None


def perform(
    name: str,
    call: Callable[[], None],
    reads: Iterable[Any] = (),
    writes: Iterable[Any] = (),
    stream: Stream | None = None,
    after: Callable[[], Callable[[], None]] | None = None,
) -> None:
    """Put work in a stream, the current one by default, that reads and writes some arrays.

    `call` must not hold the arrays: a graph does not keep them from being freed.
    """
    gpu, stream = now(), stream or get_current_stream()
    work = Work(name, call, _chunks(reads), _chunks(writes), after)
    capture = gpu.captures.get(stream.ptr)
    if capture is not None:
        capture.add(work)
    else:
        gpu.launched.append(name)
        _carry_out(work, stream.ptr)


def _chunks(arrays: Iterable[Any]) -> tuple[Chunk, ...]:
    return tuple(array._memory.chunk for array in arrays)


def _carry_out(work: Work, stream: int) -> None:
    gpu = now()
    _refuse_implicit(stream)
    for capture in gpu.captures.values():
        capture.check_apart(work, stream)
    gpu.timeline.add(stream, work.name, work.reads, work.writes)
    work.call()
    if work.after is not None:
        gpu.timeline.when_over(stream, work.after())


def _refuse_implicit(stream: int) -> None:
    """Refuse use of the null stream while a stream captures that it would have to wait for."""
    if stream == NULL:
        for other, capture in now().captures.items():
            refuse(capture if other in now().timeline.blocking else None, 906)


class Capture:
    """What a stream has captured.

    Attributes:
        valid: False once something was done that must not be done while capturing.
        before: how often chunks had been allocated whose memory was there before.
        own: likewise, of memory that was allocated while capturing.
    """

    def __init__(self) -> None:
        self.valid, self.nodes = True, list[Work]()
        self.before: dict[Chunk, int] = {}
        self.own: dict[Chunk, int] = {}
        self._begin = now().timeline.serial

    def add(self, work: Work) -> None:
        if not self.valid:
            raise CUDARuntimeError(901)
        for chunk in (*work.reads, *work.writes):
            for access in (chunk.written, *chunk.read.values()):
                if access is not None and access.serial > self._begin:
                    self._fail(work.name, access.name, access.stream)
            if chunk not in self.own:
                self.before[chunk] = chunk.allocations
        self.nodes.append(work)

    def allocated(self, chunk: Chunk) -> None:
        self.own[chunk] = chunk.allocations

    def check_apart(self, work: Work, stream: int) -> None:
        """Raise if work on a stream that does not capture touches what the capture touches."""
        for chunk in (*work.reads, *work.writes):
            if chunk in self.before or chunk in self.own:
                self._fail("the capture", work.name, stream)

    def _fail(self, name: str, other: str, stream: int) -> None:
        raise FakeError(
            f"race: {name} uses memory that {other} on stream {stream} uses while capturing goes "
            "on: one of them is carried out now, the other when the graph is launched."
        )


class Graph:
    """cupy.cuda.Graph: work that is carried out again and again, on the same memory.

    Attributes:
        nodes: the names of its work, in order.
    """

    def __init__(self) -> None:
        raise NotImplementedError("a graph is made by end_capture of a stream")

    @classmethod
    def _of(cls, capture: Capture) -> Graph:
        graph = cls.__new__(cls)
        graph._capture, graph._over = capture, Clock()
        return graph

    @property
    def nodes(self) -> list[str]:
        return [work.name for work in self._capture.nodes]

    def launch(self, stream: Stream | None = None) -> None:
        gpu, stream = now(), stream or get_current_stream()
        refuse(gpu.captures.get(stream.ptr))
        self._check_memory()
        gpu.launched.append("graph")
        gpu.timeline.wait(stream.ptr, self._over)  # launches of one graph follow each other
        for work in self._capture.nodes:
            _carry_out(work, stream.ptr)
        self._over = dict(gpu.timeline.reach(stream.ptr))

    def upload(self, stream: Stream | None = None) -> None:
        refuse(now().captures.get((stream or get_current_stream()).ptr))

    def _check_memory(self) -> None:
        """Raise if a node uses memory that is not what it was when it was captured."""
        capture = self._capture
        for chunk, allocations in (*capture.before.items(), *capture.own.items()):
            if chunk.released:
                self._fail(chunk, "were given back to the device")
            # Graphs may share what is free outside of them: each writes there before it reads.
            if chunk.allocations != allocations and (chunk in capture.before or chunk.in_use):
                self._fail(chunk, "belong to another array by now")
            if chunk in capture.own and chunk.pool() is None:
                self._fail(chunk, "are of a pool that is gone: keep it with the graph")
            if chunk not in capture.own and not chunk.in_use:
                self._fail(chunk, "are of an array that is gone: keep it with the graph")

    def _fail(self, chunk: Chunk, why: str) -> None:
        users = [w.name for w in self._capture.nodes if chunk in (*w.reads, *w.writes)]
        raise FakeError(f"a graph is launched; {chunk.size:,} bytes that {users} use {why}.")


class _StreamType(type):
    null = property(lambda cls: cls(null=True))


class Stream(metaclass=_StreamType):
    """cupy.cuda.Stream."""

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.ptr = NULL if null else next(_numbers)
        self.device_id = -1 if null else now().device
        self.is_non_blocking = non_blocking and not null
        if not null and not non_blocking:
            now().timeline.blocking.add(self.ptr)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __enter__(self) -> Stream:
        self.use()
        now().of_thread.within.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        # As in CuPy, the end of a block forgets what `use` said before it.
        of_thread = now().of_thread
        of_thread.within.pop()
        of_thread.stream = of_thread.within[-1] if of_thread.within else None

    def use(self) -> Stream:
        if self.device_id not in (-1, now().device):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with "
                f"the current device ({now().device})"
            )
        now().of_thread.stream = self
        return self

    @property
    def done(self) -> bool:
        """Whether all is over, which is then known; to ask ends a capture, without an error."""
        capture = now().captures.get(self.ptr)
        if capture is not None:
            capture.valid = False
            return False
        self.synchronize()
        return True

    def synchronize(self) -> None:
        refuse(now().captures.get(self.ptr))
        _refuse_implicit(self.ptr)
        now().timeline.wait_on_host(now().timeline.reach(self.ptr))

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        capture = now().captures.get(self.ptr)
        if event.capture is None:
            if event.clock:
                refuse(capture, 905)
            now().timeline.wait(self.ptr, event.clock)
        elif event.capture is not capture:
            if event.capture in now().captures.values():
                raise NotImplementedError("a capture of more than one stream is not fake")
            raise CUDARuntimeError(907)

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == NULL:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.is_capturing():
            raise CUDARuntimeError(401)
        now().captures[self.ptr] = Capture()

    def end_capture(self) -> Graph:
        capture = now().captures.pop(self.ptr, None)
        if capture is None:
            raise CUDARuntimeError(401)
        if not capture.valid:
            raise CUDARuntimeError(901)
        return Graph._of(capture)

    def is_capturing(self) -> bool:
        if self.ptr == NULL and now().timeline.blocking.intersection(now().captures):
            raise CUDARuntimeError(906)  # which ends no capture
        return self.ptr in now().captures


class Event:
    """cupy.cuda.Event."""

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.clock, self.capture = Clock(), None
        self._timed, self._when = not disable_timing, 0.0

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or get_current_stream()
        _refuse_implicit(stream.ptr)
        self.capture = now().captures.get(stream.ptr)
        self.clock = Clock() if self.capture else dict(now().timeline.reach(stream.ptr))
        self._when = time.perf_counter()

    @property
    def done(self) -> bool:
        """Whether what came before it is over, which is then known."""
        if self.capture is not None:
            self.capture.valid = False
            return False
        self.synchronize()
        return True

    def synchronize(self) -> None:
        if self.capture is not None:
            self.capture.valid = False
            raise CUDARuntimeError(907)
        now().timeline.wait_on_host(self.clock)


def get_current_stream(device_id: int = -1) -> Stream:
    """cupy.cuda.get_current_stream; all devices have one."""
    return now().of_thread.stream or Stream(null=True)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """cupy.cuda.get_elapsed_time, in milliseconds."""
    for event in (start_event, end_event):
        if not (event._timed and event._when):
            raise CUDARuntimeError(400)
    return (end_event._when - start_event._when) * 1e3
