"""Normalization by means and variances, in one of two ways.

Where samples have one position, a group is a row of numbers that lie together, and one kernel goes
through it for the mean, the variance and the result. Else a group's elements lie far apart: kernels
take sums of columns, over chunks of the rows that stay in cache, and what chunks have is added up
in float64, in an order that the shape alone decides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
    scale = _per_channel(_inverse_root(variance[None], epsilon), gamma, g)
    means = np.zeros_like(variance) if mean is None else mean
    return _apply(flat(x), _table(g), g, means[None], scale, beta).reshape(x.shape)


# Columns


class _Table(NamedTuple):
    """An input as a table for each sample: rows of `line` numbers, divided into chunks of rows.

    A row holds the channels of `fold` positions, so that few channels fill vectors too.
    """

    batch: int
    rows: int
    fold: int
    channels: int
    chunk: int  # rows
    chunks: int  # of a sample

    @property
    def line(self) -> int:
        return self.fold * self.channels

    @property
    def tasks(self) -> int:
        return self.batch * self.chunks

    def counts(self) -> Array:
        """Return how many rows each chunk of a sample has."""
        last = self.rows - (self.chunks - 1) * self.chunk
        return np.array([self.chunk] * (self.chunks - 1) + [last], np.float64)

    def of_parts(self, parts: Array) -> Array:
        """Return the sums of all chunks as (batch, chunks, 2, fold, channels) of float64."""
        return parts.reshape(self.batch, self.chunks, 2, self.fold, self.channels).astype(float)

    def widened(self, values: Array) -> Array:
        """Return what the channels of a sample have, (batch, channels), as flat rows of a table."""
        wide = np.broadcast_to(values[:, None], (self.batch, self.fold, self.channels))
        return wide.astype(np.float32).reshape(-1)


def _table(g: Groups) -> _Table:
    fold = 1
    while fold * g.channels < _WIDE and g.positions % (2 * fold) == 0:
        fold *= 2
    rows = g.positions // fold
    chunk = min(rows, max(_LEAST_ROWS, -(-LEAST_TASK // (fold * g.channels))))
    return _Table(g.batch, rows, fold, g.channels, chunk, -(-rows // chunk))


def _parts(table: _Table) -> Array:
    """Return memory for two sums of each column of each chunk."""
    return workspace("normalization", table.tasks * 2 * table.line)


def _moments(x: Array, g: Groups, table: _Table, centered: bool) -> tuple[Array, Array]:
    """Return the means and the variances of all groups, (batch, groups), in float64.

    The squares of deviations from the means of chunks are brought together as by Chan, Golub and
    LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    parts = _parts(table)
    run(
        column_moments, table.tasks, table.rows, table.line, table.chunk, table.chunks,
        centered, x, parts,
    )  # fmt: skip
    found = table.of_parts(parts).reshape(
        table.batch, table.chunks, 2, table.fold, g.groups, g.members
    )
    means, squares = found[:, :, 0], found[:, :, 1]  # (batch, chunks, fold, groups, members)
    counts = table.counts()[:, None, None, None]
    mean = (means * counts).sum((1, 2, 4)) / g.size
    if centered:
        squares = squares + counts * np.square(means - mean[:, None, None, :, None])
    return mean, squares.sum((1, 2, 4)) / g.size


def _columns_forward(
    x: Array, gamma: Array | None, beta: Array | None, g: Groups, centered: bool, added: Array,
    relu: bool,
) -> tuple[Array, Array | None, Array]:  # fmt: skip
    """Return the normalized input after adding another and relu, the means and the variances."""
    table = _table(g)
    mean, variance = _moments(flat(x), g, table, centered)
    scale = _inverse_root(variance, g.epsilon)
    scales = _per_channel(scale, gamma, g)
    y = _apply(flat(x), table, g, mean, scales, beta, added, relu)
    means = mean.astype(np.float32) if centered else None
    return y.reshape(x.shape), means, variance.astype(np.float32)


def _columns_backward(
    output_grad: Array, x: Array, gamma: Array | None, mean: Array | None, variance: Array,
    g: Groups, output: Array, added_grad: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients of the input, of gamma and of beta; write that of what was added.

    Where `output` is given, relu was applied, and gradients count where it is positive.
    """
    table, x_shape = _table(g), x.shape
    x, output_grad = flat(x), flat(output_grad)
    means = np.zeros_like(variance) if mean is None else mean
    wide_mean = table.widened(_per_channel(means, None, g))
    parts = _parts(table)
    run(
        column_grads, table.tasks, table.rows, table.line, table.chunk, table.chunks, output_grad,
        output, x, wide_mean, parts,
    )  # fmt: skip
    # (batch, what is summed, groups, members)
    sums = table.of_parts(parts).sum((1, 3)).reshape(g.batch, 2, g.groups, g.members)
    scale = _inverse_root(variance, g.epsilon)
    grads, products = sums[:, 0], sums[:, 1] * scale[:, :, None]
    weights = _weights(gamma, 1, g).reshape(g.groups, g.members)
    grad_mean = (grads * weights).sum(2) / g.size if mean is not None else np.zeros_like(scale)
    product_mean = (products * weights).sum(2) / g.size
    input_grad = empty((x.size,), np.float32)
    run(
        columns_backward, table.tasks, table.rows, table.line, table.chunk, table.chunks,
        output_grad, output, x, wide_mean, table.widened(_per_channel(scale, gamma, g)),
        table.widened(_per_channel(-scale * scale * product_mean, None, g)),
        table.widened(_per_channel(-scale * grad_mean, None, g)), input_grad, added_grad,
    )  # fmt: skip
    return (
        input_grad.reshape(x_shape),
        products.sum(0).reshape(-1).astype(np.float32),
        grads.sum(0).reshape(-1).astype(np.float32),
    )


def _apply(
    x: Array, table: _Table, g: Groups, mean: Array, scale: Array, beta: Array | None,
    added: Array = NO_FLOATS, relu: bool = False,
) -> Array:  # fmt: skip
    """Return ``(x - mean) * scale + beta``; means are of groups, scales of channels."""
    y = empty((x.size,), np.float32)
    shift = np.broadcast_to(_weights(beta, 0, g), (g.batch, g.channels))
    run(
        columns_forward, table.tasks, table.rows, table.line, table.chunk, table.chunks, x,
        table.widened(_per_channel(mean, None, g)), table.widened(scale), table.widened(shift),
        added, relu, y,
    )  # fmt: skip
    return y


def _inverse_root(variance: Array, epsilon: float) -> Array:
    return 1 / np.sqrt(variance.astype(np.float64) + epsilon)


def _weights(weights: Array | None, default: float, g: Groups) -> Array:
    """Return gamma or beta as a flat array, by default of one number."""
    return np.full(g.channels, default, np.float32) if weights is None else flat(weights)


def _per_channel(statistic: Array, gamma: Array | None, g: Groups) -> Array:
    """Return what groups have, (batch, groups), for their channels, and times gamma."""
    channels = np.repeat(statistic, g.members, axis=1)
    return channels if gamma is None else channels * gamma


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
