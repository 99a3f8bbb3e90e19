"""Normalization by the mean and the variance of groups of elements, and its gradients."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.activation_table import Activation, as_fused
from gpunet.primitives.checks import (
    check_has_output,
    check_same_dtype,
    check_same_shape,
    check_shape,
)
from gpunet.primitives.groups import Groups
from gpunet.primitives.twins import twins_of

__all__ = [
    "moving_averages", "normalize_backward", "normalize_channels", "normalize_channels_backward",
    "normalize_forward", "normalize_inference",
]  # fmt: skip

Array = Any


def normalize_forward(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    groups: int,
    epsilon: float,
    centered: bool = True,
) -> tuple[Array, Array | None, Array]:
    """Return ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, the means and the variances.

    Each group of channels of each sample has a mean and a variance over all its positions. So one
    function serves many: batch normalization takes the whole batch as one sample, and each channel
    as a group (Ioffe and Szegedy, 2015); layer normalization has one position a sample, and one
    group (Ba, Kiros and Hinton, 2016); group normalization is the general form (Wu and He, 2018).
    The variance is the sum of squares divided by their number.

    Arguments:
        x: (batch, positions, channels).
        gamma, beta: (channels,), or None for 1 and 0.
        groups: into how many groups of neighbours the channels are divided.
        epsilon: added to the variance.
        centered: False to leave the mean in, and take the mean of squares in place of the variance
            (Zhang and Sennrich, "Root mean square layer normalization", 2019).

    Returns:
        The result, like `x`; the means (batch, groups), or None; and the variances
        (batch, groups). Sums of numbers of 16 bits are float32, and so are these.

    Raises:
        TypeError, ValueError: types or shapes do not fit, or a group is empty.

    >>> import numpy as np
    >>> x = np.array([[[1.0, 3.0]], [[5.0, 9.0]]])
    >>> normalize_forward(x, None, None, groups=1, epsilon=0.0)
    (array([[[-1.,  1.]],
    <BLANKLINE>
           [[-1.,  1.]]]), array([[2.],
           [7.]]), array([[1.],
           [4.]]))
    """
    where = "normalize"
    twins = twins_of(where, x, gamma, beta)
    g = _groups(where, x, groups, epsilon)
    _check_weights(where, x, gamma=gamma, beta=beta)
    return twins.normalize_forward(x, gamma, beta, g, bool(centered))


def normalize_backward(
    output_grad: Array,
    x: Array,
    gamma: Array | None,
    mean: Array | None,
    variance: Array,
    *,
    groups: int,
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the input, of gamma and of beta, in `normalize_forward`.

    Arguments:
        output_grad: gradient of the result, (batch, positions, channels).
        x, gamma, groups, epsilon: as in `normalize_forward`.
        mean, variance: its second and third result.

    Raises:
        TypeError, ValueError: types or shapes do not fit.
    """
    where = "normalize_grad"
    twins = twins_of(where, output_grad, x, gamma, mean, variance)
    g = _groups(where, x, groups, epsilon)
    check_same_shape(where, x, output_grad)
    check_same_dtype(where, x, output_grad=output_grad)
    _check_weights(where, x, gamma=gamma)
    for name, array in (("mean", mean), ("variance", variance)):
        if array is not None:
            check_shape(where, name, array.shape, (g.batch, g.groups))
    return twins.normalize_backward(output_grad, x, gamma, mean, variance, g)


def normalize_inference(
    x: Array,
    mean: Array | None,
    variance: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    epsilon: float,
) -> Array:
    """Return ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` of given statistics.

    Arguments:
        x: (..., channels).
        mean, gamma, beta: (channels,), or None for 0, 1 and 0.
        variance: (channels,).
        epsilon: added to the variance.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> normalize_inference(np.array([[5.0]]), np.ones(1), np.full(1, 4.0), None, None, epsilon=0)
    array([[2.]])
    """
    where = "normalize_inference"
    twins = twins_of(where, x, mean, variance, gamma, beta)
    if x.ndim == 0:
        raise ValueError(f"{where}: expected x of shape (..., channels), received a number.")
    _check_weights(where, x, mean=mean, variance=variance, gamma=gamma, beta=beta)
    return twins.normalize_inference(x, mean, variance, gamma, beta, float(epsilon))


def normalize_channels(
    x: Array, gamma: Array | None, beta: Array | None, added: Array | None = None, *,
    epsilon: float, activation: str | Activation | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return ``activation(normalized + added)``, the means and the variances of the channels.

    That is `normalize_forward` of a batch, as batch normalization does it, with what often follows:
    a residual is added, and an activation applied.

    Arguments:
        x: (rows, channels), where each row is a position of a sample.
        gamma, beta: (channels,), or None for 1 and 0.
        added: of the shape of `x`, or None.
        epsilon: added to the variances.
        activation: a name of `OUTPUT_ACTIVATIONS`, an `Activation` of such a name, or None.

    Returns:
        The result, like `x`; means and variances (channels,).

    Raises:
        TypeError, ValueError: types or shapes do not fit, or the activation is unknown.

    >>> import numpy as np
    >>> normalize_channels(np.array([[1.0], [3.0]]), None, None, epsilon=0.0, activation="relu")
    (array([[0.],
           [1.]]), array([2.]), array([1.]))
    """
    where = "normalize_channels"
    twins = twins_of(where, x, gamma, beta, added)
    _check_rows(where, x)
    _check_weights(where, x, gamma=gamma, beta=beta)
    if added is not None:
        check_same_shape(where, x, added)
        check_same_dtype(where, x, added=added)
    return twins.normalize_channels(x, gamma, beta, added, float(epsilon), as_fused(activation))


def normalize_channels_backward(
    output_grad: Array, x: Array, gamma: Array | None, mean: Array, variance: Array, *,
    epsilon: float, activation: str | Activation | None = None, output: Array | None = None,
    with_added: bool = False,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return the gradients of the input, gamma, beta and what was added, in `normalize_channels`.

    Arguments:
        output_grad: gradient of the result, (rows, channels).
        x, gamma, epsilon, activation: as in `normalize_channels`.
        mean, variance, output: its results; the output may be None without an activation.
        with_added: whether to return the gradient of what was added, else None.

    Raises:
        TypeError, ValueError: types or shapes do not fit.
    """
    where = "normalize_channels_backward"
    chosen = as_fused(activation)
    twins = twins_of(where, output_grad, x, gamma, mean, variance, output)
    _check_rows(where, x)
    check_same_shape(where, x, output_grad)
    check_same_dtype(where, x, output_grad=output_grad)
    _check_weights(where, x, gamma=gamma)
    for name, array in (("mean", mean), ("variance", variance)):
        check_shape(where, name, array.shape, x.shape[1:])
    if chosen is not None:
        check_has_output(output, chosen)
        check_same_shape(where, x, output)
    return twins.normalize_channels_backward(
        output_grad, x, gamma, mean, variance, float(epsilon), chosen, output, bool(with_added)
    )


def moving_averages(
    mean: Array, variance: Array, moving_mean: Array, moving_variance: Array, *, momentum: float
) -> tuple[Array, Array]:
    """Return the moving averages after another batch: ``moving * momentum + new * (1 - momentum)``.

    Arguments:
        mean, variance: of the batch, of one shape.
        moving_mean, moving_variance: the averages before it, of the same shape.
        momentum: from 0 to 1.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> moving_averages(np.ones(1), np.ones(1), np.zeros(1), np.full(1, 3.0), momentum=0.5)
    (array([0.5]), array([2.]))
    """
    where = "moving_averages"
    twins = twins_of(where, mean, variance, moving_mean, moving_variance)
    check_same_dtype(where, mean, variance=variance)
    check_same_dtype(where, moving_mean, moving_variance=moving_variance)
    check_same_shape(where, mean, variance, moving_mean, moving_variance)
    return twins.moving_averages(mean, variance, moving_mean, moving_variance, float(momentum))


def _check_rows(where: str, x: Array) -> None:
    if x.ndim != 2 or not len(x):
        raise ValueError(
            f"{where}: expected x of shape (rows, channels) with at least one row, received "
            f"{x.shape}."
        )


def _groups(where: str, x: Array, groups: int, epsilon: float) -> Groups:
    """Return the geometry of groups that divide the channels of `x`, and are not empty."""
    if x.ndim != 3:
        raise ValueError(
            f"{where}: expected x of shape (batch, positions, channels), received {x.shape}: "
            "reshape it, with 1 position for samples without."
        )
    batch, positions, channels = x.shape
    if groups < 1 or channels % groups:
        raise ValueError(
            f"{where}: expected a number of groups that divides the {channels} channels, received "
            f"{groups}."
        )
    found = Groups(batch, positions, groups, channels // groups, float(epsilon))
    if batch and not positions * found.members:
        raise ValueError(
            f"{where}: expected at least one element in each group, received x of shape {x.shape}."
        )
    return found


def _check_weights(where: str, x: Array, **weights: Array | None) -> None:
    """Raise unless these arrays have the type of `x` and one element for each of its channels."""
    check_same_dtype(where, x, **weights)
    for name, array in weights.items():
        if array is not None:
            check_shape(where, name, array.shape, x.shape[-1:])
