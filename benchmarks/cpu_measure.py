"""Measurements of `python -m benchmarks.cpu`: each library in its own process, interleaved."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import PARTS, SGEMM, START, Case, Part, flop
from benchmarks.contenders import (
    CUPY,
    KERAS_TENSORFLOW,
    NUMBA,
    NUMPY,
    SGEMM_BY,
    TORCH_LAYOUTS,
    Contender,
)
from benchmarks.gpu_timing import summarize
from benchmarks.programs import mnist_file
from benchmarks.workers import Worker, WorkerError

__all__ = [
    "CACHED",
    "KERNEL_CACHE",
    "NOT_CACHED",
    "Settings",
    "measure_case",
    "measure_part",
    "measure_start",
    "save_beside",
]

Record = dict[str, Any]

# Names the folder that caches compiled kernels between processes.
KERNEL_CACHE = "NUMBA_CACHE_DIR"
CACHED, NOT_CACHED = f"{NUMBA}, kernels cached", f"{NUMBA}, first call"

_IN_MNIST = (NUMPY, NUMBA, CUPY, *TORCH_LAYOUTS, KERAS_TENSORFLOW)
_SGEMM = "sgemm"
_PAUSE = 0.05  # seconds before a turn, for the previous library's threads to go to sleep


class Settings(NamedTuple):
    """How to measure.

    Attributes:
        threads: of each contender.
        quick: whether this is a dry run, whose numbers mean nothing.
        rounds: turns of each contender, in parts without a number of their own.
        log: called with a line of progress.
        limit: seconds of timed calls after which a contender of a case takes no more turns.
    """

    threads: int
    quick: bool = False
    rounds: int = 12
    log: Callable[[str], None] = lambda line: None
    limit: float = math.inf

    def rounds_of(self, part: Part) -> int:
        return 1 if self.quick else part.rounds or self.rounds


def measure_part(
    name: str, contenders: Mapping[str, Contender | str], settings: Settings
) -> Iterator[Record]:
    """Yield a record for each case of a part.

    Arguments:
        name: one of `PARTS`.
        contenders: by name; the reason in place of one that cannot run here.
        settings: how to measure.
    """
    part = PARTS[name]
    if name in ("epoch", "mnist"):
        try:
            mnist_file()
        except FileNotFoundError as error:
            contenders = dict.fromkeys(contenders, str(error))
    if name == "mnist":
        contenders = {key: value for key, value in contenders.items() if key in _IN_MNIST}
    for case in part.cases:
        settings.log(str(case))
        given = case.quick() if settings.quick else case
        yield measure_case(given, contenders, settings.rounds_of(part), settings)


class _Interleaved:
    """Contenders of a case, measured in turns; one that fails drops out."""

    def __init__(self, case: Case, settings: Settings, stack: contextlib.ExitStack) -> None:
        self.case, self.settings, self.stack = case, settings, stack
        self.workers: dict[str, Worker] = {}
        self.times: dict[str, list[float]] = {}
        self.spent: dict[str, float] = {}  # seconds
        self.found: dict[str, Record] = {}

    def start(self, name: str, contender: Contender, case: Case) -> None:
        def start() -> None:
            if contender.compiles:  # an extra process fills the kernel cache
                with Worker(contender, case, self.settings.threads) as first:
                    first.warm_up(1)
            worker = Worker(contender, case, self.settings.threads)
            self.workers[name] = self.stack.enter_context(worker)
            self.found[name] = {"variant": worker.variant}
            if case.part != "mnist":
                worker.warm_up(1 if self.settings.quick else 3)

        self._try(name, start)

    def take(self, name: str, calls: int) -> None:
        """Time a contender's calls; the first of several only warms the caches."""
        if self.spent.get(name, 0) > self.settings.limit:
            return

        def take() -> None:
            time.sleep(_PAUSE)
            done = self.workers[name].run(calls + int(calls > 1))
            times, repeats = done["times"], done["repeats"]
            self.spent[name] = self.spent.get(name, 0) + sum(times) * repeats
            self.times.setdefault(name, []).extend(times[1:] or times)
            self.found[name] |= {
                key: done[key] for key in ("repeats", "result", "peak", "process_peak", "versions")
            }

        self._try(name, take)

    def _try(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except WorkerError as error:
            self.settings.log(f"  {name}: {error}")
            self.workers.pop(name, None)
            self.found[name] = {"why": str(error)}

    def results(self) -> dict[str, Record]:
        """Return the results by contender, with statistics of the times."""
        return {
            name: found if "why" in found else found | summarize(self.times[name])
            for name, found in self.found.items()
        }


def measure_case(
    case: Case, contenders: Mapping[str, Contender | str], rounds: int, settings: Settings
) -> Record:
    """Return the case with times, peak memory and versions of each contender.

    If the case consists of matrix products, a large product is measured in turns with it.
    """
    with contextlib.ExitStack() as stack:
        turns = _Interleaved(case, settings, stack)
        for name, contender in contenders.items():
            if isinstance(contender, str):
                turns.found[name] = {"why": contender}
            else:
                turns.start(name, contender, case)
        if flop(case) and turns.workers:
            turns.start(_SGEMM, SGEMM_BY, SGEMM)
        for _ in range(rounds):
            for name in list(turns.workers):
                turns.take(name, SGEMM.calls if name == _SGEMM else case.calls)
        results = turns.results()
    sgemm = results.pop(_SGEMM, {})
    record: Record = {"case": case.options(), "flop": flop(case), "results": results}
    if "median" in sgemm:
        record["sgemm_gflops"] = flop(SGEMM) / sgemm["median"] / 1e9
    return record


def save_beside(records: Mapping[str, Record], file: Path) -> list[Record]:
    """Write records to a file of JSON, in place of those of the same names; return all there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    both = (json.loads(file.read_text()) if file.exists() else {}) | dict(records)
    file.write_text(json.dumps(both, indent=1) + "\n")
    return list(both.values())


def measure_start(
    contenders: Mapping[str, Contender | str], settings: Settings
) -> Iterator[Record]:
    """Yield the time from the start of a process to the end of its first training step.

    With Numba twice: with an empty kernel cache, and with a filled one.
    """
    case, repeats = START.quick(), 1 if settings.quick else 5
    settings.log(f"start: first training step, {case.label}")
    results: dict[str, Record] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, of, count in (
            (NUMPY, NUMPY, repeats),
            (NOT_CACHED, NUMBA, 1),  # fills the folder
            (CACHED, NUMBA, repeats),
        ):
            contender = contenders.get(of, "not selected")
            if isinstance(contender, str):
                results[name] = {"why": contender}
                continue
            try:
                results[name] = _starts(contender, case, settings, folder, count)
            except WorkerError as error:
                results[name] = {"why": str(error)}
    yield {"case": case.options(), "flop": 0, "results": results}


def _starts(
    contender: Contender, case: Case, settings: Settings, folder: str, count: int
) -> Record:
    seconds, first = [], []
    for _ in range(count):
        start = time.perf_counter()
        with Worker(contender, case, settings.threads, {KERNEL_CACHE: folder}) as worker:
            done = worker.run(1)
            seconds.append(time.perf_counter() - start)
        first += done["times"]
    return summarize(seconds) | {
        "first_step": statistics.median(first),
        "versions": done["versions"],
    }
