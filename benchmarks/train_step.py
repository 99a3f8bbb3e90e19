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
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.programs import BATCH_SIZES, CONTENDERS, set_threads
from benchmarks.workers import Worker

RESULTS = Path(__file__).parent / "results"


def measure(size: int, rounds: int, threads: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return seconds of each library's steps, taken in turns, and its peak memory in bytes."""
    in_a_turn = max(1, 1024 // size)
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    peaks: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, size, threads)) for name in CONTENDERS}
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
        "the steps held beyond what was held before the first. *Pages kept* is PyTorch with the C",
        "library told to keep freed pages (`KEEP_PAGES` in `benchmarks/programs.py`), where fresh",
        "ones are dear; gpunet reuses its large arrays itself.",
        "",
        f"| batch | | {' | '.join(CONTENDERS)} | ratio to PyTorch | to pages kept |",
        f"| --- | --- |{' --- |' * (len(CONTENDERS) + 2)}",
    ]
    for row in report["rows"]:
        shown = [row[name] for name in CONTENDERS]
        cells = [
            f"{t['median']:.0f} ({t['quartiles'][0]:.0f} to {t['quartiles'][1]:.0f})" for t in shown
        ]
        cells += [f"{shown[0]['median'] / other['median']:.2f}" for other in shown[1:]]
        lines.append(f"| {row['batch']} | us per sample | {' | '.join(cells)} |")
        cells = [f"{t['peak'] / 2**20:.0f}" for t in shown]
        cells += [f"{shown[0]['peak'] / other['peak']:.2f}" for other in shown[1:]]
        lines.append(f"| | peak MiB | {' | '.join(cells)} |")
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
    arguments = parser.parse_args()
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
            | {name: summarize(times[name], size) | {"peak": peaks[name]} for name in CONTENDERS}
        )
    text = table(report)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "train_step_cpu.json").write_text(json.dumps(report, indent=2) + "\n")
    (RESULTS / "train_step_cpu.md").write_text(text)


if __name__ == "__main__":
    main()
