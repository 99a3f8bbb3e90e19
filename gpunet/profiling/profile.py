"""Measure a training step: the time of each layer, and of each kernel or primitive."""

from __future__ import annotations

import functools
import operator
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from gpunet import functions, fusion, primitives
from gpunet.arguments import positive_integer
from gpunet.autograd import Tensor, recording
from gpunet.backend import get_array_module
from gpunet.layers.layer import Layer, collect_updates
from gpunet.models.model import Model
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch import Executor, Launch
from gpunet.primitives.precision import use_precision
from gpunet.profiling.cost import Work, work_of_call, work_of_launch
from gpunet.profiling.dry_run import DryRun, unchanged
from gpunet.profiling.examples import example_batch
from gpunet.profiling.report import LayerTime, OperationTime, Profile
from gpunet.symbolic import Graph, Symbol, flatten, map_structure

__all__ = ["profile"]

_WARM_UP = 3  # steps before the first that counts
_AT_A_TIME = 10  # launches of a kernel between two looks at the clock


def profile(
    model: Model, x: Any = None, y: Any = None, *, batch_size: int = 32, steps: int = 20
) -> Profile:
    """Return the times of a training step, of its layers and of its kernels or primitives.

    Steps run as in `fit`, uncaptured; times are medians. The nodes of the model's graph are timed
    once more one by one, forward and backward, since in training several may run as one. A kernel
    on a GPU is launched by itself, several times in a row, so that its time does not contain the
    launch. Model, optimizer and random numbers stay as they are.

    Arguments:
        model: compiled, of any inputs and outputs, and with known input shapes unless x is given.
        x, y: inputs and targets like those of `fit`, repeated or cut to `batch_size`; by default
            zeros.
        batch_size: samples in a step.
        steps: how many steps to take the median of.

    Raises:
        TypeError: it is no model.
        RuntimeError: before `compile`, or while the input shape is not known.
        TypeError, ValueError: `fit` would refuse the data.

    >>> from gpunet.layers import Dense, Input
    >>> from gpunet.models import Sequential
    >>> model = Sequential([Input((8,)), Dense(4, activation="relu"), Dense(1)])
    >>> model.compile("adam", "mse")
    >>> found = profile(model, steps=2)
    >>> [layer.kind for layer in found.layers]
    ['Dense', 'Dense']
    """
    positive_integer(steps, "steps", "profile")
    batch, structure = example_batch(model, x, y, batch_size, "profile")
    library = get_array_module(batch.inputs[0])
    with unchanged(model), use_precision(model.precision):
        dry_run = DryRun(model, batch, structure)
        step = _median(library, dry_run.step, steps)
        find = _primitives_of if library is np else _kernels_of
        operations = find(dry_run, steps)
        layers = _layers_of(dry_run, steps)
    device = "CPU" if library is np else "GPU"
    return Profile(model.name, device, batch_size, step, layers, operations)


def _median(library: ModuleType, call: Callable[[], Any], times: int) -> float:
    """Return the median of the seconds that calls take, after some that do not count."""
    for _ in range(_WARM_UP):
        call()
    return statistics.median(_seconds(library, call) for _ in range(times))


def _seconds(library: ModuleType, call: Callable[[], Any], calls: int = 1) -> float:
    """Return the seconds that a call takes: of the host's clock, or of the device's."""
    if library is np:
        start = perf_counter()
        for _ in range(calls):
            call()
        return (perf_counter() - start) / calls
    cuda: Any = library.cuda
    begin, end = cuda.Event(), cuda.Event()
    begin.record()
    for _ in range(calls):
        call()
    end.record()
    end.synchronize()
    return cuda.get_elapsed_time(begin, end) / 1e3 / calls


def _layers_of(dry_run: DryRun, steps: int) -> list[LayerTime]:
    """Return the times of each node of the model's graph by itself."""
    model, found = dry_run.model, list[LayerTime]()

    def measure(inputs: Any, **options: Any) -> Any:
        graph = _graph_of(model, inputs, options)
        if graph is not None:
            found.extend(_times_of(graph, flatten(inputs), steps))
        return inputs

    inputs = model._state_for_evaluation(dry_run.structure).pack_inputs(dry_run.batch.inputs)
    with recording(True), collect_updates():
        model.run(measure, (inputs,), {}, True)
    return found


def _graph_of(model: Model, inputs: Any, options: dict[str, Any]) -> Graph | None:
    """Return the graph of a model, recorded from its call; None where that needs values."""
    if fusion.runs_graph(model):
        return model.graph
    symbols = map_structure(lambda x: Symbol(x.shape, x.dtype), inputs)
    layers: Any = model.with_sublayers()
    latest = [layer._symbols for layer in layers]
    try:
        return Graph(symbols, model.call(symbols, **options))
    except Exception:  # of any kind: custom code was written for tensors
        return None
    finally:
        for layer, before in zip(layers, latest, strict=True):
            layer._symbols = before


def _times_of(graph: Graph, inputs: list[Tensor], steps: int) -> list[LayerTime]:
    """Return the times of each node, given the outputs of those before it."""
    library, found = get_array_module(inputs[0].value), []
    values = {slot: tensor.value for slot, tensor in enumerate(inputs)}
    for step in fusion.steps(graph, fuse=False):

        def forward(step: fusion.Step = step) -> list[Tensor]:
            pairs = [(values[slot], slot >= len(inputs)) for slot in step.inputs]
            return flatten(step.call(*(Tensor(x, new and x.dtype.kind == "f") for x, new in pairs)))

        def both(forward: Callable[[], list[Tensor]] = forward) -> None:
            _backpropagate([y for y in forward() if y.node is not None])

        seconds = _median(library, forward, steps)
        backward = max(0.0, _median(library, both, steps) - seconds)
        outputs = [y.value for y in forward()]
        values.update(zip(step.outputs, outputs, strict=True))
        (node,), shapes = step.nodes, [y.shape for y in outputs]
        kind = type(node.operation).__name__ if isinstance(node.operation, Layer) else "function"
        shape = shapes[0] if len(shapes) == 1 else shapes
        found.append(LayerTime(node.name, kind, shape, seconds, backward))
    return found


def _backpropagate(outputs: list[Tensor]) -> None:
    if len(outputs) == 1:
        outputs[0].backward(outputs[0].value)
    elif outputs:  # the tape is run through once: from one number
        functools.reduce(operator.add, map(functions.sum, outputs)).backward()


def _primitives_of(dry_run: DryRun, steps: int) -> list[OperationTime]:
    """Return the times of the primitives for NumPy arrays."""
    calls: list[list[tuple[str, float, Work]]] = []
    for _ in range(steps):
        calls.append([])
        with _timed_primitives(calls[-1]):
            dry_run.step()
    return _joined(
        (name, statistics.median(step[i][1] for step in calls), work)
        for i, (name, _, work) in enumerate(calls[0])
    )


@contextmanager
def _timed_primitives(calls: list[tuple[str, float, Work]]) -> Iterator[None]:
    """Add the name, time and work of each primitive for NumPy arrays to `calls`."""
    twins = primitives.twins_for(np.empty(0))

    def timed(name: str) -> Callable[..., Any]:
        function = getattr(twins, name)

        def call(*arguments: Any) -> Any:
            start = perf_counter()
            result = function(*arguments)
            seconds = perf_counter() - start
            calls.append((name, seconds, work_of_call(name, arguments, result)))
            return result

        return call

    timed_twins = {name: timed(name) for name in twins.__all__}
    with primitives.use_twins(SimpleNamespace(**timed_twins, FLOATS=twins.FLOATS)):
        yield


class _Keeper:
    """An executor that keeps what it launches, to be launched again."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.launches: list[Launch] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.executor, name)

    def run(self, launch: Launch) -> None:
        """Launch, and keep it."""
        self.launches.append(launch)
        self.executor.run(launch)


def _kernels_of(dry_run: DryRun, steps: int) -> list[OperationTime]:
    """Return the times of the kernels that a step launches, each by itself."""
    keeper: Any = _Keeper(launcher.current_executor())
    with launcher.use_executor(keeper):
        dry_run.step()
    library = dry_run.library

    def seconds_of(launch: Launch) -> float:
        def call() -> None:
            keeper.executor.run(launch)

        call()
        times = [_seconds(library, call, _AT_A_TIME) for _ in range(max(1, steps // 4))]
        return statistics.median(times)

    return _joined(
        (launch.kernel.name, seconds_of(launch), work_of_launch(launch))
        for launch in keeper.launches
    )


def _joined(calls: Any) -> list[OperationTime]:
    """Return calls by their names, the longest first."""
    by_name: dict[str, list[tuple[float, Work]]] = {}
    for name, seconds, work in calls:
        by_name.setdefault(name, []).append((seconds, work))
    found = []
    for name, items in by_name.items():
        known = [work.operations for _, work in items if work.operations is not None]
        operations = sum(known) if len(known) == len(items) else None
        seconds, moved = sum(time for time, _ in items), sum(work.bytes for _, work in items)
        found.append(OperationTime(name, len(items), seconds, moved, operations))
    return sorted(found, key=lambda operation: -operation.seconds)
