"""Files of a run on the CPU: cpu.json, which later runs update part by part, and cpu.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import cpu_tables, cpu_targets
from benchmarks.cases import PARTS

__all__ = ["MachineError", "load", "markdown", "write"]

Record = dict[str, Any]

START_TITLE = "First step of a process"
START_ABOUT = (
    "From the start of a process to the end of its first training step, batch 32, imports "
    "included; with an empty kernel cache, then with a filled one."
)

_INTRODUCTION = """
Libraries take turns within one run (A B A B), each in its own process, with the same number of
threads and the same images. Times are medians (quartiles) of single calls.

- *To gpunet*: the row's time divided by gpunet's; above 1, gpunet is faster.
- A library with several variants is measured with its fastest one, which is named.
- *GFLOP/s* counts the arithmetic of the direct algorithm (16.2 MFLOP a sample for a training step),
  whatever algorithm the library used. *Of sgemm*: its share of the rate of NumPy's 1024x1024
  float32 matrix product, measured in turns with it.
- *Peak MiB*: the peak memory of the calls, beyond the memory held before the first call. *Process
  MiB*: the peak memory of the process.
- *Pages kept*: PyTorch with `malloc` configured to reuse freed pages, since fresh pages are slow on
  some systems.
"""

_FLOORS = """
## Targets

Ratios are of medians within a part. *gpunet* is gpunet (Numba), or gpunet (NumPy) if Numba was not
measured. *PyTorch's better layout* is the faster of its default and channels_last.
"""

_DRY = "**A dry run: it shows that the programs work; its numbers mean nothing.**"


class MachineError(Exception):
    """Results of two machines would mix in one file; the message says how to avoid it."""


def load(folder: Path, machine: Record, quick: bool) -> Record:
    """Return the report in a folder, to be updated; an empty one if there is none.

    Raises:
        MachineError: the report is of another machine, or only one of both is a dry run.
    """
    file = folder / "cpu.json"
    empty: Record = {"machine": machine, "quick": quick, "parts": {}}
    if not file.exists():
        return empty
    report = json.loads(file.read_text())
    for what, here in (("machine", machine), ("quick", quick)):
        if report[what] != here:
            raise MachineError(
                f"{file} has {what} {report[what]}, this run has {here}: name another folder with "
                "--output, or remove the file."
            )
    return report


def write(report: Record, folder: Path) -> list[Path]:
    """Write a report to cpu.json and cpu.md in a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"cpu.json": json.dumps(report, indent=1) + "\n", "cpu.md": markdown(report)}
    for name, text in texts.items():
        part = folder / f"{name}.part"
        part.write_text(text)
        part.replace(folder / name)  # atomic: an interrupt leaves no partial file
    return [folder / name for name in texts]


def markdown(report: Record) -> str:
    """Return a report as Markdown."""
    machine, parts = report["machine"], report["parts"]
    found = cpu_targets.targets({name: part["records"] for name, part in parts.items()})
    lines = ["# gpunet on the CPU", ""]
    if report["quick"]:
        lines += [_DRY, ""]
    lines += [f"{machine['processor']}, {machine['cores']} cores; {_versions(parts)}.", ""]
    lines += [*_INTRODUCTION.strip().splitlines(), ""]
    if report.get("plot"):
        lines += [f"![Times of each library]({report['plot']})", ""]
    lines += [*_FLOORS.strip().splitlines(), "", *cpu_targets.table(found)]
    for name in (*PARTS, "start"):
        if name in parts:
            lines += _part(name, parts[name])
    return "\n".join([*lines, "", "Written by `python -m benchmarks.cpu`.", ""])


def _part(name: str, part: Record) -> list[str]:
    title, about = (START_TITLE, START_ABOUT) if name == "start" else PARTS[name][:2]
    commit = part.get("commit")
    at = (
        f", commit {commit['hash'][:10]}{' with local changes' * commit['changed']}"
        if commit
        else ""
    )
    run = f"{part['date']}{at}, {part['threads']} threads for each library."
    table = {"start": cpu_tables.starts, "mnist": cpu_tables.accuracies}.get(
        name, cpu_tables.operations
    )
    return ["", f"## {title}", "", f"{about} {run}", *table(part["records"])]


def _versions(parts: Record) -> str:
    """Return the versions of all measured libraries."""
    found: dict[str, set[str]] = {}
    for part in parts.values():
        for record in part["records"]:
            for result in record["results"].values():
                for library, version in result.get("versions", {}).items():
                    found.setdefault(library, set()).add(version)
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in found) or "nothing"
