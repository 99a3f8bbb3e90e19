"""Chains: products, their max pooling, and layers between them that move no element.

One primitive takes a few images at a time through all of a chain. In training, a chain that ends a
model with a softmax computes its cross-entropy and all gradients at once.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gpunet import activations, functions, primitives
from gpunet.autograd import Array, Tensor, differentiable, is_recording
from gpunet.fusion.flat import role_at
from gpunet.fusion.normalization import one_by_one
from gpunet.layers.building import name_layer
from gpunet.layers.roles import Apply, Flat, Pass, Pool, Product, Role
from gpunet.primitives import Stage
from gpunet.symbolic import Node

__all__ = ["Chain", "FusedLoss", "chain_of"]


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
                return one_by_one(self.layers, x)
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
        y = functions.chain(x, *self.parameters, stages=self.array_stages())
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


def chain_of(line: Sequence[Node]) -> Chain | None:
    """Return the longest chain that the first of these nodes starts, if it starts one.

    Arguments:
        line: nodes, each of which reads the output of the one before it and nothing else does.
    """
    if not isinstance(role_at(line[0]), Product):
        return None
    roles = [role_at(node) for node in line]
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
    if after is None and isinstance(pool, Pool) and pool.is_fusible:
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
