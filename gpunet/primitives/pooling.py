"""2-D pooling and its gradients; and convolution with max pooling as one pass.

Padding is never the maximum and is not counted in an average.
"""

from __future__ import annotations

from typing import Any

from gpunet.primitives.activation_table import Activation, as_fused
from gpunet.primitives.checks import check_convolution, check_pooled_grad, check_shape
from gpunet.primitives.geometry import conv2d_max_pool_geometry, pool2d_geometry
from gpunet.primitives.shapes import Padding, Window
from gpunet.primitives.twins import twins_of

__all__ = [
    "average_pool2d_backward",
    "average_pool2d_forward",
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]

Array = Any


def max_pool2d_forward(
    x: Array, *, pool_size: Window, strides: Window | None = None, padding: Padding = "valid"
) -> tuple[Array, Array]:
    """Return the largest value of each window, and its index in the window.

    The indices count the window's elements row by row. Of equal values the first is taken, and of
    NaN the first NaN. Indices are uint8 for windows of up to 256 elements, else int32. Both results
    are (batch, out_height, out_width, channels).

    Arguments:
        x: (batch, height, width, channels).
        pool_size, strides, padding: as in `geometry.pool2d_geometry`.

    Raises:
        TypeError, ValueError: an argument is malformed, or the window is larger than the input.

    >>> import numpy as np
    >>> y, indices = max_pool2d_forward(np.arange(4.0).reshape(1, 2, 2, 1), pool_size=2)
    >>> y.item(), indices.item()
    (3.0, 3)
    """
    twins = twins_of("max_pool2d_forward", x)
    g = pool2d_geometry(x.shape, pool_size, strides, padding, "max_pool2d")
    return twins.max_pool2d_forward(x, g)


def max_pool2d_backward(
    output_grad: Array, indices: Array, input_shape: tuple[int, ...], *,
    pool_size: Window, strides: Window | None = None, padding: Padding = "valid",
) -> Array:  # fmt: skip
    """Return the gradient of the input: each gradient goes to where its maximum came from.

    Arguments:
        output_grad: gradient of the output, (batch, out_height, out_width, channels).
        indices: the second result of `max_pool2d_forward`.
        input_shape: (batch, height, width, channels).
        pool_size, strides, padding: as in `max_pool2d_forward`.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> output_grad, indices = np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), 3, np.uint8)
    >>> max_pool2d_backward(output_grad, indices, (1, 2, 2, 1), pool_size=2)[0, :, :, 0]
    array([[0., 0.],
           [0., 1.]])
    """
    twins = twins_of("max_pool2d_backward", output_grad, indices)
    g = pool2d_geometry(input_shape, pool_size, strides, padding, "max_pool2d")
    check_shape("max_pool2d", "output_grad", output_grad.shape, g.output_shape)
    check_shape("max_pool2d", "indices", indices.shape, g.output_shape)
    return twins.max_pool2d_backward(output_grad, indices, g)


def average_pool2d_forward(
    x: Array, *, pool_size: Window, strides: Window | None = None, padding: Padding = "valid"
) -> Array:
    """Return the mean of each window without its padding, as Keras and TensorFlow do.

    Arguments and errors are those of `max_pool2d_forward`.

    >>> import numpy as np
    >>> average_pool2d_forward(np.arange(4.0).reshape(1, 2, 2, 1), pool_size=2).item()
    1.5
    """
    twins = twins_of("average_pool2d_forward", x)
    g = pool2d_geometry(x.shape, pool_size, strides, padding, "average_pool2d")
    return twins.average_pool2d_forward(x, g)


def average_pool2d_backward(
    output_grad: Array, input_shape: tuple[int, ...], *,
    pool_size: Window, strides: Window | None = None, padding: Padding = "valid",
) -> Array:  # fmt: skip
    """Return the gradient of the input: each gradient is spread evenly over its window.

    Arguments:
        output_grad: gradient of the output, (batch, out_height, out_width, channels).
        input_shape: (batch, height, width, channels).
        pool_size, strides, padding: as in `max_pool2d_forward`.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> average_pool2d_backward(np.ones((1, 1, 1, 1)), (1, 2, 2, 1), pool_size=2)[0, :, :, 0]
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    twins = twins_of("average_pool2d_backward", output_grad)
    g = pool2d_geometry(input_shape, pool_size, strides, padding, "average_pool2d")
    check_shape("average_pool2d", "output_grad", output_grad.shape, g.output_shape)
    return twins.average_pool2d_backward(output_grad, g)


def conv2d_max_pool_forward(
    x: Array, kernel: Array, bias: Array | None = None, *,
    strides: Window = 1, padding: Padding = "valid", dilation: Window = 1, groups: int = 1,
    activation: str | Activation | None = None, pool_size: Window = 2,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the largest of each window of a convolution's output, and its index in the window.

    The windows lie side by side. The indices are those of `max_pool2d_forward`; where outputs of a
    window differ before the activation and are equal after it, as two negative ones under relu,
    the index may be that of any of them.

    Arguments:
        x, kernel, bias, strides, padding, dilation, groups, activation: as in `conv2d_forward`.
        pool_size: outputs of the convolution in a window; an integer or (vertical, horizontal).

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> x, kernel = np.arange(4.0).reshape(1, 2, 2, 1), np.ones((1, 1, 1, 1))
    >>> y, indices = conv2d_max_pool_forward(x, kernel)
    >>> y.item(), indices.item()
    (3.0, 3)
    """
    twins = twins_of("conv2d_max_pool_forward", x, kernel, bias)
    conv, pool = conv2d_max_pool_geometry(
        x.shape, kernel.shape, strides, padding, dilation, groups, pool_size
    )
    check_convolution(x, kernel, bias)
    return twins.conv2d_max_pool_forward(x, kernel, bias, conv, pool, as_fused(activation))


def conv2d_max_pool_backward_weight(
    output_grad: Array, indices: Array, x: Array, kernel_shape: tuple[int, ...], *,
    strides: Window = 1, padding: Padding = "valid", dilation: Window = 1, groups: int = 1,
    activation: str | Activation | None = None, output: Array | None = None,
    pool_size: Window = 2, with_bias: bool = False,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradient of the kernel, of shape `kernel_shape`, and that of the bias or None.

    Arguments:
        output_grad: gradient of the pooled output.
        indices: the second result of `conv2d_max_pool_forward`.
        output: its first result, required with an activation.
        pool_size: as there.
        x, kernel_shape, strides, padding, dilation, groups, activation, with_bias: as in
            `conv2d_backward_weight`.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> x, kernel = np.arange(4.0).reshape(1, 2, 2, 1), np.ones((1, 1, 1, 1))
    >>> y, indices = conv2d_max_pool_forward(x, kernel)
    >>> conv2d_max_pool_backward_weight(np.ones_like(y), indices, x, kernel.shape)[0].item()
    3.0
    """
    twins = twins_of("conv2d_max_pool_backward_weight", output_grad, indices, x, output)
    conv, pool = conv2d_max_pool_geometry(
        x.shape, kernel_shape, strides, padding, dilation, groups, pool_size
    )
    fused = as_fused(activation)
    check_pooled_grad(output_grad, indices, x, output, fused, pool)
    return twins.conv2d_max_pool_backward_weight(
        output_grad, indices, x, conv, pool, fused, output, with_bias
    )


def conv2d_max_pool_backward_input(
    output_grad: Array, indices: Array, kernel: Array, input_shape: tuple[int, ...], *,
    strides: Window = 1, padding: Padding = "valid", dilation: Window = 1, groups: int = 1,
    activation: str | Activation | None = None, output: Array | None = None,
    pool_size: Window = 2,
) -> Array:  # fmt: skip
    """Return the gradient of the input, of shape `input_shape`.

    Arguments:
        output_grad, indices, output, pool_size: as in `conv2d_max_pool_backward_weight`.
        kernel, input_shape, strides, padding, dilation, groups, activation: as in
            `conv2d_backward_input`.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> x, kernel = np.arange(4.0).reshape(1, 2, 2, 1), np.full((1, 1, 1, 1), 5.0)
    >>> y, indices = conv2d_max_pool_forward(x, kernel)
    >>> conv2d_max_pool_backward_input(np.ones_like(y), indices, kernel, x.shape)[0, :, :, 0]
    array([[0., 0.],
           [0., 5.]])
    """
    twins = twins_of("conv2d_max_pool_backward_input", output_grad, indices, kernel, output)
    conv, pool = conv2d_max_pool_geometry(
        input_shape, kernel.shape, strides, padding, dilation, groups, pool_size
    )
    fused = as_fused(activation)
    check_pooled_grad(output_grad, indices, kernel, output, fused, pool)
    return twins.conv2d_max_pool_backward_input(
        output_grad, indices, kernel, conv, pool, fused, output
    )
