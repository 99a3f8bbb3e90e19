"""Layers one after another, for as many images at a time as stay in cache."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpunet.primitives.reference import activation, conv_pool, convolution, linear, softmax
from gpunet.primitives.reference.blocks import Array, blocks_of, per_block
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.stages import ChainGeometry, LossAndGrads, Operations, Stage

__all__ = ["chain_backward", "chain_cross_entropy", "chain_forward", "chain_forward_kept"]

_OPERATIONS = Operations.of(activation, conv_pool, convolution, linear, softmax)


def chain_forward(x: Array, stages: Sequence[Stage], g: ChainGeometry) -> Array:
    """Return the outputs of the last stage."""
    largest = max(math.prod(stage.output_shape[1:]) for stage in g.stages)
    y = empty(g.output_shape, x.dtype)
    for images in blocks_of(len(x), per_block(len(x), largest * x.itemsize)):
        part = x[images]
        y[images] = _OPERATIONS.last_output(part, stages, g.for_images(len(part)))
    return y


chain_forward_kept = _OPERATIONS.forward_all
chain_backward = _OPERATIONS.backward_all


def chain_cross_entropy(
    x: Array, stages: Sequence[Stage], g: ChainGeometry, labels: Array, with_input_grad: bool
) -> LossAndGrads:
    """Return the losses and all gradients."""
    share = np.full(len(x), 1 / len(x), x.dtype)
    return _OPERATIONS.cross_entropy(
        x, stages, g, labels, share, with_input_grad, chain_forward_kept, chain_backward
    )
