"""A full run of `python -m benchmarks.gpu` on a fake CuPy, and reports of made-up numbers.

Nothing is measured, and nothing is written to benchmarks/results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu, gpu_machine, gpu_report, gpu_steps, gpu_tables
from benchmarks import gpu_workloads as workloads
from benchmarks.gpu_kernels import JOBS, Sizes
from benchmarks.gpu_peers import (
    CONTENDERS,
    OURS,
    OURS_EAGER,
    TORCH_COMPILED,
    TORCH_EAGER,
    GpunetProgram,
    TorchProgram,
)
from benchmarks.gpu_timing import Deadline
from gpunet import primitives
from tests.support.fake_gpu_benchmark import InProcessPeer, add_timing

RESULTS = Path(gpu.__file__).parent / "results"
MEASURED = ("ceilings", "kernels", "convolutions", "steps", "epochs")


def run_job_here(job: str, deadline: Deadline) -> Iterator[Any]:
    """Yield the records of a job run in this process, at tiny sizes."""
    if job == "describe":
        records = iter([gpu_machine.describe()])
    else:
        sizes = Sizes(copy_bytes=1 << 12, product=32, batches=(1,), resnet=1, rounds=2)
        records = JOBS[job](deadline, sizes)
    return (json.loads(json.dumps(record)) for record in records)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Use sizes small enough for kernels that run on the CPU."""
    monkeypatch.setattr(workloads, "RESNET_SHAPES", ((5, 4, 8, 1), (6, 4, 8, 2)))
    first_of_each = {
        work.primitive + work.label[-8:]: work for work in workloads.program_workloads(1)
    }
    monkeypatch.setattr(workloads, "program_workloads", lambda batch: iter(first_of_each.values()))
    cases = ((2, "fp32"), (2, "tf32"))
    monkeypatch.setattr(
        gpu_steps, "compare_steps", partial(gpu_steps.compare_steps, cases=cases, turns=1)
    )
    monkeypatch.setattr(
        gpu_steps, "compare_epochs", partial(gpu_steps.compare_epochs, count=32, epochs=1)
    )
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (64, 28, 28)).astype(np.uint8), rng.integers(0, 10, 64)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x[:4], y_test=y[:4])
    monkeypatch.setenv("GPUNET_HOME", str(tmp_path))


def assert_tables_are_rectangular(text: str) -> None:
    """Check that every row of a table has as many cells as its head."""
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


@pytest.mark.slow
def test_a_full_run(cupy: Any, tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_timing(cupy)
    programs: dict[str, Any] = {
        OURS: lambda: GpunetProgram(cupy),
        OURS_EAGER: lambda: GpunetProgram(cupy, capture=False),
    }
    with suppress(ImportError):
        import torch

        programs[TORCH_EAGER] = lambda: TorchProgram(torch, TORCH_EAGER, "cpu")
    monkeypatch.setattr("benchmarks.gpu_peers.mnist.load_data", lambda: _digits(tmp_path))
    before = sorted(RESULTS.iterdir())
    out = tmp_path / "out"
    start = partial(InProcessPeer, programs=programs)
    arguments = ["--only", *MEASURED, "--output", str(out), "--minutes", "30"]
    assert gpu.main(arguments, run_job_here, start) == 0
    assert sorted(RESULTS.iterdir()) == before
    name = "fake-gpu-" + "-".join(sorted(MEASURED))
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.json", f"{name}.md"]
    report = json.loads((out / f"{name}.json").read_text())
    text = (out / f"{name}.md").read_text()
    assert_tables_are_rectangular(text)
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
    assert "absent: PyTorch" in text, "PyTorch sees no GPU, or is not installed"
    ours = [r for r in report["parts"]["convolutions"]["records"] if "kernel" in r]
    assert {record["precision"] for record in ours if "median" in record} == {"fp32", "tf32"}
    for record in report["parts"]["steps"]["records"]:
        for name in programs:
            assert record["results"][name]["loss"] == pytest.approx(2.3, abs=0.1)
            assert f"2 | {gpu_tables.precision_of(record['precision'])} | {name} |" in text
    (epochs,) = report["parts"]["epochs"]["records"]
    for name in programs:
        assert 0 <= epochs["results"][name]["accuracy"] <= 1
        assert epochs["results"][name]["epochs"] == 1
    assert text.count("| not measured |") == 11, "targets are for other sizes"


def _digits(folder: Path) -> Any:
    with np.load(folder / "mnist.npz") as data:
        return (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])


def test_the_small_step(cupy: Any, capsys: pytest.CaptureFixture[str]) -> None:
    add_timing(cupy)
    assert gpu.main(["--small-step"]) == 0
    assert "small step done: loss 2." in capsys.readouterr().out


class MadeUpProfile:
    """A profile that records the shapes of its arguments."""

    def __init__(self, model: Any, x: Any, y: Any) -> None:
        self.shapes = [list(x.shape), list(y.shape)]

    def to_dict(self) -> dict[str, Any]:
        return {"shapes": self.shapes}

    def __str__(self) -> str:
        return "made up"


def test_profiles_are_recorded_or_the_error_is(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = Sizes(batches=(2,))
    monkeypatch.setattr("gpunet.profile", MadeUpProfile, raising=False)
    (found,) = JOBS["profile"](Deadline(600), sizes)
    assert (found["batch"], found["text"]) == (2, "made up")
    assert found["table"] == {"shapes": [[2, 28, 28, 1], [2, 10]]}
    monkeypatch.delattr("gpunet.profile")
    (found,) = JOBS["profile"](Deadline(600), sizes)
    assert "no attribute 'profile'" in found["error"]
    (found,) = JOBS["profile"](Deadline(0), sizes)
    assert found == {"left_out": "profile, batch 2"}


# Reports of made-up numbers


def made_up_time(seconds: float, **more: Any) -> dict[str, Any]:
    return {"median": seconds, "quartiles": [0.9 * seconds, 1.1 * seconds], "count": 3} | more


def made_up_step(seconds: float) -> dict[str, Any]:
    times = {"synchronized": made_up_time(2 * seconds), "pipelined": made_up_time(seconds)}
    memory = {"memory": int(seconds * 1e3) << 20, "image_bytes": 1 << 19}
    return {"loss": 2.3} | memory | times


def made_up_report() -> dict[str, Any]:
    """Return a made-up report with each kind of record."""
    conv = {"kernel": "conv2d_forward", "label": "made up", "batch": 32, "precision": "fp32"}
    tf32 = conv | {"precision": "tf32"}
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
            conv | {"by": "PyTorch"} | made_up_time(2e-4),
            conv | {"by": "PyTorch"} | made_up_time(1e-4),
            tf32 | {"by": "PyTorch"} | made_up_time(5e-5),
            tf32 | made_up_time(4e-5, bytes=10**6, flop=10**8, host_bound=False),
        ],
        "steps": [
            {"batch": 32, "precision": "fp32", "results": steps},
            {"batch": 32, "precision": "tf32",
             "results": steps | {OURS: {"why": "made up"}, TORCH_COMPILED: {"why": "a | b"}}},
        ],
        "epochs": [
            {"batch": 32, "epochs": 3, "results":
             {OURS: {"epochs": 10, "seconds": 1.0, "accuracy": 0.99},
              TORCH_EAGER: {"epochs": 4, "seconds": 2.0, "accuracy": 0.5}}
             | {name: {"why": "not measured: out of time"}
                for name in (OURS_EAGER, *CONTENDERS[3:])}}
        ],
        "profile": [
            {"profile": "training step", "batch": 32, "table": {}, "text": "made\nup"},
            {"profile": "training step", "batch": 128, "error": "it failed"},
        ],
    }  # fmt: skip
    return {
        "date": "2000-01-01T00:00:00+00:00",
        "minutes": 8,
        "device": {
            "name": "Made-up GPU", "compute_capability": "0.0", "multiprocessors": 1,
            "clock_hz": 10**9, "fp32_peak": 10**13,
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
        } | {"late": {"title": "late", "state": "not measured: out of time", "records": []}},
    }  # fmt: skip


def test_a_report_shows_results_and_missing_measurements() -> None:
    text = gpu_report.markdown(made_up_report())
    assert_tables_are_rectangular(text)
    for reply in (
        "gpunet 0 at 000000000000, with local changes",
        "| tests: tests | 2 passed, 1 failed, 1 skipped, 1 not run (out of time, "
        "or their process ended) | 1 |",
        "| late: late | not measured: out of time |  |",
        "- failed: `made_up.py::test`",
        "- skipped, 1: made up",
        "- memcheck: 0 errors",
        "- failed: racecheck: no summary / cut",
        "| copy, 1024 MiB | CuPy | 1.000 (0.900 to 1.100) | 2,147 GB/s |",
        "| product, 8, float32 | gpunet | 100.000 (90.000 to 110.000) | 10.0 TFLOP/s |",
        "| float32 peak | 10.0 TFLOP/s at 1,000 MHz |",
        # 1e8 FLOP at 1e13 a second are 10 us, 1e6 bytes half a microsecond.
        "| conv2d_forward | made up | 32 | 100.0 (90.0 to 110.0) | 10 | 0% | 1.00 | 10% | 10.0 |",
        "| conv2d_forward | made up | 32 | 1.0 (0.9 to 1.1) * | 1,000 | 47% |  |  | 2.1 |",
        "- not measured: out of time: conv2d_forward, made up, batch 1024",
        "| float32 | 300 (270 to 330) | 0.33 | 3% | 100 (90 to 110) | 33% |",
        "| TF32 | 40 (36 to 44) | 2.50 |  | 50 (45 to 55) | 125% |",
        "gpunet is slower in 1 of 2 comparisons; its time is 0.80 to 3.00 of the other's.",
        "| 32 | float32 | PyTorch eager | 6,000 (5,400 to 6,600) | 0.33 | 3,000 (2,700 to 3,300) "
        "| 0.33 | 10,667 | 3 | 0.33 | 2.30000 |",
        "| 32 | TF32 | gpunet | made up |",
        "| 32 | TF32 | PyTorch compiled | a / b |",
        "gpunet is slower in 0 of 8 comparisons; its time is 0.20 to 0.50 of the other's.",
        "| gpunet | 10 | 1.00 | 0.100 |  | 0.9900 |",
        "| PyTorch eager | 4 | 2.00 | 0.500 | 0.20 | 0.5000 |",
        "| PyTorch compiled | not measured: out of time | | | | |",
        "```text\nmade\nup\n```",
        "- failed: training step 128: it failed",
    ):
        assert reply in text, reply


def test_without_ceilings_there_are_no_shares() -> None:
    report = made_up_report()
    del report["parts"]["ceilings"]
    text = gpu_report.markdown(report)
    assert_tables_are_rectangular(text)
    assert "| 100.0 (90.0 to 110.0) | 10 |  | 1.00 |  |  |" in text


def test_shares_of_the_peak_need_a_clock() -> None:
    assert gpu_machine.peak("9.0", 132, 1_980_000_000) == pytest.approx(66.9e12, rel=1e-3)
    assert gpu_machine.peak("8.0", 108, 1_410_000_000) == pytest.approx(19.5e12, rel=1e-3)
    report = made_up_report()
    report["device"]["fp32_peak"] = gpu_machine.peak("9.0", 132, 0)
    text = gpu_report.markdown(report)
    assert "| float32 peak | unknown clock |" in text
    assert "| float32 | 300 (270 to 330) | 0.33 |  | 100 (90 to 110) | 33% |" in text


def test_problems_do_not_include_what_is_absent() -> None:
    problems = gpu_report.problems(made_up_report())
    # A failed test, a tool without a summary, a failed product, a failed profile, no step in TF32.
    assert len(problems) == 5


@pytest.mark.parametrize(
    ("record", "problems"),
    [
        ({"absent": "compute-sanitizer", "why": "made up"}, []),
        ({"left_out": "racecheck"}, []),
        ({"results": {OURS: {"why": "not measured: out of time"}}}, []),
        ({"results": {TORCH_EAGER: {"why": "its process ended"}}}, []),
        ({"results": {OURS: {"why": "its process ended"}}}, ["part: gpunet: its process ended"]),
        ({"job": "kernels", "error": "no answer"}, ["part: no answer"]),
    ],
)
def test_each_problem(record: Any, problems: list[str]) -> None:
    entry = {"title": "", "state": "done", "records": [record]}
    assert gpu_report.problems({"parts": {"part": entry}}) == problems
