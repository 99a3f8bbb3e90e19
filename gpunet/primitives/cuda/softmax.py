"""Softmax, its logarithm and the cross-entropy with labels as CUDA kernels, kernels/softmax.cu."""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch as launcher
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


def softmax_forward(x: Array, axis: int) -> Array:
    """Return exp(x) divided by its sum over `axis`."""
    return _along_axis(_FORWARD, axis, x)


def softmax_backward(output_grad: Array, y: Array, axis: int) -> Array:
    """Return the gradient of the input of softmax."""
    return _along_axis(_BACKWARD, axis, output_grad, y)


def log_softmax_forward(x: Array, axis: int) -> Array:
    """Return the logarithm of softmax(x)."""
    return _along_axis(_LOG_FORWARD, axis, x)


def log_softmax_backward(output_grad: Array, y: Array, axis: int) -> Array:
    """Return the gradient of the input of log_softmax."""
    return _along_axis(_LOG_BACKWARD, axis, output_grad, y)


def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Return each sample's cross-entropy, NaN for a class number out of range, and softmax."""
    logits, labels = launcher.contiguous(logits), launcher.contiguous(labels)
    losses = launcher.empty(logits.shape[:1], logits.dtype)
    probabilities = launcher.empty(logits.shape, logits.dtype)
    arrays = (logits, labels, losses, probabilities)
    _cross_entropy(_CROSS_ENTROPY_FORWARD, probabilities, labels, arrays)
    return losses, probabilities


def softmax_cross_entropy_backward(
    output_grad: Array, probabilities: Array, labels: Array
) -> Array:
    """Return the gradient of the logits, NaN where the loss is for a class out of range."""
    output_grad, probabilities, labels = (
        launcher.contiguous(array) for array in (output_grad, probabilities, labels)
    )
    logits_grad = launcher.empty(probabilities.shape, probabilities.dtype)
    arrays = (output_grad, probabilities, labels, logits_grad)
    _cross_entropy(_CROSS_ENTROPY_BACKWARD, probabilities, labels, arrays)
    return logits_grad


def _along_axis(kernel: Kernel, axis: int, *inputs: Array) -> Array:
    """Launch for arrays of (outer, length, inner) and return the result, like the inputs."""
    outer, length, inner = split_axis(inputs[0].shape, axis, kernel.name)
    inputs = tuple(launcher.contiguous(array) for array in inputs)
    result = launcher.empty(inputs[0].shape, inputs[0].dtype)
    lanes, grid, block = _threads(outer * inner, length, inner)
    types = {"T": result.dtype, "L": "int32"}  # there are no labels
    sizes = (outer * inner, length, inner)
    kernel(grid, block, *sizes, *inputs, result, types=types, LANES=lanes, SPARSE=1)
    return result


def _cross_entropy(
    kernel: Kernel, probabilities: Array, labels: Array, arrays: tuple[Array, ...]
) -> None:
    rows, length = probabilities.shape
    lanes, grid, block = _threads(rows, length, 1)
    types = {"T": probabilities.dtype, "L": labels.dtype}
    kernel(
        grid, block, rows, length, *arrays, types=types, LANES=lanes, SPARSE=int(labels.ndim == 1)
    )


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
