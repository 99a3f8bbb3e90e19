"""Depthwise convolution and its gradients, by kernels/depthwise.cu."""

from __future__ import annotations

import math
from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.cuda.reduction import sum_rows
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.launch import Kernel

__all__ = ["backward_input", "backward_weight", "forward", "is_depthwise"]

Array = Any

_FORWARD = Kernel("depthwise.cu", "depthwise_forward")
_INPUT_GRAD = Kernel("depthwise.cu", "depthwise_backward_input")
_WEIGHT_GRAD = Kernel("depthwise.cu", "depthwise_backward_weight")

_BLOCK = 256
_WARP, _WARPS = 32, 8  # of a block of the weight gradient
_LEAST_POSITIONS = 16 * _WARPS  # of a chunk
_MOST_CHUNKS = 65_535
_VECTOR = 4


def is_depthwise(g: Conv2DGeometry) -> bool:
    """Return whether each filter reads one of several channels."""
    return g.groups > 1 and g.groups == g.input_shape[3]


def forward(
    x: Array, kernel: Array, bias: Array | None, g: Conv2DGeometry, activation: Activation | None
) -> Array:
    """Return the cross-correlation of each channel with its filters."""
    y = launch.empty(g.output_shape, x.dtype)
    x, kernel = launch.contiguous(x), launch.contiguous(kernel)
    vector = _vector(g, x, kernel, y)
    bias = None if bias is None else launch.contiguous(bias)
    _FORWARD(
        _blocks(y, vector), _BLOCK, *_sizes(g), x, kernel, bias, y,
        **_options(x, activation), VECTOR=vector,
    )  # fmt: skip
    return y


def backward_input(
    given: tuple[Array, Array | None], kernel: Array, g: Conv2DGeometry,
    activation: Activation | None,
) -> Array:  # fmt: skip
    """Return the gradient of the input.

    Arguments:
        given: the gradient of the output, and the output or None; contiguous.
        kernel, g, activation: as in `forward`.
    """
    kernel = launch.contiguous(kernel)
    input_grad = launch.empty(g.input_shape, kernel.dtype)
    vector = _vector(g, kernel, input_grad, *(a for a in given if a is not None))
    _INPUT_GRAD(
        _blocks(input_grad, vector), _BLOCK, *_sizes(g), *given, kernel, input_grad,
        **_options(kernel, activation), VECTOR=vector,
    )  # fmt: skip
    return input_grad


def backward_weight(
    given: tuple[Array, Array | None], x: Array, g: Conv2DGeometry,
    activation: Activation | None, with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias; arguments as in `backward_input`."""
    x, filters = launch.contiguous(x), g.kernel_shape[3]
    rows, positions = math.prod(g.kernel_shape[:2]) + with_bias, math.prod(g.output_shape[:3])
    across = launch.ceil_div(filters, _WARP)
    wanted = launch.ceil_div(8 * launch.multiprocessors(), max(1, across * rows))
    chunks = max(1, min(wanted, positions // _LEAST_POSITIONS, _MOST_CHUNKS))
    partial = launch.empty((chunks, rows * filters), launch.accumulator(x.dtype))
    _WEIGHT_GRAD(
        (across, chunks, rows), (_WARP, _WARPS), *_sizes(g), launch.ceil_div(positions, chunks),
        *given, x, partial, **_options(x, activation), VECTOR=1,
    )  # fmt: skip
    grads = partial
    if chunks > 1 or partial.dtype != x.dtype:
        grads = launch.empty((1, rows * filters), x.dtype)
        sum_rows(partial, grads)
    grads = grads.reshape(rows, filters)
    taps = rows - with_bias
    return grads[:taps].reshape(g.kernel_shape), grads[taps] if with_bias else None


def _sizes(g: Conv2DGeometry) -> tuple[int, ...]:
    """Return the first arguments of all three kernels."""
    (top, _), (left, _) = g.padding
    shapes = *g.input_shape, *g.output_shape[1:], *g.kernel_shape[:2]
    return *shapes, *g.strides, top, left, *g.dilation


def _vector(g: Conv2DGeometry, *arrays: Array) -> int:
    """Return how many channels a thread takes."""
    fits = g.kernel_shape[3] == g.groups and g.groups % _VECTOR == 0
    return _VECTOR if fits and launch.vector_width(*arrays) >= _VECTOR else 1


def _blocks(array: Array, vector: int) -> int:
    return launch.blocks_for(array.size // vector, _BLOCK)


def _options(array: Array, activation: Activation | None) -> dict[str, Any]:
    return {"types": {"T": array.dtype}, "ACTIVATION": activation_macro(activation)}
