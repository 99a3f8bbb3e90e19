"""Rules over the nodes of a graph: which neighbouring layers run as one primitive.

Products (convolutions and dense layers), their max pooling, and layers between them that move no
element are a chain: one primitive takes a few images at a time through all of it. In training, a
chain that ends a model with a softmax computes its cross-entropy and all gradients at once: the
loss is the last rule.

Layers declare their roles (`layers.roles`); one without a role costs only itself. Every layer is
still there, with its weights, and can be called by itself.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gpunet import activations, functions, primitives, symbolic
from gpunet.autograd import Array, Tensor, differentiable, is_recording
from gpunet.layers.building import name_layer
from gpunet.layers.layer import is_training
from gpunet.layers.roles import Apply, Flat, Pass, Pool, Product, Role, attributes_version, role_of
from gpunet.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from gpunet.primitives import Stage
from gpunet.symbolic import Graph, Node, symbol_key

__all__ = ["Chain", "FusedLoss", "Step", "call_with_loss", "run", "runs_graph", "steps"]

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
    for position, call in enumerate(flat.calls):
        if position in done:
            continue
        chain = _chain(flat, position) if fuse else None
        if chain is None:
            yield Step(_caller(call.node), (call.node,), call.inputs, call.outputs)
            continue
        positions = flat.lines[position][: len(chain.layers)]
        done.update(positions)
        nodes = tuple(flat.calls[p].node for p in positions)
        outputs = flat.calls[positions[-1]].outputs
        is_softmax = chain.after is activations.softmax and chain.flat
        ends = is_softmax and flat.outputs == (outputs[0],)
        yield Step(chain, nodes, call.inputs, outputs, ends)


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
    """Return the graph of a model where its nodes may stand in its place."""
    return model.graph if runs_graph(model) and model.fuse else None


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


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers that one primitive runs; called as the first of them would be.

    Attributes:
        layers: as many as the nodes that it runs.
        stages: with parameters as kernels and biases.
        flat: whether each sample of the output is a row.
        after: an activation that the primitive does not know, or None.
    """

    layers: Sequence[Any]
    stages: Sequence[Stage]
    flat: bool
    after: Callable[[Tensor], Tensor] | None
    _latest: list[Any] = field(default_factory=list, compare=False, repr=False)

    def __call__(self, x: Tensor, loss: FusedLoss | None = None) -> Tensor:
        """Return what the last layer would; compute the loss of its softmax if one is given."""
        try:
            first = self.layers[0]
            if x.mask is not None:  # each layer passes it on in its own way
                for layer in self.layers:
                    x = layer(x)
                return x
            first.check_input(x.shape)
            x = first._cast(x)
            return self._run(x) if loss is None else loss.compute(x, self)
        except (TypeError, ValueError):
            self._check_shapes(x.shape)
            raise

    @property
    def parameters(self) -> list[Tensor]:
        """The kernel of each stage, and the bias if it has one."""
        return [p for stage in self.stages for p in stage[:2] if p is not None]

    def array_stages(self) -> list[Stage]:
        """Return the stages with the values of the parameters; cached for the same arrays."""
        values = [None if p is None else p.value for stage in self.stages for p in stage[:2]]
        latest = self._latest
        if not latest or any(map(operator.is_not, latest[0][0], values)):
            pairs = zip(self.stages, values[::2], values[1::2], strict=True)
            stages = [Stage(kernel, bias, *stage[2:]) for stage, kernel, bias in pairs]
            latest[:] = [(values, stages)]
        return latest[0][1]

    def _run(self, x: Tensor) -> Tensor:
        stages = self.array_stages()
        if is_recording():
            y = functions.chain(x, *self.parameters, stages=stages)
        else:
            y = Tensor(primitives.chain_forward(x.value, stages))
        if self.flat and y.ndim != 2:
            y = functions.reshape(y, (len(y), math.prod(y.shape[1:])))
        if self.after is None:
            return y
        try:
            return self.after(y)
        except (TypeError, ValueError) as error:
            name_layer(error, self.layers[-1])
            raise

    def _check_shapes(self, shape: Any) -> None:
        """Raise the error of the layer that does not fit the output of the one before it."""
        for layer in self.layers:
            try:
                layer.check_input(shape)
                shape = layer.compute_output_shape(shape)
            except (TypeError, ValueError) as error:
                name_layer(error, layer)
                raise


def _chain(flat: _FlatGraph, position: int) -> Chain | None:
    """Return the longest chain that the call at a position starts, if it starts one."""
    line = [flat.calls[p].node for p in flat.lines[position]]
    if not isinstance(_role(line[0]), Product):
        return None
    roles = [_role(node) for node in line]
    is_flat = line[0].inputs[0].ndim == 2
    stages: list[Stage] = []
    count, after = 0, None
    while count < len(line) and after is None:
        layer, role = line[count].operation, roles[count]
        if isinstance(role, Product):
            if is_flat != (layer.kernel.ndim == 2):
                break
            found = _stage(role, layer, roles[count + 1 : count + 3])
            if stages and not _go_together(stages[0], found.stage):
                break
            stages.append(found.stage)
            count, after = count + found.layers, found.after
        elif stages and isinstance(role, Flat):
            count, is_flat = count + 1, True
        elif stages and isinstance(role, Pass):
            count += 1
        else:
            break
    layers = [node.operation for node in line[:count]]
    return Chain(layers, stages, is_flat, after) if stages else None


def _role(node: Node) -> Role | None:
    role = role_of(node.operation) if node.takes_one_symbol else None
    if isinstance(role, Product) and not isinstance(node.operation.kernel, Tensor):
        return None  # the layer's own call raises the error
    return role


class _Found(NamedTuple):
    """A stage of a chain, how many layers it takes, and the activation after it."""

    stage: Stage
    layers: int
    after: Callable[[Tensor], Tensor] | None


def _stage(role: Product, layer: Any, following: Sequence[Role | None]) -> _Found:
    """Return the stage that starts with a product, and takes what fits of the layers after it."""
    count, activation = 1, role.activation
    if activation is activations.linear and following and isinstance(following[0], Apply):
        count, activation = 2, following[0].activation
    fused = activations.fusible(activation)
    after = None if fused or activation is activations.linear else activation
    if layer.kernel.ndim == 2:
        return _Found(Stage(layer.kernel, layer.bias, fused), count, after)
    pool_size = (1, 1)
    pool = following[count - 1] if len(following) >= count else None
    if after is None and isinstance(pool, Pool):
        count, pool_size = count + 1, pool.pool_size
    options = fused, role.strides, role.padding, role.dilation, pool_size
    return _Found(Stage(layer.kernel, layer.bias, *options), count, after)


def _go_together(first: Stage, other: Stage) -> bool:
    """Return whether two stages fit one chain: a large one is faster by itself."""
    sizes = first.kernel.size, other.kernel.size
    return first.kernel.dtype == other.kernel.dtype and max(sizes) <= primitives.LARGE_STAGE


class FusedLoss:
    """The loss of a model that its last chain computes, with the gradients, as the model is called.

    Arguments:
        loss: a cross-entropy of probabilities.
        targets: of the batch.

    Attributes:
        result: None until it is computed.
    """

    def __init__(self, loss: Any, targets: Array) -> None:
        self.loss, self.targets = loss, targets
        self.result: primitives.LossAndGrads | None = None
        self._input: Tensor | None = None
        self._parameters: Sequence[Tensor] = ()

    @property
    def losses(self) -> Array:
        """The loss of each sample, (batch,)."""
        assert self.result is not None
        return self.result.losses

    @property
    def correct(self) -> Array | None:
        """uint8 (batch,), whether each sample is classified correctly; None if not known."""
        assert self.result is not None
        # Of smoothed labels, the largest may be another.
        return None if self.loss.label_smoothing else self.result.hits

    def compute(self, x: Tensor, chain: Chain) -> Tensor:
        """Compute the loss of a chain's softmax; return the probabilities."""
        stages = chain.array_stages()
        shape = len(x), stages[-1].kernel.shape[1]
        try:
            labels = self.loss.class_labels(self.targets, shape, x.dtype)
        except (TypeError, ValueError) as error:
            error.names_layer = True  # type: ignore[union-attr]  # no layer is at fault
            raise
        wants = is_recording() and (x.node is not None or x.requires_grad)
        self.result = primitives.chain_cross_entropy(x.value, stages, labels, with_input_grad=wants)
        self._input, self._parameters = (x if wants else None), chain.parameters
        return Tensor(self.result.probabilities)

    def backward(self, penalty: Tensor | None = None) -> None:
        """Pass the gradients on to the weights, and to what comes before the chain.

        Arguments:
            penalty: a further loss to differentiate, perhaps of the same calls before the chain.
        """
        assert self.result is not None
        grads = [grad for pair in self.result.grads for grad in pair if grad is not None]
        for parameter, grad in zip(self._parameters, grads, strict=True):
            if parameter.requires_grad:
                parameter.accumulate(grad)
        if penalty is not None and self._input is not None:
            penalty = _beside(penalty, self._input, input_grad=self.result.input_grad)
        if penalty is not None:
            penalty.backward()
        elif self._input is not None:
            self._input.backward(self.result.input_grad)


@differentiable
def _beside(penalty: Array, x: Array, *, input_grad: Array) -> tuple[Array, Any]:
    """Return `penalty`; its gradient goes on, and with it the one of `x` that is known."""
    return penalty, lambda output_grad: (output_grad, input_grad)
