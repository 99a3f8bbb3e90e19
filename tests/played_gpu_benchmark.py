"""What stands for the processes and the streams of `python -m benchmarks.gpu` in its tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from played_gpu import Device

from benchmarks.gpu_peers import answer
from benchmarks.gpu_steps import PeerError

__all__ = ["InThisProcess", "complete"]


class InThisProcess:
    """A library that takes part without a process of its own."""

    def __init__(self, contender: str, programs: dict[str, Callable[[], Any]]) -> None:
        self.answers: list[Any] = []
        self.kept: dict[str, Any] = {}
        if contender in programs:
            self.program = programs[contender]()
            self.answers.append({"ready": contender})
        else:
            self.answers.append(PeerError(f"{contender} is not played"))

    def tell(self, **command: Any) -> None:
        self.answers.append(answer(self.program, command, self.kept))

    def hear(self, seconds: float) -> Any:
        said = self.answers.pop(0)
        if isinstance(said, PeerError):
            raise said
        return json.loads(json.dumps(said))  # as a process tells it

    def close(self) -> None: ...


class PlayedEvent:
    """cupy.cuda.Event: when the host came to it, as played kernels are over when they return."""

    def __init__(self) -> None:
        self.when: float | None = None

    def record(self) -> None:
        self.when = time.perf_counter()

    @property
    def done(self) -> bool:
        return False  # as if the GPU still had copies to do

    def synchronize(self) -> None:
        assert self.when is not None, "an event is waited for that was not recorded"


def elapsed_time(start: PlayedEvent, end: PlayedEvent) -> float:
    """cupy.cuda.get_elapsed_time, in milliseconds."""
    assert start.when is not None and end.when is not None
    return (end.when - start.when) * 1e3


class PlayedDevice(Device):
    """cupy.cuda.Device with what a machine is described by; none of it is of a real one."""

    compute_capability, pci_bus_id = "90", "0000:FF:00.0"

    def __init__(self, device: int | None = None) -> None:
        super().__init__(device)
        self.attributes |= {"L2CacheSize": 1 << 12, "ComputeMode": 0}

    def synchronize(self) -> None: ...


def complete(cupy: Any) -> None:
    """Give a played CuPy what only measuring needs."""
    cuda = cupy.cuda
    cuda.Event, cuda.get_elapsed_time, cuda.Device = PlayedEvent, elapsed_time, PlayedDevice
    cuda.set_allocator = lambda allocator=None: None
    cuda.runtime.getDeviceProperties = lambda device: {"name": b"Played GPU"}
    cuda.runtime.driverGetVersion = lambda: 12090
    cuda.runtime.runtimeGetVersion = lambda: 12080

    def copyto(target: Any, source: Any) -> None:
        target[...] = source

    cupy.copyto = copyto
