"""A whole run of `python -m benchmarks.gpu` on a played CuPy, and reports of made-up numbers.

Nothing here is a measurement, and nothing is written to benchmarks/results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from played_gpu_benchmark import InThisProcess, complete

from benchmarks import gpu, gpu_machine, gpu_report, gpu_steps, gpu_tables
from benchmarks import gpu_works as works
from benchmarks.gpu_kernels import JOBS, Sizes
from benchmarks.gpu_peers import CONTENDERS, OURS, GpunetProgram, TorchProgram
from benchmarks.gpu_timing import Deadline
from gpunet import primitives

RESULTS = Path(gpu.__file__).parent / "results"
MEASURED = ("ceilings", "kernels", "convolutions", "steps", "epochs")


def jobs_here(job: str, deadline: Deadline) -> Iterator[Any]:
    """Yield the records of a job done in this process, at tiny sizes."""
    if job == "describe":
        records = iter([gpu_machine.describe()])
    else:
        sizes = Sizes(copied=1 << 12, product=32, batches=(1,), resnet=1, rounds=2)
        records = JOBS[job](deadline, sizes)
    return (json.loads(json.dumps(record)) for record in records)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let what is measured be small enough for kernels that run on the CPU."""
    monkeypatch.setattr(works, "RESNET_SHAPES", ((5, 4, 8, 1), (6, 4, 8, 2)))
    first_of_each = {work.primitive + work.label[-8:]: work for work in works.program_works(1)}
    monkeypatch.setattr(works, "program_works", lambda batch: iter(first_of_each.values()))
    monkeypatch.setattr(
        gpu_steps, "compare_steps", partial(gpu_steps.compare_steps, sizes=(2,), turns=1)
    )
    monkeypatch.setattr(
        gpu_steps, "compare_epochs", partial(gpu_steps.compare_epochs, count=32, epochs=1)
    )
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (64, 28, 28)).astype(np.uint8), rng.integers(0, 10, 64)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    monkeypatch.setenv("GPUNET_HOME", str(tmp_path))


def assert_tables_are_whole(text: str) -> None:
    """Every row of a table has as many cells as its head."""
    rows, width = 0, 0
    for line in text.splitlines():
        if not line.startswith("|"):
            width = 0
        else:
            cells = line.count("|")
            assert cells == (width or cells), line
            width, rows = cells, rows + 1
    assert rows > 10
    assert "nan" not in text.lower().replace("nanosecond", "")


def test_a_whole_run(
    cupy: Any, tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(cupy)
    programs: dict[str, Any] = {OURS: lambda: GpunetProgram(cupy)}
    try:
        import torch

        programs["PyTorch eager"] = lambda: TorchProgram(torch, "PyTorch eager", "cpu")
    except ImportError:
        pass
    monkeypatch.setattr("benchmarks.gpu_peers.mnist.load_data", lambda: _digits(tmp_path))
    before = sorted(RESULTS.iterdir())
    out = tmp_path / "out"
    start = partial(InThisProcess, programs=programs)
    arguments = ["--only", *MEASURED, "--output", str(out), "--minutes", "30"]
    assert gpu.main(arguments, jobs_here, start) == 0
    assert sorted(RESULTS.iterdir()) == before
    name = "played-gpu-" + "-".join(sorted(MEASURED))
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.json", f"{name}.md"]
    report = json.loads((out / f"{name}.json").read_text())
    text = (out / f"{name}.md").read_text()
    assert_tables_are_whole(text)
    assert not gpu_report.problems(report)
    assert {entry["state"] for entry in report["parts"].values()} == {"done"}

    kernels = report["parts"]["kernels"]["records"]
    assert all(record["median"] > 0 for record in kernels), kernels
    used = {record["kernel"] for record in kernels}
    assert {"adam_update", "conv2d_backward_input", "gather_batch", "dropout_forward"} <= used
    for kernel in used:
        assert hasattr(primitives.cuda, kernel)
        assert f"| {kernel} |" in text
    rates = gpu_tables.ceilings_of(report["parts"]["ceilings"]["records"])
    assert {"copy", "fp32"} <= {*rates}
    assert "absent: PyTorch" in text, "PyTorch here sees no GPU, or is not here"
    steps = report["parts"]["steps"]["records"]
    assert steps[0]["results"][OURS]["loss"] == pytest.approx(2.3, abs=0.1)
    assert f"| {OURS} | not there yet |" in text
    assert f"2 | float32 | {OURS} |" in text
    assert 0 <= report["parts"]["epochs"]["records"][0]["results"][OURS]["accuracy"] <= 1


def _digits(folder: Path) -> Any:
    with np.load(folder / "mnist.npz") as data:
        return (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])


def test_the_small_step(cupy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    complete(cupy)
    assert gpu.main(["--small-step"]) == 0
    assert "small step done: loss 2." in capsys.readouterr().out


# Reports of made-up numbers


def made_up_time(seconds: float, **more: Any) -> dict[str, Any]:
    return {"median": seconds, "quartiles": [0.9 * seconds, 1.1 * seconds], "count": 3} | more


def made_up_step(seconds: float) -> dict[str, Any]:
    times = {"waited_for": made_up_time(2 * seconds), "in_a_row": made_up_time(seconds)}
    return {"loss": 2.3, "memory": 1 << 20} | times


def made_up_report() -> dict[str, Any]:
    """Return a report in which each kind of record stands once; none of it was measured."""
    conv = {"kernel": "conv2d_forward", "label": "made up", "batch": 32}
    steps = {name: made_up_step(0.001 * (i + 1)) for i, name in enumerate(CONTENDERS)}
    clocks = dict.fromkeys(gpu_machine.CLOCKS, "made up")
    records: dict[str, list[dict[str, Any]]] = {
        "tests": [
            {"tests": 5, "processes": 2, "passed": 2, "failed": 1, "skipped": 1,
             "failures": ["made_up.py::test"], "reasons": {"made up": 1}, "messages": ["E   no"]}
        ],
        "sanitizer": [
            {"check": "memcheck", "found": 0, "messages": []},
            {"check": "racecheck", "error": "no summary | cut"},
        ],
        "ceilings": [
            {"ceiling": "copy", "by": "CuPy", "bytes": 2 << 30} | made_up_time(0.001),
            {"ceiling": "product", "precision": "fp32", "by": "gpunet", "size": 8, "flop": 10**12}
            | made_up_time(0.1),
            {"ceiling": "product", "precision": "tf32", "by": "cuBLAS", "size": 8, "error": "no"},
        ],
        "kernels": [
            conv | made_up_time(1e-4, bytes=10**6, flop=10**8, host_bound=False),
            conv | made_up_time(1e-6, bytes=10**6, flop=0, host_bound=True),
            {"left_out": "conv2d_forward, made up, batch 1024"},
        ],
        "convolutions": [
            conv | made_up_time(3e-4, bytes=10**6, flop=10**8, host_bound=False),
            conv | {"by": "PyTorch", "precision": "fp32"} | made_up_time(2e-4),
            conv | {"by": "PyTorch", "precision": "fp32"} | made_up_time(1e-4),
            conv | {"by": "PyTorch", "precision": "tf32"} | made_up_time(5e-5),
        ],
        "steps": [
            {"batch": 32, "precision": "fp32", "results": steps},
            {"batch": 32, "precision": "tf32",
             "results": steps | {OURS: {"why": "not there yet"}, CONTENDERS[2]: {"why": "a | b"}}},
        ],
        "epochs": [
            {"batch": 32, "epochs": 3, "results":
             {name: {"seconds": [2.0, 1.0, 1.5], "accuracy": 0.5} for name in CONTENDERS[:2]}
             | {name: {"why": "left out: time"} for name in CONTENDERS[2:]}}
        ],
    }  # fmt: skip
    return {
        "date": "2000-01-01T00:00:00+00:00",
        "minutes": 8,
        "device": {
            "name": "Made-up GPU", "compute_capability": "0.0", "multiprocessors": 1,
            "memory_bytes": 1 << 30, "l2_bytes": 1 << 20, "visible_devices": 1,
            "CUDA_VISIBLE_DEVICES": None,
        },
        "versions": {
            "gpunet": "0", "python": "3", "numpy": "2", "cupy": "14", "torch": None,
            "triton": None, "cuda_driver": "13.0", "cuda_runtime": "12.9",
        },
        "host": {"processor": "made up", "cores": 1},
        "commit": {"hash": "0" * 40, "changed": True},
        "clocks": {"before": clocks, "after": None},
        "parts": {
            name: {"title": name, "state": "done", "seconds": 1.0, "records": found}
            for name, found in records.items()
        } | {"late": {"title": "late", "state": "left out: time", "records": []}},
    }  # fmt: skip


def test_a_report_says_what_was_measured_and_what_was_not() -> None:
    text = gpu_report.markdown(made_up_report())
    assert_tables_are_whole(text)
    for said in (
        "gpunet 0 at 000000000000, files changed since",
        "| tests: tests | 2 passed, 1 failed, 1 skipped, 1 not run (out of time, "
        "or their process ended) | 1 |",
        "| late: late | left out: time |  |",
        "- failed: `made_up.py::test`",
        "- skipped, 1: made up",
        "- memcheck: 0 errors",
        "- failed: racecheck: no summary / cut",
        "| copy, 1024 MiB | CuPy | 1.000 (0.900 to 1.100) | 2,147 GB/s |",
        "| product, 8, float32 | gpunet | 100.000 (90.000 to 110.000) | 10.0 TFLOP/s |",
        "| product, TF32 | gpunet | not there yet | |",
        # 1e8 FLOP at 1e13 a second are 10 us, 1e6 bytes half a microsecond.
        "| conv2d_forward | made up | 32 | 100.0 (90.0 to 110.0) | 10 | 0% | 1.00 | 10% | 10.0 |",
        "| conv2d_forward | made up | 32 | 1.0 (0.9 to 1.1) * | 1,000 | 47% |  |  | 2.1 |",
        "- left out: time: conv2d_forward, made up, batch 1024",
        "| 300 (270 to 330) | 0.33 | 3% | 100 (90 to 110) | 3.00 | 50 (45 to 55) |",
        "gpunet is slower in 1 of 1 comparisons; ratios from 3.00 to 3.00.",
        "| 32 | float32 | PyTorch eager | 4,000 (3,600 to 4,400) | 0.50 | 2,000 (1,800 to 2,200) "
        "| 0.50 | 16,000 | 1 | 2.30000 |",
        "| 32 | TF32 | gpunet | not there yet |",
        "| 32 | TF32 | PyTorch compiled | a / b |",
        "gpunet is slower in 0 of 6 comparisons; ratios from 0.25 to 0.50.",
        "| PyTorch eager | 2.00, 1.00, 1.50 | 1.00 | 0.5000 |",
        "| PyTorch compiled | left out: time | | |",
    ):
        assert said in text, said


def test_a_report_without_ceilings_has_no_shares_of_them() -> None:
    report = made_up_report()
    del report["parts"]["ceilings"]
    text = gpu_report.markdown(report)
    assert_tables_are_whole(text)
    assert "| 100.0 (90.0 to 110.0) | 10 |  | 1.00 |  |  |" in text


def test_what_is_wrong_is_told_from_what_is_absent() -> None:
    problems = gpu_report.problems(made_up_report())
    assert len(problems) == 3  # a failed test, a tool without a summary, a failed product


@pytest.mark.parametrize(
    ("record", "problems"),
    [
        ({"absent": "compute-sanitizer", "why": "made up"}, []),
        ({"left_out": "racecheck"}, []),
        ({"results": {OURS: {"why": "not there yet"}}}, []),
        ({"results": {OURS: {"why": "its process ended"}}}, ["part: its process ended"]),
        ({"job": "kernels", "error": "no answer"}, ["part: no answer"]),
    ],
)
def test_each_problem(record: Any, problems: list[str]) -> None:
    entry = {"title": "", "state": "done", "records": [record]}
    assert gpu_report.problems({"parts": {"part": entry}}) == problems
