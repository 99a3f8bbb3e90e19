"""2-D convolution, also with max pooling of its output."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, differentiable
from gpunet.primitives import Activation

__all__ = ["conv2d", "conv2d_max_pool"]

Result = tuple[Array, Callable[[Array], Any]]


@differentiable
def conv2d(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    activation: str | Activation | None = None,
) -> Result:
    """Return the cross-correlation of images with a kernel, (batch, height, width, filters).

    Arguments:
        x: (batch, height, width, channels).
        kernel: (height, width, channels / groups, filters).
        bias: (filters,), or None.
        strides, dilation: in pixels; an integer, or one each for height and width.
        padding: 'valid', 'same', or pixels of zeros: an integer, (vertical, horizontal) or
            ((top, bottom), (left, right)).
        groups: parts of the channels, each with its own part of the filters.
        activation: applied to the result: a name of `primitives.OUTPUT_ACTIVATIONS`, an
            `Activation` of such a name, or None.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.

    >>> import numpy as np
    >>> conv2d(np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1))).numpy()[0, :, :, 0]
    array([[4., 4.],
           [4., 4.]])
    """
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    options |= {"activation": activation}
    y = primitives.conv2d_forward(x, kernel, bias, **options)
    options |= {"output": y if activation else None}
    return y, lambda output_grad: (
        lambda: primitives.conv2d_backward_input(output_grad, kernel, x.shape, **options),
        *_weight_grads(
            primitives.conv2d_backward_weight, output_grad, x, kernel.shape,
            **options, with_bias=bias is not None,
        ),
    )  # fmt: skip


@differentiable
def conv2d_max_pool(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilation: Any = 1,
    groups: int = 1,
    activation: str | Activation | None = None,
    pool_size: Any = 2,
) -> Result:
    """Return ``max_pool2d(conv2d(...))`` with windows side by side, as one primitive.

    The output of the convolution is never in memory at once, nor saved for the gradient.

    Arguments:
        x, kernel, bias, strides, padding, dilation, groups, activation: as in `conv2d`.
        pool_size: of the window; an integer, or one each for height and width.

    Raises:
        TypeError, ValueError: an argument is malformed or does not fit the others.
    """
    options = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    options |= {"activation": activation, "pool_size": pool_size}
    y, indices = primitives.conv2d_max_pool_forward(x, kernel, bias, **options)
    options |= {"output": y if activation else None}
    return y, lambda output_grad: (
        lambda: primitives.conv2d_max_pool_backward_input(
            output_grad, indices, kernel, x.shape, **options
        ),
        *_weight_grads(
            primitives.conv2d_max_pool_backward_weight, output_grad, indices, x, kernel.shape,
            **options, with_bias=bias is not None,
        ),
    )  # fmt: skip


def _weight_grads(primitive: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Return functions for the gradients of kernel and bias, which one pass computes."""
    grads = functools.cache(lambda: primitive(*args, **options))
    return lambda: grads()[0], lambda: grads()[1]
