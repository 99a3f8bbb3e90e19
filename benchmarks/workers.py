"""A library in a process of its own, told to do some steps and to say how long they took.

In one process libraries would share an allocator and wait for each other's idle threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.programs import CONTENDERS, set_threads


class Worker:
    """A contender's process; with ``with`` it ends with the block."""

    def __init__(self, name: str, size: int, threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.workers", name]
        command += ["--batch-size", str(size), "--threads", str(threads)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | CONTENDERS[name].environment,
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
        with self.process:  # closes its input, at which it ends, and waits for that
            pass


def peak_bytes() -> int:
    """Return the most memory that this process has held (Linux only)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status holds no VmHWM: memory is measured on Linux only.")


def work(name: str, size: int, threads: int) -> None:
    """Be a worker: for each number read, do that many steps and print what they took."""
    step = CONTENDERS[name].make_step(size)
    set_threads(threads)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = peak_bytes()
    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(json.dumps({"times": times, "peak_memory": peak_bytes() - before}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    work(arguments.contender, arguments.batch_size, arguments.threads)
