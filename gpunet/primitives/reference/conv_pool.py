"""Convolution, bias, activation and max pooling as one primitive, in blocks of images.

Nothing as large as the convolution's output is made, and of that output only what fills a window
is computed. An activation never falls, so the largest of a window is the same before and after it;
its gradient is taken where the largest came from.
"""

from __future__ import annotations

import numpy as np

from gpunet.primitives.checks import (
    check_convolution,
    check_pooled_grad,
    check_same_dtype,
)
from gpunet.primitives.reference import convolution
from gpunet.primitives.reference.activation import activation_backward
from gpunet.primitives.reference.blocks import Array, blocks_of, per_block
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.reference.pooling import max_pool2d_backward, max_pool2d_forward
from gpunet.primitives.shapes import (
    Conv2DGeometry,
    Padding,
    Pool2DGeometry,
    Window,
    conv2d_max_pool_geometry,
)

__all__ = [
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
]


def conv2d_max_pool_forward(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
    pool_size: Window = 2,
) -> tuple[Array, Array]:
    """Return the largest of each window of a convolution's output, and where in it that is.

    The windows lie side by side. The indices are those of `max_pool2d_forward`; where outputs of a
    window differ before the activation and are equal after it, as two negative ones under relu,
    the index may be that of any of them.

    Arguments:
        x: (batch, height, width, channels).
        kernel: (height, width, channels / groups, filters).
        bias: (filters,), or None.
        strides: of the convolution, and likewise `padding`, `dilation` and `groups`: as in
            `conv2d_forward`.
        padding: likewise.
        dilation: likewise.
        groups: likewise.
        activation: one of `OUTPUT_ACTIVATIONS` with its default options, or None.
        pool_size: outputs of the convolution in a window; an integer or (vertical, horizontal).

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> x, kernel = np.arange(4.0).reshape(1, 2, 2, 1), np.ones((1, 1, 1, 1))
    >>> y, indices = conv2d_max_pool_forward(x, kernel)
    >>> y.item(), indices.item()
    (3.0, 3)
    """
    conv, pool = conv2d_max_pool_geometry(
        x.shape, kernel.shape, strides, padding, dilation, groups, pool_size
    )
    check_convolution(x, kernel, bias, activation)
    y = empty(pool.output_shape, x.dtype)
    indices = empty(pool.output_shape, pool.index_dtype)
    for images in _blocks(conv, x.itemsize):
        part = convolution.forward(x[images], kernel, bias, _of(conv, images), activation)
        y[images], indices[images] = max_pool2d_forward(part, pool_size=pool_size)
    return y, indices


def conv2d_max_pool_backward_weight(
    output_grad: Array,
    indices: Array,
    x: Array,
    kernel_shape: tuple[int, ...],
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
    output: Array | None = None,
    pool_size: Window = 2,
    with_bias: bool = False,
) -> tuple[Array, Array | None]:
    """Return the gradient of the kernel, of shape `kernel_shape`, and that of the bias or None.

    Arguments:
        output_grad: gradient of the pooled output.
        indices: the second result of `conv2d_max_pool_forward`.
        x: the input, (batch, height, width, channels).
        kernel_shape: (height, width, channels / groups, filters).
        strides: as in `conv2d_max_pool_forward`.
        padding: likewise.
        dilation: likewise.
        groups: likewise.
        activation: likewise.
        output: the first result of `conv2d_max_pool_forward`, needed with an activation.
        pool_size: as there.
        with_bias: whether the gradient of the bias, (filters,), is wanted.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.
    """
    conv, pool = conv2d_max_pool_geometry(
        x.shape, kernel_shape, strides, padding, dilation, groups, pool_size
    )
    check_same_dtype("conv2d_max_pool", x, output_grad=output_grad)
    check_pooled_grad(output_grad, indices, output, activation, pool)
    kernel_grad = np.zeros(kernel_shape, x.dtype)
    bias_grad = np.zeros(kernel_shape[3], x.dtype) if with_bias else None
    for images in _blocks(conv, x.itemsize):
        grad = _expanded(output_grad, indices, output, activation, pool, images)
        part, bias_part = convolution.backward_weight(
            grad, x[images], _of(conv, images), with_bias=with_bias
        )
        kernel_grad += part
        if bias_grad is not None:
            bias_grad += bias_part
    return kernel_grad, bias_grad


def conv2d_max_pool_backward_input(
    output_grad: Array,
    indices: Array,
    kernel: Array,
    input_shape: tuple[int, ...],
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
    output: Array | None = None,
    pool_size: Window = 2,
) -> Array:
    """Return the gradient of the input, of shape `input_shape`.

    Arguments:
        output_grad: gradient of the pooled output.
        indices: the second result of `conv2d_max_pool_forward`.
        kernel: (height, width, channels / groups, filters).
        input_shape: (batch, height, width, channels).
        strides: as in `conv2d_max_pool_forward`.
        padding: likewise.
        dilation: likewise.
        groups: likewise.
        activation: likewise.
        output: the first result of `conv2d_max_pool_forward`, needed with an activation.
        pool_size: as there.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.
    """
    conv, pool = conv2d_max_pool_geometry(
        input_shape, kernel.shape, strides, padding, dilation, groups, pool_size
    )
    check_same_dtype("conv2d_max_pool", kernel, output_grad=output_grad)
    check_pooled_grad(output_grad, indices, output, activation, pool)
    input_grad = empty(input_shape, kernel.dtype)
    for images in _blocks(conv, kernel.itemsize):
        grad = _expanded(output_grad, indices, output, activation, pool, images)
        input_grad[images] = convolution.backward_input(grad, kernel, _of(conv, images))
    return input_grad


def _blocks(conv: Conv2DGeometry, itemsize: int) -> list[slice]:
    """Return the images of one block after another, whose outputs stay in cache."""
    batch, height, width, filters = conv.output_shape
    return list(blocks_of(batch, per_block(batch, height * width * filters * itemsize)))


def _of(conv: Conv2DGeometry, images: slice) -> Conv2DGeometry:
    count = images.stop - images.start
    return conv._replace(
        input_shape=(count, *conv.input_shape[1:]), output_shape=(count, *conv.output_shape[1:])
    )


def _expanded(
    output_grad: Array,
    indices: Array,
    output: Array | None,
    activation: str | None,
    pool: Pool2DGeometry,
    images: slice,
) -> Array:
    """Return the gradient of the convolution before its activation, for a block of images."""
    part = None if output is None else output[images]
    grad = activation_backward(output_grad[images], part, activation)
    shape = (len(grad), *pool.input_shape[1:])
    return max_pool2d_backward(grad, indices[images], shape, pool_size=pool.pool_size)
