"""Test and measure gpunet on this machine's GPU, and write benchmarks/results/<device>.json, .md.

python -m benchmarks.gpu

It runs the gpu-marked tests, compute-sanitizer where it is installed, and then measures: the GPU's
ceilings, training steps and epochs beside PyTorch's, convolutions beside cuDNN's, the program's
kernels. It ends by itself within 8 minutes; the files are written after each part, and hold only
what this run measured, beside what gpunet sets out for. The GPU's settings stay as they are.
Without a usable GPU it ends with code 2.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import gpu_checks, gpu_machine, gpu_report, gpu_steps
from benchmarks.gpu_kernels import JOBS, Sizes
from benchmarks.gpu_steps import Peer, PeerError, Worker
from benchmarks.gpu_timing import Deadline

__all__ = ["Part", "main", "make_parts", "no_gpu", "run"]

Record = dict[str, Any]
Records = Callable[[str, Deadline], Iterator[Record]]

RESULTS = Path(__file__).parent / "results"

_MINUTES = 8.0
_RESERVE = 15.0  # seconds kept to end what still runs, and to write
_GRACE = 5.0  # seconds that a job may take longer than it was told
_LEFT_OUT = "left out: time"


class Part(NamedTuple):
    """A part of a run.

    Attributes:
        title: what it does.
        share: of all the time, what it may take at most.
        least: seconds without which it is not begun.
        records: yields what it finds, given its deadline and the device.
    """

    title: str
    share: float
    least: float
    records: Callable[[Deadline, Record], Iterator[Record]]


def in_a_process(job: str, deadline: Deadline) -> Iterator[Record]:
    """Yield the records of a job in a process of its own: what it breaks, it breaks there.

    Raises:
        PeerError: it ended before its end, or took too long.
    """
    command = [sys.executable, "-m", "benchmarks.gpu", "--job", job]
    worker = Peer(job, [*command, "--seconds", f"{deadline.left():.1f}"])
    try:
        while "end" not in (said := worker.hear(deadline.left() + _GRACE)):
            yield said["record"]
    finally:
        worker.close()


def do_job(job: str, seconds: float) -> None:
    """Be that process: print each record as a line."""
    if job == "describe":
        records = iter([gpu_machine.describe()])
    else:
        records = JOBS[job](Deadline(seconds), Sizes())
    for record in records:
        print(json.dumps({"record": record}), flush=True)
    print(json.dumps({"end": True}), flush=True)


def make_parts(
    jobs: Records = in_a_process, start: Callable[[str], Worker] = Peer
) -> dict[str, Part]:
    """Return the parts in their order.

    Arguments:
        jobs: yields the records of a job.
        start: starts a library that takes part in the comparison.
    """

    def of(*names: str) -> Callable[[Deadline, Record], Iterator[Record]]:
        def records(deadline: Deadline, device: Record) -> Iterator[Record]:
            for name in names:
                yield from _told(name, jobs(name, deadline))

        return records

    ceilings = of("ceilings", "ceilings-tf32", "ceilings-torch")
    convolutions = of("convolutions", "convolutions-torch", "convolutions-tf32")
    return {
        "tests": Part("the gpu-marked tests", 0.3, 20, gpu_checks.run_tests),
        "sanitizer": Part(
            "a small step under compute-sanitizer", 0.06, 15,
            lambda deadline, device: gpu_checks.run_sanitizer(deadline),
        ),
        "ceilings": Part("what the GPU reaches", 0.06, 10, ceilings),
        "steps": Part(
            "training steps", 0.32, 20,
            lambda deadline, device: gpu_steps.compare_steps(deadline, start),
        ),
        "epochs": Part(
            "epochs of MNIST", 0.14, 20,
            lambda deadline, device: gpu_steps.compare_epochs(deadline, start),
        ),
        "convolutions": Part("ResNet-50's 3x3 convolutions", 0.12, 10, convolutions),
        "kernels": Part("the program's kernels", 0.14, 10, of("kernels")),
        "profile": Part("where a training step spends its time", 0.05, 5, of("profile")),
    }  # fmt: skip


def _told(name: str, records: Iterator[Record]) -> Iterator[Record]:
    """Yield records, and as the last one what broke them off."""
    try:
        yield from records
    except PeerError as error:
        yield {"job": name, "error": str(error)}


def run(
    parts: dict[str, Part], report: Record, deadline: Deadline, write: Callable[[], None]
) -> None:
    """Do the parts, each within its time, and put what they find into the report.

    Arguments:
        parts: what to do, in this order.
        report: what is known so far, with the device.
        deadline: when to stop.
        write: writes the report; called after each part.
    """
    total = deadline.left()
    for name, part in parts.items():
        entry: Record = {"title": part.title, "records": []}
        report["parts"][name] = entry
        if deadline.left() < part.least:
            entry["state"] = _LEFT_OUT
        else:
            before = deadline.left()
            limit = deadline.part(part.share * total)
            try:
                for record in part.records(limit, report["device"]):
                    entry["records"].append(record)
                entry["state"] = "done"
            except Exception as error:
                entry["state"] = f"broken off: {type(error).__name__}: {error}"
            entry["seconds"] = round(before - deadline.left(), 1)
        print(f"{name}: {gpu_report.in_a_line(entry)}", flush=True)
        write()


def no_gpu(found: Record) -> str:
    """Return the line that says why nothing was measured, and what to do."""
    return f"No usable GPU: {found['reason']} Fix: {found['fix']}"


def main(
    arguments: list[str] | None = None,
    jobs: Records = in_a_process,
    start: Callable[[str], Worker] = Peer,
) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.list:
        for name, part in make_parts().items():
            print(f"{name:14}{part.title}")
        return 0
    if options.small_step:
        gpu_checks.small_step()
        return 0
    if options.job:
        do_job(options.job, float(options.seconds))
        return 0
    deadline = Deadline(options.minutes * 60 - _RESERVE)
    try:
        (found,) = jobs("describe", deadline.part(60))
    except PeerError as error:
        found = {"usable": False, "reason": f"Asking for it failed: {error}.", "fix":
                 "Run python -m gpunet doctor."}  # fmt: skip
    if not found["usable"]:
        print(no_gpu(found), file=sys.stderr)
        return 2
    parts = {
        name: part
        for name, part in make_parts(jobs, start).items()
        if not options.only or name in options.only
    }
    return _measure(parts, found, options, deadline)


def _measure(
    parts: dict[str, Part], found: Record, options: argparse.Namespace, deadline: Deadline
) -> int:
    device = found["device"]
    report: Record = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "minutes": options.minutes,
        "device": device,
        "versions": found["versions"],
        "host": gpu_machine.host(),
        "commit": gpu_machine.commit(),
        "clocks": {"before": gpu_machine.clocks(device["pci_bus_id"])},
        "parts": {},
    }
    # A run of some parts does not take the place of a whole one.
    name = "-".join([gpu_machine.slug(device["name"]), *sorted(options.only or [])])
    options.output.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        for suffix, text in ((".json", json.dumps(report, indent=2) + "\n"),
                             (".md", gpu_report.markdown(report))):  # fmt: skip
            file = options.output / f"{name}{suffix}"
            part = file.with_suffix(f"{suffix}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(file)  # so that a reader never finds half a file

    run(parts, report, deadline, write)
    report["clocks"]["after"] = gpu_machine.clocks(device["pci_bus_id"])
    write()
    print(f"Written: {options.output / name}.json and .md")
    return 1 if gpu_report.problems(report) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__.split("\n\n")[2]
    )
    parser.add_argument("--minutes", type=_minutes, default=_MINUTES, help="8 by default")
    parser.add_argument(
        "--only", nargs="+", metavar="PART", choices=list(make_parts()), help="see --list"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="name the parts")
    for name, kind in (("--small-step", "store_true"), ("--job", "store"), ("--seconds", "store")):
        parser.add_argument(name, action=kind, help=argparse.SUPPRESS)  # for its own processes
    parser.set_defaults(seconds=0.0)
    return parser


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0.5 <= minutes <= 60:
        raise argparse.ArgumentTypeError(f"expected minutes from 0.5 to 60, received {text}")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
