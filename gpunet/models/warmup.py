"""Compiles a model's kernels before training begins."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

import numpy as np

from gpunet import random
from gpunet.autograd import Array, no_grad
from gpunet.backend import array_module, get_array_module
from gpunet.layers.core import positive_integer
from gpunet.models.capture import DeviceSteps
from gpunet.models.data import ArrayBatches
from gpunet.models.flat import FlatParameters
from gpunet.models.memory import memory_for
from gpunet.models.model import Model
from gpunet.models.scores import Scores
from gpunet.models.step import NonFiniteLossError
from gpunet.primitives import launcher, reference, selection
from gpunet.primitives.launcher import Build, Executor, Kernel, Launch
from gpunet.primitives.precision import use_precision

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
        model: compiled, and with a known input shape.
        batch_size: samples in a step.
        x, y: inputs and targets like those of `fit`, where their type is not the weights', or the
            targets of a loss of one's own are not of the predictions' shape; one sample is enough.
        verbose: 'auto' or 1 for a line that redraws on a terminal; 2 for a line a kernel; 0 for
            silence.

    Returns:
        How many kernels were compiled, or on the CPU found compiled on the disk.

    Raises:
        RuntimeError: before `compile`, or while the input shape is not known.
        KernelCompileError: a kernel does not compile.
    """
    if not isinstance(model, Model):
        raise TypeError(f"warmup expects a model, received {type(model).__name__}.")
    positive_integer(batch_size, "batch_size", "warmup")
    model._check_compiled("warmup")
    sample = _sample_shape(model, x)
    weights = model.weights
    library = get_array_module(weights[0].value) if weights else array_module()
    if library is np:
        zeros = np.zeros((batch_size, *sample), _dtype(x, model))
        return _warm_up_cpu(model, zeros, y, verbose)
    recorder = _Recorder(launcher.current_executor())
    with (
        _unchanged(model),
        launcher.use_executor(recorder),
        memory_for(batch_size),
        use_precision(model.precision),
    ):
        _rehearse(model, library.zeros((batch_size, *sample), _dtype(x, model)), y)
    return _compile(recorder.executor, list(recorder.launches.values()), verbose)


def _warm_up_cpu(model: Model, x: Array, y: Any, verbose: int | str) -> int:
    if selection.numpy_twins().module is reference:
        if verbose:
            print("Nothing to compile: the model is on the CPU, where NumPy runs it.")
        return 0
    from gpunet.primitives.fast.compile import count_ready

    since, before = perf_counter(), count_ready()
    with _unchanged(model), memory_for(len(x)):
        _rehearse(model, x, y)
    ready = count_ready() - before
    if verbose:
        print(f"Made {ready} kernels ready - {perf_counter() - since:.1f} s", flush=True)
    return ready


def _sample_shape(model: Model, x: Any) -> tuple[int, ...]:
    """Return the shape of one input, once all layers are built for it."""
    shape: Any = None if x is None else np.shape(x)[1:]
    if shape is None and model.built and model.input_shape is not None:
        shape = model.input_shape[1:]
    if shape is None:
        shape = model.given_input_shape
    if shape is None or None in shape:
        raise RuntimeError(
            f"warmup needs to know the input shape of {model.name!r}, which is "
            f"{'unknown' if shape is None else shape}: give its first layer input_shape= with all "
            "sizes, or call warmup(model, x=...) with inputs like those of fit."
        )
    model.build_once((None, *shape))
    model._build_sublayers()
    return shape


def _dtype(x: Any, model: Model) -> Any:
    return getattr(x, "dtype", model.compute_dtype)


def _rehearse(model: Model, x: Array, y: Any) -> None:
    """Go through a step of training and one of predicting, with copies of all that they change."""
    assert model.loss and model.optimizer
    with no_grad():
        prediction = model(model._as_input(x), training=False).value
    targets = model.loss.example_targets(prediction)
    if y is not None:
        targets = get_array_module(x).zeros((len(x), *np.shape(y)[1:]), _dtype(y, model))
    scores = Scores(copy.deepcopy(model.metrics))
    model.optimizer = copy.copy(model.optimizer)
    model._parameters = FlatParameters(model)
    model.optimizer.build(model._parameters.values)
    steps = None if get_array_module(x) is np else DeviceSteps(model)
    # Two batches, so that they are taken from data as those of an epoch are.
    twice = [get_array_module(x).concatenate([array, array]) for array in (x, targets)]
    batches = ArrayBatches(twice[0], twice[1], len(x), shuffle=True)
    with suppress(NonFiniteLossError):  # nothing was really computed
        if steps is None:
            model._train_on(*next(iter(batches)), scores)
        else:
            with steps.running():
                steps.start()
                steps.take(next(steps.turns(batches, one_by_one=True)), scores)


@contextmanager
def _unchanged(model: Model) -> Iterator[None]:
    """Let weights and random numbers be after the block what they were before."""
    weights = [(w, w.value, w.grad, w.requires_grad) for w in model.weights]
    laid_out, optimizer, model._parameters = model._parameters, model.optimizer, None
    state, generators = random.get_state(), [(g, g.get_state()) for g in model.generators]
    try:
        yield
    finally:
        for weight, value, grad, requires_grad in weights:
            weight.value, weight.grad, weight.requires_grad = value, grad, requires_grad
        model._parameters, model.optimizer = laid_out, optimizer
        random.set_state(state)
        for generator, own_state in generators:
            generator.set_state(own_state)


class _Recorder:
    """An executor that runs nothing: it remembers what it was asked to launch."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.launches: dict[tuple[str, str, Build], tuple[Kernel, Build]] = {}
        self.contiguous, self.address = executor.contiguous, executor.address
        self.multiprocessors, self.check_array = executor.multiprocessors, executor.check_array
        self.compile, self.constant = executor.compile, executor.constant
        self.compute_capability = executor.compute_capability

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return zeros: what is not computed shall be numbers, in whatever reads it."""
        array = self.executor.empty(shape, dtype)
        array.fill(0)
        return array

    def run(self, launch: Launch) -> None:
        """Remember the kernel."""
        kernel, build = launch.kernel, launch.build
        self.launches.setdefault((kernel.source, kernel.name, build), (kernel, build))


def _compile(executor: Executor, launches: list[tuple[Kernel, Build]], verbose: int | str) -> int:
    since, compiled = perf_counter(), 0
    for kernel, build in _shown(launches, verbose):
        compiled += executor.compile(kernel, build)
    if verbose:
        seconds = f"{perf_counter() - since:.1f} s"
        print(f"Compiled {compiled} kernels - {seconds} - {len(launches)} in use", flush=True)
    return compiled


def _shown(
    launches: list[tuple[Kernel, Build]], verbose: int | str
) -> Iterable[tuple[Kernel, Build]]:
    """Yield the kernels, and show how far it is."""
    if verbose in ("auto", 1) and sys.stdout.isatty():
        with suppress(ImportError):
            from tqdm import tqdm

            return tqdm(launches, "Compiling kernels", file=sys.stdout, leave=False)
    return _printed(launches) if verbose == 2 else launches


def _printed(launches: list[tuple[Kernel, Build]]) -> Iterator[tuple[Kernel, Build]]:
    for number, (kernel, build) in enumerate(launches, start=1):
        print(f"{number}/{len(launches)} {kernel.name} ({kernel.source})", flush=True)
        yield kernel, build
