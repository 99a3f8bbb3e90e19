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
    x: Array, kernel: Array, bias: Array | None = None, *,
    strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1,
    activation: str | Activation | None = None,
) -> Result:  # fmt: skip
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
    doors = primitives.conv2d_backward_input, primitives.conv2d_backward_weight
    return y, _backward(*doors, (), x, kernel, bias is not None, options)


@differentiable
def conv2d_max_pool(
    x: Array, kernel: Array, bias: Array | None = None, *,
    strides: Any = 1, padding: Any = "valid", dilation: Any = 1, groups: int = 1,
    activation: str | Activation | None = None, pool_size: Any = 2,
) -> Result:  # fmt: skip
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
    doors = primitives.conv2d_max_pool_backward_input, primitives.conv2d_max_pool_backward_weight
    return y, _backward(*doors, (indices,), x, kernel, bias is not None, options)


def _backward(
    backward_input: Callable[..., Array], backward_weight: Callable[..., tuple[Array, Array]],
    indices: tuple[Array, ...], x: Array, kernel: Array, with_bias: bool, options: dict[str, Any],
) -> Callable[[Array], Any]:  # fmt: skip
    """Return the closure of a convolution; one pass computes the gradients of kernel and bias."""

    def backward(output_grad: Array) -> Any:
        given = output_grad, *indices
        grads = functools.cache(
            lambda: backward_weight(*given, x, kernel.shape, **options, with_bias=with_bias)
        )
        return (
            lambda: backward_input(*given, kernel, x.shape, **options),
            lambda: grads()[0],
            lambda: grads()[1],
        )

    return backward
