"""The files of a run on the CPU: cpu.json, which a later run can add to, and cpu.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import cpu_floors, cpu_tables
from benchmarks.cases import PARTS

__all__ = ["MachineError", "load", "markdown", "write"]

Record = dict[str, Any]

START_TITLE = "First step of a process"
START_ABOUT = (
    "From the start of a process to the end of its first training step, batch 32, imports "
    "included; first with no kernel compiled, then with what that left in the cache."
)

_INTRODUCTION = """
Ours and the peers' in turn within one run (A B A B), each in a process of its own, with the same
number of threads and the same images; medians and quartiles of single calls. *To gpunet*: the
time of the row over that of gpunet, so above 1 gpunet is faster. Where a library has several ways,
all were tried and the fastest was taken: it is named. *GFLOP/s* counts the arithmetic of the plain
algorithm (16.2 MFLOP a sample for a training step), whatever the library did; *of sgemm* is its
share of what a product of 1024x1024 float32 matrices by NumPy reached in turns beside it. *Peak
MiB*: the most that the calls held beyond what was held before the first, libraries loaded; *process
MiB*: all that the process held then. *Pages kept* is PyTorch with the C library told to keep freed
pages, where fresh ones are dear.
"""

_FLOORS = """
## What gpunet sets out for

Ratios are of medians within a part. *gpunet* is gpunet (Numba), or gpunet (NumPy) where Numba was
not measured. PyTorch's better layout is the faster of its default and channels_last.
"""

_DRY = "**A dry run: it shows that everything works, and its numbers mean nothing.**"


class MachineError(Exception):
    """Results of two machines would stand in one file; the message says what to do."""


def load(folder: Path, machine: Record, quick: bool) -> Record:
    """Return the report in a folder, to measure parts of it again; an empty one if there is none.

    Raises:
        MachineError: the report there is of another machine, or a dry run and this is none.
    """
    file = folder / "cpu.json"
    empty: Record = {"machine": machine, "quick": quick, "parts": {}}
    if not file.exists():
        return empty
    report = json.loads(file.read_text())
    for what, here in (("machine", machine), ("quick", quick)):
        if report[what] != here:
            raise MachineError(
                f"{file} has {what} {report[what]}, and this run has {here}: name another folder "
                "with --output, or remove the file."
            )
    return report


def write(report: Record, folder: Path) -> list[Path]:
    """Write a report to cpu.json and cpu.md in a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"cpu.json": json.dumps(report, indent=1) + "\n", "cpu.md": markdown(report)}
    for name, text in texts.items():
        part = folder / f"{name}.part"
        part.write_text(text)
        part.replace(folder / name)  # an interrupt leaves a whole file
    return [folder / name for name in texts]


def markdown(report: Record) -> str:
    """Return a report as Markdown."""
    machine, parts = report["machine"], report["parts"]
    found = cpu_floors.floors({name: part["records"] for name, part in parts.items()})
    lines = ["# gpunet on the CPU", ""]
    if report["quick"]:
        lines += [_DRY, ""]
    lines += [f"{machine['processor']}, {machine['cores']} cores; {_versions(parts)}.", ""]
    lines += [*_INTRODUCTION.strip().splitlines(), ""]
    if report.get("plot"):
        lines += [f"![Times of each library]({report['plot']})", ""]
    lines += [*_FLOORS.strip().splitlines(), "", *cpu_floors.table(found)]
    for name in (*PARTS, "start"):
        if name in parts:
            lines += _part(name, parts[name])
    return "\n".join([*lines, "", "Written by `python -m benchmarks.cpu`.", ""])


def _part(name: str, part: Record) -> list[str]:
    title, about = (START_TITLE, START_ABOUT) if name == "start" else PARTS[name][:2]
    commit = part.get("commit")
    at = f", commit {commit['hash'][:10]}{' with changes' * commit['changed']}" if commit else ""
    run = f"{part['date']}{at}, {part['threads']} threads for each library."
    table = {"start": cpu_tables.starts, "mnist": cpu_tables.accuracies}.get(
        name, cpu_tables.operations
    )
    return ["", f"## {title}", "", f"{about} {run}", *table(part["records"])]


def _versions(parts: Record) -> str:
    """Return the versions of all libraries that were measured."""
    found: dict[str, set[str]] = {}
    for part in parts.values():
        for record in part["records"]:
            for result in record["results"].values():
                for library, version in result.get("versions", {}).items():
                    found.setdefault(library, set()).add(version)
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in found) or "nothing"
