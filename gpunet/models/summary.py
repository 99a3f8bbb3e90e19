"""The table that `summary()` prints."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

from gpunet.layers.layer import Layer
from gpunet.symbolic import Graph, Node

__all__ = ["table"]

_WIDTHS = (40, 36, 16, 40)  # of the columns at most, the last for those after it too


def table(model: Any, *, expand_nested: bool = False, show_trainable: bool = False) -> str:
    """Return a table of the nodes of a model with their output shapes and numbers of weights.

    Of a model without a graph the layers are listed, without shapes.

    Arguments:
        model: with or without a graph.
        expand_nested: whether the layers of models within the model have lines of their own.
        show_trainable: whether a column says which layers train.
    """
    lines = [["Layer (type)", "Output shape", "Param #"]]
    branches = model.graph is not None and _branches(model.graph)
    if show_trainable:
        lines[0].append("Trainable")
    if branches:
        lines[0].append("Connected to")
    for operation, node, *cells in _rows(model, expand_nested):
        if show_trainable:
            cells.append(_trains(operation))
        if branches:
            cells.append("" if node is None else ", ".join(_sources(node)) or "-")
        lines.append(cells)
    text = _aligned(lines)
    rule = "-" * max(map(len, text))
    trainable = sum(parameter.size for parameter in model.trainable_weights)
    frozen = sum(parameter.size for parameter in model.non_trainable_weights)
    size = sum(parameter.value.nbytes for parameter in model.weights)
    is_built = all(layer.built for layer in model.with_sublayers())
    totals = [
        f"Total params: {trainable + frozen:,} ({_bytes(size)}"
        f"{'' if is_built else ', without unbuilt layers'})",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {frozen:,}",
    ]
    return "\n".join(
        [f"Model: {model.name!r}", rule, text[0], rule, *text[1:], rule, *totals, rule]
    )


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table, in which wide cells take several."""
    wrapped = [[_wrapped(cell, column) for column, cell in enumerate(row)] for row in rows]
    lines = [cells for row in wrapped for cells in itertools.zip_longest(*row, fillvalue="")]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    puts = [str.ljust, str.ljust, str.rjust, *[str.ljust] * (len(widths) - 3)]
    return [
        "  ".join(map(lambda put, cell, width: put(cell, width), puts, line, widths)).rstrip()
        for line in lines
    ]


def _trains(operation: Any) -> str:
    if not getattr(operation, "weights", ()):
        return "-"
    return "Y" if operation.trainable_weights else "N"


def _wrapped(cell: str, column: int) -> list[str]:
    indent = cell[: len(cell) - len(cell.lstrip())]
    return textwrap.wrap(cell, _WIDTHS[min(column, 3)], subsequent_indent=indent)


def _rows(model: Any, expand_nested: bool, indent: str = "") -> Iterator[tuple[Any, ...]]:
    """Yield an operation, its node unless that is within another model, and the cells of a line."""
    calls: list[tuple[Any, Node | None]] = [(layer, None) for layer in model.layers]
    if model.graph is not None:
        calls = [(node.operation, node) for node in _nodes(model.graph)]
    seen = set()
    for operation, node in calls:
        text = "?" if node is None else ", ".join(map(str, node.shapes))
        name = "" if node is None else node.name
        first, *others = _row(operation, text, name, id(operation) in seen)
        yield operation, None if indent else node, indent + first, *others
        if expand_nested and hasattr(operation, "graph") and id(operation) not in seen:
            yield from _rows(operation, expand_nested, indent + "  ")
        seen.add(id(operation))


def _row(operation: Any, shape: str, name: str = "", again: bool = False) -> tuple[str, str, str]:
    if not isinstance(operation, Layer):
        return f"{name} (function)", shape, "0"
    count = f"{operation.count_params():,}" if operation.built else "0 (unbuilt)"
    return (
        f"{operation.name} ({type(operation).__name__})",
        shape,
        "shared" if again and operation.weights else count,
    )


def _nodes(graph: Graph) -> list[Node]:
    """Return the nodes to list: a single input of a line of layers is left out."""
    inputs = [s.node for s in graph.inputs if s.node is not None and not s.node.inputs]
    return [*(inputs if _branches(graph) or not graph.nodes else []), *graph.nodes]


def _branches(graph: Graph) -> bool:
    """Return whether the nodes do not simply follow one another."""
    if len(graph.inputs) > 1 or len(graph.outputs) > 1:
        return True
    before = graph.inputs[0].node
    for node in graph.nodes:
        if [symbol.node for symbol in node.inputs] != [before]:
            return True
        before = node
    return False


def _sources(node: Node) -> list[str]:
    pairs = [(source.node, source.index) for source in node.inputs]
    return [n.name if len(n.shapes) == 1 else f"{n.name}[{i}]" for n, i in pairs if n is not None]


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
