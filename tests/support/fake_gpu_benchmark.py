"""Stand-ins for the processes and streams of `python -m benchmarks.gpu`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.gpu_peers import answer
from benchmarks.gpu_steps import Declined, PeerError
from tests.support.fake_cupy.gpu import Device
from tests.support.fake_cupy.streams import Event

__all__ = ["InProcessPeer", "add_timing"]


class InProcessPeer:
    """A contender that runs in the process of the test."""

    def __init__(self, contender: str, programs: dict[str, Callable[[], Any]]) -> None:
        self.answers: list[Any] = []
        self.state: dict[str, Any] = {}
        if contender in programs:
            self.program = programs[contender]()
            self.answers.append({"ready": contender})
        else:
            self.answers.append(PeerError(f"{contender} is not fake"))

    def send(self, **command: Any) -> None:
        try:
            self.answers.append(answer(self.program, command, self.state))
        except Exception as error:  # a process answers with the error, and continues
            self.answers.append(Declined(str(error)))

    def receive(self, seconds: float) -> Any:
        reply = self.answers.pop(0)
        if isinstance(reply, PeerError):
            raise reply
        return json.loads(json.dumps(reply))  # as if from a process

    def close(self) -> None: ...


class BusyEvent(Event):
    """cupy.cuda.Event of a GPU that is still busy with copies."""

    done = False  # type: ignore[assignment]


class FakeDevice(Device):
    """cupy.cuda.Device with made-up properties of a machine."""

    pci_bus_id = "0000:FF:00.0"

    def __init__(self, device: int | None = None) -> None:
        super().__init__(device)
        self.attributes |= {"L2CacheSize": 1 << 12, "ComputeMode": 0, "ClockRate": 1000}


def add_timing(cupy: Any) -> None:
    """Add to a fake CuPy what only benchmarks need."""
    cuda = cupy.cuda
    cuda.Event, cuda.Device = BusyEvent, FakeDevice
    cuda.runtime.getDeviceProperties = lambda device: {"name": b"Fake GPU"}
    cuda.runtime.driverGetVersion = lambda: 12090
    cuda.runtime.runtimeGetVersion = lambda: 12080

    def copyto(target: Any, source: Any) -> None:
        target[...] = source

    cupy.copyto = copyto
