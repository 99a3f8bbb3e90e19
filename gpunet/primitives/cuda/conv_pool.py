"""Convolution, bias, activation and max pooling in one pass, as CUDA kernels.

Those of kernels/conv_pool.cu pool windows of 2 x 2, and for few channels those of
kernels/conv_pool_small.cu. For other windows the kernels of convolution and of pooling are launched
one after another.
"""

from __future__ import annotations

from typing import Any

from gpunet.primitives.checks import check_convolution, check_pooled_grad, check_same_dtype
from gpunet.primitives.cuda import conv_pool_small, convolution
from gpunet.primitives.cuda.activation import activation_backward
from gpunet.primitives.cuda.convolution import before_activation
from gpunet.primitives.cuda.pooling import max_pool2d_backward, max_pool2d_forward
from gpunet.primitives.cuda.reduction import sum_windows
from gpunet.primitives.launch import kernel as launcher
from gpunet.primitives.launch.kernel import Kernel
from gpunet.primitives.shapes import Padding, Pool2DGeometry, Window, conv2d_max_pool_geometry

__all__ = [
    "POOL_SIZE",
    "WEIGHT_GRAD",
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
]

Array = Any

_FORWARD = Kernel("conv_pool.cu", "conv2d_max_pool_forward")
_INPUT_GRAD = Kernel("conv_pool.cu", "conv2d_max_pool_backward_input")
WEIGHT_GRAD = Kernel("conv_pool.cu", "conv2d_max_pool_backward_weight")

POOL_SIZE = (2, 2)  # of the kernels' windows
_ROWS_TOGETHER = 4  # the outputs of such a window


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
    """Return the largest of each window, and where it is; arguments as in the reference twin."""
    conv, pool = conv2d_max_pool_geometry(
        x.shape, kernel.shape, strides, padding, dilation, groups, pool_size
    )
    check_convolution(x, kernel, bias, activation)
    if pool.pool_size != POOL_SIZE:
        conv_y = convolution.forward(x, kernel, bias, conv, activation)
        return max_pool2d_forward(conv_y, pool_size=pool.pool_size)
    y = launcher.empty(pool.output_shape, x.dtype)
    indices = launcher.empty(pool.output_shape, pool.index_dtype)
    if conv_pool_small.fits(conv, x.dtype):
        conv_pool_small.forward(x, kernel, bias, conv, activation, y, indices)
        return y, indices
    bias = None if bias is None else launcher.contiguous(bias)
    partial = convolution.launch_forward(
        _FORWARD, x, kernel, bias, (y, indices), conv, activation, _ROWS_TOGETHER
    )
    if partial is not None:
        sum_windows(partial, y, indices, bias, activation)
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
    """Return the gradients of the kernel and of the bias; arguments as in the reference twin."""
    conv, pool = conv2d_max_pool_geometry(
        x.shape, kernel_shape, strides, padding, dilation, groups, pool_size
    )
    check_same_dtype("conv2d_max_pool", x, output_grad=output_grad)
    check_pooled_grad(output_grad, indices, output, activation, pool)
    if pool.pool_size != POOL_SIZE:
        grad = _expanded(output_grad, indices, output, activation, pool)
        return convolution.backward_weight((grad, None), x, conv, None, with_bias)
    given = (*before_activation(output_grad, output, activation), launcher.contiguous(indices))
    if conv_pool_small.fits(conv, x.dtype):
        return conv_pool_small.backward_weight(given, x, conv, activation, with_bias)
    return convolution.backward_weight(given, x, conv, activation, with_bias, WEIGHT_GRAD)


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
    """Return the gradient of the input; arguments as in the reference twin."""
    conv, pool = conv2d_max_pool_geometry(
        input_shape, kernel.shape, strides, padding, dilation, groups, pool_size
    )
    check_same_dtype("conv2d_max_pool", kernel, output_grad=output_grad)
    check_pooled_grad(output_grad, indices, output, activation, pool)
    if pool.pool_size != POOL_SIZE:
        grad = _expanded(output_grad, indices, output, activation, pool)
        return convolution.backward_input((grad, None), kernel, conv, None)
    given = (*before_activation(output_grad, output, activation), launcher.contiguous(indices))
    return convolution.backward_input(given, kernel, conv, activation, _INPUT_GRAD)


def _expanded(
    output_grad: Array,
    indices: Array,
    output: Array | None,
    activation: str | None,
    pool: Pool2DGeometry,
) -> Array:
    """Return the gradient of the convolution before its activation."""
    grad = activation_backward(output_grad, output, activation)
    return max_pool2d_backward(grad, indices, pool.input_shape, pool_size=pool.pool_size)
