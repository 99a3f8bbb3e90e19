"""Normalization by means and variances, in one of two ways.

Where samples have one position, a group is a row of numbers that lie together, and one kernel goes
through it for the mean, the variance and the result. Else a group's elements lie far apart: a
kernel takes sums of columns, over chunks of the rows that stay in cache, and adds up what chunks
have in float64, in an order that the shape alone decides.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.fast.convolution import activated, before_activation, is_relu
from gpunet.primitives.fast.elementwise import LEAST_TASK
from gpunet.primitives.fast.memory import NO_FLOATS, flat, workspace
from gpunet.primitives.fast.normalization_columns import (
    BLOCK,
    columns_backward,
    columns_forward,
)
from gpunet.primitives.fast.normalization_kernels import (
    rows_backward,
    rows_forward,
)
from gpunet.primitives.fast.normalization_statistics import SUMS, Columns
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
    rows = np.zeros((3, table.fold, channels), np.float32)
    for row, numbers in zip(rows, (mean, scale, beta), strict=True):
        row[:] = 0 if numbers is None else numbers
    none = NO_FLOATS
    run(
        columns_forward, table.chunks, table, epsilon, True, False, flat(x), none, none, none,
        none, none, y, none, rows.reshape(-1), np.empty(0), *np.ones((2, 1), np.int64),
    )  # fmt: skip
    return y.reshape(x.shape)


# Columns


@lru_cache(maxsize=64)
def _table(g: Groups) -> Columns:
    """Return how each sample is divided: rows of some positions' channels, in chunks.

    A row holds the channels of `fold` positions, so that few channels fill vectors too.
    """
    fold = 1
    while fold * g.channels < BLOCK and g.positions % (2 * fold) == 0:
        fold *= 2
    rows = g.positions // fold
    chunk = min(rows, max(_LEAST_ROWS, -(-LEAST_TASK // (fold * g.channels))))
    return Columns(g.batch, rows, fold, g.groups, g.members, chunk, -(-rows // chunk))


def _memory(table: Columns, sums: int, rows: int) -> tuple[Array, ...]:
    """Return what the kernels of columns work in, and counters that are 0.

    Arguments:
        table: how samples are divided.
        sums: rows for each chunk.
        rows: of statistics for each sample.
    """
    line = table.fold * table.groups * table.members
    parts = workspace("normalization", table.batch * table.chunks * sums * line)
    wide = workspace("wide", rows * table.batch * line)
    return parts, wide, workspace("sums", SUMS * line, np.float64), *np.zeros((2, 1), np.int64)


def _columns_forward(
    x: Array, gamma: Array | None, beta: Array | None, g: Groups, centered: bool, added: Array,
    relu: bool,
) -> tuple[Array, Array | None, Array]:  # fmt: skip
    """Return the normalized input after adding another and relu, the means and the variances."""
    table, y = _table(g), empty((x.size,), np.float32)
    mean, variance = np.empty((2, g.batch, g.groups), np.float32)
    run(
        columns_forward, 2 * table.batch * table.chunks, table, g.epsilon, centered, relu, flat(x),
        _given(gamma), _given(beta), added, mean.reshape(-1), variance.reshape(-1), y,
        *_memory(table, 2, 3),
    )  # fmt: skip
    return y.reshape(x.shape), mean if centered else None, variance


def _columns_backward(
    output_grad: Array, x: Array, gamma: Array | None, mean: Array | None, variance: Array,
    g: Groups, output: Array, added_grad: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients of the input, of gamma and of beta; write that of what was added.

    Where `output` is given, relu was applied, and gradients count where it is positive.
    """
    table, input_grad = _table(g), empty((x.size,), np.float32)
    gamma_grad, beta_grad = np.empty((2, g.channels), np.float32)
    run(
        columns_backward, 2 * table.batch * table.chunks, table, g.epsilon, mean is not None,
        flat(output_grad), output, flat(x), _given(mean), flat(variance), _given(gamma),
        gamma_grad, beta_grad, input_grad, added_grad, *_memory(table, 3, 4),
    )  # fmt: skip
    return input_grad.reshape(x.shape), gamma_grad, beta_grad


def _given(weights: Array | None) -> Array:
    """Return gamma or beta as a flat array, an empty one if it is not there."""
    return NO_FLOATS if weights is None else flat(weights)


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
