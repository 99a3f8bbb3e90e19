"""Layers one after another, each by its kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.cuda import (
    activation,
    conv_pool,
    convolution,
    head,
    linear,
    reduction,
    softmax,
)
from gpunet.primitives.cuda.stage_parts import Places, as_grads, write_parts
from gpunet.primitives.stages import ChainGeometry, Kept, LossAndGrads, Operations, Stage, rows_of

__all__ = ["chain_backward", "chain_cross_entropy", "chain_forward"]

Array = Any

_OPERATIONS = Operations.of(activation, conv_pool, convolution, linear, reduction, softmax)


chain_forward = _OPERATIONS.forward_all


def chain_backward(
    output_grad: Array, x: Array, stages: Sequence[Stage], g: ChainGeometry, kept: Kept,
    with_input_grad: bool,
) -> tuple[Array | None, list[tuple[Array, Array | None]]]:  # fmt: skip
    """Return the gradients of `x` and of all weights."""
    places = Places()
    found = _places(places, x, stages, g, kept)
    buffer = _buffer(places, x)
    input_grad = _backward(output_grad, x, stages, g, kept, with_input_grad, buffer, found)
    return input_grad, as_grads(buffer, stages, found)


def chain_cross_entropy(
    x: Array, stages: Sequence[Stage], g: ChainGeometry, labels: Array, with_input_grad: bool
) -> LossAndGrads:
    """Return the losses and all gradients."""
    count = _stages_of_head(x, stages, labels)
    if count == 0:
        share = launch.empty((len(x),), x.dtype)
        share.fill(1 / len(x))
        return _OPERATIONS.cross_entropy(
            x, stages, g, labels, share, with_input_grad, chain_forward, chain_backward
        )
    body, dense = stages[:-count], stages[-count:]
    g = ChainGeometry(g.stages[:-count])
    features, kept = _OPERATIONS.forward_all(x, body, g)
    places = Places()
    found = _places(places, x, body, g, kept)
    parts = head.parts_of(len(x), dense)
    last = [
        places.add(parts, stage.kernel.shape[0] + (stage.bias is not None), stage.kernel.shape[1])
        for stage in dense
    ]
    buffer = _buffer(places, x)
    losses, probabilities, hits, grad = head.dense_cross_entropy(
        rows_of(features), dense, labels, buffer, [place.first for place in last],
        with_input_grad=with_input_grad or bool(body),
    )  # fmt: skip
    if grad is not None:
        grad = _backward(grad, x, body, g, kept, with_input_grad, buffer, found)
        grad = None if grad is None else grad.reshape(x.shape)
    grads = as_grads(buffer, stages, [*found, *last])
    return LossAndGrads(losses, probabilities, hits, grad, grads)


def _stages_of_head(x: Array, stages: Sequence[Stage], labels: Array) -> int:
    """Return how many of the last stages one kernel takes, with the loss; 0, 1 or 2."""
    for count in (2, 1):
        dense = stages[-count:]
        inputs = dense[0].kernel.shape[0]
        if len(dense) == count and head.supports(inputs, dense, labels.shape, x.dtype):
            return count
    return 0


def _inputs(x: Array, kept: Kept) -> list[Array]:
    return [x, *(output for output, _ in kept[:-1])]


def _places(
    places: Places, x: Array, stages: Sequence[Stage], g: ChainGeometry, kept: Kept
) -> list[Any]:
    """Return the place of each stage's partial sums, None where there are none."""
    return [
        places.of_stage(given, stage, geometry)
        for given, stage, geometry in zip(
            _inputs(x, kept)[: len(stages)], stages, g.stages, strict=True
        )
    ]


def _buffer(places: Places, x: Array) -> Array:
    return launch.empty((places.size,), launch.accumulator(x.dtype))


def _backward(
    output_grad: Array, x: Array, stages: Sequence[Stage], g: ChainGeometry, kept: Kept,
    with_input_grad: bool, buffer: Array, found: list[Any],
) -> Array | None:  # fmt: skip
    """Return the gradient of `x` or None, and write partial sums of the stages' gradients.

    Arguments:
        found: the place of each stage's partial sums; each None is replaced by the gradients.
    """
    grad, inputs = output_grad, _inputs(x, kept)
    for position in reversed(range(len(stages))):
        stage, geometry, output = stages[position], g.stages[position], kept[position]
        grad = grad.reshape(output[0].shape)
        wanted = with_input_grad or position > 0
        if found[position] is None:
            grad, found[position] = _OPERATIONS.backward(
                grad, inputs[position], stage, geometry, output, wanted
            )
            continue
        write_parts(grad, inputs[position], stage, geometry, output, buffer, found[position])
        grad = _OPERATIONS.input_grad(grad, stage, geometry, output) if wanted else None
    return grad if with_input_grad else None
