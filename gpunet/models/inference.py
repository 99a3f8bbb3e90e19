"""Layers of a `Sequential` outside of training: as many as can be in one go, nothing kept of them.

Convolutions, their pools and dense layers, with relu or none, make a chain, which one primitive
runs for some images at a time. Another activation ends a chain and comes after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpunet import activations, primitives
from gpunet.autograd import Tensor
from gpunet.layers import Activation, Conv2D, Dense, Dropout, Flatten
from gpunet.models.fusion import Step, conv_options, is_just, pools_side_by_side
from gpunet.primitives import Stage

__all__ = ["Chain", "steps"]


class _Found(NamedTuple):
    """A stage of a chain, how many layers it takes, and the activation after it, if not relu."""

    stage: Stage
    layers: int
    after: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Chain:
    """Layers that one primitive runs; called as the first of them would be."""

    layers: Sequence[Any]
    stages: Sequence[Stage]
    flat: bool  # whether each sample of the output is a row
    after: Callable[[Tensor], Tensor] | None

    def __call__(self, x: Tensor) -> Tensor:
        """Return what the last layer would."""
        first = self.layers[0]
        try:
            first.check_input(x.shape)
            y = primitives.chain_forward(first._cast(x).value, self.stages)
        except (TypeError, ValueError):
            for layer in self.layers:  # the one that this is about says so
                x = layer(x)
            return x
        output = Tensor(y.reshape(len(y), math.prod(y.shape[1:])) if self.flat else y)
        return output if self.after is None else self.after(output)


def steps(layers: Sequence[Any], rank: int) -> Iterator[Step]:
    """Yield what is called in turn to run built layers; each is a `Chain` or a layer.

    Arguments:
        layers: those of a `Sequential`.
        rank: dimensions of its input.
    """
    position = 0
    while position < len(layers):
        chain = _chain(layers[position:], rank)
        if chain is None:
            yield layers[position]
            # What other layers do to the rank is not known; of these it is.
            rank = 2 if is_just(layers[position], Flatten) else rank
            position += 1
        else:
            yield chain
            rank = 2 if chain.flat else 4
            position += len(chain.layers)


def _chain(layers: Sequence[Any], rank: int) -> Chain | None:
    """Return the longest chain that the first of the layers begins, if it begins one."""
    stages: list[Stage] = []
    count, flat, after = 0, rank == 2, None
    while count < len(layers) and after is None:
        layer = layers[count]
        if stages and is_just(layer, Dropout):  # which does nothing here
            count += 1
        elif stages and is_just(layer, Flatten) and layer.data_format == "channels_last":
            count, flat = count + 1, True
        else:
            found = _stage(layers[count : count + 3], flat)
            if found is None or (stages and found.stage.kernel.dtype != stages[0].kernel.dtype):
                break
            stages.append(found.stage)
            count, after = count + found.layers, found.after
    return Chain(layers[:count], stages, flat, after) if stages else None


def _stage(layers: Sequence[Any], flat: bool) -> _Found | None:
    """Return the stage that begins with the first of the layers, if it is of such a kind."""
    first, *others = layers
    if not is_just(first, Dense if flat else Conv2D):
        return None
    if not flat and (first.channels_first or first.groups != 1):
        return None
    count, activation = 1, first.activation
    if activation is activations.linear and others and is_just(others[0], Activation):
        count, activation = 2, others[0].activation
    relu = activation is activations.relu
    after = None if relu or activation is activations.linear else activation
    stage = Stage(first.kernel.value, None if first.bias is None else first.bias.value, relu)
    if flat:
        return _Found(stage, count, after)
    options = conv_options(first)
    del options["groups"]
    if after is None and len(layers) > count and pools_side_by_side(first, layers[count]):
        options["pool_size"] = layers[count].pool_size
        count += 1
    return _Found(stage._replace(**options), count, after)
