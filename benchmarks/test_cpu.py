"""The cases of `python -m benchmarks.cpu` as tests: a group for each case, a row for each library.

pytest benchmarks --benchmark-group-by=group

Libraries that are not installed are skipped; GPUNET_KERAS_PYTHON names interpreters with Keras. A
round has as many calls as a turn of the program, in the library's own process.
"""

from __future__ import annotations

import os
import statistics
from typing import Any

import pytest

from benchmarks.cases import PARTS, Case
from benchmarks.contenders import CONTENDERS, keras_pythons, locate
from benchmarks.programs import mnist_file
from benchmarks.workers import Worker

ROUNDS = 5
CASES = [case for name, part in PARTS.items() if name != "mnist" for case in part.cases]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", CONTENDERS)
def test_cpu(benchmark: Any, name: str, case: Case) -> None:
    contender, why = locate(CONTENDERS[name], keras_pythons())
    if contender is None:
        pytest.skip(why)
    if case.part == "epoch":
        try:
            mnist_file()
        except FileNotFoundError as error:
            pytest.skip(str(error))
    benchmark.group = str(case)
    with Worker(contender, case, threads=os.cpu_count() or 1) as worker:
        worker.warm_up(3)
        rounds = 1 if case.part == "epoch" else ROUNDS
        done = benchmark.pedantic(worker.run, args=(case.calls,), rounds=rounds)
    assert len(done["times"]) == case.calls
    seconds = statistics.median(done["times"])
    benchmark.extra_info |= {
        "variant": worker.variant,
        "last_round_ms_per_call": seconds * 1e3,
        "last_round_us_per_sample": seconds / case.images * 1e6,
        "peak_bytes": done["peak"],
    }
