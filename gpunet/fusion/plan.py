"""Which neighbouring nodes of a graph run as one primitive, and what runs a graph.

Layers declare their roles (`layers.roles`); one without a role costs only itself. Every layer is
still there, with its weights, and can be called by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from gpunet import activations, symbolic
from gpunet.autograd import Array, is_recording, no_grad
from gpunet.fusion.chains import Chain, FusedLoss, chain_of
from gpunet.fusion.flat import FlatGraph, flatten, role_at, runs_graph
from gpunet.fusion.frozen import Frozen, frozen_part
from gpunet.fusion.normalization import Normalized
from gpunet.layers.layer import is_training
from gpunet.layers.roles import Apply, Normalize, Sum, attributes_version, role_of
from gpunet.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from gpunet.symbolic import Graph, Node

__all__ = ["Step", "call_with_loss", "run", "steps", "whole"]


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
    flat = flatten(graph)
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
    freeze = fuse and not is_training() and not is_recording()
    flat, key, version = flatten(graph), (fuse, freeze, is_training()), attributes_version()
    planned = flat.plans.get(key)
    if planned is None or planned[0] != version:
        made = _frozen_steps(flat) if freeze else _steps(flat, fuse)
        planned = flat.plans[key] = version, tuple(made)
    return planned[1]


def whole(graph: Graph) -> Frozen | None:
    """Return what runs all of a graph at inference as one network, if that can be."""
    with no_grad():
        planned = steps(graph)
    is_one = len(planned) == 1 and flatten(graph).outputs == (planned[0].outputs[0],)
    return planned[0].call if is_one and isinstance(planned[0].call, Frozen) else None


def _frozen_steps(flat: FlatGraph) -> Iterator[Step]:
    position = 0
    while position < len(flat.calls):
        part = frozen_part(flat, position)
        calls = flat.calls[position : position + 1] if part is None else part.calls
        if part is None:
            call = calls[0]
            yield Step(_caller(call.node), (call.node,), call.inputs, call.outputs)
        else:
            nodes = tuple(call.node for call in calls)
            yield Step(part, nodes, (part.source,), range(part.target, part.target + 1))
        position += len(calls)


def _steps(flat: FlatGraph, fuse: bool) -> Iterator[Step]:
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


_Fused = tuple[Chain | Normalized, Sequence[int], tuple[int, ...]]


def _fused(flat: FlatGraph, position: int, sums: dict[int, tuple[int, int]]) -> _Fused | None:
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
    chain = chain_of(nodes)
    return None if chain is None else (chain, line[: len(chain.layers)], call.inputs)


def _normalized(flat: FlatGraph, positions: list[int], count: int, is_first: bool) -> Normalized:
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


def _sums(flat: FlatGraph) -> dict[int, tuple[int, int]]:
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
