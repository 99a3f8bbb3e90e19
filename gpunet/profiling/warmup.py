"""Compiles a model's kernels before training begins."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any

import numpy as np

from gpunet.autograd import Array
from gpunet.backend import get_array_module
from gpunet.models.model import Model
from gpunet.primitives import launch as launcher
from gpunet.primitives import reference, selection
from gpunet.primitives.launch import Build, Executor, KernelSource, Launch
from gpunet.primitives.precision import use_precision
from gpunet.profiling.dry_run import DryRun, unchanged
from gpunet.profiling.examples import example_batch
from gpunet.training.batches import Batch
from gpunet.training.memory import memory_for

__all__ = ["warmup"]


def warmup(
    model: Model, batch_size: int = 32, *, x: Any = None, y: Any = None, verbose: int | str = "auto"
) -> int:
    """Compile the kernels that training and predicting in batches of this size need.

    Otherwise each is compiled when it is first launched, and the first step takes seconds. The
    model, its optimizer and the random numbers to come stay as they are. On the CPU it is Numba's
    kernels that are compiled, once for all processes, where Numba is in use; else there are none.
    A batch of another size, as the last one of an epoch often is, can need kernels of its own on a
    GPU.

    Arguments:
        model: compiled, of any inputs and outputs, and with known input shapes unless x is given.
        batch_size: samples in a step.
        x, y: inputs and targets like those of `fit`, where the model does not know the shapes of
            its inputs, their type is not the weights', or the targets of a custom loss have another
            shape than the predictions; one sample is enough.
        verbose: 'auto' or 1 for a line that redraws on a terminal; 2 for a line a kernel; 0 for
            silence.

    Returns:
        How many kernels were compiled, or on the CPU found compiled on the disk.

    Raises:
        RuntimeError: before `compile`, or while the input shape is not known.
        TypeError, ValueError: `fit` would refuse the data.
        KernelCompileError: a kernel does not compile.
    """
    batch, structure = example_batch(model, x, y, batch_size, "warmup")
    if get_array_module(batch.inputs[0]) is np:
        return _warm_up_cpu(model, batch, structure, verbose)
    recorder: Any = _Recorder(launcher.current_executor())
    with launcher.use_executor(recorder):
        _dry_run(model, batch, structure)
    return _compile(recorder.executor, list(recorder.launches.values()), verbose)


def _dry_run(model: Model, batch: Batch, structure: Any) -> None:
    with unchanged(model), memory_for(batch.size), use_precision(model.precision):
        dry_run = DryRun(model, batch, structure)
        dry_run.evaluate()
        dry_run.step()


def _warm_up_cpu(model: Model, batch: Batch, structure: Any, verbose: int | str) -> int:
    if selection.numpy_twins().module is reference:
        if verbose:
            print("Nothing to compile: the model is on the CPU, where NumPy runs it.")
        return 0
    from gpunet.primitives.fast.compile import count_ready

    since, before = perf_counter(), count_ready()
    _dry_run(model, batch, structure)
    ready = count_ready() - before
    if verbose:
        print(f"Made {ready} kernels ready - {perf_counter() - since:.1f} s", flush=True)
    return ready


class _Recorder:
    """An executor that runs nothing: it remembers what it was asked to launch."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.launches: dict[tuple[str, str, Build], tuple[KernelSource, Build]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.executor, name)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return zeros: kernels do not run, and code that reads their results needs numbers."""
        array = self.executor.empty(shape, dtype)
        array.fill(0)
        return array

    def run(self, launch: Launch) -> None:
        """Remember the kernel."""
        kernel, build = launch.kernel, launch.build
        self.launches.setdefault((kernel.source, kernel.name, build), (kernel, build))


def _compile(
    executor: Executor, launches: list[tuple[KernelSource, Build]], verbose: int | str
) -> int:
    since, compiled = perf_counter(), 0
    for kernel, build in _shown(launches, verbose):
        compiled += executor.compile(kernel, build)
    if verbose:
        seconds = f"{perf_counter() - since:.1f} s"
        print(f"Compiled {compiled} kernels - {seconds} - {len(launches)} in use", flush=True)
    return compiled


def _shown(
    launches: list[tuple[KernelSource, Build]], verbose: int | str
) -> Iterable[tuple[KernelSource, Build]]:
    """Yield the kernels, and show how far it is."""
    if verbose in ("auto", 1) and sys.stdout.isatty():
        with suppress(ImportError):
            from tqdm import tqdm

            return tqdm(launches, "Compiling kernels", file=sys.stdout, leave=False)
    return _printed(launches) if verbose == 2 else launches


def _printed(launches: list[tuple[KernelSource, Build]]) -> Iterator[tuple[KernelSource, Build]]:
    for number, (kernel, build) in enumerate(launches, start=1):
        print(f"{number}/{len(launches)} {kernel.name} ({kernel.source})", flush=True)
        yield kernel, build
