"""Normalization by means and variances, and its gradients; sums are taken in float64."""

from __future__ import annotations

import numpy as np

from gpunet.primitives.activation_table import Activation
from gpunet.primitives.groups import Groups
from gpunet.primitives.reference.activation import activate, activate_backward
from gpunet.primitives.reference.blocks import Array

__all__ = [
    "moving_averages", "normalize_backward", "normalize_channels", "normalize_channels_backward",
    "normalize_forward", "normalize_inference",
]  # fmt: skip


def normalize_forward(
    x: Array, gamma: Array | None, beta: Array | None, g: Groups, centered: bool
) -> tuple[Array, Array | None, Array]:
    """Return the normalized input, the means and the variances."""
    values = x.reshape(g.shape)
    mean = _mean(values, (1, 3)) if centered else None
    deviation = _deviation(values, mean)
    variance = _mean(np.square(deviation), (1, 3))
    y = deviation * _over_groups(_inverse_root(variance, g.epsilon))
    y = y.reshape(x.shape)
    if gamma is not None:
        y *= gamma
    if beta is not None:
        y += beta
    return y, mean, variance


def normalize_backward(
    output_grad: Array,
    x: Array,
    gamma: Array | None,
    mean: Array | None,
    variance: Array,
    g: Groups,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the input, of gamma and of beta."""
    scale = _over_groups(_inverse_root(variance, g.epsilon))
    normalized = _deviation(x.reshape(g.shape), mean) * scale
    grad = output_grad.reshape(g.shape)
    gamma_grad = (grad * normalized).sum((0, 1), dtype=np.float64)
    beta_grad = grad.sum((0, 1), dtype=np.float64)
    if gamma is not None:
        grad = grad * gamma.reshape(g.groups, g.members)
    input_grad = grad - normalized * _over_groups(_mean(grad * normalized, (1, 3)))
    if mean is not None:
        input_grad -= _over_groups(_mean(grad, (1, 3)))
    input_grad *= scale
    return (
        input_grad.reshape(x.shape),
        gamma_grad.reshape(g.channels).astype(x.dtype),
        beta_grad.reshape(g.channels).astype(x.dtype),
    )


def normalize_inference(
    x: Array,
    mean: Array | None,
    variance: Array,
    gamma: Array | None,
    beta: Array | None,
    epsilon: float,
) -> Array:
    """Return the input normalized by given means and variances."""
    scale = _inverse_root(variance, epsilon)
    y = (x if mean is None else x - mean) * (scale if gamma is None else gamma * scale)
    if beta is not None:
        y += beta
    return y


def normalize_channels(
    x: Array, gamma: Array | None, beta: Array | None, added: Array | None, epsilon: float,
    activation: Activation | None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return ``activation(normalized + added)``, the means and the variances of the channels."""
    g = Groups.of_channels(x.shape, epsilon)
    y, mean, variance = normalize_forward(x, gamma, beta, g, True)
    if added is not None:
        y += added
    if activation is not None:
        y = activate(y, activation)
    assert mean is not None
    return y, mean[0], variance[0]


def normalize_channels_backward(
    output_grad: Array, x: Array, gamma: Array | None, mean: Array, variance: Array,
    epsilon: float, activation: Activation | None, output: Array | None, with_added: bool,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return the gradients of the input, of gamma, of beta and of what was added, or None."""
    grad = activate_backward(output_grad, output, activation)
    g = Groups.of_channels(x.shape, epsilon)
    grads = normalize_backward(grad, x, gamma, mean[None], variance[None], g)
    return *grads, grad if with_added else None


def moving_averages(
    mean: Array, variance: Array, moving_mean: Array, moving_variance: Array, momentum: float
) -> tuple[Array, Array]:
    """Return the moving averages after the mean and the variance of another batch."""
    share = 1 - momentum
    return (
        moving_mean * momentum + mean * share,
        moving_variance * momentum + variance * share,
    )


def _mean(values: Array, axes: tuple[int, ...]) -> Array:
    return values.mean(axes, dtype=np.float64).astype(values.dtype)


def _deviation(values: Array, mean: Array | None) -> Array:
    return values if mean is None else values - _over_groups(mean)


def _inverse_root(variance: Array, epsilon: float) -> Array:
    return (1 / np.sqrt(variance + np.float64(epsilon))).astype(variance.dtype)


def _over_groups(statistic: Array) -> Array:
    """Return what each group has, (batch, groups), so that it broadcasts over the elements."""
    return statistic[:, None, :, None]
