"""Libraries that `python -m benchmarks.gpu` compares, on the CPU and without measurements."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu_steps
from benchmarks.gpu_peers import (
    CONTENDERS,
    OURS,
    OURS_EAGER,
    TORCH_EAGER,
    TORCH_GRAPH,
    GpunetProgram,
    TorchProgram,
    answer,
)
from benchmarks.gpu_steps import Declined, Peer, PeerError
from benchmarks.gpu_timing import Deadline
from benchmarks.programs import batch
from gpunet import backend
from tests.support.fake_cupy import gpu as fake_gpu
from tests.support.fake_gpu_benchmark import InProcessPeer


@pytest.fixture(autouse=True)
def restore_backend() -> Iterator[None]:
    """Restore the backend, which a program sets for its process."""
    with backend.use_backend("numpy"):
        yield


PEER_SCRIPT = (
    "import json, sys\nprint('noise')\nprint(json.dumps({'ready': 1}), flush=True)\n"
    "for line in sys.stdin:\n    command = json.loads(line)\n"
    "    if command['do'] == 'end': sys.exit('it ended')\n"
    "    if command['do'] == 'fail': print(json.dumps({'error': 'it failed'}), flush=True)\n"
    "    if command['do'] == 'say': print(json.dumps({'reply': command['what']}), flush=True)\n"
)


def test_answers_errors_silence_and_end_of_a_peer() -> None:
    peer = Peer("made up", [sys.executable, "-c", PEER_SCRIPT])
    try:
        assert peer.receive(30) == {"ready": 1}
        peer.send(do="say", what="something")
        assert peer.receive(30) == {"reply": "something"}
        peer.send(do="fail")
        with pytest.raises(Declined, match="it failed"):
            peer.receive(30)
        peer.send(do="nothing")
        with pytest.raises(PeerError, match="no answer within 0 s"):
            peer.receive(0.2)
        peer.send(do="end")
        for _ in range(2):
            with pytest.raises(PeerError, match="its process ended: it ended"):
                peer.receive(30)
        peer.send(do="say", what="ignored")
    finally:
        peer.close()


@pytest.mark.slow
def test_gpunet_and_pytorch_train_the_same_program() -> None:
    """Each on the CPU; after a step they differ in where Adam adds epsilon."""
    torch = pytest.importorskip("torch")
    losses = []
    for program in (GpunetProgram(np, "auto"), TorchProgram(torch, TORCH_EAGER, "cpu")):
        first = program.prepare(batch(16), 8, "fp32")
        losses.append([first, *(program.step(number) for number in range(3))])
        program.run(4)
        program.epochs(1)
        program.reset_memory()
        assert 0 <= program.accuracy(batch(20)) <= 1
        assert program.peak_memory() == 0
    np.testing.assert_allclose(losses[0][:2], losses[1][:2], rtol=1e-5)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert losses[0][0] == pytest.approx(losses[0][1])


def test_capture_in_pytorch_leaves_weights_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fake CUDA graphs: the captured step runs once."""
    torch = pytest.importorskip("torch")
    replays = []
    stream = SimpleNamespace(wait_stream=lambda other: None)
    graph = SimpleNamespace(replay=lambda: replays.append(1))
    for name, fake in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda s: contextlib.nullcontext(),
        "CUDAGraph": lambda: graph,
        "graph": lambda g: contextlib.nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    program = TorchProgram(torch, TORCH_GRAPH, "cpu")
    program.prepare(batch(16), 8, "fp32")
    eager = TorchProgram(torch, TORCH_EAGER, "cpu")
    eager.prepare(batch(16), 8, "fp32")
    for ours, theirs in zip(program.network.parameters(), eager.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(not v.any() for s in program.optimizer.state.values() for v in s.values())
    assert len(program.optimizer.state) == 10
    program.step(0)
    program.run(3)
    assert len(replays) == 4


def test_others_continue_when_a_peer_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    programs = {OURS: lambda: GpunetProgram(np, "auto")}
    start = partial(InProcessPeer, programs=programs)
    (found,) = gpu_steps.compare_steps(Deadline(600), start, ((4, "fp32"),), turns=2)
    assert tuple(found["results"]) == CONTENDERS
    assert found["results"][OURS]["pipelined"]["count"] == 2
    assert found["results"][OURS]["synchronized"]["count"] == 4
    assert found["results"][OURS]["image_bytes"] == 2 * 4 * 28 * 28 * 4
    assert found["results"][TORCH_EAGER] == {"why": "PyTorch eager is not fake"}
    (left,) = gpu_steps.compare_steps(Deadline(10), start, ((4, "tf32"),))
    assert left == {"left_out": "steps, batch 4, tf32"}


def test_a_peer_continues_after_an_error(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake GPU has no bfloat16."""
    monkeypatch.setattr(cupy.cuda.Device, "compute_capability", "75")
    programs = {OURS: lambda: GpunetProgram(cupy)}
    start = partial(InProcessPeer, programs=programs)
    cases = ((2, "bf16"), (2, "fp32"))
    declined, done = gpu_steps.compare_steps(Deadline(600), start, cases, turns=1)
    assert "bf16" in declined["results"][OURS]["why"]
    assert done["results"][OURS]["pipelined"]["count"] == 1


class ScriptedPeer:
    """A contender whose epochs take a second each, on a fake clock."""

    def __init__(self, name: str, epochs: list[tuple[str, int]], clock: list[float]) -> None:
        self.name, self.epochs, self.clock, self.command = name, epochs, clock, {"do": "start"}

    def send(self, **command: Any) -> None:
        self.command = command

    def receive(self, seconds: float) -> Any:
        count = self.command.get("count", 0)
        if self.command["do"] == "epochs":
            self.epochs.append((self.name, count))
            self.clock[0] += count
        return {"loss": 2.3, "times": [float(count)], "accuracy": 0.5}

    def close(self) -> None: ...


def test_gpunet_trains_all_epochs_and_others_while_there_is_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mnist.npz").touch()
    monkeypatch.setenv("GPUNET_HOME", str(tmp_path))
    trained: list[tuple[str, int]] = []
    clock = [0.0]
    deadline = Deadline(25, lambda: clock[0])
    (found,) = gpu_steps.compare_epochs(
        deadline, lambda name: ScriptedPeer(name, trained, clock), epochs=10
    )
    others = [(name, 1) for name in CONTENDERS[1:]]
    assert trained[:5] == [(OURS, 10), *others]
    assert len(trained) == 1 + 11, "of 25 s, 5 are reserved to query the accuracy"
    results = found["results"]
    assert results[OURS]["epochs"] == results[OURS]["seconds"] == 10
    assert results[OURS]["accuracy"] == 0.5
    assert [results[name]["epochs"] for name in CONTENDERS[1:]] == [3, 3, 3, 2]


@pytest.mark.slow
def test_captured_steps_equal_eager_ones(cupy: Any) -> None:
    """Through the commands of a run; nothing is captured while timing."""
    losses, memory, launched = [], [], []
    for contender in (OURS, OURS_EAGER):
        program = GpunetProgram(cupy, capture=contender == OURS)
        command = {"do": "prepare", "size": 2, "batches": 10, "precision": "fp32"}
        reply = answer(program, command, {})
        graphs = len(program.model._device_steps()._graphs)
        assert bool(graphs) == (contender == OURS)
        fake_gpu.now().launched.clear()
        memory.append(answer(program, {"do": "run", "steps": 20}, {})["memory"])
        launched.append(fake_gpu.now().launched.count("graph"))
        answer(program, {"do": "step", "steps": 2}, {})
        assert len(program.model._device_steps()._graphs) == graphs
        losses.append([reply["loss"], *(program.step(number) for number in range(2))])
    assert losses[0] == losses[1]
    assert launched == [2 * (1 + 2), 0], "in each pass one graph of 8 steps, and 2 single ones"
    assert memory[0] >= memory[1] > 20 * 28 * 28 * 4, "memory of graphs is counted"


def test_pytorch_steps_in_bfloat16() -> None:
    torch = pytest.importorskip("torch")
    program = TorchProgram(torch, TORCH_EAGER, "cpu")
    whole, rounded = (program.prepare(batch(16), 8, precision) for precision in ("fp32", "bf16"))
    assert whole != rounded
    assert rounded == pytest.approx(whole, rel=0.01)
    program.run(2)
    assert {parameter.dtype for parameter in program.network.parameters()} == {torch.float32}


def test_epochs_need_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GPUNET_HOME", raising=False)
    (found,) = gpu_steps.compare_epochs(Deadline(600))
    assert found == {"absent": "mnist.npz", "why": "GPUNET_HOME is not set"}
    monkeypatch.setenv("GPUNET_HOME", str(tmp_path))
    (found,) = gpu_steps.compare_epochs(Deadline(600))
    assert found["why"] == f"not found in GPUNET_HOME={tmp_path}"


def test_a_peer_without_a_gpu_reports_an_error() -> None:
    if backend.probe_gpu().usable:
        pytest.skip("there is a GPU here")
    for contender in (OURS, OURS_EAGER, TORCH_EAGER):
        peer = Peer(contender)
        try:
            with pytest.raises(PeerError, match=r"GPU|torch"):
                peer.receive(60)
        finally:
            peer.close()
