"""A profile, as a table and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["LayerTime", "OperationTime", "Profile"]


@dataclass(frozen=True)
class LayerTime:
    """A node of a model's graph by itself, in seconds.

    Attributes:
        name: of the layer or function.
        kind: the class of the layer, or 'function'.
        output_shape: of its output; of several a list.
        forward: seconds.
        backward: seconds for the gradients of its weights and of its input.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] | list[tuple[int, ...]]
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
    """The result of `profile`; its text is a table.

    Attributes:
        model: the model's name.
        device: 'CPU' or 'GPU'.
        batch_size: samples in a step.
        step: seconds of a step as it is trained, not captured.
        layers: each node of the graph by itself, not joined with others, inner models node by node;
            empty for a subclassed model whose `call` needs values.
        operations: of a step, joined layers as one, the longest first.
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
    backward = [layer.backward * 1e6 for layer in layers]
    rows = range(len(layers))  # not the names: a shared layer has several rows
    axes.barh(rows, forward, color=_BLUE, label="forward")
    axes.barh(rows, backward, left=forward, color=_ORANGE, label="backward")
    axes.set_yticks(rows, names)
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
