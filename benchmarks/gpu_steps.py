"""Training steps and epochs of gpunet and its peers, in turns: A B A B ...

Each library has its own process (`gpu_peers`); while one works, the others wait.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from benchmarks.gpu_machine import ROOT
from benchmarks.gpu_peers import CONTENDERS, OURS
from benchmarks.gpu_timing import OUT_OF_TIME, Deadline, summarize

__all__ = ["Declined", "Peer", "PeerError", "Worker", "compare_epochs", "compare_steps"]

Record = dict[str, Any]

# Batch sizes and precisions; the last are left out when time is short.
CASES = (
    (32, "fp32"), (1024, "fp32"), (1024, "tf32"), (128, "fp32"), (32, "tf32"), (1024, "bf16"),
    (32, "bf16"),
)  # fmt: skip
TURNS = 6
EPOCHS = 10

_PATIENCE = 90.0  # seconds to wait for an answer
_LEAST = 20.0  # seconds required to start a case: about the time to compile
_TO_REPORT = 5.0  # seconds reserved to query the accuracy
_IN_A_TURN = {32: (200, 3), 128: (96, 3), 1024: (24, 5)}  # batches, and passes over them


class PeerError(Exception):
    """A peer failed or did not answer; the message says which."""


class Declined(PeerError):
    """The peer answered with an error; it can take other commands."""


class Worker(Protocol):
    """A contender's process, or a stand-in in tests."""

    def send(self, **command: Any) -> None:
        """Send a command without waiting."""

    def receive(self, seconds: float) -> Record:
        """Return the answer to the earliest unanswered command."""

    def close(self) -> None:
        """End the process."""


class Peer:
    """A contender's process.

    Arguments:
        contender: one of `CONTENDERS`.
        command: command line of the process.
    """

    def __init__(self, contender: str, command: list[str] | None = None) -> None:
        command = command or [sys.executable, "-m", "benchmarks.gpu_peers", contender]
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def send(self, **command: Any) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # if it has ended, receive() reports it
            print(json.dumps(command), file=self._process.stdin, flush=True)

    def receive(self, seconds: float) -> Record:
        deadline = Deadline(seconds)
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline.left()))
            except queue.Empty:
                raise PeerError(f"no answer within {seconds:.0f} s") from None
            if line is None:
                self._lines.put(None)
                raise PeerError(f"its process ended: {self._last_errors()}")
            try:
                reply = json.loads(line)
            except ValueError:
                continue  # printed by a library
            if isinstance(reply, dict):
                if "error" in reply:
                    raise Declined(reply["error"])
                return reply

    def _last_errors(self) -> str:
        self._errors.seek(0)
        return " / ".join(self._errors.read().strip().splitlines()[-4:])[-600:] or "no output"

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with suppress(OSError):
            self._process.stdin.close()
        self._reader.join(2)
        if not self._reader.is_alive():  # else a child still holds the pipe
            self._process.stdout.close()
        self._errors.close()


class _Group:
    """The contenders that still answer; one that does not is removed.

    Attributes:
        why: error of each contender that failed its last command.
    """

    def __init__(self, stack: ExitStack, start: Callable[[str], Worker], deadline: Deadline):
        self.deadline = deadline
        self.workers: dict[str, Worker] = {}
        self.why: dict[str, str] = {}
        for name in CONTENDERS:
            worker = start(name)
            stack.callback(worker.close)
            self.workers[name] = worker
        for name in CONTENDERS:
            if self._receive(name) is None and name in self.workers:
                self.workers.pop(name).close()

    def _receive(self, name: str) -> Record | None:
        try:
            reply = self.workers[name].receive(min(_PATIENCE, self.deadline.left()))
        except PeerError as error:
            self.why[name] = str(error)
            if not isinstance(error, Declined):
                self.workers.pop(name).close()
            return None
        self.why.pop(name, None)
        return reply

    def request(self, name: str, **command: Any) -> Record | None:
        """Send a command to one contender; return its answer, or None if it failed."""
        if name not in self.workers:
            return None
        self.workers[name].send(**command)
        return self._receive(name)

    def request_all(self, names: tuple[str, ...], **command: Any) -> dict[str, Record]:
        """Send a command to several contenders; return the answers of those that succeeded."""
        names = tuple(name for name in names if name in self.workers)
        for name in names:
            self.workers[name].send(**command)
        answers = {name: self._receive(name) for name in names}
        return {name: reply for name, reply in answers.items() if reply is not None}


def compare_steps(
    deadline: Deadline,
    start: Callable[[str], Worker] = Peer,
    cases: tuple[tuple[int, str], ...] = CASES,
    turns: int = TURNS,
) -> Iterator[Record]:
    """Yield times of training steps for each batch size and precision."""
    with ExitStack() as stack:
        group = _Group(stack, start, deadline)
        for size, precision in cases:
            if deadline.left() < _LEAST:
                yield {"left_out": f"steps, batch {size}, {precision}"}
            else:
                yield _steps(group, size, precision, turns)


def _steps(group: _Group, size: int, precision: str, turns: int) -> Record:
    batches, passes = _IN_A_TURN.get(size, (2, 2))
    steps = batches * passes
    prepared = group.request_all(
        CONTENDERS, do="prepare", size=size, batches=batches, precision=precision
    )
    synchronized: dict[str, list[float]] = {name: [] for name in prepared}
    pipelined: dict[str, list[float]] = {name: [] for name in prepared}
    memory: dict[str, int] = {}
    for _ in range(turns):
        if group.deadline.passed():
            break
        for name in prepared:
            one = group.request(name, do="step", steps=max(2, batches // 4))
            many = group.request(name, do="run", steps=steps)
            if one and many:
                synchronized[name] += one["times"]
                pipelined[name] += [seconds / steps for seconds in many["times"]]
                memory[name] = many["memory"]
    results: Record = {
        name: {
            "loss": prepared[name]["loss"],
            "synchronized": summarize(synchronized[name]),
            "pipelined": summarize(pipelined[name]),
            "memory": memory[name],
            "image_bytes": prepared[name]["image_bytes"],
        }
        for name in memory
    }
    return {
        "batch": size,
        "precision": precision,
        "steps_in_a_turn": steps,
        "results": _complete(results, group),
    }


def _complete(results: Record, group: _Group) -> Record:
    """Return the results of all contenders in order; where there is none, the reason."""
    return {
        name: results.get(name) or {"why": group.why.get(name, OUT_OF_TIME)} for name in CONTENDERS
    }


def compare_epochs(
    deadline: Deadline,
    start: Callable[[str], Worker] = Peer,
    count: int | None = None,
    epochs: int = EPOCHS,
) -> Iterator[Record]:
    """Yield times of epochs of MNIST at batch size 32, and the accuracy after them.

    gpunet trains all epochs in one `fit`. Then the others take turns, an epoch at a time, while
    there is time.

    Arguments:
        deadline: when to stop.
        start: starts a contender.
        count: number of training images; all by default.
        epochs: number of epochs.
    """
    home = os.environ.get("GPUNET_HOME")
    if not home or not (Path(home) / "mnist.npz").is_file():
        why = f"not found in GPUNET_HOME={home}" if home else "GPUNET_HOME is not set"
        yield {"absent": "mnist.npz", "why": why}
        return
    with ExitStack() as stack:
        group = _Group(stack, start, deadline)
        command: Record = {"do": "prepare mnist", "size": 32, "precision": "fp32"}
        prepared = group.request_all(CONTENDERS, **command, **({"count": count} if count else {}))
        results: Record = {}
        for name, found in _train(group, list(prepared), epochs).items():
            reply = group.request(name, do="accuracy") if found["epochs"] else None
            if reply:
                results[name] = found | reply
        yield {
            "batch": 32,
            "precision": "fp32",
            "epochs": epochs,
            "results": _complete(results, group),
        }


def _train(group: _Group, names: list[str], epochs: int) -> dict[str, Record]:
    """Return the epochs that each contender completed, and their seconds."""
    found: dict[str, Record] = {name: {"epochs": 0, "seconds": 0.0} for name in names}
    for _ in range(epochs):
        for name, done in found.items():
            count = 1 if name != OURS else epochs
            if done["epochs"] == epochs or group.deadline.left() < _TO_REPORT:
                continue
            if reply := group.request(name, do="epochs", count=count):
                done["epochs"] += count
                done["seconds"] += sum(reply["times"])
    return found
