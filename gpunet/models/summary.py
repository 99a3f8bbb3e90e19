"""The table that `summary()` prints."""

from __future__ import annotations

import itertools
import textwrap
from typing import Any

from gpunet.layers.layer import Layer
from gpunet.symbolic import Graph, Node

__all__ = ["table"]

_WIDTHS = (40, 36, 16, 40)  # of the columns at most


def table(model: Any) -> str:
    """Return a table of the nodes of a model with their output shapes and numbers of weights.

    Of a model without a graph the layers are listed, without shapes.
    """
    lines = [["Layer (type)", "Output shape", "Param #"], *map(list, _rows(model))]
    if model.graph is not None and _branches(model.graph):
        sources = [", ".join(_sources(node)) or "-" for node in _nodes(model.graph)]
        for line, cell in zip(lines, ["Connected to", *sources], strict=True):
            line.append(cell)
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
    wrapped = [
        [textwrap.wrap(cell, _WIDTHS[column]) for column, cell in enumerate(row)] for row in rows
    ]
    lines = [cells for row in wrapped for cells in itertools.zip_longest(*row, fillvalue="")]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    puts = [str.ljust, str.ljust, str.rjust, str.ljust]
    return [
        "  ".join(map(lambda put, cell, width: put(cell, width), puts, line, widths)).rstrip()
        for line in lines
    ]


def _rows(model: Any) -> list[tuple[str, str, str]]:
    if model.graph is None:
        return [_row(layer, "?") for layer in model.layers]
    rows, seen = [], set()
    for node in _nodes(model.graph):
        shapes = node.shapes
        text = str(shapes[0]) if len(shapes) == 1 else ", ".join(map(str, shapes))
        rows.append(_row(node.operation, text, node.name, id(node.operation) in seen))
        seen.add(id(node.operation))
    return rows


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
