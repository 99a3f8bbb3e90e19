"""Normalization of channels over a whole batch, with an activation, as kernels/channels.cu."""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.cuda.columns import COLUMNS, Table, column_moments, table_of
from gpunet.primitives.groups import Groups
from gpunet.primitives.launch import Kernel

__all__ = ["channels_backward", "channels_forward", "is_of_channels"]

Array = Any

_FORWARD = Kernel("channels.cu", "channels_forward")
_GRADS = Kernel("channels.cu", "channel_grads")
_BACKWARD = Kernel("channels.cu", "channels_backward")

_BLOCKS = 2  # for each multiprocessor: every block adds up the parts of all chunks


def is_of_channels(g: Groups) -> bool:
    """Return whether each channel has one mean over all positions of the only sample."""
    return g.batch == g.members == 1 and g.positions > 1


def channels_forward(
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    epsilon: float,
    added: Array | None = None,
    activation: Activation | None = None,
) -> tuple[Array, Array, Array]:
    """Return ``activation(normalized + added)``, the means and the variances, (1, channels).

    Arguments:
        x: (1, positions, channels), contiguous, as all arrays.
        gamma, beta: (channels,), or None.
        epsilon: added to the variances.
        added: of the shape of `x`, or None.
        activation: one whose gradient follows from its output, or None.
    """
    table, kind = _table(x), launch.accumulator(x.dtype)
    y, channels = launch.empty(x.shape, x.dtype), x.shape[-1]
    mean, variance = (launch.empty((1, channels), kind) for _ in range(2))
    parts = column_moments(x, table, True)
    _FORWARD(
        table.grid, COLUMNS, *table.sizes[1:], channels, epsilon, x, parts, gamma, beta, added, y,
        mean, variance, **_options(x, activation),
    )  # fmt: skip
    return y, mean, variance


def channels_backward(
    output_grad: Array,
    x: Array,
    gamma: Array | None,
    mean: Array,
    variance: Array,
    epsilon: float,
    output: Array | None = None,
    activation: Activation | None = None,
    with_added: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """Return the gradients of the input, of gamma, of beta and of what was added, or None.

    Arguments:
        output_grad: of the shape of `x`.
        x, gamma, epsilon, activation: as in `channels_forward`.
        mean, variance, output: its results; the output may be None without an activation.
        with_added: whether to compute the gradient of what was added.
    """
    table, channels = _table(x), x.shape[-1]
    parts = launch.empty((2, table.parts, table.line), launch.accumulator(x.dtype))
    sizes, options = (*table.sizes[1:], channels), _options(x, activation)
    given = (output_grad, None if activation is None else output, x, mean, variance)
    _GRADS(table.grid, COLUMNS, *sizes, epsilon, *given, parts, **options)
    weight_grads = launch.empty((2, channels), x.dtype)
    input_grad = launch.empty(x.shape, x.dtype)
    added_grad = launch.empty(x.shape, x.dtype) if with_added else None
    _BACKWARD(
        table.grid, COLUMNS, *sizes, epsilon, *given, gamma, parts, weight_grads, input_grad,
        added_grad, **options,
    )  # fmt: skip
    return input_grad, weight_grads[1], weight_grads[0], added_grad


def _table(x: Array) -> Table:
    return table_of(1, x.shape[1], x.shape[2], blocks=_BLOCKS)


def _options(x: Array, activation: Activation | None) -> dict[str, Any]:
    types = {"T": x.dtype, "S": launch.accumulator(x.dtype)}
    return {"types": types, "ACTIVATION": activation_macro(activation)}
