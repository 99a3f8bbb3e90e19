"""The dense layers that end a classifier, with its cross-entropy, both ways in one launch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.primitives import launch
from gpunet.primitives.checks import are_class_numbers
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.launch import Kernel
from gpunet.primitives.stages import Stage

__all__ = ["dense_cross_entropy", "parts_of", "supports"]

Array = Any

_HEAD = Kernel("head.cu", "dense_cross_entropy")

_THREADS = 256
_FEW, _MANY = 4, 8  # samples that a block has at a time
_DTYPES = (np.float32, np.float64)
_MEMORY = 48 << 10  # bytes of shared memory that a block may have on any device
_WHERE = "dense_cross_entropy"
_NO_LAYER = Stage(None, None, None)


def supports(
    inputs: int, stages: Sequence[Stage], labels_shape: tuple[int, ...], dtype: Any
) -> bool:
    """Return whether the kernel supports these layers: one or two dense ones, small enough.

    Arguments:
        inputs: numbers in a sample.
        stages: the last layers.
        labels_shape: (batch,) or (batch, classes).
        dtype: of all arrays but the labels.
    """
    if len(stages) not in (1, 2) or np.dtype(dtype) not in _DTYPES:
        return False
    for stage in stages:
        if not _is_dense(stage, inputs, dtype):
            return False
        inputs = stage.kernel.shape[1]
    return (
        stages[-1].activation is None
        and min(labels_shape, default=0) > 0
        and labels_shape[1:] in ((), (inputs,))
        and _bytes(stages, _FEW) <= _MEMORY
    )


def parts_of(batch: int, stages: Sequence[Stage]) -> int:
    """Return how many partial sums each gradient of the weights has."""
    return launch.ceil_div(batch, _division(batch, stages)[1])


def dense_cross_entropy(
    x: Array, stages: Sequence[Stage], labels: Array, parts: Array, firsts: Sequence[int], *,
    with_input_grad: bool,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return the losses, the probabilities, the hits and the gradient of `x`; write `parts`.

    Gradients are those of the mean of the losses.

    Arguments:
        x: (batch, ...), each sample a row to the first layer.
        stages: one or two layers that `supports` allows.
        labels: class numbers (batch,), or probabilities (batch, classes).
        parts: flat, changed: for each layer `parts_of` parts of the gradients of its kernel and its
            bias, one after the other.
        firsts: the elements of `parts` that each layer's begin with.
        with_input_grad: whether to compute the gradient of `x`, else it is None.

    Raises:
        TypeError, ValueError: the arguments are not as said.
    """
    _check(x, stages, labels, parts, firsts)
    batch, (*before, last) = len(x), stages
    hidden = before[0] if before else _NO_LAYER
    shape = (batch, last.kernel.shape[1])
    sparse = are_class_numbers(shape, labels)
    samples, chunk = _division(batch, stages)
    losses, probabilities = launch.empty((batch,), x.dtype), launch.empty(shape, x.dtype)
    hits = launch.empty((batch,), np.uint8)
    input_grad = launch.empty(x.shape, x.dtype) if with_input_grad else None
    sizes = math.prod(x.shape[1:]), hidden.kernel.shape[1] if before else 0, shape[1]
    given = (x, hidden.kernel, hidden.bias, last.kernel, last.bias, labels)
    _HEAD(
        launch.ceil_div(batch, chunk), _THREADS, batch, chunk, *sizes, 1 / batch,
        *(None if array is None else launch.contiguous(array) for array in given),
        losses, probabilities, hits, input_grad, parts, firsts[0], firsts[-1],
        types={"T": x.dtype, "L": labels.dtype}, SPARSE=int(sparse), SAMPLES=samples,
        ACTIVATION=activation_macro(hidden.activation),
    )  # fmt: skip
    return losses, probabilities, hits, input_grad


def _check(
    x: Array, stages: Sequence[Stage], labels: Array, parts: Array, firsts: Sequence[int]
) -> None:
    if not supports(math.prod(x.shape[1:]), stages, labels.shape, x.dtype):
        raise ValueError(
            f"{_WHERE}: expected one or two dense layers of one type, float32 or float64, the last "
            f"without activation, that take samples of shape {x.shape[1:]} and fit into 48 KiB, "
            f"received kernels of shapes {[stage.kernel.shape for stage in stages]}, x of "
            f"{x.dtype} and labels of shape {labels.shape}: see `supports`, or use chain_backward."
        )
    count = parts_of(len(x), stages)
    ends = [
        first + count * math.prod(_size(stage)) for first, stage in zip(firsts, stages, strict=True)
    ]
    if min(firsts) < 0 or max(ends) > parts.size:
        raise ValueError(
            f"{_WHERE}: expected room for {count} parts of each layer from elements {firsts} to "
            f"{ends}, received an array of {parts.size}: `parts_of` returns their number."
        )


def _is_dense(stage: Stage, inputs: int, dtype: Any) -> bool:
    """Return whether a stage is a dense layer that takes so many inputs of a type."""
    kernel, bias = stage.kernel, stage.bias
    return (
        kernel.ndim == 2
        and kernel.shape[0] == inputs
        and min(kernel.shape) > 0
        and kernel.dtype == dtype
        and (bias is None or (bias.shape, bias.dtype) == (kernel.shape[1:], dtype))
    )


def _division(batch: int, stages: Sequence[Stage]) -> tuple[int, int]:
    """Return how many samples a block has at a time, and how many in all.

    A few, so that many blocks share a small batch; and no more blocks than multiprocessors, since
    each writes parts of its own.
    """
    blocks = launch.multiprocessors()
    is_large = batch > _FEW * blocks and _bytes(stages, _MANY) <= _MEMORY
    samples = _MANY if is_large else _FEW
    return samples, samples * launch.ceil_div(batch, samples * blocks)


def _size(stage: Stage) -> tuple[int, int]:
    """Return the rows of a layer's weights, with that of the bias, and their columns."""
    inputs, units = stage.kernel.shape
    return inputs + (stage.bias is not None), units


def _bytes(stages: Sequence[Stage], samples: int) -> int:
    """Return how much shared memory a block needs, as the kernel lays it out."""
    elements = 0
    for rows, units in map(_size, stages):
        line = (units + 3) // 8 * 8 + 4
        elements += rows * line + (rows + units) * samples
    return elements * stages[0].kernel.dtype.itemsize
