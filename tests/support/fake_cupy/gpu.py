"""A machine with GPUs that is fake: its memory, its devices, and what happened on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.support.fake_cupy.timeline import NULL, Timeline

__all__ = [
    "CUDARuntimeError",
    "Device",
    "Gpu",
    "OutOfMemoryError",
    "insert",
    "now",
    "refuse",
]

_ERRORS = {
    400: "cudaErrorInvalidResourceHandle: invalid resource handle",
    401: "cudaErrorIllegalState: the operation cannot be performed in the present state",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during "
    "capture",
    905: "cudaErrorStreamCaptureIsolation: dependency created on uncaptured work in another stream",
    906: "cudaErrorStreamCaptureImplicit: operation would make the legacy stream depend on a "
    "capturing blocking stream",
    907: "cudaErrorCapturedEvent: operation not permitted on an event last recorded in a capturing "
    "stream",
}


class CUDARuntimeError(RuntimeError):
    """cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(_ERRORS[status])


class _OfThread(threading.local):
    """What each thread has of its own: the streams it is within, and where it gets memory."""

    def __init__(self) -> None:
        self.stream: Any = None  # the current one, or None for the null stream
        self.within: list[Any] = []  # of which the last is current when a `with` ends
        self.allocator: Callable[[int], Any] | None = None


class Gpu:
    """What the fake machine has, and what happened on it.

    Attributes:
        devices: how many there are.
        device: the number of the current one.
        memory: bytes that there are, for all devices.
        used: bytes in use.
        reads: how often the host waited for the device and read from it.
        compiled: names of kernels with the options they were compiled with.
        launched: names of what was put in streams: of kernels, and of CuPy's functions, where a
            function may be more than one kernel. The launch of a graph is one "graph".
        order: in which the threads of kernels take turns.
        timeline: what was waited for.
        captures: for a stream that is capturing, what it has captured.
        pool: the default memory pool.
        allocator: where threads get memory that have no allocator of their own.
    """

    def __init__(self, devices: int = 1, memory: int = 1 << 30, order: str = "forward") -> None:
        self.devices, self.memory, self.order = devices, memory, order
        self.device = self.used = self.reads = 0
        self.compiled: list[tuple[str, tuple[str, ...]]] = []
        self.launched: list[str] = []
        self.timeline = Timeline()
        self.captures: dict[int, Any] = {}
        self.pool: Any = None
        self.allocator: Callable[[int], Any] | None = None
        self.of_thread = _OfThread()

    @property
    def stream(self) -> int:
        """The number of the current stream."""
        stream = self.of_thread.stream
        return NULL if stream is None else stream.ptr

    @property
    def capture(self) -> Any:
        """What the current stream is capturing, or None."""
        return self.captures.get(self.stream)


_machine = Gpu()


def now() -> Gpu:
    """Return the machine that is fake now."""
    return _machine


def insert(machine: Gpu) -> None:
    """Let `machine` be the one that is fake."""
    global _machine
    _machine = machine


def refuse(capture: Any, status: int = 900) -> None:
    """Refuse an operation that ends a capture, if there is one."""
    if capture is not None:
        capture.valid = False
        raise CUDARuntimeError(status)


class OutOfMemoryError(MemoryError):
    """cupy.cuda.memory.OutOfMemoryError."""


OutOfMemoryError.__module__ = "cupy.cuda.memory"


class Device:
    """cupy.cuda.Device."""

    compute_capability = "90"

    def __init__(self, device: int | None = None) -> None:
        self.id = now().device if device is None else device
        if self.id >= now().devices:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.attributes = {"MultiProcessorCount": 4}

    def __enter__(self) -> Device:
        self._before, now().device = now().device, self.id
        return self

    def __exit__(self, *error: Any) -> None:
        now().device = self._before

    def use(self) -> None:
        now().device = self.id

    def synchronize(self) -> None:
        for capture in now().captures.values():
            refuse(capture)
        now().timeline.wait_on_host(now().timeline.everything())
