"""Activations without kernels of their own, under Keras' names: expressions of arrays.

Where two pieces of a formula meet, their gradients are PyTorch's. A NaN lets the gradient through,
as in PyTorch's formulas for one element; its vectorized loops differ among themselves.
"""

from __future__ import annotations

from typing import Any

from gpunet.arguments import check_number, integer, number
from gpunet.autograd import Array, Result, Tensor, differentiable, on_symbols
from gpunet.backend import get_array_module
from gpunet.functions.activation import sigmoid, softplus, tanh
from gpunet.functions.elementwise import multiply, negative
from gpunet.functions.shaping import getitem

__all__ = [
    "celu",
    "glu",
    "hard_shrink",
    "hard_tanh",
    "log_sigmoid",
    "mish",
    "soft_shrink",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "tanh_shrink",
    "threshold",
]


@differentiable
def celu(x: Array, alpha: float = 1.0) -> Result:
    """Return `x` where it is positive, else ``alpha * (exp(x / alpha) - 1)`` (Barron, 2017).

    Raises:
        TypeError, ValueError: `alpha` is no positive number.

    >>> celu([-1.0, 2.0]).numpy().round(4)
    array([-0.6321,  2.    ])
    """
    if not check_number("celu", "alpha", alpha):
        raise ValueError("celu expects a positive alpha, as alpha=1.0, received 0.")
    xp = get_array_module(x)
    below = xp.minimum(x, 0) / alpha
    y = xp.maximum(x, 0) + alpha * xp.expm1(below)
    return y, lambda output_grad: output_grad * xp.where(x <= 0, xp.exp(below), 1)


@differentiable
def hard_tanh(x: Array) -> Result:
    """Return `x` limited to [-1, 1]."""
    xp = get_array_module(x)
    return xp.clip(x, -1, 1), lambda output_grad: xp.where(abs(x) >= 1, 0, output_grad)


@differentiable
def hard_shrink(x: Array, threshold: float = 0.5) -> Result:
    """Return `x` where ``|x| > threshold``, else 0.

    Raises:
        TypeError, ValueError: `threshold` is no number of at least 0.

    >>> hard_shrink([-1.0, 0.5, 2.0]).numpy()
    array([-1.,  0.,  2.])
    """
    limit, xp = check_number("hard_shrink", "threshold", threshold), get_array_module(x)
    inside = abs(x) <= limit
    return xp.where(inside, 0, x), lambda output_grad: xp.where(inside, 0, output_grad)


@differentiable
def soft_shrink(x: Array, threshold: float = 0.5) -> Result:
    """Return `x` moved towards 0 by `threshold`, and 0 where ``|x| <= threshold``.

    Raises:
        TypeError, ValueError: `threshold` is no number of at least 0.

    >>> soft_shrink([-1.0, 0.5, 2.0]).numpy()
    array([-0.5,  0. ,  1.5])
    """
    limit, xp = check_number("soft_shrink", "threshold", threshold), get_array_module(x)
    inside = abs(x) <= limit
    y = xp.where(inside, 0, x - limit * xp.sign(x))
    return y, lambda output_grad: xp.where(inside, 0, output_grad)


@differentiable
def tanh_shrink(x: Array) -> Result:
    """Return ``x - tanh(x)``."""
    slope = get_array_module(x).tanh(x)
    return x - slope, lambda output_grad: output_grad * (slope * slope)


@differentiable
def threshold(x: Array, threshold: float, default_value: float) -> Result:
    """Return `x` where it is above `threshold`, else `default_value`.

    Raises:
        TypeError, ValueError: one of the two is no finite number.

    >>> threshold([-1.0, 0.5, 2.0], 0.5, 9.0).numpy()
    array([9., 9., 2.])
    """
    limit = number(threshold, "threshold", "threshold")
    instead = number(default_value, "default_value", "threshold")
    xp = get_array_module(x)
    below = x <= limit
    return xp.where(below, instead, x), lambda output_grad: xp.where(below, 0, output_grad)


@differentiable
def squareplus(x: Array, b: float = 4.0) -> Result:
    """Return ``(x + sqrt(x * x + b)) / 2`` (Barron, 2021).

    Raises:
        TypeError, ValueError: `b` is no number of at least 0.

    >>> squareplus([0.0, 1.5]).numpy()
    array([1., 2.])
    """
    root = get_array_module(x).sqrt(x * x + check_number("squareplus", "b", b))
    return (x + root) / 2, lambda output_grad: output_grad * ((1 + x / root) / 2)


@differentiable
def sparse_plus(x: Array) -> Result:
    """Return 0 for ``x <= -1``, `x` for ``x >= 1``, ``(x + 1)**2 / 4`` between.

    The integral of `sparse_sigmoid`.

    >>> sparse_plus([-2.0, 0.0, 2.0]).numpy()
    array([0.  , 0.25, 2.  ])
    """
    xp = get_array_module(x)
    slope = xp.clip((x + 1) / 2, 0, 1)  # 0 and 1 outside [-1, 1]
    return xp.where(x >= 1, x, slope * slope), lambda output_grad: output_grad * slope


@differentiable
def sparse_sigmoid(x: Array) -> Result:
    """Return ``(x + 1) / 2`` limited to [0, 1] (Blondel et al., 2019).

    >>> sparse_sigmoid([-2.0, 0.0, 2.0]).numpy()
    array([0. , 0.5, 1. ])
    """
    xp = get_array_module(x)
    return xp.clip((x + 1) / 2, 0, 1), lambda output_grad: xp.where(abs(x) >= 1, 0, output_grad / 2)


@differentiable
def sparsemax(x: Array, axis: int = -1) -> Result:
    """Return the nearest probabilities to `x`, many of them 0 (Martins and Astudillo, 2016).

    Keras 3.15 subtracts another threshold where several elements stay positive, so that its results
    do not sum to 1; this is the published function.

    Arguments:
        x: any shape of at least one axis.
        axis: the probabilities sum to 1 over it.

    Raises:
        TypeError, ValueError: `axis` is no axis of `x`.

    >>> sparsemax([0.5, 0.25, -2.0]).numpy()
    array([0.625, 0.375, 0.   ])
    """
    axis, xp = _axis_of(x, axis, "sparsemax"), get_array_module(x)
    shape = tuple(-1 if a == axis else 1 for a in range(x.ndim))
    ordered = -xp.sort(-x, axis=axis)
    ranks = xp.arange(1, x.shape[axis] + 1, dtype=x.dtype).reshape(shape)
    counts = 1 + ranks * ordered > xp.cumsum(ordered, axis=axis)  # the largest elements
    total = xp.where(counts, ordered, 0).sum(axis=axis, keepdims=True) - 1
    y = xp.maximum(x - total / counts.sum(axis=axis, keepdims=True, dtype=x.dtype), 0)

    def backward(output_grad: Array) -> Array:
        positive = y > 0
        of_positive = xp.where(positive, output_grad, 0)
        number = positive.sum(axis=axis, keepdims=True, dtype=x.dtype)
        mean = of_positive.sum(axis=axis, keepdims=True) / number
        return xp.where(positive, output_grad - mean, 0)

    return y, backward


@on_symbols
def log_sigmoid(x: Any) -> Tensor:
    """Return ``log(1 / (1 + exp(-x)))``, exact also where the sigmoid rounds to 0."""
    return negative(softplus(negative(x)))


@on_symbols
def mish(x: Any) -> Tensor:
    """Return ``x * tanh(softplus(x))`` (Misra, 2019)."""
    return multiply(x, tanh(softplus(x)))


@on_symbols
def glu(x: Any, axis: int = -1) -> Tensor:
    """Return ``a * sigmoid(b)`` for the halves a and b of `x` along an axis (Dauphin et al., 2017).

    Raises:
        TypeError, ValueError: `axis` is no axis of `x`, or one of an odd size.

    >>> glu([1.0, 2.0, 0.0, 0.0]).numpy()
    array([0.5, 1. ])
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    axis = _axis_of(x, axis, "glu")
    half, odd = divmod(x.shape[axis], 2)
    if odd:
        raise ValueError(f"glu expects an even size along axis {axis}, received shape {x.shape}.")
    before = (slice(None),) * axis
    first, second = (*before, slice(None, half)), (*before, slice(half, None))
    return multiply(getitem(x, first), sigmoid(getitem(x, second)))


def _axis_of(x: Any, axis: Any, where: str) -> int:
    """Return which axis of `x` is meant, counted from 0."""
    found = integer(axis, "axis", where)
    if not -x.ndim <= found < x.ndim:
        raise ValueError(
            f"{where} expects an axis of an array of shape {x.shape}, received {axis}."
        )
    return found % x.ndim
