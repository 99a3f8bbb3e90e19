"""Convolution, bias, activation and max pooling as one primitive, in blocks of images.

Nothing as large as the convolution's output is made, and of that output only what fills a window
is computed. Activations are monotonic, so the largest of a window is the same before and after;
the gradient is taken where the largest came from.
"""

from __future__ import annotations

import numpy as np

from gpunet.primitives.activation_table import Activation
from gpunet.primitives.geometry import Conv2DGeometry, Pool2DGeometry
from gpunet.primitives.reference.activation import activate_backward
from gpunet.primitives.reference.blocks import Array, blocks_of, per_block
from gpunet.primitives.reference.convolution import (
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
)
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.reference.pooling import max_pool2d_backward, max_pool2d_forward

__all__ = [
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
]


def conv2d_max_pool_forward(
    x: Array, kernel: Array, bias: Array | None, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the largest of each window, and its index."""
    y = empty(pool.output_shape, x.dtype)
    indices = empty(pool.output_shape, pool.index_dtype)
    for images, count in _blocks(conv, x.itemsize):
        part = conv2d_forward(x[images], kernel, bias, conv.for_images(count), activation)
        y[images], indices[images] = max_pool2d_forward(part, pool.for_images(count))
    return y, indices


def conv2d_max_pool_backward_weight(
    output_grad: Array, indices: Array, x: Array, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None, output: Array | None, with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias."""
    kernel_grad = np.zeros(conv.kernel_shape, x.dtype)
    bias_grad = np.zeros(conv.kernel_shape[3], x.dtype) if with_bias else None
    for images, count in _blocks(conv, x.itemsize):
        grad = _expanded(output_grad, indices, output, activation, pool, images)
        part, bias_part = conv2d_backward_weight(
            grad, x[images], conv.for_images(count), None, None, with_bias
        )
        kernel_grad += part
        if bias_grad is not None:
            bias_grad += bias_part
    return kernel_grad, bias_grad


def conv2d_max_pool_backward_input(
    output_grad: Array, indices: Array, kernel: Array, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None, output: Array | None,
) -> Array:  # fmt: skip
    """Return the gradient of the input."""
    input_grad = empty(conv.input_shape, kernel.dtype)
    for images, count in _blocks(conv, kernel.itemsize):
        grad = _expanded(output_grad, indices, output, activation, pool, images)
        part = conv2d_backward_input(grad, kernel, conv.for_images(count), None, None)
        input_grad[images] = part
    return input_grad


def _blocks(conv: Conv2DGeometry, itemsize: int) -> list[tuple[slice, int]]:
    """Return blocks of images whose outputs stay in cache, each with its size."""
    batch, height, width, filters = conv.output_shape
    size = per_block(batch, height * width * filters * itemsize)
    return [(images, images.stop - images.start) for images in blocks_of(batch, size)]


def _expanded(
    output_grad: Array, indices: Array, output: Array | None, activation: Activation | None,
    pool: Pool2DGeometry, images: slice,
) -> Array:  # fmt: skip
    """Return the gradient of the convolution before its activation, for a block of images."""
    part = None if output is None else output[images]
    grad = activate_backward(output_grad[images], part, activation)
    return max_pool2d_backward(grad, indices[images], pool.for_images(len(grad)))
