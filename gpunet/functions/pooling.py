"""2-D pooling."""

from __future__ import annotations

from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, Result, differentiable

__all__ = ["average_pool2d", "max_pool2d"]


@differentiable
def max_pool2d(x: Array, *, pool_size: Any = 2, strides: Any = None, padding: Any = 0) -> Result:
    """Return the largest value of each window; the gradient goes to the first of equal ones.

    Arguments:
        x: (batch, height, width, channels).
        pool_size, strides: in pixels; an integer, or one each for height and width; `strides`
            is `pool_size` by default.
        padding: as in `conv2d`; padding is never the largest.

    Raises:
        ValueError: the windows are malformed or do not fit `x`.

    >>> import numpy as np
    >>> max_pool2d(np.arange(4.0).reshape(1, 2, 2, 1)).numpy().ravel()
    array([3.])
    """
    options = _options(pool_size, strides, padding)
    y, indices = primitives.max_pool2d_forward(x, **options)
    shape = x.shape  # the closure does not hold x
    return y, lambda output_grad: primitives.max_pool2d_backward(
        output_grad, indices, shape, **options
    )


@differentiable
def average_pool2d(
    x: Array, *, pool_size: Any = 2, strides: Any = None, padding: Any = 0
) -> Result:
    """Return the mean of each window, padding not counted.

    Arguments and errors are those of `max_pool2d`.

    >>> import numpy as np
    >>> average_pool2d(np.arange(4.0).reshape(1, 2, 2, 1)).numpy().ravel()
    array([1.5])
    """
    options = _options(pool_size, strides, padding)
    shape = x.shape
    return primitives.average_pool2d_forward(
        x, **options
    ), lambda output_grad: primitives.average_pool2d_backward(output_grad, shape, **options)


def _options(pool_size: Any, strides: Any, padding: Any) -> dict[str, Any]:
    strides = pool_size if strides is None else strides
    return {"pool_size": pool_size, "strides": strides, "padding": padding}
