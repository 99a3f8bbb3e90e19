"""Layers one after another, for as many images at a time as stay in cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

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
from gpunet.primitives.reference.softmax import (
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from gpunet.primitives.stages import (
    Kept,
    LossAndGrads,
    Operations,
    Stage,
    cross_entropy_by,
    output_shape,
)

__all__ = ["chain_backward", "chain_cross_entropy", "chain_forward", "chain_forward_kept"]

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


def chain_cross_entropy(
    x: Array, stages: Sequence[Stage], labels: Array, *, with_input_grad: bool = False
) -> LossAndGrads:
    """Return the cross-entropy of the softmax of what the last stage puts out, with gradients.

    The gradients are those of the mean of the samples' losses.

    Arguments:
        x: (batch, height, width, channels), or (batch, inputs) if the first stage is dense.
        stages: convolutions and dense layers; the last is dense, without activation.
        labels: integers (batch,), or probabilities (batch, classes).
        with_input_grad: whether the gradient of `x` is wanted.

    Raises:
        TypeError, ValueError: a stage does not fit what comes before it, or the labels its output.

    >>> import numpy as np
    >>> x, kernel = np.zeros((1, 3)), np.zeros((3, 2))
    >>> found = chain_cross_entropy(x, [Stage(kernel, None, None)], np.array([0]))
    >>> found.losses.round(4), found.probabilities, found.hits
    (array([0.6931]), array([[0.5, 0.5]]), array([1], dtype=uint8))
    """
    share = np.full(len(x), 1 / len(x), x.dtype)
    return cross_entropy_by(_TWINS, x, stages, labels, share, with_input_grad)


_TWINS = SimpleNamespace(
    chain_backward=chain_backward,
    chain_forward_kept=chain_forward_kept,
    softmax_cross_entropy_backward=softmax_cross_entropy_backward,
    softmax_cross_entropy_forward=softmax_cross_entropy_forward,
)
