"""Arithmetic of broadcast arrays, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.autograd import Array, differentiable
from gpunet.backend import get_array_module

__all__ = [
    "absolute",
    "add",
    "clip",
    "cos",
    "divide",
    "exp",
    "log",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "power",
    "shape_of",
    "sin",
    "sqrt",
    "square",
    "subtract",
    "unbroadcast",
    "where",
]

Result = tuple[Array, Callable[[Array], Any]]


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of an array, or of a number. A closure that keeps it need not keep x."""
    return getattr(x, "shape", ())


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum `grad` over the axes along which an array of `shape` was repeated by broadcasting."""
    if grad.shape == shape:
        return grad
    new_axes = grad.ndim - len(shape)
    repeated = [new_axes + axis for axis, size in enumerate(shape) if size == 1]
    axes = (*range(new_axes), *(axis for axis in repeated if grad.shape[axis] != 1))
    return grad.sum(axis=axes).reshape(shape)


@differentiable
def add(x: Array, y: Array) -> Result:
    """Return ``x + y``."""
    x_shape, y_shape = shape_of(x), shape_of(y)
    return x + y, lambda output_grad: (
        lambda: unbroadcast(output_grad, x_shape),
        lambda: unbroadcast(output_grad, y_shape),
    )


@differentiable
def subtract(x: Array, y: Array) -> Result:
    """Return ``x - y``."""
    x_shape, y_shape = shape_of(x), shape_of(y)
    return x - y, lambda output_grad: (
        lambda: unbroadcast(output_grad, x_shape),
        lambda: unbroadcast(-output_grad, y_shape),
    )


@differentiable
def multiply(x: Array, y: Array) -> Result:
    """Return ``x * y``."""
    return x * y, lambda output_grad: (
        lambda: unbroadcast(output_grad * y, shape_of(x)),
        lambda: unbroadcast(output_grad * x, shape_of(y)),
    )


@differentiable
def divide(x: Array, y: Array) -> Result:
    """Return ``x / y``."""
    return x / y, lambda output_grad: (
        lambda: unbroadcast(output_grad / y, shape_of(x)),
        lambda: unbroadcast(-output_grad * x / (y * y), shape_of(y)),
    )


@differentiable
def power(x: Array, y: Array) -> Result:
    """Return ``x ** y``; the gradient for `y` is 0 where `x` is 0."""
    xp = get_array_module(x, y)
    z = x**y

    def x_grad(output_grad: Array) -> Array:
        # Of a number, not of an array: whether that is 0, a GPU would have to be waited for.
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


@differentiable
def maximum(x: Array, y: Array) -> Result:
    """Return the larger of `x` and `y`; where they are equal, the gradient is `x`'s."""
    xp = get_array_module(x, y)
    return xp.maximum(x, y), lambda output_grad: (
        lambda: unbroadcast(output_grad * (x >= y), shape_of(x)),
        lambda: unbroadcast(output_grad * (x < y), shape_of(y)),
    )


@differentiable
def minimum(x: Array, y: Array) -> Result:
    """Return the smaller of `x` and `y`; where they are equal, the gradient is `x`'s."""
    xp = get_array_module(x, y)
    return xp.minimum(x, y), lambda output_grad: (
        lambda: unbroadcast(output_grad * (x <= y), shape_of(x)),
        lambda: unbroadcast(output_grad * (x > y), shape_of(y)),
    )


@differentiable
def where(condition: Array, x: Array, y: Array) -> Result:
    """Return `x` where `condition` is true, else `y`; `condition` has no gradient."""
    xp = get_array_module(condition, x, y)
    return xp.where(condition, x, y), lambda output_grad: (
        lambda: xp.zeros_like(condition),
        lambda: unbroadcast(output_grad * condition, shape_of(x)),
        lambda: unbroadcast(output_grad * xp.logical_not(condition), shape_of(y)),
    )


@differentiable
def clip(x: Array, low: float | None, high: float | None) -> Result:
    """Return `x` limited to [low, high]; the gradient is 0 where it was outside."""
    y = get_array_module(x).clip(x, low, high)
    return y, lambda output_grad: output_grad * (x == y)
