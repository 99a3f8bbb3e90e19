"""Layers one after another, for as many images at a time as stay in cache."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpunet.primitives.reference.activation import activation_backward
from gpunet.primitives.reference.blocks import Array, blocks_of, per_block
from gpunet.primitives.reference.conv_pool import (
    conv2d_max_pool_backward_input,
    conv2d_max_pool_backward_weight,
    conv2d_max_pool_forward,
)
from gpunet.primitives.reference.convolution import (
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from gpunet.primitives.reference.linear import bias_backward, matmul
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.stages import Kept, Operations, Stage, output_shape

__all__ = ["chain_backward", "chain_forward", "chain_forward_kept"]

_OPERATIONS = Operations(
    conv2d_forward,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_max_pool_forward,
    conv2d_max_pool_backward_input,
    conv2d_max_pool_backward_weight,
    matmul,
    activation_backward,
    bias_backward,
)


def chain_forward(x: Array, stages: Sequence[Stage]) -> Array:
    """Return the outputs of the last stage; what is between two is never in memory as a whole.

    Arguments:
        x: (batch, height, width, channels), or (batch, inputs) if the first stage is dense.
        stages: convolutions and dense layers; at least one.

    Raises:
        TypeError, ValueError: a stage does not fit what comes before it.

    >>> import numpy as np
    >>> x, kernel = np.arange(4.0).reshape(1, 2, 2, 1), np.ones((1, 1, 1, 1))
    >>> chain_forward(x, [Stage(kernel, None, None, pool_size=(2, 2))]).item()
    3.0
    """
    sample, largest = x.shape[1:], 0
    for stage in stages:
        sample = output_shape(sample, stage.kernel.shape, *stage[3:])
        largest = max(largest, math.prod(sample))
    y = empty((len(x), *sample), x.dtype)
    for images in blocks_of(len(x), per_block(len(x), largest * x.itemsize)):
        y[images] = _OPERATIONS.last_output(x[images], stages)
    return y


def chain_forward_kept(x: Array, stages: Sequence[Stage]) -> tuple[Array, Kept]:
    """Return what `chain_forward` does, and what `chain_backward` needs of all stages.

    Arguments and errors are those of `chain_forward`.
    """
    kept = _OPERATIONS.forward_all(x, stages)
    return kept[-1][0], kept


def chain_backward(
    output_grad: Array,
    x: Array,
    stages: Sequence[Stage],
    kept: Kept,
    *,
    with_input_grad: bool = False,
) -> tuple[Array | None, list[tuple[Array, Array | None]]]:
    """Return the gradient of `x` or None, and for each stage those of its kernel and its bias.

    Arguments:
        output_grad: gradient of the last stage's output.
        x: the input, as `chain_forward_kept` was given it.
        stages: likewise.
        kept: the second result of `chain_forward_kept`.
        with_input_grad: whether the gradient of `x` is wanted.

    Raises:
        TypeError, ValueError: an argument does not fit the others.
    """
    return _OPERATIONS.backward_all(output_grad, x, stages, kept, with_input_grad)
