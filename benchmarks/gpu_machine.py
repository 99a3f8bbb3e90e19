"""Description of the machine: GPU, versions, commit. Read-only."""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import gpunet
from gpunet import backend

__all__ = ["CLOCKS", "clocks", "commit", "describe", "host", "parse_clocks", "peak", "slug"]

ROOT = Path(__file__).parent.parent

# Fields queried from nvidia-smi; old and new versions have them.
CLOCKS = (
    "pci.bus_id",
    "driver_version",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "clocks.max.mem",
    "temperature.gpu",
    "power.draw",
    "power.limit",
    "utilization.gpu",
    "memory.used",
)


# Compute capabilities with 64 float32 lanes per multiprocessor; others have 128.
_OF_64_LANES = ("7.0", "7.2", "7.5", "8.0")


def describe() -> dict[str, Any]:
    """Return the first GPU and the versions; without one, only `usable`, `reason` and `fix`."""
    probe = backend.probe_gpu()
    found: dict[str, Any] = {"usable": probe.usable, "reason": probe.reason, "fix": probe.fix}
    if not probe.usable:
        return found
    cupy = importlib.import_module("cupy")
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device(0)
    name = runtime.getDeviceProperties(0)["name"]
    attributes = device.attributes
    free, total = runtime.memGetInfo()
    capability = f"{device.compute_capability[:-1]}.{device.compute_capability[-1]}"
    multiprocessors = attributes["MultiProcessorCount"]
    clock = attributes.get("ClockRate", 0) * 1000  # from kHz
    found["device"] = {
        "name": name.decode() if isinstance(name, bytes) else str(name),
        "compute_capability": capability,
        "multiprocessors": multiprocessors,
        "clock_hz": clock,
        "fp32_peak": peak(capability, multiprocessors, clock),
        "l2_bytes": attributes.get("L2CacheSize", 0),
        "memory_bytes": total,
        "memory_free_bytes": free,
        "pci_bus_id": device.pci_bus_id,
        "exclusive": attributes.get("ComputeMode", 0) != 0,
        "visible_devices": runtime.getDeviceCount(),
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    found["versions"] = {
        "gpunet": gpunet.__version__,
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "cupy": cupy.__version__,
        "torch": _version("torch"),
        "triton": _version("triton"),
        "cuda_driver": _cuda_version(runtime.driverGetVersion()),
        "cuda_runtime": _cuda_version(runtime.runtimeGetVersion()),
    }
    return found


def peak(capability: str, multiprocessors: int, clock: int) -> int:
    """Return a GPU's peak float32 FLOP per second; 0 if its clock is unknown.

    Arguments:
        capability: compute capability, such as "9.0".
        multiprocessors: number of multiprocessors.
        clock: highest clock, in Hz.
    """
    lanes = 64 if capability in _OF_64_LANES else 128
    return multiprocessors * lanes * 2 * clock  # fused multiply-add


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cuda_version(number: int) -> str:
    """Return CUDA's version, such as 12.9 for 12090."""
    return f"{number // 1000}.{number % 1000 // 10}"


def host() -> dict[str, Any]:
    """Return the processor and its number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return {"processor": model[1] if model else platform.processor(), "cores": os.cpu_count()}


def slug(name: str) -> str:
    """Return a device's name as a file name.

    >>> slug("NVIDIA H100 80GB HBM3")
    'nvidia-h100-80gb-hbm3'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "gpu"


def clocks(pci_bus_id: str) -> dict[str, str] | None:
    """Return the GPU's current state from nvidia-smi, or None if unavailable."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={','.join(CLOCKS)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_clocks(done.stdout, pci_bus_id)


def parse_clocks(text: str, pci_bus_id: str) -> dict[str, str] | None:
    """Return the row of one GPU; the PCI domain may have 4 or 8 digits."""
    for row in csv.reader(text.splitlines(), skipinitialspace=True):
        if len(row) == len(CLOCKS) and _same_bus(row[0], pci_bus_id):
            return dict(zip(CLOCKS, (cell.strip() for cell in row), strict=True))
    return None


def _same_bus(a: str, b: str) -> bool:
    def key(address: str) -> list[int]:
        return [int(part, 16) for part in re.split(r"[:.]", address.strip())]

    try:
        return key(a) == key(b)
    except ValueError:
        return False


def commit() -> dict[str, Any] | None:
    """Return the checkout's commit and whether files differ from it; None without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return {"hash": git("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None
