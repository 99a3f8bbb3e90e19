"""Correctness on a GPU: the gpu-marked tests, and a small step under compute-sanitizer."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gpunet
from benchmarks.gpu_machine import ROOT
from benchmarks.gpu_timing import Deadline
from examples.mnist_cnn import build_model

__all__ = [
    "count_outcomes", "find_sanitizer", "read_summary", "run_sanitizer", "run_tests",
    "small_step",
]  # fmt: skip

Record = dict[str, Any]

_MOST_PROCESSES = 8  # each compiles kernels on its own core
_NEIGHBOURS = 8  # tests that stay in one process
_MEMORY_OF_A_PROCESS = 1 << 30

_OUTCOME = re.compile(
    r"^(?P<test>\S+\.py::.*?) (?P<outcome>PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b"
    r"(?: \((?P<reason>.*?)\))?",
    re.MULTILINE,
)
_SUMMARIES = {
    "memcheck": re.compile(r"ERROR SUMMARY: (\d+) error"),
    "racecheck": re.compile(r"RACECHECK SUMMARY: (\d+) hazards? displayed"),
}


def run_tests(deadline: Deadline, device: Record, where: str = "tests") -> Iterator[Record]:
    """Run the gpu-marked tests in parallel processes; yield their outcomes.

    Arguments:
        deadline: when to kill them.
        device: determines how many processes fit.
        where: file or folder of the tests.
    """
    try:
        importlib.import_module("pytest")
        importlib.import_module("hypothesis")
    except ImportError as error:
        yield {"absent": "the tests", "why": f'{error}: pip install -e ".[dev]"'}
        return
    listed = _finish([_start([*_pytest(), "--collect-only", "-q", "-m", "gpu", where])], deadline)[
        0
    ]
    tests = [line for line in listed.splitlines() if "::" in line and not line[0].isspace()]
    if not tests:
        yield {"error": f"no gpu-marked test was found: {_tail(listed)}"}
        return
    count = _processes(device, len(tests))
    # -v and a wide screen: a line for each test, with the reason of a skip.
    options = ["-v", "--slow", "--no-header", "-p", "no:cacheprovider", "--tb=short"]
    parts: list[list[str]] = [[] for _ in range(count)]
    for number, test in enumerate(tests):  # neighbours often share kernels
        parts[number // _NEIGHBOURS % count].append(test)
    started = [_start([*_pytest(), *options, *part]) for part in parts if part]
    outputs = _finish(started, deadline)
    yield {"tests": len(tests), "processes": count} | count_outcomes("\n".join(outputs))


def _pytest() -> list[str]:
    return [sys.executable, "-m", "pytest"]


def _processes(device: Record, tests: int) -> int:
    """Return the number of test processes, limited by cores, GPU memory and compute mode."""
    if device.get("exclusive"):  # compute mode: one process at a time
        return 1
    memory = device.get("memory_free_bytes", 0) // _MEMORY_OF_A_PROCESS
    return max(1, min(_MOST_PROCESSES, (os.cpu_count() or 1) // 2, memory, tests))


def count_outcomes(output: str) -> Record:
    """Return how many tests passed, failed and were skipped, with the reasons of skips.

    Arguments:
        output: output of ``pytest -v``, possibly truncated.
    """
    outcomes: dict[str, str] = {}
    reasons: dict[str, int] = {}
    for found in _OUTCOME.finditer(output):
        if found["test"] not in outcomes and found["outcome"] == "SKIPPED":
            reason = found["reason"] or "no reason given"
            reasons[reason] = reasons.get(reason, 0) + 1
        outcomes[found["test"]] = found["outcome"]
    failed = [test for test, outcome in outcomes.items() if outcome in ("FAILED", "ERROR")]
    counted = list(outcomes.values())
    return {
        "passed": counted.count("PASSED") + counted.count("XFAIL"),
        "failed": len(failed),
        "skipped": counted.count("SKIPPED"),
        "failures": failed[:50],
        "reasons": reasons,
        "messages": re.findall(r"^E   .*", output, re.MULTILINE)[:50],
    }


def run_sanitizer(deadline: Deadline) -> Iterator[Record]:
    """Run a small training step under memcheck and racecheck; yield their findings."""
    tool = find_sanitizer()
    if tool is None:
        yield {"absent": "compute-sanitizer", "why": "found neither on PATH nor in the CUDA folder"}
        return
    for name in _SUMMARIES:
        if deadline.passed():
            yield {"left_out": name}
            continue
        # Check kernels only: CuPy queries the runtime for features that some drivers lack.
        options = ["--tool", name, "--report-api-errors", "no", "--target-processes", "all"]
        step = [sys.executable, "-m", "benchmarks.gpu", "--small-step"]
        (output,) = _finish([_start([tool, *options, *step])], deadline)
        yield {"check": name} | read_summary(name, output)


def find_sanitizer() -> str | None:
    """Return the path of compute-sanitizer, or None if it is not installed."""
    folders = [os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    places = [str(Path(folder) / "bin") for folder in folders if folder]
    return shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(places)
    )


def read_summary(name: str, output: str) -> Record:
    """Return how many errors a tool found; a missing summary is an error too."""
    found = [int(count) for count in _SUMMARIES[name].findall(output)]
    if not found:
        return {"error": f"no summary, so nothing was checked: {_tail(output)}"}
    if "small step done" not in output:
        return {"error": f"the step did not finish: {_tail(output)}"}
    messages = [line for line in output.splitlines() if line.startswith("=========")]
    return {"found": sum(found), "messages": messages[1:30] if sum(found) else []}


def small_step() -> None:
    """Train the program for a step on 4 images, without CuPy's memory pool.

    In the pool arrays are adjacent, which hides accesses out of bounds.
    """
    cupy = importlib.import_module("cupy")
    cupy.cuda.set_allocator(None)
    gpunet.use_backend("cupy")
    gpunet.random.seed(0)
    model = build_model()
    rng = np.random.default_rng(0)
    x = rng.random((4, 28, 28, 1), np.float32)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 4)]
    loss = model.train_on_batch(x, y, return_dict=True)["loss"]  # type: ignore[call-overload, index]
    print(f"small step done: loss {loss:.4f}", flush=True)


def _start(command: list[str]) -> tuple[subprocess.Popen[str], Any]:
    output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
    environment = os.environ | {"COLUMNS": "400", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment,
        start_new_session=True,  # so that its children can be killed with it
    )
    return process, output


def _finish(started: list[tuple[subprocess.Popen[str], Any]], deadline: Deadline) -> list[str]:
    """Return the output of processes; kill those that are not done at the deadline."""
    outputs = []
    for process, output in started:
        try:
            process.wait(deadline.left())
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with output:
            output.seek(0)
            outputs.append(output.read())
    return outputs


def _tail(output: str) -> str:
    return " / ".join(output.strip().splitlines()[-6:])[-600:] or "no output"
