"""Normalization by means and variances, in one of two ways.

Where samples have one position, a group is a row of numbers that lie together, and one kernel goes
through it for the mean, the variance and the result. Else a group's elements lie far apart: kernels
take sums of columns, over chunks of the rows that stay in cache, and what chunks have is added up
in float64, in an order that the shape alone decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.fast.convolution import activated, before_activation, is_relu
from gpunet.primitives.fast.elementwise import LEAST_TASK
from gpunet.primitives.fast.memory import NO_FLOATS, flat, workspace
from gpunet.primitives.fast.normalization_kernels import (
    column_grads,
    column_moments,
    columns_backward,
    columns_forward,
    rows_backward,
    rows_forward,
)
from gpunet.primitives.fast.normalization_statistics import (
    Columns,
    backward_rows,
    forward_rows,
)
from gpunet.primitives.fast.simd import LANES
from gpunet.primitives.fast.threads import run
from gpunet.primitives.groups import Groups
from gpunet.primitives.reference.memory import empty

__all__ = [
    "normalize_backward", "normalize_channels", "normalize_channels_backward", "normalize_forward",
    "normalize_inference",
]  # fmt: skip

Array = Any

_LEAST_ROWS = 16  # of a chunk, so that its sums take little memory
_MOST_PARTS = 64  # in which the gradients of gamma and beta are summed up, for rows
_WIDE = 4 * LANES  # columns that vectors fill well


def normalize_forward(
    x: Array, gamma: Array | None, beta: Array | None, g: Groups, centered: bool
) -> tuple[Array, Array | None, Array]:
    """Return the normalized input, the means and the variances."""
    if x.dtype != np.float32 or x.size == 0:
        return reference.normalize_forward(x, gamma, beta, g, centered)
    if g.positions == 1:
        return _rows_forward(x, gamma, beta, g, centered)
    return _columns_forward(x, gamma, beta, g, centered, NO_FLOATS, False)


def normalize_backward(
    output_grad: Array,
    x: Array,
    gamma: Array | None,
    mean: Array | None,
    variance: Array,
    g: Groups,
) -> tuple[Array, Array, Array]:
    """Return the gradients of the input, of gamma and of beta."""
    if x.dtype != np.float32 or x.size == 0:
        return reference.normalize_backward(output_grad, x, gamma, mean, variance, g)
    if g.positions == 1:
        return _rows_backward(output_grad, x, gamma, mean, variance, g)
    return _columns_backward(output_grad, x, gamma, mean, variance, g, NO_FLOATS, NO_FLOATS)


def normalize_channels(
    x: Array, gamma: Array | None, beta: Array | None, added: Array | None, epsilon: float,
    activation: Activation | None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return ``activation(normalized + added)``, the means and the variances of the channels."""
    if x.dtype != np.float32 or x.size == 0:
        return reference.normalize_channels(x, gamma, beta, added, epsilon, activation)
    residual = NO_FLOATS if added is None else flat(added)
    y, mean, variance = _columns_forward(
        x, gamma, beta, Groups.of_channels(x.shape, epsilon), True, residual, is_relu(activation)
    )
    assert mean is not None
    return activated(y, activation), mean[0], variance[0]


def normalize_channels_backward(
    output_grad: Array, x: Array, gamma: Array | None, mean: Array, variance: Array,
    epsilon: float, activation: Activation | None, output: Array | None, with_added: bool,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """Return the gradients of the input, of gamma, of beta and of what was added, or None."""
    if x.dtype != np.float32 or x.size == 0:
        return reference.normalize_channels_backward(
            output_grad, x, gamma, mean, variance, epsilon, activation, output, with_added
        )
    grad, positive, relu = before_activation(output_grad, output, activation)
    added_grad = empty(x.shape, np.float32) if with_added and relu else None
    grads = _columns_backward(
        grad, x, gamma, mean[None], variance[None], Groups.of_channels(x.shape, epsilon),
        flat(positive), NO_FLOATS if added_grad is None else added_grad.reshape(-1),
    )  # fmt: skip
    return *grads, grad if with_added and added_grad is None else added_grad


def normalize_inference(
    x: Array,
    mean: Array | None,
    variance: Array,
    gamma: Array | None,
    beta: Array | None,
    epsilon: float,
) -> Array:
    """Return the input normalized by given means and variances."""
    if x.dtype != np.float32 or x.size == 0:
        return reference.normalize_inference(x, mean, variance, gamma, beta, epsilon)
    channels = x.shape[-1]
    g = Groups(1, x.size // channels, channels, 1, epsilon)
    table, y = _table(g), empty((x.size,), np.float32)
    scale = 1 / np.sqrt(variance.astype(np.float64) + epsilon)
    if gamma is not None:
        scale = scale * gamma
    rows = [mean, scale.astype(np.float32), beta]
    wide = [_widened(None if row is None else row[None], table, g) for row in rows]
    _over_chunks(columns_forward, table, flat(x), *wide, NO_FLOATS, False, y)
    return y.reshape(x.shape)


# Columns


def _table(g: Groups) -> Columns:
    """Return how each sample is divided: rows of some positions' channels, in chunks.

    A row holds the channels of `fold` positions, so that few channels fill vectors too.
    """
    fold = 1
    while fold * g.channels < _WIDE and g.positions % (2 * fold) == 0:
        fold *= 2
    rows = g.positions // fold
    chunk = min(rows, max(_LEAST_ROWS, -(-LEAST_TASK // (fold * g.channels))))
    return Columns(g.batch, rows, fold, g.groups, g.members, chunk, -(-rows // chunk))


def _line(table: Columns) -> int:
    """Return the numbers in a row."""
    return table.fold * table.groups * table.members


def _over_chunks(kernel: Callable[..., None], table: Columns, *arguments: Any) -> None:
    """Run a kernel of columns, a task for each chunk of each sample."""
    sizes = table.rows, _line(table), table.chunk, table.chunks
    run(kernel, table.batch * table.chunks, *sizes, *arguments)


def _parts(table: Columns) -> Array:
    """Return memory for two sums of each column of each chunk."""
    return workspace("normalization", table.batch * table.chunks * 2 * _line(table))


def _columns_forward(
    x: Array, gamma: Array | None, beta: Array | None, g: Groups, centered: bool, added: Array,
    relu: bool,
) -> tuple[Array, Array | None, Array]:  # fmt: skip
    """Return the normalized input after adding another and relu, the means and the variances."""
    table, numbers = _table(g), flat(x)
    parts = _parts(table)
    _over_chunks(column_moments, table, centered, numbers, parts)
    mean, variance = np.empty((2, g.batch, g.groups), np.float32)
    wide = workspace("wide", 3 * g.batch * _line(table)).reshape(3, -1)
    forward_rows(
        table, g.epsilon, centered, parts, _given(gamma), _given(beta), mean.reshape(-1),
        variance.reshape(-1), wide.reshape(-1),
    )  # fmt: skip
    y = empty((x.size,), np.float32)
    _over_chunks(columns_forward, table, numbers, *wide, added, relu, y)
    return y.reshape(x.shape), mean if centered else None, variance


def _columns_backward(
    output_grad: Array, x: Array, gamma: Array | None, mean: Array | None, variance: Array,
    g: Groups, output: Array, added_grad: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients of the input, of gamma and of beta; write that of what was added.

    Where `output` is given, relu was applied, and gradients count where it is positive.
    """
    table, x_shape = _table(g), x.shape
    x, output_grad, parts = flat(x), flat(output_grad), _parts(table)
    means = _widened(mean, table, g)
    _over_chunks(column_grads, table, output_grad, output, x, means, parts)
    gamma_grad, beta_grad = np.empty((2, g.channels), np.float32)
    wide = workspace("wide", 3 * g.batch * _line(table)).reshape(3, -1)
    backward_rows(
        table, g.epsilon, mean is not None, parts, flat(variance), _given(gamma), gamma_grad,
        beta_grad, wide.reshape(-1),
    )  # fmt: skip
    input_grad = empty((x.size,), np.float32)
    _over_chunks(
        columns_backward, table, output_grad, output, x, means, *wide, input_grad, added_grad
    )
    return input_grad.reshape(x_shape), gamma_grad, beta_grad


def _given(weights: Array | None) -> Array:
    """Return gamma or beta as a flat array, an empty one if it is not there."""
    return NO_FLOATS if weights is None else flat(weights)


def _widened(statistic: Array | None, table: Columns, g: Groups) -> Array:
    """Return what groups have, (batch, groups), as flat rows of a table; 0 by default."""
    if statistic is None:
        return np.zeros(g.batch * _line(table), np.float32)
    shape = (g.batch, table.fold, g.groups, g.members)
    return flat(np.broadcast_to(statistic[:, None, :, None], shape))


def _weights(weights: Array | None, default: float, g: Groups) -> Array:
    """Return gamma or beta as a flat array, by default of one number."""
    return np.full(g.channels, default, np.float32) if weights is None else flat(weights)


# Rows


def _rows_forward(
    x: Array, gamma: Array | None, beta: Array | None, g: Groups, centered: bool
) -> tuple[Array, Array | None, Array]:
    rows, y = g.batch * g.groups, empty(x.shape, np.float32)
    mean, variance = np.empty((2, g.batch, g.groups), np.float32)
    run(
        rows_forward, max(1, min(rows, x.size // LEAST_TASK)), rows, g.groups, g.members,
        g.epsilon, centered, flat(x), _weights(gamma, 1, g), _weights(beta, 0, g),
        y.reshape(-1), mean.reshape(-1), variance.reshape(-1),
    )  # fmt: skip
    return y, mean if centered else None, variance


def _rows_backward(
    output_grad: Array,
    x: Array,
    gamma: Array | None,
    mean: Array | None,
    variance: Array,
    g: Groups,
) -> tuple[Array, Array, Array]:
    tasks = max(1, min(g.batch // _LEAST_ROWS, x.size // LEAST_TASK, _MOST_PARTS))
    input_grad = empty(x.shape, np.float32)
    parts = workspace("normalization", tasks * 2 * g.channels)
    means = np.zeros_like(variance) if mean is None else mean
    run(
        rows_backward, tasks, g.batch, g.groups, g.members, g.epsilon, mean is not None,
        flat(output_grad), flat(x), _weights(gamma, 1, g), flat(means), flat(variance),
        input_grad.reshape(-1), parts,
    )  # fmt: skip
    sums = parts.reshape(tasks, 2, g.channels).sum(0, dtype=np.float64).astype(np.float32)
    return input_grad, sums[1], sums[0]
