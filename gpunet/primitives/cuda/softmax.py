"""Softmax, its logarithm and the cross-entropy with labels as CUDA kernels, kernels/softmax.cu."""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch as launcher
from gpunet.primitives.checks import (
    are_class_numbers,
    check_same_dtype,
    check_same_shape,
    check_shape,
)
from gpunet.primitives.launch import Kernel
from gpunet.primitives.shapes import split_axis

__all__ = [
    "log_softmax_backward",
    "log_softmax_forward",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
]

Array = Any

_FORWARD = Kernel("softmax.cu", "softmax_forward")
_BACKWARD = Kernel("softmax.cu", "softmax_backward")
_LOG_FORWARD = Kernel("softmax.cu", "log_softmax_forward")
_LOG_BACKWARD = Kernel("softmax.cu", "log_softmax_backward")
_CROSS_ENTROPY_FORWARD = Kernel("softmax.cu", "softmax_cross_entropy_forward")
_CROSS_ENTROPY_BACKWARD = Kernel("softmax.cu", "softmax_cross_entropy_backward")

_WARP, _SMALL_BLOCK, _BLOCK = 32, 128, 256


def softmax_forward(x: Array, *, axis: int = -1) -> Array:
    """Return exp(x) divided by its sum over `axis`."""
    return _along_axis(_FORWARD, split_axis(x.shape, axis, "softmax"), x)


def softmax_backward(output_grad: Array, y: Array, *, axis: int = -1) -> Array:
    """Return the gradient of the input of softmax, given that of its output `y`."""
    check_same_shape("softmax_grad", output_grad, y)
    check_same_dtype("softmax_grad", output_grad, y=y)
    return _along_axis(_BACKWARD, split_axis(y.shape, axis, "softmax_grad"), output_grad, y)


def log_softmax_forward(x: Array, *, axis: int = -1) -> Array:
    """Return the logarithm of softmax(x), exact also where softmax(x) rounds to 0."""
    return _along_axis(_LOG_FORWARD, split_axis(x.shape, axis, "log_softmax"), x)


def log_softmax_backward(output_grad: Array, y: Array, *, axis: int = -1) -> Array:
    """Return the gradient of the input of log_softmax, given that of its output `y`."""
    check_same_shape("log_softmax_grad", output_grad, y)
    check_same_dtype("log_softmax_grad", output_grad, y=y)
    return _along_axis(_LOG_BACKWARD, split_axis(y.shape, axis, "log_softmax_grad"), output_grad, y)


def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each sample's cross-entropy (batch,), and softmax(logits) (batch, classes).

    A class number that is not in [0, classes) makes the sample's loss NaN, and its gradient:
    to raise an error, the labels would have to be read back from the device at each step.
    """
    sparse = are_class_numbers(logits.shape, labels)
    logits, labels = launcher.contiguous(logits), launcher.contiguous(labels)
    losses = launcher.empty(logits.shape[:1], logits.dtype)
    probabilities = launcher.empty(logits.shape, logits.dtype)
    arrays = (logits, labels, losses, probabilities)
    _cross_entropy(_CROSS_ENTROPY_FORWARD, sparse, probabilities, labels, arrays)
    return losses, probabilities


def softmax_cross_entropy_backward(
    output_grad: Array, probabilities: Array, labels: Array
) -> Array:
    """Return the gradient of the logits: (probabilities - labels) * output_grad.

    It is NaN for all of a sample whose class number is out of range, as its loss is.
    """
    sparse = are_class_numbers(probabilities.shape, labels)
    check_shape("softmax_cross_entropy", "output_grad", output_grad.shape, probabilities.shape[:1])
    check_same_dtype("softmax_cross_entropy", probabilities, output_grad=output_grad)
    output_grad, probabilities, labels = (
        launcher.contiguous(array) for array in (output_grad, probabilities, labels)
    )
    logits_grad = launcher.empty(probabilities.shape, probabilities.dtype)
    arrays = (output_grad, probabilities, labels, logits_grad)
    _cross_entropy(_CROSS_ENTROPY_BACKWARD, sparse, probabilities, labels, arrays)
    return logits_grad


def _along_axis(kernel: Kernel, split: tuple[int, int, int], *inputs: Array) -> Array:
    """Launch for arrays of (outer, length, inner) and return the result, like the inputs."""
    outer, length, inner = split
    inputs = tuple(launcher.contiguous(array) for array in inputs)
    result = launcher.empty(inputs[0].shape, inputs[0].dtype)
    lanes, grid, block = _threads(outer * inner, length, inner)
    types = {"T": result.dtype, "L": "int32"}  # there are no labels
    sizes = (outer * inner, length, inner)
    kernel(grid, block, *sizes, *inputs, result, types=types, LANES=lanes, SPARSE=1)
    return result


def _cross_entropy(
    kernel: Kernel, sparse: bool, probabilities: Array, labels: Array, arrays: tuple[Array, ...]
) -> None:
    rows, length = probabilities.shape
    lanes, grid, block = _threads(rows, length, 1)
    types = {"T": probabilities.dtype, "L": labels.dtype}
    kernel(grid, block, rows, length, *arrays, types=types, LANES=lanes, SPARSE=int(sparse))


def _threads(rows: int, length: int, inner: int) -> tuple[int, int, int]:
    """Return how many lanes share a row, and the grid and the block for all rows."""
    many = launcher.multiprocessors() * _SMALL_BLOCK
    if length <= 4 or (inner >= _WARP and (length <= 64 or rows >= many)):
        lanes = 1  # whose neighbours read what lies beside it
    elif length <= 1024:
        lanes = 8 if length <= 32 else _WARP
    else:
        lanes = _BLOCK
    if lanes == _BLOCK:
        return lanes, rows, _BLOCK
    # Few rows are spread over all multiprocessors, one warp to a block.
    block = _SMALL_BLOCK if rows * lanes >= many else _WARP
    return lanes, launcher.ceil_div(rows * lanes, block), block
