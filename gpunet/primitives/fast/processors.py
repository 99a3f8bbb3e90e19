"""How many processors this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["processor_count"]


def processor_count(root: Path = Path("/")) -> int:
    """Return how many processors the process may use, at least 1.

    The least of: the machine's processors, the affinity mask, and the CPU quotas of the process'
    control groups (what ``docker run --cpus`` sets). A quota of 2.5 processors counts as 2: all
    threads of a kernel wait for one that the system pauses.

    Arguments:
        root: the folder that holds ``proc`` and ``sys``.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min([count, *map(int, _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quotas, in processors, of the control groups that the process is in."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:  # version 2: "max 100000" or "150000 100000"
            for folder in _folders(root / "sys/fs/cgroup", path):
                yield from _ratio(*_read(folder / "cpu.max").split()[:2])
        elif "cpu" in controllers.split(","):
            for folder in _folders(root / "sys/fs/cgroup" / controllers, path):
                values = [_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
                yield from _ratio(*map(str.strip, values))


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """Yield the folder of a control group and those of the groups around it.

    Inside a container the path may be the host's, and only its last folder is mounted, at `mount`.
    """
    group = PurePosixPath(path.lstrip("/"))
    yield from (mount / part for part in (group, *group.parents))


def _ratio(quota: str = "", period: str = "") -> Iterator[float]:
    """Yield the quota as a number of processors, nothing where there is none."""
    if quota.isdigit() and period.isdigit() and int(period):
        yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
