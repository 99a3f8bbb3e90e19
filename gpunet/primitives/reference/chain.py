"""Layers one after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.primitives.reference import activation, conv_pool, convolution, linear, softmax
from gpunet.primitives.reference.blocks import Array
from gpunet.primitives.stages import ChainGeometry, LossAndGrads, Operations, Stage

__all__ = ["chain_backward", "chain_cross_entropy", "chain_forward"]

_OPERATIONS = Operations.of(activation, conv_pool, convolution, linear, softmax)


chain_forward = _OPERATIONS.forward_all
chain_backward = _OPERATIONS.backward_all


def chain_cross_entropy(
    x: Array, stages: Sequence[Stage], g: ChainGeometry, labels: Array, with_input_grad: bool
) -> LossAndGrads:
    """Return the losses and all gradients."""
    share = np.full(len(x), 1 / len(x), x.dtype)
    return _OPERATIONS.cross_entropy(
        x, stages, g, labels, share, with_input_grad, chain_forward, chain_backward
    )
