"""A library in a process of its own, told to make some calls and to say how long they took.

In one process libraries would share an allocator and wait for each other's idle threads. The
process gets its orders as lines of JSON and answers each with one.
"""

from __future__ import annotations

import contextlib
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
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import Case
from benchmarks.contenders import Contender, thread_settings

__all__ = ["Way", "Worker", "WorkerError"]

ROOT = Path(__file__).parent.parent
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_TRIALS = 5


class Way(NamedTuple):
    """One way in which a library can do a case.

    Attributes:
        call: does it; ends when all is done.
        trial: shows in less time how fast it is, and warms up; if None, `call` does.
    """

    call: Callable[[], Any]
    trial: Callable[[], Any] | None = None

    def try_out(self) -> Any:
        return (self.trial or self.call)()


class WorkerError(Exception):
    """A contender could not do what it was told; the message says why, in a line."""


class Worker:
    """A contender's process; with ``with`` it ends with the block.

    Arguments:
        contender: the library.
        case: what it will do.
        threads: how many it has.
        environment: further variables of the process.

    Raises:
        WorkerError: it cannot do the case.
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
            ready = self._hear()
        except BaseException:
            self.close()
            raise
        self.way: str = ready["way"]

    def run(self, calls: int) -> dict[str, Any]:
        """Make some calls.

        Returns:
            ``times`` of each in seconds; ``result``, what the last returned, if that is a number;
            ``process_peak``, the most bytes that the process has held so far, and ``peak``, those
            beyond what it held before its first call, or None; ``versions``.

        Raises:
            WorkerError: a call failed.
        """
        return self._ask("call", calls)

    def warm_up(self, calls: int) -> None:
        """Make some calls, or shorter ones that do the same, that do not count."""
        self._ask("trial", calls)

    def _ask(self, what: str, times: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it said before it ended tells why
            print(json.dumps({"do": what, "times": times}), file=self.process.stdin, flush=True)
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        said = json.loads(line) if line else {"error": f"its process ended: {self._last_words()}"}
        if "error" in said:
            raise WorkerError(said["error"])
        return said

    def _last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        return lines[-1][:300] if lines else f"exit code {code}"

    def close(self) -> None:
        """End the process, and wait for its end."""
        with self.process:  # closes its input, at which it ends, and waits for that
            pass
        self.errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def restart_peak() -> None:
    """Let the peak of memory count from here, where the system can do that."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def peak_bytes() -> int | None:
    """Return the most memory that this process has held; None where that is not known."""
    if not _CLEAR.exists():
        return None
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def fastest(ways: dict[str, Way]) -> str:
    """Return the name of the fastest way, found by trying each where there are several."""
    if len(ways) == 1:
        return next(iter(ways))
    for way in ways.values():
        way.try_out()
        way.try_out()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_TRIALS):
        for name, way in ways.items():
            start = time.perf_counter()
            way.try_out()
            times[name].append(time.perf_counter() - start)
    return min(ways, key=lambda name: statistics.median(times[name]))


def work(module: str, orders: dict[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
    """Be a worker: for each line read, make that many calls and answer what they took."""
    case = Case(**orders["case"])
    library = importlib.import_module(module).Library(orders["threads"], **orders["options"])
    ways = getattr(library, case.part)(case)
    restart_peak()
    before = peak_bytes()
    name = fastest(ways)
    way = ways[name]
    ways.clear()
    restart_peak()
    answer({"way": name})
    for line in sys.stdin:
        order = json.loads(line)
        times, result = [], None
        call = way.call if order["do"] == "call" else way.try_out
        for _ in range(order["times"]):
            start = time.perf_counter()
            result = call()
            times.append(time.perf_counter() - start)
        peak = peak_bytes()
        answer(
            {
                "times": times,
                "result": result if isinstance(result, float) else None,
                "peak": None if peak is None or before is None else peak - before,
                "process_peak": peak,
                "versions": library.versions,
            }
        )


def main() -> None:
    """Answer on what was the standard output; what a library prints goes to the errors."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(said: dict[str, Any]) -> None:
        print(json.dumps(said), file=answers, flush=True)

    module, orders = sys.argv[1:]
    try:
        work(module, json.loads(orders), answer)
    except Exception as error:
        traceback.print_exc()
        answer({"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]})


if __name__ == "__main__":
    main()
