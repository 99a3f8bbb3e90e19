"""Layers one after another, for as many images at a time as stay in cache."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpunet.primitives.reference.blocks import Array, blocks_of, per_block
from gpunet.primitives.reference.conv_pool import conv2d_max_pool_forward
from gpunet.primitives.reference.convolution import conv2d_forward
from gpunet.primitives.reference.linear import matmul
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.stages import Stage, output_shape, run_in_turn

__all__ = ["chain_forward"]


def chain_forward(x: Array, stages: Sequence[Stage]) -> Array:
    """Return the outputs of the last stage; what is between two is never in memory as a whole.

    Arguments:
        x: (batch, height, width, channels), or (batch, inputs) if the first stage is dense.
        stages: convolutions and dense layers; at least one.

    Raises:
        TypeError, ValueError: a stage does not fit what comes before it.

    >>> import numpy as np
    >>> x, kernel = np.arange(4.0).reshape(1, 2, 2, 1), np.ones((1, 1, 1, 1))
    >>> chain_forward(x, [Stage(kernel, None, True, pool_size=(2, 2))]).item()
    3.0
    """
    sample, largest = x.shape[1:], 0
    for stage in stages:
        sample = output_shape(sample, stage)
        largest = max(largest, math.prod(sample))
    y = empty((len(x), *sample), x.dtype)
    for images in blocks_of(len(x), per_block(len(x), largest * x.itemsize)):
        y[images] = run_in_turn(x[images], stages, conv2d_forward, conv2d_max_pool_forward, matmul)
    return y
