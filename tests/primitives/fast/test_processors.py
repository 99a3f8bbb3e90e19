"""How many processors a process may use: CPU quotas of control groups, as containers have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("numba")
from gpunet.primitives.fast.processors import processor_count

# A container of its own namespace sees "/"; else the host's path, of which it mounts only the end.
CASES = {
    "version 2, in a namespace": ("0::/", {"cpu.max": "300000 100000"}, 3),
    "version 2, a part is not counted": ("0::/", {"cpu.max": "250000 100000"}, 2),
    "version 2, less than one": ("0::/", {"cpu.max": "50000 100000"}, 1),
    "version 2, no quota": ("0::/", {"cpu.max": "max 100000"}, 8),
    "version 2, of a group around it": (
        "0::/slice/unit",
        {"slice/cpu.max": "200000 100000", "slice/unit/cpu.max": "max 100000"},
        2,
    ),
    "version 1": (
        "5:memory:/\n4:cpu,cpuacct:/docker/abc",
        {
            "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "400000\n",
            "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
        },
        4,
    ),
    "version 1, the host's path": (
        "4:cpu:/kubepods/abc",
        {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "50000\n"},
        4,
    ),
    "version 1, no quota": (
        "4:cpu:/",
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        8,
    ),
    "a quota above the machine's": ("0::/", {"cpu.max": "6400000 100000"}, 8),
    "files that say nothing": ("nothing\n0::/", {"cpu.max": ""}, 8),
}


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.mark.parametrize("case", CASES)
def test_quotas_of_control_groups(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, files, expected = CASES[case]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    write(tmp_path / "proc/self/cgroup", groups)
    for name, content in files.items():
        write(tmp_path / "sys/fs/cgroup" / name, content)
    assert processor_count(tmp_path) == expected


def test_a_system_without_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert processor_count(tmp_path) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processor_count(tmp_path) == 1
