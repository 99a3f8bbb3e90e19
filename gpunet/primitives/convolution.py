"""2-D convolution and its gradients, with bias and activation as one pass."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.activation_table import Activation, as_fused
from gpunet.primitives.checks import check_conv_grad, check_convolution
from gpunet.primitives.geometry import conv2d_geometry
from gpunet.primitives.shapes import Padding, Window
from gpunet.primitives.twins import twins_of

__all__ = ["conv2d_backward_input", "conv2d_backward_weight", "conv2d_forward"]

Array = Any


def conv2d_forward(
    x: Array, kernel: Array, bias: Array | None = None, *,
    strides: Window = 1, padding: Padding = "valid", dilation: Window = 1, groups: int = 1,
    activation: str | Activation | None = None,
) -> Array:  # fmt: skip
    """Return the cross-correlation of `x` with `kernel`, (batch, out_height, out_width, filters).

    Arguments:
        x: (batch, height, width, channels).
        kernel: (height, width, channels / groups, filters).
        bias: (filters,), or None.
        strides, padding, dilation, groups: as in `geometry.conv2d_geometry`.
        activation: a name of `OUTPUT_ACTIVATIONS`, an `Activation` of such a name, or None.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> conv2d_forward(np.ones((1, 3, 3, 1)), np.ones((3, 3, 1, 1)), padding="same")[0, :, :, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    twins = twins_of("conv2d_forward", x, kernel, bias)
    g = conv2d_geometry(x.shape, kernel.shape, strides, padding, dilation, groups)
    check_convolution(x, kernel, bias)
    return twins.conv2d_forward(x, kernel, bias, g, as_fused(activation))


def conv2d_backward_weight(
    output_grad: Array, x: Array, kernel_shape: tuple[int, ...], *,
    strides: Window = 1, padding: Padding = "valid", dilation: Window = 1, groups: int = 1,
    activation: str | Activation | None = None, output: Array | None = None,
    with_bias: bool = False,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradient of the kernel, of shape `kernel_shape`, and that of the bias or None.

    Arguments:
        output_grad: gradient of the output, (batch, out_height, out_width, filters).
        x: the input, (batch, height, width, channels).
        kernel_shape: (height, width, channels / groups, filters).
        strides, padding, dilation, groups: as in `conv2d_forward`.
        activation: likewise; its gradient is included.
        output: the result of `conv2d_forward`, required with an activation.
        with_bias: whether to compute the gradient of the bias, (filters,).

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> weight_grad, bias_grad = conv2d_backward_weight(
    ...     np.ones((1, 2, 2, 1)), np.ones((1, 3, 3, 1)), (2, 2, 1, 1), with_bias=True
    ... )
    >>> weight_grad.shape, bias_grad
    ((2, 2, 1, 1), array([4.]))
    """
    twins = twins_of("conv2d_backward_weight", output_grad, x, output)
    g = conv2d_geometry(x.shape, kernel_shape, strides, padding, dilation, groups)
    fused = as_fused(activation)
    check_conv_grad(output_grad, x, output, fused, g)
    return twins.conv2d_backward_weight(output_grad, x, g, fused, output, with_bias)


def conv2d_backward_input(
    output_grad: Array, kernel: Array, input_shape: tuple[int, ...], *,
    strides: Window = 1, padding: Padding = "valid", dilation: Window = 1, groups: int = 1,
    activation: str | Activation | None = None, output: Array | None = None,
) -> Array:  # fmt: skip
    """Return the gradient of the input, of shape `input_shape`.

    Arguments:
        output_grad: gradient of the output, (batch, out_height, out_width, filters).
        kernel: (height, width, channels / groups, filters).
        input_shape: (batch, height, width, channels).
        strides, padding, dilation, groups, activation, output: as in `conv2d_backward_weight`.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> input_grad = conv2d_backward_input(
    ...     np.ones((1, 2, 2, 1)), np.ones((2, 2, 1, 1)), (1, 3, 3, 1)
    ... )
    >>> input_grad[0, :, :, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    twins = twins_of("conv2d_backward_input", output_grad, kernel, output)
    g = conv2d_geometry(input_shape, kernel.shape, strides, padding, dilation, groups)
    fused = as_fused(activation)
    check_conv_grad(output_grad, kernel, output, fused, g)
    return twins.conv2d_backward_input(output_grad, kernel, g, fused, output)
