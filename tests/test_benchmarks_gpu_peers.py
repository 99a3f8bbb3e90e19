"""The libraries that `python -m benchmarks.gpu` compares, here on the CPU and never measured."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from played_gpu_benchmark import InThisProcess

from benchmarks import gpu_steps
from benchmarks.gpu_peers import CONTENDERS, OURS, GpunetProgram, TorchProgram
from benchmarks.gpu_steps import Peer, PeerError
from benchmarks.gpu_timing import Deadline
from benchmarks.programs import batch
from gpunet import backend


@pytest.fixture(autouse=True)
def backend_as_before() -> Iterator[None]:
    """Put the backend back, which a program chooses for its whole process."""
    with backend.use_backend("numpy"):
        yield


SPEAKS = (
    "import json, sys\nprint('noise')\nprint(json.dumps({'ready': 1}), flush=True)\n"
    "for line in sys.stdin:\n    command = json.loads(line)\n"
    "    if command['do'] == 'end': sys.exit('it ended')\n"
    "    if command['do'] == 'fail': print(json.dumps({'error': 'it failed'}), flush=True)\n"
    "    if command['do'] == 'say': print(json.dumps({'said': command['what']}), flush=True)\n"
)


def test_a_peer_answers_fails_is_silent_and_ends() -> None:
    peer = Peer("made up", [sys.executable, "-c", SPEAKS])
    try:
        assert peer.hear(30) == {"ready": 1}
        peer.tell(do="say", what="something")
        assert peer.hear(30) == {"said": "something"}
        peer.tell(do="fail")
        with pytest.raises(PeerError, match="it failed"):
            peer.hear(30)
        peer.tell(do="nothing")
        with pytest.raises(PeerError, match="no answer within 0 s"):
            peer.hear(0.2)
        peer.tell(do="end")
        for _ in range(2):
            with pytest.raises(PeerError, match="its process ended: it ended"):
                peer.hear(30)
        peer.tell(do="say", what="nobody hears it")
    finally:
        peer.close()


def test_gpunet_and_pytorch_train_the_same_program() -> None:
    """Each on the CPU; after a step they differ by where Adam adds epsilon."""
    torch = pytest.importorskip("torch")
    losses = []
    for program in (GpunetProgram(np), TorchProgram(torch, "PyTorch eager", "cpu")):
        first = program.prepare(batch(16), 8, "fp32")
        losses.append([first, *(program.step(number) for number in range(3))])
        program.run(2)
        program.epoch()
        assert 0 <= program.accuracy(batch(20)) <= 1
        assert program.peak_memory() == 0
    np.testing.assert_allclose(losses[0][:2], losses[1][:2], rtol=1e-5)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert losses[0][0] == pytest.approx(losses[0][1])


def test_a_captured_step_starts_from_the_weights_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what PyTorch has for graphs played: the step is run once, where it would be captured."""
    torch = pytest.importorskip("torch")
    replays = []
    stream = SimpleNamespace(wait_stream=lambda other: None)
    graph = SimpleNamespace(replay=lambda: replays.append(1))
    for name, played in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": lambda s: contextlib.nullcontext(),
        "CUDAGraph": lambda: graph,
        "graph": lambda g: contextlib.nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, played)
    program = TorchProgram(torch, "PyTorch, CUDA graph", "cpu")
    program.prepare(batch(16), 8, "fp32")
    eager = TorchProgram(torch, "PyTorch eager", "cpu")
    eager.prepare(batch(16), 8, "fp32")
    for ours, theirs in zip(program.network.parameters(), eager.network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(not v.any() for s in program.optimizer.state.values() for v in s.values())
    assert len(program.optimizer.state) == 10
    program.step(0)
    program.run(3)
    assert len(replays) == 4


def test_a_peer_that_is_lost_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(gpu_steps._IN_A_TURN, 4, 2)
    programs = {OURS: lambda: GpunetProgram(np)}
    start = partial(InThisProcess, programs=programs)
    found = list(gpu_steps.compare_steps(Deadline(600), start, sizes=(4,), turns=2))
    fp32, tf32 = found
    assert list(fp32["results"]) == [OURS, *CONTENDERS[1:]]
    assert fp32["results"][OURS]["in_a_row"]["count"] == 2
    assert fp32["results"][OURS]["waited_for"]["count"] == 4
    assert fp32["results"]["PyTorch eager"] == {"why": "PyTorch eager is not played"}
    assert tf32["results"][OURS] == {"why": "not there yet"}
    (left, _) = gpu_steps.compare_steps(Deadline(0), start, sizes=(4,))
    assert left == {"left_out": "steps, batch 4, fp32"}


def test_epochs_need_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GPUNET_HOME", raising=False)
    (found,) = gpu_steps.compare_epochs(Deadline(60))
    assert found == {"absent": "mnist.npz", "why": "GPUNET_HOME is not set"}
    monkeypatch.setenv("GPUNET_HOME", str(tmp_path))
    (found,) = gpu_steps.compare_epochs(Deadline(60))
    assert found["why"] == f"there is none in GPUNET_HOME={tmp_path}"


def test_what_a_worker_says_when_its_library_has_no_gpu() -> None:
    if backend.probe_gpu().usable:
        pytest.skip("there is a GPU here")
    for contender in (OURS, "PyTorch eager"):
        peer = Peer(contender)
        try:
            with pytest.raises(PeerError, match=r"GPU|torch"):
                peer.hear(60)
        finally:
            peer.close()
