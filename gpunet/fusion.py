"""Which neighbouring layers of a `Sequential` run as one primitive, in training and outside of it.

Convolutions, their max pooling and dense layers that follow one another are a chain: one primitive
takes some images at a time through all of it, where a kernel for that is there. What goes into a
pool is then never in memory as a whole, and outside of training nothing between two layers is. An
activation other than those of `primitives.OUTPUT_ACTIVATIONS` ends a chain and comes after it. In
training, a chain with a softmax at the end of the model is run with its cross-entropy, forward and
backward in one go.

Nothing that a user sees of a model changes: each layer is still there, with its weights, and can be
called by itself. Only these layers themselves are taken, no subclass, and none whose `call` was
replaced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpunet import activations, functions, primitives
from gpunet.autograd import Array, Tensor, is_recording
from gpunet.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPooling2D,
    Rescaling,
)
from gpunet.layers.layer import Layer, is_training
from gpunet.losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from gpunet.primitives import Stage

__all__ = ["Chain", "LeftLoss", "loss_left_to", "steps"]

_left: ContextVar[LeftLoss | None] = ContextVar("left", default=None)

_KEEPING_RANK = (
    Activation, AveragePooling2D, Conv2D, Dense, Dropout, MaxPooling2D, Rescaling,
)  # fmt: skip

Step = Callable[[Tensor], Tensor]


@dataclass(slots=True)
class Chain:
    """Layers that one primitive runs; called as the first of them would be."""

    layers: Sequence[Any]
    stages: Sequence[Stage]
    parameters: Sequence[Tensor]  # the kernel of each stage, and the bias if it has one
    flat: bool  # whether each sample of the output is a row
    after: Step | None  # an activation that the primitive does not know
    left: LeftLoss | None = None  # what takes the place of a softmax after it

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the last layer would."""
        first = self.layers[0]
        try:
            first.check_input(x.shape)
            x = first._cast(x)
            if self.left is not None:
                return self.left.compute(x, self)
            if is_recording():
                y = functions.chain(x, *self.parameters, stages=self.stages)
            else:
                y = Tensor(primitives.chain_forward(x.value, self.stages))
            if self.flat and y.ndim != 2:
                y = functions.reshape(y, (len(y), math.prod(y.shape[1:])))
            return y if self.after is None else self.after(y)
        except (TypeError, ValueError):
            for layer in self.layers:  # the one that this is about says so
                x = layer(x)
            return x


class _Found(NamedTuple):
    """A stage of a chain, how many layers it takes, and the activation after it."""

    stage: Stage
    layers: int
    after: Step | None


def steps(model: Layer, layers: Sequence[Any], rank: int) -> Iterator[Step]:
    """Yield what is called in turn to run built layers; each is a `Chain` or a layer.

    Arguments:
        model: the `Sequential` whose layers they are.
        layers: all of them.
        rank: dimensions of the input.
    """
    position = 0
    while position < len(layers):
        chain = _chain(layers[position:], rank)
        if chain is None:
            yield layers[position]
            rank = _rank_after(layers[position], rank)
            position += 1
            continue
        rank = 2 if chain.flat else 4
        position += len(chain.layers)
        if position == len(layers) and chain.flat and chain.after is activations.softmax:
            left = _left.get()
            chain.left = left if left is not None and left.model is model else None
        yield chain


def _rank_after(layer: Any, rank: int) -> int:
    """Return the dimensions of a layer's output, given those of its input; 0 if not known."""
    if is_just(layer, Flatten):
        return 2
    return rank if any(is_just(layer, kind) for kind in _KEEPING_RANK) else 0


def _chain(layers: Sequence[Any], rank: int) -> Chain | None:
    """Return the longest chain that the first of the layers begins, if it begins one."""
    stages: list[Stage] = []
    parameters: list[Tensor] = []
    count, flat, after = 0, rank == 2, None
    while count < len(layers) and after is None:
        layer = layers[count]
        found = _stage(layers[count : count + 3], flat)
        if found is not None:
            if stages and not _go_together(stages[0], found.stage):
                break
            stages.append(found.stage)
            parameters += [p for p in (layer.kernel, layer.bias) if p is not None]
            count, after = count + found.layers, found.after
        elif stages and is_just(layer, Flatten) and layer.data_format == "channels_last":
            count, flat = count + 1, True
        elif stages and is_just(layer, Dropout) and not is_training():  # which does nothing then
            count += 1
        else:
            break
    return Chain(layers[:count], stages, parameters, flat, after) if stages else None


def _go_together(first: Stage, other: Stage) -> bool:
    """Return whether two stages are for one chain: a large one is better off by itself."""
    sizes = first.kernel.size, other.kernel.size
    return first.kernel.dtype == other.kernel.dtype and max(sizes) <= primitives.LARGE_STAGE


def _stage(layers: Sequence[Any], flat: bool) -> _Found | None:
    """Return the stage that begins with the first of the layers, if it is of such a kind."""
    first = layers[0]
    if not is_just(first, Dense if flat else Conv2D):
        return None
    if not flat and (first.channels_first or first.groups != 1):
        return None
    count, activation = 1, first.activation
    if activation is activations.linear and len(layers) > 1 and is_just(layers[1], Activation):
        count, activation = 2, layers[1].activation
    known, rest = activations.split(activation)
    after = None if rest is activations.linear else rest
    kernel, bias = first.kernel.value, None if first.bias is None else first.bias.value
    if flat:
        return _Found(Stage(kernel, bias, known), count, after)
    pool_size = (1, 1)
    if after is None and len(layers) > count and _pools_side_by_side(layers[count]):
        pool_size = layers[count].pool_size
        count += 1
    stage = Stage(kernel, bias, known, first.strides, first.padding, first.dilation_rate, pool_size)
    return _Found(stage, count, after)


def is_just(layer: Any, kind: type[Layer]) -> bool:
    """Return whether it is a layer of exactly this class, which computes what its class does."""
    return type(layer) is kind and "call" not in vars(layer)


def _pools_side_by_side(layer: Any) -> bool:
    """Return whether it is max pooling by windows that lie side by side, without padding."""
    return (
        is_just(layer, MaxPooling2D)
        and layer.strides == layer.pool_size
        and layer.padding in ("valid", 0)
        and not layer.channels_first
    )


class LeftLoss:
    """The loss of a model that the last chain computes, with its gradients, as it is called.

    Attributes:
        result: what came out; None while nothing did, and the loss is still to be computed.
    """

    def __init__(self, model: Any, loss: Any, y: Array) -> None:
        self.model, self.loss, self.y = model, loss, y
        self.result: primitives.LossAndGrads | None = None
        self._input: Tensor | None = None
        self._parameters: Sequence[Tensor] = ()

    def compute(self, x: Tensor, chain: Chain) -> Tensor:
        """Compute the loss of a chain's softmax; return the probabilities."""
        shape = len(x), chain.stages[-1].kernel.shape[1]
        labels = self.loss.class_labels(self.y, shape, x.dtype)
        wants = is_recording() and (x.node is not None or x.requires_grad)
        self.result = primitives.chain_cross_entropy(
            x.value, chain.stages, labels, with_input_grad=wants
        )
        self._input, self._parameters = (x if wants else None), chain.parameters
        return Tensor(self.result.probabilities)

    def backward(self) -> None:
        """Hand the gradients on to the weights, and to what comes before the chain."""
        assert self.result is not None
        grads = [grad for pair in self.result.grads for grad in pair if grad is not None]
        for parameter, grad in zip(self._parameters, grads, strict=True):
            if parameter.requires_grad:
                parameter.accumulate(grad)
        if self._input is not None:
            self._input.backward(self.result.input_grad)


@contextmanager
def loss_left_to(model: Any, loss: Any, y: Array) -> Iterator[LeftLoss]:
    """Let `model`, if it ends with a softmax, compute its loss while it is called inside.

    Arguments:
        model: a `Sequential`, or any other model, which leaves it undone.
        loss: a loss; it must be a cross-entropy of gpunet's own.
        y: the targets, where the model's weights are.
    """
    left = LeftLoss(model, loss, y)
    known = type(loss) in (CategoricalCrossentropy, SparseCategoricalCrossentropy)
    token = _left.set(left if known and loss.fusable else None)
    try:
        yield left
    finally:
        _left.reset(token)
