"""Arithmetic of broadcast arrays, element by element."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet import primitives
from gpunet.autograd import Array, Result, Tensor, differentiable, on_symbols
from gpunet.backend import get_array_module
from gpunet.functions.broadcasting import matched, shape_of, unbroadcast

__all__ = [
    "absolute", "add", "clip", "cos", "divide", "exp", "log", "maximum", "minimum", "multiply",
    "negative", "power", "rescale", "sin", "sqrt", "square", "subtract", "where",
]  # fmt: skip


def _elementwise(function: Callable[..., Result]) -> Any:
    """Make a differentiable function whose scalar arguments do not change its element type."""
    apply = differentiable(function)

    @on_symbols
    @functools.wraps(function)
    def call(*operands: Any, **keywords: Any) -> Tensor:
        if keywords:
            bound = inspect.signature(function).bind(*operands, **keywords)
            operands = bound.args
        return apply(*matched(*operands))

    return call


@_elementwise
def add(x: Array, y: Array) -> Result:
    """Return ``x + y``."""
    x_shape, y_shape = shape_of(x), shape_of(y)
    return primitives.add(x, y), lambda output_grad: (
        lambda: unbroadcast(output_grad, x_shape),
        lambda: unbroadcast(output_grad, y_shape),
    )


@_elementwise
def subtract(x: Array, y: Array) -> Result:
    """Return ``x - y``."""
    x_shape, y_shape = shape_of(x), shape_of(y)
    return x - y, lambda output_grad: (
        lambda: unbroadcast(output_grad, x_shape),
        lambda: unbroadcast(-output_grad, y_shape),
    )


@_elementwise
def multiply(x: Array, y: Array) -> Result:
    """Return ``x * y``."""
    return x * y, lambda output_grad: (
        lambda: unbroadcast(output_grad * y, shape_of(x)),
        lambda: unbroadcast(output_grad * x, shape_of(y)),
    )


@_elementwise
def divide(x: Array, y: Array) -> Result:
    """Return ``x / y``."""
    return x / y, lambda output_grad: (
        lambda: unbroadcast(output_grad / y, shape_of(x)),
        lambda: unbroadcast(-output_grad * x / (y * y), shape_of(y)),
    )


@_elementwise
def power(x: Array, y: Array) -> Result:
    """Return ``x ** y``; the gradient for `y` is 0 where `x` is 0."""
    xp = get_array_module(x, y)
    z = x**y

    def x_grad(output_grad: Array) -> Array:
        # Of a number only: to test an array, the host would wait for the GPU.
        one_less = xp.where(y == 0, 1, y - 1) if hasattr(y, "shape") else (y - 1 if y else 1)
        return unbroadcast(output_grad * y * x**one_less, shape_of(x))

    def y_grad(output_grad: Array) -> Array:
        log_x = xp.log(xp.where(x == 0, 1, x)) if hasattr(x, "shape") else float(np.log(x or 1))
        return unbroadcast(output_grad * z * log_x, shape_of(y))

    return z, lambda output_grad: (lambda: x_grad(output_grad), lambda: y_grad(output_grad))


@differentiable
def negative(x: Array) -> Result:
    """Return ``-x``."""
    return -x, lambda output_grad: -output_grad


@differentiable
def absolute(x: Array) -> Result:
    """Return ``|x|``; its gradient at 0 is 0."""
    xp = get_array_module(x)
    return xp.absolute(x), lambda output_grad: output_grad * xp.sign(x)


@differentiable
def square(x: Array) -> Result:
    """Return ``x * x``."""
    return x * x, lambda output_grad: 2 * output_grad * x


@differentiable
def sqrt(x: Array) -> Result:
    """Return the square root of `x`."""
    y = get_array_module(x).sqrt(x)
    return y, lambda output_grad: output_grad / (2 * y)


@differentiable
def exp(x: Array) -> Result:
    """Return e to the power of `x`."""
    y = get_array_module(x).exp(x)
    return y, lambda output_grad: output_grad * y


@differentiable
def log(x: Array) -> Result:
    """Return the natural logarithm of `x`."""
    return get_array_module(x).log(x), lambda output_grad: output_grad / x


@differentiable
def sin(x: Array) -> Result:
    """Return the sine of `x`, in radians."""
    xp = get_array_module(x)
    return xp.sin(x), lambda output_grad: output_grad * xp.cos(x)


@differentiable
def cos(x: Array) -> Result:
    """Return the cosine of `x`, in radians."""
    xp = get_array_module(x)
    return xp.cos(x), lambda output_grad: -output_grad * xp.sin(x)


@_elementwise
def maximum(x: Array, y: Array) -> Result:
    """Return the larger of `x` and `y`; where they are equal, the gradient is `x`'s."""
    xp = get_array_module(x, y)
    return xp.maximum(x, y), lambda output_grad: (
        lambda: unbroadcast(output_grad * (x >= y), shape_of(x)),
        lambda: unbroadcast(output_grad * (x < y), shape_of(y)),
    )


@_elementwise
def minimum(x: Array, y: Array) -> Result:
    """Return the smaller of `x` and `y`; where they are equal, the gradient is `x`'s."""
    xp = get_array_module(x, y)
    return xp.minimum(x, y), lambda output_grad: (
        lambda: unbroadcast(output_grad * (x <= y), shape_of(x)),
        lambda: unbroadcast(output_grad * (x > y), shape_of(y)),
    )


@_elementwise
def where(condition: Array, x: Array, y: Array) -> Result:
    """Return `x` where `condition` is true, else `y`; `condition` has no gradient."""
    xp = get_array_module(condition, x, y)
    return xp.where(condition, x, y), lambda output_grad: (
        lambda: xp.zeros_like(condition),
        lambda: unbroadcast(output_grad * condition, shape_of(x)),
        lambda: unbroadcast(output_grad * xp.logical_not(condition), shape_of(y)),
    )


@_elementwise
def clip(x: Array, low: float | None = None, high: float | None = None) -> Result:
    """Return `x` limited to [low, high]; the gradient is 0 where it was outside."""
    y = get_array_module(x).clip(x, low, high)
    return y, lambda output_grad: output_grad * (x == y)


@differentiable
def rescale(x: Array, *, scale: float, offset: float = 0.0, dtype: Any = None) -> Result:
    """Return ``x * scale + offset``.

    Arguments:
        x: numbers of any type.
        scale, offset: finite numbers.
        dtype: of the result, a floating-point type; by default that of `x`.

    Raises:
        TypeError, ValueError: the type is no floating-point type, or a number is not finite.

    >>> rescale([0.0, 255.0], scale=1 / 255).numpy()
    array([0., 1.])
    """
    scale, offset = _number(scale), _number(offset)
    y = primitives.rescale_forward(x, scale=scale, offset=offset, dtype=dtype)
    return y, lambda output_grad: output_grad * float(scale)


def _number(value: Any) -> Any:
    """Return an array without axes as a Python number, anything else as it is."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
