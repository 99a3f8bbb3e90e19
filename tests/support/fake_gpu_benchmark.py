"""What stands for the processes and the streams of `python -m benchmarks.gpu` in its tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from benchmarks.gpu_peers import answer
from benchmarks.gpu_steps import Declined, PeerError
from tests.support.fake_cupy.gpu import Device
from tests.support.fake_cupy.streams import Event

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
            self.answers.append(PeerError(f"{contender} is not fake"))

    def tell(self, **command: Any) -> None:
        try:
            self.answers.append(answer(self.program, command, self.kept))
        except Exception as error:  # which a process says, and goes on
            self.answers.append(Declined(str(error)))

    def hear(self, seconds: float) -> Any:
        said = self.answers.pop(0)
        if isinstance(said, PeerError):
            raise said
        return json.loads(json.dumps(said))  # as a process tells it

    def close(self) -> None: ...


class BusyEvent(Event):
    """cupy.cuda.Event, as if the GPU still had copies to do."""

    done = False  # type: ignore[assignment]


class FakeDevice(Device):
    """cupy.cuda.Device with what a machine is described by; none of it is of a real one."""

    pci_bus_id = "0000:FF:00.0"

    def __init__(self, device: int | None = None) -> None:
        super().__init__(device)
        self.attributes |= {"L2CacheSize": 1 << 12, "ComputeMode": 0, "ClockRate": 1000}


def complete(cupy: Any) -> None:
    """Give a fake CuPy what only measuring needs."""
    cuda = cupy.cuda
    cuda.Event, cuda.Device = BusyEvent, FakeDevice
    cuda.runtime.getDeviceProperties = lambda device: {"name": b"Fake GPU"}
    cuda.runtime.driverGetVersion = lambda: 12090
    cuda.runtime.runtimeGetVersion = lambda: 12080

    def copyto(target: Any, source: Any) -> None:
        target[...] = source

    cupy.copyto = copyto
