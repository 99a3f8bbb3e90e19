"""2-D pooling and its gradients as CUDA kernels, kernels/pooling.cu."""

from __future__ import annotations

import math
from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.geometry import Pool2DGeometry
from gpunet.primitives.launch import Kernel

__all__ = [
    "average_pool2d_backward",
    "average_pool2d_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]

Array = Any

_MAX_FORWARD = Kernel("pooling.cu", "max_pool2d_forward")
_MAX_BACKWARD = Kernel("pooling.cu", "max_pool2d_backward")
_MAX_BACKWARD_APART = Kernel("pooling.cu", "max_pool2d_backward_apart")
_AVERAGE_FORWARD = Kernel("pooling.cu", "average_pool2d_forward")
_AVERAGE_BACKWARD = Kernel("pooling.cu", "average_pool2d_backward")
_AVERAGE_BACKWARD_APART = Kernel("pooling.cu", "average_pool2d_backward_apart")

_BLOCK = 256
_LARGEST_CELL = 64  # pixels that one thread of a backward_apart kernel writes, at most
_LARGE = 2**31  # elements of an array from which on their numbers are of 64 bits

# Square windows and strides that kernels are compiled for; others are arguments at run time.
_KNOWN_WINDOWS, _KNOWN_STRIDES = (2, 3), (1, 2, 3)


def max_pool2d_forward(x: Array, g: Pool2DGeometry) -> tuple[Array, Array]:
    """Return the largest value of each window, and its index."""
    x = launch.contiguous(x)
    y = launch.empty(g.output_shape, x.dtype)
    indices = launch.empty(g.output_shape, g.index_dtype)
    _launch(_MAX_FORWARD, g, y.size, x, y, indices)
    return y, indices


def max_pool2d_backward(output_grad: Array, indices: Array, g: Pool2DGeometry) -> Array:
    """Return the gradient of the input."""
    return _backward(_MAX_BACKWARD, _MAX_BACKWARD_APART, g, output_grad, indices)


def average_pool2d_forward(x: Array, g: Pool2DGeometry) -> Array:
    """Return the mean of each window."""
    x = launch.contiguous(x)
    y = launch.empty(g.output_shape, x.dtype)
    _launch(_AVERAGE_FORWARD, g, y.size, x, y)
    return y


def average_pool2d_backward(output_grad: Array, g: Pool2DGeometry) -> Array:
    """Return the gradient of the input."""
    return _backward(_AVERAGE_BACKWARD, _AVERAGE_BACKWARD_APART, g, output_grad)


def _backward(kernel: Kernel, apart: Kernel, g: Pool2DGeometry, *given: Array) -> Array:
    """Return the gradient of the input, by the kernel `apart` where no windows overlap."""
    given = tuple(map(launch.contiguous, given))
    input_grad = launch.empty(g.input_shape, given[0].dtype)
    if _are_apart(g):
        _launch(apart, g, _cells(g), *given, input_grad)
    else:
        _launch(kernel, g, input_grad.size, *given, input_grad)
    return input_grad


def _are_apart(g: Pool2DGeometry) -> bool:
    """Return whether no windows overlap, so that a thread can write all pixels of a window."""
    apart = g.pool_size[0] <= g.strides[0] and g.pool_size[1] <= g.strides[1]
    return apart and math.prod(g.strides) <= _LARGEST_CELL


def _cells(g: Pool2DGeometry) -> int:
    """Return how many cells there are, times the channels: steps of a window past all pixels."""
    batch, height, width, channels = g.input_shape
    rows = launch.ceil_div(height + g.padding[0][0], g.strides[0])
    return batch * rows * launch.ceil_div(width + g.padding[1][0], g.strides[1]) * channels


def _launch(kernel: Kernel, g: Pool2DGeometry, count: int, *arrays: Array) -> None:
    """Launch with a thread for each vector of the `count` elements."""
    channels = g.input_shape[3]
    vector = math.gcd(channels, launch.vector_width(*arrays))
    window, stride = _known(g)
    is_large = max(array.size for array in arrays) >= _LARGE
    types = {"T": arrays[0].dtype, "K": g.index_dtype, "I": "int64" if is_large else "uint32"}
    sizes = (
        *(*g.input_shape[1:], *g.output_shape[1:3]),
        *(*g.pool_size, *g.strides, g.padding[0][0], g.padding[1][0]),
    )
    macros = {"VECTOR": vector, "WINDOW": window, "STRIDE": stride}
    grid = launch.blocks_for(count // vector, _BLOCK)
    kernel(grid, _BLOCK, count // vector, *sizes, *arrays, types=types, **macros)


def _known(g: Pool2DGeometry) -> tuple[int, int]:
    """Return the macros WINDOW and STRIDE, both 0 if they are arguments at run time."""
    (window, window_width), (stride, stride_width) = g.pool_size, g.strides
    is_square = window == window_width and stride == stride_width
    if is_square and window in _KNOWN_WINDOWS and stride in _KNOWN_STRIDES:
        return window, stride
    return 0, 0
