"""Convolution, bias, activation and max pooling in one pass.

Windows of 2 x 2 by kernels/conv_pool.cu, and with few channels by kernels/conv_pool_small.cu. Other
windows by the kernels of convolution and of pooling, one after another.
"""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda import conv_pool_small, convolution
from gpunet.primitives.cuda.activation import activate_backward
from gpunet.primitives.cuda.convolution import before_activation
from gpunet.primitives.cuda.pooling import max_pool2d_backward, max_pool2d_forward
from gpunet.primitives.cuda.reduction import sum_windows
from gpunet.primitives.geometry import Conv2DGeometry, Pool2DGeometry
from gpunet.primitives.launch import Kernel

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
    x: Array, kernel: Array, bias: Array | None, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the largest of each window, and its index."""
    if pool.pool_size != POOL_SIZE:
        conv_y = convolution.conv2d_forward(x, kernel, bias, conv, activation)
        return max_pool2d_forward(conv_y, pool)
    y = launch.empty(pool.output_shape, x.dtype)
    indices = launch.empty(pool.output_shape, pool.index_dtype)
    if conv_pool_small.supports(conv, x.dtype):
        conv_pool_small.forward(x, kernel, bias, conv, activation, y, indices)
        return y, indices
    bias = None if bias is None else launch.contiguous(bias)
    partial = convolution.launch_forward(
        _FORWARD, x, kernel, bias, (y, indices), conv, activation, _ROWS_TOGETHER
    )
    if partial is not None:
        sum_windows(partial, y, indices, bias, activation)
    return y, indices


def conv2d_max_pool_backward_weight(
    output_grad: Array, indices: Array, x: Array, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None, output: Array | None, with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias."""
    if pool.pool_size != POOL_SIZE:
        grad = _expanded(output_grad, indices, output, activation, pool)
        return convolution.backward_weight((grad, None), x, conv, None, with_bias)
    given = (*before_activation(output_grad, output, activation), launch.contiguous(indices))
    if conv_pool_small.supports(conv, x.dtype):
        return conv_pool_small.backward_weight(given, x, conv, activation, with_bias)
    return convolution.backward_weight(given, x, conv, activation, with_bias, WEIGHT_GRAD)


def conv2d_max_pool_backward_input(
    output_grad: Array, indices: Array, kernel: Array, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None, output: Array | None,
) -> Array:  # fmt: skip
    """Return the gradient of the input."""
    if pool.pool_size != POOL_SIZE:
        grad = _expanded(output_grad, indices, output, activation, pool)
        return convolution.backward_input((grad, None), kernel, conv, None)
    given = (*before_activation(output_grad, output, activation), launch.contiguous(indices))
    return convolution.backward_input(given, kernel, conv, activation, _INPUT_GRAD)


def _expanded(
    output_grad: Array, indices: Array, output: Array | None, activation: Activation | None,
    pool: Pool2DGeometry,
) -> Array:  # fmt: skip
    """Return the gradient of the convolution before its activation."""
    grad = activate_backward(output_grad, output, activation)
    return max_pool2d_backward(grad, indices, pool)
