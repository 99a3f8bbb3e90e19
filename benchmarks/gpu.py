"""Test and measure gpunet on this machine's GPU, and write benchmarks/results/<device>.json, .md.

python -m benchmarks.gpu

Runs the gpu-marked tests and compute-sanitizer (if installed), then measures: the GPU's ceilings,
training steps and epochs compared with PyTorch, convolutions compared with cuDNN, and the program's
kernels. Takes at most 8 minutes. The files are written after each part, and contain only what this
run measured, compared with gpunet's targets. The GPU's settings are not changed. Without a usable
GPU, exits with code 2.
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
from benchmarks.gpu_timing import OUT_OF_TIME, Deadline

__all__ = ["Part", "main", "make_parts", "no_gpu_message", "run"]

Record = dict[str, Any]
Records = Callable[[str, Deadline], Iterator[Record]]

RESULTS = Path(__file__).parent / "results"

_MINUTES = 8.0
_RESERVE = 15.0  # seconds to end processes and write the report
_GRACE = 5.0  # seconds that a job may exceed its deadline


class Part(NamedTuple):
    """A part of a run.

    Attributes:
        title: description.
        share: largest share of the total time.
        least: seconds required to start it.
        records: yields results, given a deadline and the device.
    """

    title: str
    share: float
    least: float
    records: Callable[[Deadline, Record], Iterator[Record]]


def run_in_process(job: str, deadline: Deadline) -> Iterator[Record]:
    """Yield the records of a job, run in its own process: a crash stays there.

    Raises:
        PeerError: the job crashed or took too long.
    """
    command = [sys.executable, "-m", "benchmarks.gpu", "--job", job]
    worker = Peer(job, [*command, "--seconds", f"{deadline.left():.1f}"])
    try:
        while "end" not in (reply := worker.receive(deadline.left() + _GRACE)):
            yield reply["record"]
    finally:
        worker.close()


def run_job(job: str, seconds: float) -> None:
    """Run a job in this process; print each record as a line of JSON."""
    if job == "describe":
        records = iter([gpu_machine.describe()])
    else:
        records = JOBS[job](Deadline(seconds), Sizes())
    for record in records:
        print(json.dumps({"record": record}), flush=True)
    print(json.dumps({"end": True}), flush=True)


def make_parts(
    jobs: Records = run_in_process, start: Callable[[str], Worker] = Peer
) -> dict[str, Part]:
    """Return the parts, in order.

    Arguments:
        jobs: yields the records of a job.
        start: starts a contender's process.
    """

    def of(*names: str) -> Callable[[Deadline, Record], Iterator[Record]]:
        def records(deadline: Deadline, device: Record) -> Iterator[Record]:
            for name in names:
                yield from _with_error(name, jobs(name, deadline))

        return records

    ceilings = of("ceilings", "ceilings-tf32", "ceilings-torch")
    convolutions = of("convolutions", "convolutions-torch", "convolutions-tf32")
    return {
        "tests": Part("the gpu-marked tests", 0.3, 20, gpu_checks.run_tests),
        "sanitizer": Part(
            "a small step under compute-sanitizer", 0.06, 15,
            lambda deadline, device: gpu_checks.run_sanitizer(deadline),
        ),
        "ceilings": Part("the GPU's ceilings", 0.06, 10, ceilings),
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


def _with_error(name: str, records: Iterator[Record]) -> Iterator[Record]:
    """Yield records; if the job fails, the error as the last one."""
    try:
        yield from records
    except PeerError as error:
        yield {"job": name, "error": str(error)}


def run(
    parts: dict[str, Part], report: Record, deadline: Deadline, write: Callable[[], None]
) -> None:
    """Run the parts, each within its time, and add their records to the report.

    Arguments:
        parts: parts to run, in order.
        report: report to extend; has the device.
        deadline: end of the run.
        write: writes the report; called after each part.
    """
    total = deadline.left()
    for name, part in parts.items():
        entry: Record = {"title": part.title, "records": []}
        report["parts"][name] = entry
        if deadline.left() < part.least:
            entry["state"] = OUT_OF_TIME
        else:
            before = deadline.left()
            limit = deadline.part(part.share * total)
            try:
                for record in part.records(limit, report["device"]):
                    entry["records"].append(record)
                entry["state"] = "done"
            except Exception as error:
                entry["state"] = f"aborted: {type(error).__name__}: {error}"
            entry["seconds"] = round(before - deadline.left(), 1)
        print(f"{name}: {gpu_report.one_line(entry)}", flush=True)
        write()


def no_gpu_message(found: Record) -> str:
    """Return why nothing was measured, and the fix, on one line."""
    return f"No usable GPU: {found['reason']} Fix: {found['fix']}"


def main(
    arguments: list[str] | None = None,
    jobs: Records = run_in_process,
    start: Callable[[str], Worker] = Peer,
) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.list:
        for name, part in make_parts().items():
            print(f"{name:14}{part.title}")
        return 0
    if options.small_step:
        gpu_checks.small_step()
        return 0
    if options.job:
        run_job(options.job, float(options.seconds))
        return 0
    deadline = Deadline(options.minutes * 60 - _RESERVE)
    try:
        (found,) = jobs("describe", deadline.part(60))
    except PeerError as error:
        found = {"usable": False, "reason": f"Querying the GPU failed: {error}.", "fix":
                 "Run python -m gpunet doctor."}  # fmt: skip
    if not found["usable"]:
        print(no_gpu_message(found), file=sys.stderr)
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
    # A partial run does not overwrite a full one.
    name = "-".join([gpu_machine.slug(device["name"]), *sorted(options.only or [])])
    options.output.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        for suffix, text in ((".json", json.dumps(report, indent=2) + "\n"),
                             (".md", gpu_report.markdown(report))):  # fmt: skip
            file = options.output / f"{name}{suffix}"
            part = file.with_suffix(f"{suffix}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(file)  # atomic: readers never see a partial file

    run(parts, report, deadline, write)
    report["clocks"]["after"] = gpu_machine.clocks(device["pci_bus_id"])
    write()
    print(f"Written: {options.output / name}.json and .md")
    return 1 if gpu_report.problems(report) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__.split("\n\n")[2]
    )
    parser.add_argument("--minutes", type=_minutes, default=_MINUTES, help="default 8")
    parser.add_argument(
        "--only", nargs="+", metavar="PART", choices=list(make_parts()), help="see --list"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="list the parts")
    for name, kind in (("--small-step", "store_true"), ("--job", "store"), ("--seconds", "store")):
        parser.add_argument(name, action=kind, help=argparse.SUPPRESS)  # internal
    parser.set_defaults(seconds=0.0)
    return parser


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0.5 <= minutes <= 60:
        raise argparse.ArgumentTypeError(f"expected minutes from 0.5 to 60, received {text}")
    return minutes


if __name__ == "__main__":
    sys.exit(main())
