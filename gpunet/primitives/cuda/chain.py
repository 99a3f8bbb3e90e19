"""Layers one after another, each by its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.primitives.cuda.conv_pool import conv2d_max_pool_forward
from gpunet.primitives.cuda.convolution import conv2d_forward
from gpunet.primitives.cuda.linear import matmul
from gpunet.primitives.stages import Stage, output_shape, run_in_turn

__all__ = ["chain_forward"]

Array = Any


def chain_forward(x: Array, stages: Sequence[Stage]) -> Array:
    """Return the outputs of the last stage; arguments as in the reference twin."""
    sample = x.shape[1:]
    for stage in stages:
        sample = output_shape(sample, stage)
    return run_in_turn(x, stages, conv2d_forward, conv2d_max_pool_forward, matmul)
