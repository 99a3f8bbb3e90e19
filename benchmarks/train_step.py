"""Compare training steps with PyTorch in one run, and write benchmarks/results/train_step_cpu.*.

python -m benchmarks.train_step

The libraries take turns (A B A B ...) with the same number of threads; what counts is the ratio
of their medians. Peak memory is measured in a process of its own for each: the most that a step
of batch 1024 holds, beyond what was held before the first step.
"""

from __future__ import annotations

import argparse
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
MEMORY_BATCH = 1024


def measure_times(size: int, rounds: int, threads: int) -> dict[str, list[float]]:
    """Return seconds of each library's steps, taken in turns of a few steps each."""
    set_threads(threads)
    steps = {name: make(size) for name, make in STEPS.items()}
    in_a_turn = max(1, 512 // size)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            for _ in range(in_a_turn):
                start = time.perf_counter()
                step()
                if turn:  # the first turn warms up
                    times[name].append(time.perf_counter() - start)
    return times


def measure_peak_memory(name: str) -> int:
    """Return the most bytes that steps of one library held beyond what was held before them."""
    command = [sys.executable, "-m", "benchmarks.train_step", "--peak-memory-of", name]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed.split()[-1])


def print_peak_memory(name: str) -> None:
    step = STEPS[name](MEMORY_BATCH)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    before = pages * resource.getpagesize()
    for _ in range(3):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


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
        "Median time of a step in microseconds per sample (quartiles), the libraries in turns:",
        "",
        "| batch | gpunet (NumPy) | PyTorch | gpunet / PyTorch |",
        "| --- | --- | --- | --- |",
    ]
    for row in report["times"]:
        ours, theirs = row["gpunet (NumPy)"], row["PyTorch"]
        cells = [
            f"{t['median']:.0f} ({t['quartiles'][0]:.0f} to {t['quartiles'][1]:.0f})"
            for t in (ours, theirs)
        ]
        ratio = ours["median"] / theirs["median"]
        lines.append(f"| {row['batch']} | {cells[0]} | {cells[1]} | {ratio:.2f} |")
    memory = report["peak_memory"]
    lines += [
        "",
        f"Peak memory of steps of batch {MEMORY_BATCH}, beyond what was held before the first:",
        "",
        "| gpunet (NumPy) | PyTorch | gpunet / PyTorch |",
        "| --- | --- | --- |",
        f"| {memory['gpunet (NumPy)'] / 2**20:.0f} MiB | {memory['PyTorch'] / 2**20:.0f} MiB | "
        f"{memory['gpunet (NumPy)'] / memory['PyTorch']:.2f} |",
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
    parser.add_argument("--peak-memory-of", choices=STEPS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_memory_of:
        print_peak_memory(arguments.peak_memory_of)
        return
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(arguments.threads),
        "peak_memory": {name: measure_peak_memory(name) for name in STEPS},
        "times": [],
    }
    set_threads(arguments.threads)
    report["blas_gflops"] = blas_gflops()
    for size in BATCH_SIZES:
        times = measure_times(size, arguments.rounds, arguments.threads)
        report["times"].append(
            {"batch": size} | {name: summarize(t, size) for name, t in times.items()}
        )
    text = table(report)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "train_step_cpu.json").write_text(json.dumps(report, indent=2) + "\n")
    (RESULTS / "train_step_cpu.md").write_text(text)


if __name__ == "__main__":
    main()
