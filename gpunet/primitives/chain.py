"""Layers one after another as one primitive, in inference, in training, and with the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.primitives.activation_table import as_fused
from gpunet.primitives.checks import are_class_numbers, check_same_dtype, check_shape
from gpunet.primitives.stages import ChainGeometry, Kept, LossAndGrads, Stage, chain_geometry
from gpunet.primitives.twins import twins_of

__all__ = ["chain_backward", "chain_cross_entropy", "chain_forward"]

Array = Any


def chain_forward(x: Array, stages: Sequence[Stage]) -> tuple[Array, Kept]:
    """Return the outputs of the last stage, and the saved outputs of all for `chain_backward`.

    A block of images at a time passes all stages.

    Arguments:
        x: (batch, height, width, channels), or (batch, inputs) if the first stage is dense.
        stages: convolutions and dense layers; at least one.

    Raises:
        TypeError, ValueError: a stage does not fit the one before it.

    >>> import numpy as np
    >>> y, kept = chain_forward(np.ones((1, 2)), [Stage(np.ones((2, 1)), None, None)])
    >>> y, len(kept)
    (array([[2.]]), 1)
    """
    twins, stages, g = _opened("chain_forward", x, stages)
    return twins.chain_forward(x, stages, g)


def chain_backward(
    output_grad: Array, x: Array, stages: Sequence[Stage], kept: Kept, *,
    with_input_grad: bool = False,
) -> tuple[Array | None, list[tuple[Array, Array | None]]]:  # fmt: skip
    """Return the gradient of `x` or None, and for each stage those of its kernel and its bias.

    Arguments:
        output_grad: gradient of the last stage's output.
        x, stages: those of `chain_forward`.
        kept: its second result.
        with_input_grad: whether to compute the gradient of `x`.

    Raises:
        TypeError, ValueError: an argument does not fit the others.

    >>> import numpy as np
    >>> x, stages = np.array([[1.0, 2.0]]), [Stage(np.ones((2, 1)), None, None)]
    >>> y, kept = chain_forward(x, stages)
    >>> chain_backward(np.ones_like(y), x, stages, kept)
    (None, [(array([[1.],
           [2.]]), None)])
    """
    twins, stages, g = _opened("chain_backward", x, stages, output_grad)
    check_same_dtype("chain_backward", x, output_grad=output_grad)
    check_shape("chain_backward", "output_grad", output_grad.shape, g.output_shape)
    return twins.chain_backward(output_grad, x, stages, g, kept, with_input_grad)


def chain_cross_entropy(
    x: Array, stages: Sequence[Stage], labels: Array, *, with_input_grad: bool = False
) -> LossAndGrads:
    """Return the cross-entropy of the softmax of the last stage's output, with gradients.

    The gradients are those of the mean of the samples' losses.

    Arguments:
        x: (batch, height, width, channels), or (batch, inputs) if the first stage is dense.
        stages: convolutions and dense layers; the last is dense, without activation.
        labels: integers (batch,), or probabilities (batch, classes).
        with_input_grad: whether to compute the gradient of `x`.

    Raises:
        TypeError, ValueError: a stage does not fit the one before it, or the labels its output.

    >>> import numpy as np
    >>> x, kernel = np.zeros((1, 3)), np.zeros((3, 2))
    >>> found = chain_cross_entropy(x, [Stage(kernel, None, None)], np.array([0]))
    >>> found.losses.round(4), found.probabilities, found.hits
    (array([0.6931]), array([[0.5, 0.5]]), array([1], dtype=uint8))
    """
    twins, stages, g = _opened("chain_cross_entropy", x, stages, labels)
    are_class_numbers(g.output_shape, labels)
    return twins.chain_cross_entropy(x, stages, g, labels, with_input_grad)


def _opened(
    where: str, x: Array, stages: Sequence[Stage], other: Array | None = None
) -> tuple[Any, list[Stage], ChainGeometry]:
    """Return the twins, the stages as twins take them, and the geometry of a checked chain."""
    twins = twins_of(where, x, other, *[stage.kernel for stage in stages])
    fused, dtype = [], x.dtype
    for stage in stages:
        kernel, bias, activation = stage[:3]
        if kernel.dtype != dtype or (bias is not None and bias.dtype != dtype):
            check_same_dtype("chain_forward", x, kernel=kernel, bias=bias)
        if bias is not None:
            check_shape("chain_forward", "bias", bias.shape, kernel.shape[-1:])
        found = as_fused(activation)
        fused.append(stage if found is activation else stage._replace(activation=found))
    return twins, fused, chain_geometry(x.shape, stages)
