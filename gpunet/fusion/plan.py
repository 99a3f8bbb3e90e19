"""Which neighbouring nodes of a graph run as one primitive, and what runs a graph.

Layers declare their roles (`layers.roles`); one without a role costs only itself. Every layer is
still there, with its weights, and can be called by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from gpunet import activations, symbolic
from gpunet.autograd import Array
from gpunet.fusion.chains import Chain, FusedLoss, chain_of, role_at
from gpunet.fusion.normalization import FoldedDepthwise, Normalized, depthwise_of
from gpunet.layers.layer import is_training
from gpunet.layers.roles import Apply, Normalize, Sum, attributes_version, role_of
from gpunet.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from gpunet.symbolic import Graph, Node, symbol_key

__all__ = ["Step", "call_with_loss", "run", "runs_graph", "steps"]

_LONGEST = 64  # calls in a line: to look for chains takes time in proportion


class Step(NamedTuple):
    """A call that computes the output of one node, or of the last of several.

    Attributes:
        call: takes the input values, returns the output.
        nodes: that it runs.
        inputs: the slots of the values that it reads.
        outputs: the slots of its outputs, in flat order.
        takes_loss: whether it ends the graph with a softmax, so that ``call(x, loss)`` can compute
            its cross-entropy too.
    """

    call: Callable[..., Any]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: range
    takes_loss: bool = False


def run(
    graph: Graph, inputs: Sequence[Any], loss: FusedLoss | None = None, *, fuse: bool = True
) -> list[Any]:
    """Return the outputs of a graph for values of its inputs, both as flat lists.

    Arguments:
        graph: of built layers.
        inputs: tensors.
        loss: computed by the last chain, if that ends the graph with a softmax.
        fuse: whether several nodes may run as one.
    """
    flat = _flat(graph)
    values: list[Any] = [*inputs, *[None] * (len(flat.uses) - len(inputs))]
    uses = list(flat.uses)
    for step in steps(graph, fuse=fuse):
        arguments = [values[slot] for slot in step.inputs]
        output = step.call(*arguments, loss) if step.takes_loss else step.call(*arguments)
        for slot in step.inputs:
            uses[slot] -= 1
            if not uses[slot]:
                values[slot] = None  # memory is free after the last use
        for slot, value in zip(step.outputs, symbolic.flatten(output), strict=True):
            values[slot] = value
    return [values[slot] for slot in flat.outputs]


def steps(graph: Graph, *, fuse: bool = True) -> Sequence[Step]:
    """Return what runs a graph, in order; cached until a layer's attribute is set.

    Arguments:
        graph: of built layers.
        fuse: whether several nodes may run as one.
    """
    flat, key, version = _flat(graph), (fuse, is_training()), attributes_version()
    planned = flat.plans.get(key)
    if planned is None or planned[0] != version:
        planned = flat.plans[key] = version, tuple(_steps(flat, fuse))
    return planned[1]


def _steps(flat: _FlatGraph, fuse: bool) -> Iterator[Step]:
    done: set[int] = set()
    sums = _sums(flat) if fuse else {}
    done.update(norm for norm, _ in sums.values())  # they run where they are added
    for position, call in enumerate(flat.calls):
        if position in done:
            continue
        step = _fused(flat, position, sums) if fuse else None
        if step is None:
            yield Step(_caller(call.node), (call.node,), call.inputs, call.outputs)
            continue
        found, positions, inputs = step
        done.update(positions)
        nodes = tuple(flat.calls[p].node for p in positions)
        outputs = flat.calls[positions[-1]].outputs
        ends = isinstance(found, Chain) and found.after is activations.softmax and found.flat
        yield Step(found, nodes, inputs, outputs, ends and flat.outputs == (outputs[0],))


_Fused = tuple[Chain | FoldedDepthwise | Normalized, Sequence[int], tuple[int, ...]]


def _fused(flat: _FlatGraph, position: int, sums: dict[int, tuple[int, int]]) -> _Fused | None:
    """Return what runs the call at a position with others, their positions, and what it reads."""
    line, call = flat.lines[position], flat.calls[position]
    nodes = [flat.calls[p].node for p in line]
    if position in sums:
        norm, at = sums[position]
        positions = [norm, position, *line[1:2]]
        inputs = (flat.calls[norm].inputs[0], call.inputs[1 - at])
        return _normalized(flat, positions, 2, at == 0), positions[: 2 + _activates(nodes)], inputs
    if isinstance(role_at(nodes[0]), Normalize):
        if not _activates(nodes):
            return None
        return _normalized(flat, list(line[:2]), 1, False), line[:2], call.inputs
    chain = chain_of(nodes) or depthwise_of(
        [node.operation for node in nodes[:3]], [role_at(node) for node in nodes[:3]]
    )
    return None if chain is None else (chain, line[: len(chain.layers)], call.inputs)


def _normalized(flat: _FlatGraph, positions: list[int], count: int, is_first: bool) -> Normalized:
    """Return a normalization with the activation after its first `count` nodes, if it is known."""
    nodes = [flat.calls[p].node for p in positions]
    layers = [node.operation for node in nodes]
    if not _activates(nodes[count - 1 :]):
        return Normalized(layers[:count], None, count == 2, is_first)
    activation = activations.fusible(role_at(nodes[count]).activation)  # type: ignore[union-attr]
    return Normalized(layers, activation, count == 2, is_first)


def _activates(nodes: Sequence[Node]) -> bool:
    """Return whether the second of some nodes is an activation that primitives can fuse."""
    role = role_at(nodes[1]) if len(nodes) > 1 else None
    return isinstance(role, Apply) and activations.fusible(role.activation) is not None


def _sums(flat: _FlatGraph) -> dict[int, tuple[int, int]]:
    """Return for additions of a normalized tensor where that is made, and which input it is."""
    made = {call.outputs[0]: position for position, call in enumerate(flat.calls)}
    found = {}
    for position, call in enumerate(flat.calls):
        takes_list = len(call.node.args) == 1 and not call.node.kwargs
        if (
            len(call.inputs) != 2
            or not takes_list
            or not isinstance(role_of(call.node.operation), Sum)
        ):
            continue
        for at in (1, 0):
            norm = made.get(call.inputs[at])
            if norm is None or flat.uses[call.inputs[at]] != 1 or call.inputs[at] in flat.outputs:
                continue
            if isinstance(role_at(flat.calls[norm].node), Normalize):
                found[position] = (norm, at)
                break
    return found


def _caller(node: Node) -> Callable[..., Any]:
    return lambda *values: node.call(iter(values))


def call_with_loss(
    model: Any, inputs: Any, loss: Any, targets: Array
) -> tuple[Any, FusedLoss | None]:
    """Return the outputs of a model in training, and its loss where that is computed with them.

    Arguments:
        model: any; one that runs a graph with one output can end with its loss.
        inputs: as the model takes them.
        loss: fused if it is the plain cross-entropy of probabilities.
        targets: of the output, where the weights are.
    """
    plain = type(loss) in (CategoricalCrossentropy, SparseCategoricalCrossentropy)
    if not plain or not loss.fusable or not runs_graph(model) or not model.fuse:
        return model(inputs, training=True), None
    fused = FusedLoss(loss, targets)
    outputs = model.run(lambda x: model.run_graph(x, fused), (inputs,), {}, True)
    return outputs, None if fused.result is None else fused


def runs_graph(operation: Any) -> bool:
    """Return whether an operation is a model whose call runs its graph and nothing else."""
    return (
        getattr(operation, "graph", None) is not None
        and "call" not in vars(operation)
        and type(operation).call is type(operation).call_graph
    )


class _Call(NamedTuple):
    """A node with the slots of the values that it reads and writes."""

    node: Node
    inputs: tuple[int, ...]
    outputs: range


class _FlatGraph(NamedTuple):
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

    calls: list[_Call]
    lines: list[tuple[int, ...]]
    uses: list[int]
    outputs: tuple[int, ...]
    models: list[tuple[Any, Graph | None]]
    plans: dict[tuple[bool, bool], tuple[int, tuple[Step, ...]]]


def _flat(graph: Graph) -> _FlatGraph:
    """Return a graph without inner graphs; kept with the graph until an inner model changes."""
    cached: _FlatGraph | None = graph.cache
    if cached is None or any(_inner_graph(model) is not inner for model, inner in cached.models):
        graph.cache = cached = _flattened(graph)
    return cached


def _inner_graph(model: Any) -> Graph | None:
    """Return the graph of a model where its nodes may stand in its place.

    They may not where its own call does more: it freezes them, or adds a loss of the output.
    """
    only_runs = model.trainable and model.activity_regularizer is None
    return model.graph if runs_graph(model) and model.fuse and only_runs else None


def _flattened(graph: Graph) -> _FlatGraph:
    calls: list[_Call] = []
    models: list[tuple[Any, Graph | None]] = []
    slots = list(range(len(graph.inputs)))
    outputs = _add_calls(graph, slots, len(slots), calls, models)
    count = calls[-1].outputs.stop if calls else len(slots)
    uses = [0] * count
    for slot in (*(slot for call in calls for slot in call.inputs), *outputs):
        uses[slot] += 1
    return _FlatGraph(calls, _lines(calls, uses, set(outputs)), uses, tuple(outputs), models, {})


def _add_calls(
    graph: Graph,
    slots: list[int],
    free: int,
    calls: list[_Call],
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
            calls.append(_Call(node, tuple(inputs), range(outputs[0], outputs[-1] + 1)))
        else:
            outputs = _add_calls(inner, inputs, free, calls, models)
        slot_of.update({(id(node), index): slot for index, slot in enumerate(outputs)})
    return [slot_of[symbol_key(symbol)] for symbol in graph.outputs]


def _lines(calls: list[_Call], uses: list[int], outputs: set[int]) -> list[tuple[int, ...]]:
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
