"""`python -m benchmarks.gpu` without a GPU.

Nothing is measured: clocks and streams are fake, reports are made up, and files are temporary.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu, gpu_checks, gpu_kernels, gpu_machine, gpu_report
from benchmarks import gpu_workloads as workloads
from benchmarks.gpu_kernels import JOBS, Sizes
from benchmarks.gpu_steps import PeerError
from benchmarks.gpu_timing import Deadline, DeviceTimer, summarize
from examples.mnist_cnn import build_model
from gpunet import backend


class Clock:
    """A clock that is advanced by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Time


def test_a_part_of_a_deadline_ends_no_later() -> None:
    clock = Clock()
    deadline = Deadline(10, clock)
    assert deadline.left() == 10
    clock.now += 4
    assert deadline.part(3).left() == 3
    part = deadline.part(100)
    assert part.left() == 6
    clock.now += 6
    assert deadline.passed()
    assert part.passed()
    clock.now += 5
    assert deadline.left() == 0


class FakeStream:
    """A GPU that works through its queue while the host fills it, both in fake time."""

    def __init__(self, host: float, device: float, copy: float = 100e-6) -> None:
        self.host, self.device, self.copying = host, device, copy
        self.now = self.free = 0.0

    def queue(self, host: float, device: float) -> None:
        self.now += host
        self.free = max(self.free, self.now) + device

    def call(self, number: int) -> None:
        self.queue(self.host, self.device)

    def event(self) -> float:
        return max(self.now, self.free)

    def is_done(self, event: float) -> bool:
        return event <= self.now

    def elapsed(self, start: float, end: float) -> float:
        self.now = max(self.now, end)
        return end - start

    def copy(self) -> None:
        self.queue(2e-6, self.copying)

    def synchronize(self) -> None:
        self.now = max(self.now, self.free)


@pytest.mark.parametrize(("host", "device"), [(1e-6, 1e-3), (50e-6, 5e-6), (200e-6, 2e-6)])
def test_gpu_time_does_not_depend_on_the_host(host: float, device: float) -> None:
    stream = FakeStream(host, device)
    found = DeviceTimer(stream).measure(stream.call)
    assert found["median"] == pytest.approx(device)
    assert found["quartiles"] == pytest.approx([device, device])
    assert not found["host_bound"]
    assert found["count"] == 15


def test_a_call_that_synchronizes_is_flagged() -> None:
    stream = FakeStream(5e-6, 5e-6)

    def call(number: int) -> None:
        stream.call(number)
        stream.synchronize()

    assert DeviceTimer(stream).measure(call)["host_bound"]


def test_medians_and_quartiles() -> None:
    assert summarize([3.0]) == {"median": 3.0, "quartiles": [3.0, 3.0], "count": 1}
    assert summarize([1.0, 2.0, 3.0, 4.0, 5.0])["median"] == 3.0


# The machine


def test_the_gpu_is_found_in_the_output_of_nvidia_smi() -> None:
    row = "{}, 570.1, 210 MHz, 405 MHz, 1980 MHz, 2619 MHz, 31, 70.1 W, 700.00 W, 0 %, 1 MiB\n"
    text = row.format("00000000:0A:00.0") + row.format("00000000:1B:00.0")
    found = gpu_machine.parse_clocks(text, "0000:1b:00.0")
    assert found is not None
    assert found["pci.bus_id"] == "00000000:1B:00.0"
    assert found["clocks.max.sm"] == "1980 MHz"
    assert gpu_machine.parse_clocks(text, "0000:1c:00.0") is None
    assert gpu_machine.parse_clocks("NVIDIA-SMI has failed", "0000:1c:00.0") is None
    assert gpu_machine.parse_clocks("", "") is None


def test_the_commit_and_the_host_are_reported() -> None:
    assert gpu_machine.host()["cores"] >= 1
    commit = gpu_machine.commit()
    assert commit is None or len(commit["hash"]) == 40


def test_device_names_become_file_names() -> None:
    assert gpu_machine.slug("NVIDIA GeForce RTX 4090") == "nvidia-geforce-rtx-4090"
    assert gpu_machine.slug("???") == "gpu"


# FLOP and bytes of each call, counted by hand


def find_workload(
    made: Iterator[workloads.Workload], primitive: str, label: str = ""
) -> workloads.Workload:
    return next(w for w in made if w.primitive == primitive and w.label.startswith(label))


@pytest.mark.parametrize(
    ("primitive", "label", "flop", "moved"),
    [
        # y is 11x11x64, each number a sum of 3x3x32 products.
        ("conv2d_forward", "13", 2 * 2 * 11 * 11 * 64 * 288,
         4 * (2 * 13 * 13 * 32 + 288 * 64 + 64 + 2 * 11 * 11 * 64)),
        # Reads the gradient, the input, and the output for relu's gradient.
        ("conv2d_backward_weight", "13", 2 * 2 * 11 * 11 * 64 * 288,
         4 * (2 * 2 * 11 * 11 * 64 + 2 * 13 * 13 * 32 + 288 * 64 + 64)),
        ("conv2d_backward_input", "13", 2 * 2 * 11 * 11 * 64 * 288,
         4 * (2 * 2 * 11 * 11 * 64 + 288 * 64 + 2 * 13 * 13 * 32)),
        # 10x10 of the 11x11 outputs fill windows; 5x5 maxima and indices are written.
        ("conv2d_max_pool_forward", "13", 2 * 2 * 10 * 10 * 64 * 288,
         4 * (2 * 13 * 13 * 32 + 288 * 64 + 64) + 5 * 2 * 5 * 5 * 64),
        ("conv2d_max_pool_backward_weight", "13", 2 * 2 * 10 * 10 * 64 * 288,
         9 * 2 * 5 * 5 * 64 + 4 * (2 * 13 * 13 * 32 + 288 * 64 + 64)),
        ("conv2d_max_pool_backward_input", "13", 2 * 2 * 10 * 10 * 64 * 288,
         9 * 2 * 5 * 5 * 64 + 4 * (288 * 64 + 2 * 13 * 13 * 32)),
        # Indices of maxima are a byte each.
        ("max_pool2d_forward", "26", 0, 4 * 2 * 26 * 26 * 32 + 5 * 2 * 13 * 13 * 32),
        ("max_pool2d_backward", "26", 0, 4 * 2 * 26 * 26 * 32 + 5 * 2 * 13 * 13 * 32),
        ("matmul", "64 to 10, output", 2 * 2 * 64 * 10, 4 * (2 * 64 + 64 * 10 + 10 + 2 * 10)),
        ("matmul", "64 to 10, weight", 2 * 2 * 64 * 10, 4 * (2 * 64 + 2 * 10 + 64 * 10)),
        ("matmul", "64 to 10, input", 2 * 2 * 64 * 10, 4 * (2 * 10 + 64 * 10 + 2 * 64)),
        ("softmax_cross_entropy_forward", "", 0, 4 * (20 + 20 + 2 + 20)),
        ("softmax_cross_entropy_backward", "", 0, 4 * (2 + 20 + 20 + 20)),
        ("activate_backward", "", 0, 3 * 4 * 2 * 26 * 26 * 32),
        ("bias_backward", "", 0, 4 * (2 * 26 * 26 * 32 + 32)),
        ("dropout_forward", "", 0, 2 * 4 * 2 * 26 * 26 * 32 + 16),
        ("gather_batch", "", 0, 2 * 784 + 2 * 8 + 4 * 2 * 784),
    ],
)  # fmt: skip
def test_flop_and_bytes_of_the_programs_calls(
    primitive: str, label: str, flop: int, moved: int
) -> None:
    work = find_workload(workloads.program_workloads(2), primitive, label)
    inputs = work.arrays(np.random.default_rng(0))
    assert work.flop == flop
    assert workloads.bytes_of(work, inputs, work.call(*inputs)) == moved


def test_bytes_of_an_update() -> None:
    """Adam reads four arrays and writes three; SGD with momentum three and two."""
    n = build_model().get_weights()
    assert sum(weight.size for weight in n) == workloads.PARAMETERS
    for primitive, arrays, others in (("adam_update", 7, 8 + 4), ("sgd_update", 5, 4)):
        work = find_workload(workloads.updates(), primitive)
        inputs = work.arrays(np.random.default_rng(0))
        moved = workloads.bytes_of(work, inputs, work.call(*inputs))
        assert moved == arrays * 4 * workloads.PARAMETERS + others


def test_flop_of_resnets_convolutions() -> None:
    made = list(workloads.resnet_workloads())
    assert len(made) == 3 * 7
    assert made[0].flop == 2 * 32 * 56 * 56 * 64 * 9 * 64
    assert made[3].flop == 2 * 32 * 28 * 28 * 128 * 9 * 128  # stride 2 halves 56
    assert made[3].label == "56x56x128 to 128, stride 2"


@pytest.mark.parametrize("layout", ["contiguous_format", "channels_last"])
def test_pytorch_computes_the_same_convolutions(
    layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(workloads, "RESNET_SHAPES", ((6, 4, 8, 1), (7, 4, 8, 2)))
    for work in workloads.resnet_workloads(2):
        inputs = work.arrays(np.random.default_rng(0))
        ours = work.call(*inputs)
        theirs = gpu_kernels.torch_convolution(torch, work, layout, "cpu")(0)
        sizes = [a.size for a in (ours if isinstance(ours, tuple) else (ours,)) if a is not None]
        given = theirs if isinstance(theirs, tuple) else (theirs,)
        assert [t.numel() for t in given if t is not None] == sizes


# Tests and sanitizer


def test_outcomes_are_counted_in_the_output_of_pytest() -> None:
    output = """
tests/gpu/test_a.py::test_one[relu-(3, 4)-{}-float32] PASSED            [ 25%]
tests/gpu/test_a.py::test_two FAILED                                    [ 50%]
tests/gpu/test_a.py::test_three SKIPPED (needs two devices: there is 1) [ 75%]
tests/gpu/test_a.py::test_four ERROR                                    [100%]
E   AssertionError: made up
FAILED tests/gpu/test_a.py::test_two - AssertionError: PASSED
tests/gpu/test_a.py::test_five"""
    found = gpu_checks.count_outcomes(output)
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 2, 1)
    assert found["failures"] == ["tests/gpu/test_a.py::test_two", "tests/gpu/test_a.py::test_four"]
    assert found["reasons"] == {"needs two devices: there is 1": 1}
    assert found["messages"] == ["E   AssertionError: made up"]


def test_the_suite_runs_in_processes() -> None:
    device = {"memory_free_bytes": 1 << 40}
    (found,) = gpu_checks.run_tests(Deadline(600), device, "tests/gpu/test_bad_input.py")
    assert found["tests"] == found["passed"] + found["skipped"]
    assert found["failed"] == 0
    if not backend.probe_gpu().usable:
        assert any("needs a usable GPU" in reason for reason in found["reasons"])


def test_a_late_process_is_killed_with_its_children() -> None:
    script = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('x', flush=True)"
    command = [sys.executable, "-c", f"{script}; time.sleep(60)"]
    process, output = gpu_checks._start(command)
    while process.poll() is None and not os.fstat(output.fileno()).st_size:
        time.sleep(0.01)  # how long a process takes to start depends on the machine
    outputs = gpu_checks._finish([(process, output)], Deadline(0.1))
    assert outputs == ["x\n"]


@pytest.mark.parametrize(
    ("name", "output", "expected"),
    [
        ("memcheck", "small step done\n========= ERROR SUMMARY: 0 errors", 0),
        ("memcheck", "small step done\n========= ERROR SUMMARY: 3 errors", 3),
        ("racecheck", "small step done\n========= RACECHECK SUMMARY: 1 hazard displayed", 1),
        ("memcheck", "========= ERROR SUMMARY: 0 errors", "did not finish"),
        ("racecheck", "small step done\n========= ERROR SUMMARY: 0 errors", "nothing was checked"),
        ("memcheck", "", "no output"),
    ],
)
def test_summaries_of_the_sanitizer(name: str, output: str, expected: int | str) -> None:
    found = gpu_checks.read_summary(name, output)
    if isinstance(expected, int):
        assert found["found"] == expected
        assert bool(found["messages"]) == bool(expected and len(output.splitlines()) > 2)
    else:
        assert expected in found["error"]


def test_the_sanitizer_is_found_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\necho "$@" > "$0.$2"\necho small step done\n'
        'echo "========= ERROR SUMMARY: 0 errors"\n'
        'echo "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("CUDA_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    found = list(gpu_checks.run_sanitizer(Deadline(600)))
    assert [(f["check"], f["found"]) for f in found] == [("memcheck", 0), ("racecheck", 0)]
    assert "--tool memcheck" in (tmp_path / "bin" / "compute-sanitizer.memcheck").read_text()
    assert next(gpu_checks.run_sanitizer(Deadline(0))) == {"left_out": "memcheck"}
    monkeypatch.setattr(gpu_checks, "find_sanitizer", lambda: None)
    assert "absent" in next(gpu_checks.run_sanitizer(Deadline(600)))


# The command


def test_without_a_gpu_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def jobs(job: str, deadline: Deadline) -> Iterator[Any]:
        yield {"usable": False, "reason": "No driver here.", "fix": "Install one."}

    assert gpu.main(["--output", str(tmp_path / "out")], jobs) == 2
    printed = capsys.readouterr()
    assert printed.err == "No usable GPU: No driver here. Fix: Install one.\n"
    assert not printed.out
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(backend.probe_gpu().usable, reason="there is a GPU here")
def test_the_real_command_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=gpu_machine.ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("No usable GPU: ")
    assert " Fix: " in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(
        gpu.make_parts()
    )
    for wrong in (["--minutes", "0"], ["--minutes", "900"], ["--only", "kernel"]):
        with pytest.raises(SystemExit) as ended:
            gpu.main(wrong)
        assert ended.value.code == 2


def test_parts_end_in_time_and_are_written() -> None:
    clock, written = Clock(), []
    report: dict[str, Any] = {"parts": {}, "device": {}}

    def takes(seconds: float) -> Callable[..., Iterator[Any]]:
        def records(deadline: Deadline, device: Any) -> Iterator[Any]:
            limits.append(deadline.left())
            clock.now += seconds
            yield {"made": "up"}

        return records

    def breaks(deadline: Deadline, device: Any) -> Iterator[Any]:
        yield {"made": "up"}
        raise RuntimeError("made up")

    limits: list[float] = []
    parts = {
        "first": gpu.Part("", 0.3, 10, takes(50)),
        "broken": gpu.Part("", 0.3, 10, breaks),
        "second": gpu.Part("", 0.9, 10, takes(45)),
        "third": gpu.Part("", 0.3, 10, takes(1)),
    }
    gpu.run(parts, report, Deadline(100, clock), lambda: written.append(len(report["parts"])))
    assert limits == [30, 50]
    states = {name: entry["state"] for name, entry in report["parts"].items()}
    assert states == {
        "first": "done",
        "broken": "aborted: RuntimeError: made up",
        "second": "done",
        "third": "not measured: out of time",
    }
    assert report["parts"]["broken"]["records"] == [{"made": "up"}]
    assert report["parts"]["first"]["seconds"] == 50
    assert written == [1, 2, 3, 4]
    assert len(gpu_report.problems(report)) == 1


def test_jobs_leave_out_late_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fake:
        def __init__(self, *options: Any) -> None: ...

    monkeypatch.setattr(gpu_kernels, "CupyStream", Fake)
    device = SimpleNamespace(Device=lambda: SimpleNamespace(attributes={}))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=device))
    found = list(JOBS["kernels"](Deadline(0), Sizes(batches=(32,))))
    assert len(found) > 20
    assert {*found[0]} == {"left_out"}
    assert found[0]["left_out"].startswith("adam_update")


def test_a_job_in_a_process_yields_its_records() -> None:
    (found,) = gpu.run_in_process("describe", Deadline(600))
    assert found["usable"] == backend.probe_gpu().usable
    assert found["reason"]
    with pytest.raises(PeerError, match="its process ended"):
        list(gpu.run_in_process("no such job", Deadline(600)))
