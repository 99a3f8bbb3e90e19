"""Every kernel and the macros it is compiled for, found by launches that run nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from examples.mnist_cnn import build_model
from gpunet.primitives import cuda, use_twins
from gpunet.primitives.launch import Build, Launch, use_executor

from .cases import all_cases, arguments_of, call
from .cpu_executor import CpuExecutor

__all__ = [
    "RecordingExecutor",
    "Use",
    "on_cuda_twins",
    "record_cases",
    "record_training",
    "recorded_uses",
]

# Tilings depend on how many multiprocessors there are to fill: of a laptop, of a workstation, and
# of a data centre.
MULTIPROCESSORS = (4, 30, 132)
BATCHES = (32, 1024)


class Use(NamedTuple):
    """A kernel that is launched, compiled for some macros."""

    kernel: str
    build: Build


class RecordingExecutor(CpuExecutor):
    """Runs nothing and writes down what it was to run; new arrays are zeros."""

    def __init__(self, multiprocessors: int = 132) -> None:
        super().__init__(multiprocessors=multiprocessors)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    def run(self, launch: Launch) -> None:
        self.launches.append(launch)

    @property
    def uses(self) -> set[Use]:
        """Each kernel launched so far, with what it was compiled for."""
        return {Use(launch.kernel.name, launch.build) for launch in self.launches}


def recorded_uses() -> list[Use]:
    """Return what all cases, and training as in the README, launch on devices of several sizes."""
    uses: set[Use] = set()
    for multiprocessors in MULTIPROCESSORS:
        executor = RecordingExecutor(multiprocessors)
        record_cases(executor)
        record_training(executor)
        uses |= executor.uses
    return sorted(uses)


def record_cases(executor: RecordingExecutor) -> None:
    """Launch all cases in all their element types."""
    with use_executor(executor):
        for case in all_cases():
            for dtype in case.dtypes:
                call(cuda, case, *arguments_of(case, dtype))


def record_training(executor: RecordingExecutor, batches: tuple[int, ...] = BATCHES) -> None:
    """Launch a step of training, and of prediction, of the program."""
    with on_cuda_twins(executor):
        for batch in batches:
            model = build_model()
            x = np.zeros((batch, 28, 28, 1), np.float32)
            model.train_on_batch(x, np.eye(10, dtype=np.float32)[np.arange(batch) % 10])
            model.predict_on_batch(x)


@contextmanager
def on_cuda_twins(executor: CpuExecutor) -> Iterator[None]:
    """Let primitives on NumPy arrays launch CUDA kernels, on `executor`, inside the block."""
    with use_twins(cuda), use_executor(executor):
        yield
