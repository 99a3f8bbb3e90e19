"""Dropout and noise, whose random numbers depend on a key alone."""

from __future__ import annotations

from gpunet import primitives
from gpunet.autograd import Array, Result, differentiable
from gpunet.backend import asarray, get_array_module

__all__ = ["alpha_dropout", "dropout", "gaussian_dropout", "gaussian_noise"]

# Klambauer et al., "Self-normalizing neural networks", 2017: selu of minus infinity.
_LEAST_SELU = -1.6732632423543772 * 1.0507009873554805


@differentiable
def dropout(
    x: Array, key: Array, *, rate: float, noise_shape: tuple[int, ...] | None = None
) -> Result:
    """Return `x` with a share `rate` of its elements set to 0, the others scaled to make up.

    Arguments:
        x: any shape.
        key: selects the random numbers; from `gpunet.random.next_key()`.
        rate: from 0 to 1, which leaves nothing.
        noise_shape: with 1 for axes along which all elements share their fate, else x's sizes.

    Raises:
        TypeError, ValueError: `key` is no key, `rate` is out of range, or the shape does not fit.
    """
    # On a GPU the kernel reads its key there, so that a captured step can be run with others.
    key, rate = asarray(key, like=x), float(rate)
    if noise_shape is None or tuple(noise_shape) == x.shape:
        return primitives.dropout_forward(x, key, rate=rate), lambda output_grad: (
            primitives.dropout_backward(output_grad, key, rate=rate),
        )
    factors, xp = _factors(x, key, rate, noise_shape), get_array_module(x)

    def scaled(values: Array) -> Array:
        return xp.where(factors > 0, values, 0) * factors

    return scaled(x), lambda output_grad: (scaled(output_grad),)


@differentiable
def alpha_dropout(
    x: Array, key: Array, *, rate: float, noise_shape: tuple[int, ...] | None = None
) -> Result:
    """Return `x` with a share `rate` of its elements at the least value of selu, then rescaled.

    Mean 0 and variance 1 are kept: the dropout for layers with selu (Klambauer et al., 2017).

    Arguments:
        x, key, noise_shape: as in `dropout`.
        rate: from 0 to below 1.

    Raises:
        TypeError, ValueError: `key` is no key, `rate` is out of range, or the shape does not fit.
    """
    key, rate, xp = asarray(key, like=x), float(rate), get_array_module(x)
    if rate == 1:
        raise ValueError("alpha_dropout expects a rate below 1, received 1.")
    kept = _factors(x, key, rate, x.shape if noise_shape is None else noise_shape) > 0
    scale = ((1 - rate) * (1 + rate * _LEAST_SELU**2)) ** -0.5
    offset = -scale * _LEAST_SELU * rate
    y = xp.where(kept, scale * x + offset, scale * _LEAST_SELU + offset)
    return y, lambda output_grad: (xp.where(kept, scale * output_grad, 0),)


@differentiable
def gaussian_noise(x: Array, key: Array, *, stddev: float) -> Result:
    """Return `x` plus normally distributed numbers of mean 0.

    Arguments:
        x: any shape.
        key: selects the random numbers; from `gpunet.random.next_key()`.
        stddev: standard deviation of the numbers.
    """
    noise = primitives.normal_like(x, asarray(key, like=x))
    return x + float(stddev) * noise, lambda output_grad: (output_grad,)


@differentiable
def gaussian_dropout(x: Array, key: Array, *, rate: float) -> Result:
    """Return `x` times normally distributed numbers of mean 1 (Srivastava et al., 2014).

    Arguments:
        x: any shape.
        key: selects the random numbers; from `gpunet.random.next_key()`.
        rate: from 0 to below 1; the standard deviation is ``sqrt(rate / (1 - rate))``.

    Raises:
        ValueError: `rate` is out of range.
    """
    rate = float(rate)
    if not 0 <= rate < 1:
        raise ValueError(f"gaussian_dropout expects a rate from 0 to below 1, received {rate}.")
    stddev = (rate / (1 - rate)) ** 0.5
    factors = 1 + stddev * primitives.normal_like(x, asarray(key, like=x))
    return x * factors, lambda output_grad: (output_grad * factors,)


def _factors(x: Array, key: Array, rate: float, noise_shape: tuple[int, ...]) -> Array:
    """Return 0 or the factor of what passes, in a shape that broadcasts to that of `x`."""
    fits = len(noise_shape) == x.ndim and all(
        size in (1, of_x) for size, of_x in zip(noise_shape, x.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"dropout expects a noise_shape with 1 or the input's size for each axis, received "
            f"{tuple(noise_shape)} for an input of shape {x.shape}."
        )
    ones = get_array_module(x).ones(tuple(noise_shape), x.dtype)
    return primitives.dropout_forward(ones, key, rate=rate)
