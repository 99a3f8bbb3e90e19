"""A library in its own process, which times calls on command.

In one process, libraries would share an allocator and compete with each other's idle threads. Each
command is a line of JSON, and so is each answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import Case
from benchmarks.contenders import Contender, thread_settings

__all__ = ["Variant", "Worker", "WorkerError"]

ROOT = Path(__file__).parent.parent
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_TRIALS = 5


class Variant(NamedTuple):
    """One implementation of a case.

    Attributes:
        call: runs the case to its end.
        trial: shorter run, to warm up and to compare variants; None to use `call`.
        repeats: how often `call` runs the case; its time is divided by it, and as many calls fewer
            are made.
    """

    call: Callable[[], Any]
    trial: Callable[[], Any] | None = None
    repeats: int = 1

    def run_trial(self) -> Any:
        return (self.trial or self.call)()

    def calls_for(self, times: int) -> int:
        """Return how many calls run the case `times` times, or somewhat more often."""
        return -(-times // self.repeats)


class WorkerError(Exception):
    """A contender failed; the message says why, on one line."""


class Worker:
    """A contender's process; as a context manager, it ends with the block.

    Arguments:
        contender: the library.
        case: the measurement.
        threads: number of threads.
        environment: additional environment variables.

    Raises:
        WorkerError: the contender cannot run the case.
    """

    def __init__(
        self,
        contender: Contender,
        case: Case,
        threads: int,
        environment: dict[str, str] | None = None,
    ) -> None:
        orders = {"case": case.options(), "threads": threads, "options": contender.options}
        settings = contender.environment | thread_settings(threads) | (environment or {})
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        self.process = subprocess.Popen(
            [contender.python, "-m", "benchmarks.workers", contender.module, json.dumps(orders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=ROOT,
            env={
                name: value for name, value in (os.environ | settings).items() if value is not None
            },
        )
        try:
            ready = self._receive()
        except BaseException:
            self.close()
            raise
        self.variant: str = ready["variant"]

    def run(self, calls: int) -> dict[str, Any]:
        """Time some calls.

        Returns:
            ``times``: seconds of each; ``repeats``: of the case within each; ``result``: the last
            result, if it is a number; ``process_peak``: peak memory of the process, in bytes;
            ``peak``: peak memory beyond that before the first call (see `Case.loading_batch`), or
            None if unknown; ``versions``: of the libraries.

        Raises:
            WorkerError: a call failed.
        """
        return self._request("call", calls)

    def warm_up(self, calls: int) -> None:
        """Run some trials that are not timed."""
        self._request("trial", calls)

    def _request(self, what: str, times: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `_receive` reports why
            print(json.dumps({"do": what, "times": times}), file=self.process.stdin, flush=True)
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        reply = json.loads(line) if line else {"error": f"its process ended: {self._last_line()}"}
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply

    def _last_line(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        return lines[-1][:300] if lines else f"exit code {code}"

    def close(self) -> None:
        """End the process, and wait for it."""
        with self.process:  # closes its input, which ends it, and waits
            pass
        self.errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def reset_peak() -> None:
    """Reset the process' peak memory to its current memory, if the system supports it."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def peak_bytes() -> int | None:
    """Return the peak memory of this process, in bytes; None if unknown."""
    if not _CLEAR.exists():
        return None
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def load_code(make: Callable[[Case], dict[str, Variant]], case: Case) -> None:
    """Run a case once on a smaller batch, so that the library's code is in memory, and free it."""
    for variant in make(case).values():
        for _ in range(variant.calls_for(2)):  # the first may only have traced or compiled
            variant.run_trial()
    del variant
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)  # else freed memory counts as held before


def fastest(variants: dict[str, Variant]) -> str:
    """Return the name of the fastest variant, by median of a few trials."""
    if len(variants) == 1:
        return next(iter(variants))
    for variant in variants.values():
        variant.run_trial()
        variant.run_trial()
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(_TRIALS):
        for name, variant in variants.items():
            start = time.perf_counter()
            variant.run_trial()
            times[name].append((time.perf_counter() - start) / variant.repeats)
    return min(variants, key=lambda name: statistics.median(times[name]))


def serve(module: str, orders: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer each line of the standard input with the times of its calls."""
    case = Case(**orders["case"])
    library = importlib.import_module(module).Library(orders["threads"], **orders["options"])
    make = getattr(library, case.part)
    if case.loading_batch:
        load_code(make, replace(case, batch=case.loading_batch))
    variants = make(case)
    reset_peak()
    before = peak_bytes()
    name = fastest(variants)
    variant = variants[name]
    variants.clear()
    reset_peak()
    answer({"variant": name})
    for line in sys.stdin:
        order = json.loads(line)
        times, result = [], None
        call = variant.call if order["do"] == "call" else variant.run_trial
        for _ in range(variant.calls_for(order["times"])):
            start = time.perf_counter()
            result = call()
            times.append((time.perf_counter() - start) / variant.repeats)
        peak = peak_bytes()
        answer(
            {
                "times": times,
                "repeats": variant.repeats,
                "result": result if isinstance(result, float) else None,
                "peak": None if peak is None or before is None else peak - before,
                "process_peak": peak,
                "versions": library.versions,
            }
        )


def main() -> None:
    """Answer on the standard output; what libraries print goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(reply: dict[str, Any]) -> None:
        print(json.dumps(reply), file=answers, flush=True)

    module, orders = sys.argv[1:]
    try:
        serve(module, json.loads(orders), answer)
    except Exception as error:
        traceback.print_exc()
        answer({"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]})


if __name__ == "__main__":
    main()
