"""Where the time of a training step goes: by layer, and by what is carried out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from gpunet import primitives
from gpunet.autograd import Array, Tensor
from gpunet.backend import array_module, asarray, get_array_module
from gpunet.layers.core import positive_integer
from gpunet.models.model import Model
from gpunet.models.rehearsal import Rehearsal, dtype_of, sample_shape, unchanged
from gpunet.models.sequential import Sequential
from gpunet.models.work import Work, work_of_call, work_of_launch
from gpunet.primitives import launcher
from gpunet.primitives.launcher import Executor, Launch
from gpunet.primitives.precision import use_precision

__all__ = ["LayerTime", "OperationTime", "Profile", "profile"]

_WARM_UP = 3  # steps before the first that counts
_AT_A_TIME = 10  # launches of a kernel between two looks at the clock


@dataclass(frozen=True)
class LayerTime:
    """A layer by itself, in seconds.

    Attributes:
        name: the layer's.
        kind: its class.
        output_shape: of its output.
        forward: seconds.
        backward: seconds for the gradients of its weights and of its input.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    forward: float
    backward: float


@dataclass(frozen=True)
class OperationTime:
    """A kernel on a GPU, or a primitive on the CPU, in a step as it is trained.

    Attributes:
        name: the kernel's or the primitive's.
        calls: in a step.
        seconds: in a step.
        bytes: that it reads and writes in a step, each array once.
        operations: of floating-point numbers in a step; None where they are not known.
    """

    name: str
    calls: int
    seconds: float
    bytes: int
    operations: int | None


@dataclass(frozen=True)
class Profile:
    """What `profile` found; its text is a table.

    Attributes:
        model: the model's name.
        device: 'CPU' or 'GPU'.
        batch_size: samples in a step.
        step: seconds of a step as it is trained, not captured.
        layers: each by itself, not joined with others; empty for a model that is no `Sequential`.
        operations: what a step carries out, joined layers as one, the longest first.
    """

    model: str
    device: str
    batch_size: int
    step: float
    layers: list[LayerTime]
    operations: list[OperationTime]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as dictionaries, lists and numbers."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.model}: a step of {self.batch_size} samples on the {self.device} takes "
            f"{_micro(self.step)} us"
        ]
        if self.layers:
            lines += ["", *_layer_table(self.layers)]
        kind = "kernel" if self.device == "GPU" else "primitive"
        return "\n".join([*lines, "", *_operation_table(kind, self.operations)])

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the times as bars; return the figure.

        Arguments:
            path: where to save it, such as "profile.png"; None to save nothing.

        Raises:
            ModuleNotFoundError: Matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "Profile.plot draws with Matplotlib, which is not installed: "
                "pip install 'gpunet[plot]'."
            ) from error
        height = 1.5 + 0.32 * (len(self.layers) + len(self.operations))
        figure = Figure(figsize=(9, height + 1), layout="constrained")
        panels = 2 if self.layers else 1
        ratios = [max(2, len(self.layers)), max(2, len(self.operations))][-panels:]
        axes = figure.subplots(panels, 1, squeeze=False, height_ratios=ratios)[:, 0]
        figure.suptitle(f"{self.model}: a step of {self.batch_size} samples on the {self.device}")
        if self.layers:
            _draw_layers(axes[0], self.layers)
        _draw_operations(axes[-1], self.operations)
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def profile(
    model: Model, x: Any = None, y: Any = None, *, batch_size: int = 32, steps: int = 20
) -> Profile:
    """Return where the time of a training step goes.

    The step is done as `fit` does it, but for capturing: medians of some steps. The layers of a
    `Sequential` are timed once more one by one, forward and backward, since in training several may
    run as one. A kernel on a GPU is launched by itself, some times in a row, so that its time does
    not contain the way to it. Model, optimizer and random numbers stay as they are.

    Arguments:
        model: compiled, and with a known input shape.
        x, y: inputs and targets like those of `fit`, of which the first `batch_size` are taken; by
            default zeros.
        batch_size: samples in a step.
        steps: how many steps to take the median of.

    Raises:
        TypeError: it is no model.
        RuntimeError: before `compile`, or while the input shape is not known.
        ValueError: fewer samples than a batch are given.

    >>> from gpunet.layers import Dense, Input
    >>> model = Sequential([Input((8,)), Dense(4, activation="relu"), Dense(1)])
    >>> model.compile("adam", "mse")
    >>> found = profile(model, steps=2)
    >>> [layer.kind for layer in found.layers]
    ['Dense', 'Dense']
    """
    if not isinstance(model, Model):
        raise TypeError(f"profile expects a model, received {type(model).__name__}.")
    positive_integer(batch_size, "batch_size", "profile")
    positive_integer(steps, "steps", "profile")
    model._check_compiled("profile")
    sample = sample_shape(model, x, "profile")
    library = _library_of(model)
    inputs = _batch(x, "x", batch_size, library, (batch_size, *sample), dtype_of(x, model))
    targets = None if y is None else _batch(y, "y", batch_size, library, (), None)
    with unchanged(model), use_precision(model.precision):
        rehearsal = Rehearsal(model, inputs, targets)
        step = _median(library, rehearsal.step, steps)
        find = _primitives_of if library is np else _kernels_of
        operations = find(rehearsal, steps)
        layers = _layers_of(model, inputs, steps) if type(model) is Sequential else []
    device = "CPU" if library is np else "GPU"
    return Profile(model.name, device, batch_size, step, layers, operations)


def _library_of(model: Model) -> ModuleType:
    weights = model.weights
    return get_array_module(weights[0].value) if weights else array_module()


def _batch(
    data: Any, argument: str, size: int, library: ModuleType, shape: tuple[int, ...], dtype: Any
) -> Array:
    if data is None:
        return library.zeros(shape, dtype)
    if len(data) < size:
        raise ValueError(
            f"profile: expected at least {size} samples in {argument}, received {len(data)}: give "
            "more, or a smaller batch_size."
        )
    return asarray(data[:size], like=library.zeros(0))


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


def _layers_of(model: Sequential, x: Array, steps: int) -> list[LayerTime]:
    """Return the times of each layer by itself, with the outputs of those before it."""
    library, found = get_array_module(x), []
    value = model._as_input(x).value
    for position, layer in enumerate(model.layers):
        is_first = position == 0

        def forward(layer: Any = layer, value: Array = value, is_first: bool = is_first) -> Tensor:
            wants = not is_first and value.dtype.kind == "f"
            return layer(Tensor(value, requires_grad=wants), training=True)

        def both(forward: Callable[[], Tensor] = forward) -> None:
            y = forward()
            if y.node is not None:
                y.backward(y.value)

        seconds = _median(library, forward, steps)
        backward = max(0.0, _median(library, both, steps) - seconds)
        value = forward().value
        found.append(LayerTime(layer.name, type(layer).__name__, value.shape, seconds, backward))
    return found


def _primitives_of(rehearsal: Rehearsal, steps: int) -> list[OperationTime]:
    """Return the times of the primitives for NumPy arrays."""
    calls: list[list[tuple[str, float, Work]]] = []
    for _ in range(steps):
        calls.append([])
        with _timed_primitives(calls[-1]):
            rehearsal.step()
    return _joined(
        (name, statistics.median(step[i][1] for step in calls), work)
        for i, (name, _, work) in enumerate(calls[0])
    )


@contextmanager
def _timed_primitives(calls: list[tuple[str, float, Work]]) -> Iterator[None]:
    """Let primitives for NumPy arrays add their name, their time and their work to `calls`."""
    twins = primitives._twins("numpy")

    def timed(name: str) -> Callable[..., Any]:
        function = getattr(twins, name)

        def call(*arguments: Any, **options: Any) -> Any:
            start = perf_counter()
            result = function(*arguments, **options)
            seconds = perf_counter() - start
            calls.append((name, seconds, work_of_call(name, arguments, options, result)))
            return result

        return call

    played = SimpleNamespace(**{name: timed(name) for name in twins.__all__})
    with mock.patch.dict(primitives._TWINS, numpy=played):
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


def _kernels_of(rehearsal: Rehearsal, steps: int) -> list[OperationTime]:
    """Return the times of the kernels that a step launches, each by itself."""
    keeper: Any = _Keeper(launcher.current_executor())
    with launcher.use_executor(keeper):
        rehearsal.step()
    library = get_array_module(rehearsal.targets)

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
        found.append(
            OperationTime(
                name,
                len(items),
                sum(seconds for seconds, _ in items),
                sum(work.bytes for _, work in items),
                sum(known) if len(known) == len(items) else None,
            )
        )
    return sorted(found, key=lambda operation: -operation.seconds)


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole else ""


def _rate(count: int | None, seconds: float) -> str:
    return f"{count / seconds / 1e9:,.1f}" if count and seconds else ""


def _layer_table(layers: list[LayerTime]) -> list[str]:
    total = sum(layer.forward + layer.backward for layer in layers)
    head = ("layer, by itself", "output", "forward us", "backward us", "share")
    rows = [
        (
            f"{layer.name} ({layer.kind})",
            str(layer.output_shape),
            _micro(layer.forward),
            _micro(layer.backward),
            _share(layer.forward + layer.backward, total),
        )
        for layer in layers
    ]
    return _table(head, rows)


def _operation_table(kind: str, operations: list[OperationTime]) -> list[str]:
    total = sum(operation.seconds for operation in operations)
    head = (f"{kind}, as trained", "calls", "us", "share", "GB/s", "GFLOP/s")
    rows = [
        (
            operation.name,
            str(operation.calls),
            _micro(operation.seconds),
            _share(operation.seconds, total),
            _rate(operation.bytes, operation.seconds),
            _rate(operation.operations, operation.seconds),
        )
        for operation in operations
    ]
    return _table(head, rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        first, *others = zip(cells, widths, strict=True)
        parts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return "  ".join(parts).rstrip()

    return [line(head), "-" * (sum(widths) + 2 * (len(widths) - 1)), *map(line, rows)]


_BLUE, _ORANGE = "#0072b2", "#e69f00"


def _draw_layers(axes: Any, layers: list[LayerTime]) -> None:
    names = [layer.name for layer in layers]
    forward = [layer.forward * 1e6 for layer in layers]
    axes.barh(names, forward, color=_BLUE, label="forward")
    axes.barh(
        names, [layer.backward * 1e6 for layer in layers], left=forward, color=_ORANGE,
        label="backward",
    )  # fmt: skip
    axes.legend(frameon=False)
    _finish(axes, "Layers, each by itself")


def _draw_operations(axes: Any, operations: list[OperationTime]) -> None:
    axes.barh(
        [f"{operation.name} x{operation.calls}" for operation in operations],
        [operation.seconds * 1e6 for operation in operations],
        color=_BLUE,
    )
    _finish(axes, "What a step carries out")


def _finish(axes: Any, title: str) -> None:
    axes.invert_yaxis()
    axes.set_title(title, loc="left")
    axes.set_xlabel("microseconds")
    axes.spines[["top", "right"]].set_visible(False)
