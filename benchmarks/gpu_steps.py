"""Training steps and epochs of gpunet and its peers, by turns: A B A B ...

Each library has a process of its own (`gpu_peers`); while one works the others wait.
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
from benchmarks.gpu_timing import Deadline, summarize
from benchmarks.programs import BATCH_SIZES

__all__ = ["Peer", "PeerError", "Worker", "compare_epochs", "compare_steps"]

Record = dict[str, Any]

PRECISIONS = ("fp32", "tf32")
TURNS = 8
EPOCHS = 3
NOT_YET = "not there yet"

_PATIENCE = 90.0  # seconds for an answer, beside what is asked
_IN_A_TURN = {32: 100, 128: 60, 1024: 20}  # steps, for each batch size


class PeerError(Exception):
    """A peer did not do what it was told; the message says what it said, or that it did not."""


class Worker(Protocol):
    """A library in its process, or what stands for it in a test."""

    def tell(self, **command: Any) -> None:
        """Send a command, and do not wait."""

    def hear(self, seconds: float) -> Record:
        """Return the answer to the earliest command that was not answered yet."""

    def close(self) -> None:
        """End the process."""


class Peer:
    """A contender's process.

    Arguments:
        contender: one of `CONTENDERS`.
        command: how it is started.
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

    def tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # where it has ended, hear() says so
            print(json.dumps(command), file=self._process.stdin, flush=True)

    def hear(self, seconds: float) -> Record:
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
                said = json.loads(line)
            except ValueError:
                continue  # what a library prints of its own
            if isinstance(said, dict):
                if "error" in said:
                    raise PeerError(said["error"])
                return said

    def _last_errors(self) -> str:
        self._errors.seek(0)
        return " / ".join(self._errors.read().strip().splitlines()[-4:])[-600:] or "without a word"

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with suppress(OSError):
            self._process.stdin.close()
        self._reader.join(2)
        if not self._reader.is_alive():  # else what it started in turn still holds the pipe
            self._process.stdout.close()
        self._errors.close()


class _Group:
    """The contenders that still take part; one that fails leaves, with its reason kept."""

    def __init__(self, stack: ExitStack, start: Callable[[str], Worker], deadline: Deadline):
        self.deadline = deadline
        self.workers: dict[str, Worker] = {}
        self.lost: dict[str, str] = {}
        for name in CONTENDERS:
            worker = start(name)
            stack.callback(worker.close)
            self.workers[name] = worker
        for name in CONTENDERS:
            self._hear(name)

    def _hear(self, name: str) -> Record | None:
        try:
            return self.workers[name].hear(min(_PATIENCE, self.deadline.left()))
        except PeerError as error:
            self.lost[name] = str(error)
            self.workers.pop(name).close()
            return None

    def ask(self, name: str, **command: Any) -> Record | None:
        """Tell one, and return its answer, or None where it is lost with that."""
        if name not in self.workers:
            return None
        self.workers[name].tell(**command)
        return self._hear(name)

    def ask_all(self, names: tuple[str, ...], **command: Any) -> dict[str, Record]:
        """Tell some at once, and return the answers of those that gave one."""
        names = tuple(name for name in names if name in self.workers)
        for name in names:
            self.workers[name].tell(**command)
        answers = {name: self._hear(name) for name in names}
        return {name: said for name, said in answers.items() if said is not None}


def compare_steps(
    deadline: Deadline,
    start: Callable[[str], Worker] = Peer,
    sizes: tuple[int, ...] = BATCH_SIZES,
    turns: int = TURNS,
) -> Iterator[Record]:
    """Yield the times of training steps: fp32 of all, then TF32 of the peers, by batch size."""
    with ExitStack() as stack:
        group = _Group(stack, start, deadline)
        for precision in PRECISIONS:
            for size in sizes:
                if deadline.passed():
                    yield {"left_out": f"steps, batch {size}, {precision}"}
                else:
                    yield _steps(group, size, precision, turns)


def _steps(group: _Group, size: int, precision: str, turns: int) -> Record:
    steps = _IN_A_TURN.get(size, 2)
    names = tuple(name for name in CONTENDERS if name != OURS or precision == "fp32")
    prepared = group.ask_all(names, do="prepare", size=size, batches=steps, precision=precision)
    waited: dict[str, list[float]] = {name: [] for name in prepared}
    rows: dict[str, list[float]] = {name: [] for name in prepared}
    memory: dict[str, int] = {}
    for _ in range(turns):
        if group.deadline.passed():
            break
        for name in prepared:
            one = group.ask(name, do="step", steps=max(2, steps // 4))
            many = group.ask(name, do="run", steps=steps)
            if one and many:
                waited[name] += one["times"]
                rows[name] += [seconds / steps for seconds in many["times"]]
                memory[name] = many["memory"]
    results: Record = {
        name: {
            "loss": prepared[name]["loss"],
            "waited_for": summarize(waited[name]),
            "in_a_row": summarize(rows[name]),
            "memory": memory[name],
        }
        for name in memory
    }
    for name in CONTENDERS:
        if name not in results:
            if name == OURS and precision == "tf32":
                results[name] = {"why": NOT_YET}
            else:
                results[name] = {"why": group.lost.get(name, "left out: time")}
    return {"batch": size, "precision": precision, "steps_in_a_turn": steps, "results": results}


def compare_epochs(
    deadline: Deadline,
    start: Callable[[str], Worker] = Peer,
    count: int | None = None,
    epochs: int = EPOCHS,
) -> Iterator[Record]:
    """Yield the seconds of epochs of MNIST at batch size 32, and the accuracy after them.

    Arguments:
        deadline: when to stop.
        start: starts a contender.
        count: images to train on, all by default.
        epochs: how many.
    """
    home = os.environ.get("GPUNET_HOME")
    if not home or not (Path(home) / "mnist.npz").is_file():
        why = f"there is none in GPUNET_HOME={home}" if home else "GPUNET_HOME is not set"
        yield {"absent": "mnist.npz", "why": why}
        return
    with ExitStack() as stack:
        group = _Group(stack, start, deadline)
        command: Record = {"do": "prepare mnist", "size": 32, "precision": "fp32"}
        prepared = group.ask_all(CONTENDERS, **command, **({"count": count} if count else {}))
        times: dict[str, list[float]] = {name: [] for name in prepared}
        for _ in range(epochs):
            for name in prepared:
                said = None if deadline.passed() else group.ask(name, do="epoch")
                if said:
                    times[name] += said["times"]
        results: Record = {}
        for name in CONTENDERS:
            said = group.ask(name, do="accuracy") if times.get(name) else None
            if said:
                results[name] = {"seconds": times[name], "accuracy": said["accuracy"]}
            else:
                results[name] = {"why": group.lost.get(name, "left out: time")}
        yield {"batch": 32, "precision": "fp32", "epochs": epochs, "results": results}
