"""Compare training steps with PyTorch in one run, and write benchmarks/results/train_step_cpu.*.

python -m benchmarks.train_step

Each library has a process of its own and the same number of threads, and they take turns
(A B A B ...); what counts is the ratio of their medians.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.programs import BATCH_SIZES, STEPS, set_threads

RESULTS = Path(__file__).parent / "results"


class Worker:
    """A library in a process of its own, so that its threads do not wait for another's.

    With ``with``: the process ends with the block.
    """

    def __init__(self, name: str, size: int, threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.train_step", "--worker", name]
        command += ["--batch-size", str(size), "--threads", str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def run(self, steps: int) -> dict[str, Any]:
        """Do some steps; return their seconds, and the most bytes the process has held so far."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(steps, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def work(name: str, size: int, threads: int) -> None:
    """Be a worker: for each number read, do that many steps and print what they took."""
    set_threads(threads)
    step = STEPS[name](size)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize()
    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        print(json.dumps({"times": times, "peak_memory": peak}), flush=True)


def measure(size: int, rounds: int, threads: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return seconds of each library's steps, taken in turns, and its peak memory in bytes."""
    in_a_turn = max(1, 1024 // size)
    times: dict[str, list[float]] = {name: [] for name in STEPS}
    peaks: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, size, threads)) for name in STEPS}
        for turn in range(rounds + 1):
            for name, worker in workers.items():
                done = worker.run(in_a_turn)
                peaks[name] = done["peak_memory"]
                if turn:  # the first turn warms up
                    times[name] += done["times"]
    return times, peaks


def blas_gflops() -> float:
    """Return the measured rate of a large float32 matrix product."""
    a = np.ones((1024, 1024), "float32")
    times = []
    for _ in range(20):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 1024**3 / statistics.median(times) / 1e9


def table(report: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    machine = report["machine"]
    lines = [
        "# One training step of the program, on the CPU",
        "",
        f"{report['date']}; {machine['processor']}, {machine['threads']} threads for each library; "
        f"Python {machine['python']}, NumPy {machine['numpy']}, PyTorch {machine['torch']} "
        f"(default layout). Matrix product in the same run: {report['blas_gflops']:.0f} GFLOP/s.",
        "",
        "Time of a step in microseconds per sample: median (quartiles). Peak memory: the most that",
        "the steps held beyond what was held before the first.",
        "",
        "| batch | | gpunet (NumPy) | PyTorch | gpunet / PyTorch |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in report["rows"]:
        ours, theirs = (row[name] for name in STEPS)
        cells = [
            f"{t['median']:.0f} ({t['quartiles'][0]:.0f} to {t['quartiles'][1]:.0f})"
            for t in (ours, theirs)
        ]
        ratio = ours["median"] / theirs["median"]
        lines.append(f"| {row['batch']} | us per sample | {cells[0]} | {cells[1]} | {ratio:.2f} |")
        mib = [t["peak"] / 2**20 for t in (ours, theirs)]
        lines.append(f"| | peak MiB | {mib[0]:.0f} | {mib[1]:.0f} | {mib[0] / mib[1]:.2f} |")
    lines += [
        "",
        "Written by `python -m benchmarks.train_step`.",
        "",
    ]
    return "\n".join(lines)


def describe_machine(threads: int) -> dict[str, Any]:
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.split(":")[1].strip()
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores",
        "threads": threads,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def summarize(times: list[float], size: int) -> dict[str, Any]:
    per_sample = [t / size * 1e6 for t in times]
    low, median, high = statistics.quantiles(per_sample, n=4)
    return {"median": median, "quartiles": [low, high], "steps": len(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help="turns of each library")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--worker", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.batch_size, arguments.threads)
        return
    set_threads(arguments.threads)
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(arguments.threads),
        "blas_gflops": blas_gflops(),
        "rows": [],
    }
    for size in BATCH_SIZES:
        times, peaks = measure(size, arguments.rounds, arguments.threads)
        report["rows"].append(
            {"batch": size}
            | {name: summarize(times[name], size) | {"peak": peaks[name]} for name in STEPS}
        )
    text = table(report)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "train_step_cpu.json").write_text(json.dumps(report, indent=2) + "\n")
    (RESULTS / "train_step_cpu.md").write_text(text)


if __name__ == "__main__":
    main()
