"""Graphs without inner graphs: the calls of all layers in one list, and where values lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpunet.autograd import Tensor
from gpunet.layers.roles import Product, Role, role_of
from gpunet.symbolic import Graph, Node, symbol_key

__all__ = ["Call", "FlatGraph", "flatten", "role_at", "runs_graph"]

_LONGEST = 64  # calls in a line: to look for chains takes time in proportion


def role_at(node: Node) -> Role | None:
    """Return the role of what a node calls; None where it is not called with one tensor alone."""
    role = role_of(node.operation) if node.takes_one_symbol else None
    if isinstance(role, Product) and not isinstance(node.operation.kernel, Tensor):
        return None  # the layer's own call raises the error
    return role


def runs_graph(operation: Any) -> bool:
    """Return whether an operation is a model whose call runs its graph and nothing else."""
    return (
        getattr(operation, "graph", None) is not None
        and "call" not in vars(operation)
        and type(operation).call is type(operation).call_graph
    )


class Call(NamedTuple):
    """A node with the slots of the values that it reads and writes."""

    node: Node
    inputs: tuple[int, ...]
    outputs: range


class FlatGraph(NamedTuple):
    """A graph in which the graphs of inner models stand in place of these.

    Attributes:
        calls: in order; the first slots are those of the graph's inputs.
        lines: for each call its position and those of the calls after it, as long as each reads
            the output of the one before it and nothing else does; cut off after some length.
        uses: how often each slot is read, as an output of the graph too.
        outputs: the slots of the outputs.
        models: the models in the graph, and the graph that each was replaced by, or None.
        plans: the results of `steps`, and the version of the layers' attributes that they are for.
    """

    calls: list[Call]
    lines: list[tuple[int, ...]]
    uses: list[int]
    outputs: tuple[int, ...]
    models: list[tuple[Any, Graph | None]]
    plans: dict[Any, Any]


def flatten(graph: Graph) -> FlatGraph:
    """Return a graph without inner graphs; kept with the graph until an inner model changes."""
    cached: FlatGraph | None = graph.cache
    if cached is None or any(_inner_graph(model) is not inner for model, inner in cached.models):
        graph.cache = cached = _flattened(graph)
    return cached


def _inner_graph(model: Any) -> Graph | None:
    """Return the graph of a model where its nodes may stand in its place.

    They may not where its own call does more: it freezes them, or adds a loss of the output.
    """
    only_runs = model.trainable and model.activity_regularizer is None
    return model.graph if runs_graph(model) and model.fuse and only_runs else None


def _flattened(graph: Graph) -> FlatGraph:
    calls: list[Call] = []
    models: list[tuple[Any, Graph | None]] = []
    slots = list(range(len(graph.inputs)))
    outputs = _add_calls(graph, slots, len(slots), calls, models)
    count = calls[-1].outputs.stop if calls else len(slots)
    uses = [0] * count
    for slot in (*(slot for call in calls for slot in call.inputs), *outputs):
        uses[slot] += 1
    return FlatGraph(calls, _lines(calls, uses, set(outputs)), uses, tuple(outputs), models, {})


def _add_calls(
    graph: Graph,
    slots: list[int],
    free: int,
    calls: list[Call],
    models: list[tuple[Any, Graph | None]],
) -> list[int]:
    """Add the calls of a graph whose inputs are in `slots`; return the slots of its outputs."""
    slot_of = {symbol_key(s): slot for s, slot in zip(graph.inputs, slots, strict=True)}
    for node in graph.nodes:
        inputs = [slot_of[symbol_key(symbol)] for symbol in node.inputs]
        inner = None
        if hasattr(node.operation, "call_graph") and not node.kwargs:
            inner = _inner_graph(node.operation)
            models.append((node.operation, inner))
        if inner is None:
            free = calls[-1].outputs.stop if calls else free
            outputs: Sequence[int] = range(free, free + len(node.shapes))
            calls.append(Call(node, tuple(inputs), range(outputs[0], outputs[-1] + 1)))
        else:
            outputs = _add_calls(inner, inputs, free, calls, models)
        slot_of.update({(id(node), index): slot for index, slot in enumerate(outputs)})
    return [slot_of[symbol_key(symbol)] for symbol in graph.outputs]


def _lines(calls: list[Call], uses: list[int], outputs: set[int]) -> list[tuple[int, ...]]:
    reader = {slot: position for position, call in enumerate(calls) for slot in call.inputs}
    lines: list[tuple[int, ...]] = [()] * len(calls)
    for position in reversed(range(len(calls))):
        call, after = calls[position], ()
        slot = call.outputs[0]
        if len(call.outputs) == 1 and uses[slot] == 1 and slot not in outputs:
            follower = calls[reader[slot]].node
            if follower.takes_one_symbol:
                after = lines[reader[slot]][: _LONGEST - 1]  # type: ignore[assignment]
        lines[position] = (position, *after)
    return lines
