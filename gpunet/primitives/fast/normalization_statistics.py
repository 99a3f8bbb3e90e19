"""The statistics of columns, from what the kernels of normalization leave for each chunk.

Both kernels sum in float64, in the order of the chunks, and write rows of numbers as the next
kernel takes them: for each sample a row of `fold` times all channels, which are groups of members.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import Floats, FloatsIn, kernel, part
from gpunet.primitives.fast.simd import get, put

__all__ = ["Columns", "backward_rows", "forward_rows"]

Array = Any


class Columns(NamedTuple):
    """A table for each sample, as `normalization` divides it, and the groups of its channels."""

    batch: int
    rows: int
    fold: int  # positions in a row
    groups: int
    members: int  # channels of a group
    chunk: int  # rows
    chunks: int  # of a sample


@kernel
def forward_rows(
    s: Columns, epsilon: float, centered: bool, parts: FloatsIn, gamma: FloatsIn, beta: FloatsIn,
    means: Floats, variances: Floats, wide: Floats,
) -> None:  # fmt: skip
    """Write means and variances of all groups, and rows of means, scales and shifts to `wide`.

    The squares of deviations from the means of chunks are brought together as by Chan, Golub and
    LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    channels = s.groups * s.members
    line = s.fold * channels
    size = np.float64(s.rows * s.fold * s.members)
    for sample in range(s.batch):
        for group in range(s.groups):
            mean, squares = 0.0, 0.0
            for i in range(s.chunks):
                count = min(s.chunk, s.rows - i * s.chunk)
                at = (sample * s.chunks + i) * 2 * line + group * s.members
                for f in range(s.fold):
                    for j in range(s.members):
                        mean += np.float64(get(parts, at + f * channels + j)) * count
            mean /= size
            for i in range(s.chunks):
                count = min(s.chunk, s.rows - i * s.chunk)
                at = (sample * s.chunks + i) * 2 * line + group * s.members
                for f in range(s.fold):
                    for j in range(at + f * channels, at + f * channels + s.members):
                        squares += np.float64(get(parts, j + line))
                        if centered:
                            apart = np.float64(get(parts, j)) - mean
                            squares += count * (apart * apart)
            variance = squares / size
            put(means, sample * s.groups + group, np.float32(mean))
            put(variances, sample * s.groups + group, np.float32(variance))
            scale = 1 / math.sqrt(variance + epsilon)
            for j in range(group * s.members, (group + 1) * s.members):
                own = scale * np.float64(get(gamma, j)) if gamma.size else scale
                shift = get(beta, j) if beta.size else np.float32(0)
                for f in range(s.fold):
                    to = sample * line + f * channels + j
                    put(wide, to, np.float32(mean))
                    put(wide, to + s.batch * line, np.float32(own))
                    put(wide, to + 2 * s.batch * line, shift)


@kernel
def backward_rows(
    s: Columns, epsilon: float, centered: bool, parts: FloatsIn, variances: FloatsIn,
    gamma: FloatsIn, gamma_grad: Floats, beta_grad: Floats, wide: Floats,
) -> None:  # fmt: skip
    """Write the gradients of gamma and beta, and rows of scales, slopes and shifts to `wide`."""
    channels = s.groups * s.members
    line = s.fold * channels
    size = np.float64(s.rows * s.fold * s.members)
    grads, products = np.zeros(channels, np.float64), np.zeros(channels, np.float64)
    for sample in range(s.batch):
        for group in range(s.groups):
            variance = np.float64(get(variances, sample * s.groups + group))
            scale = 1 / math.sqrt(variance + epsilon)
            grad_mean, product_mean = 0.0, 0.0
            for j in range(group * s.members, (group + 1) * s.members):
                grad, product = _sums_of_channel(s, parts, sample, j, line)
                product *= scale
                grads[j] += grad
                products[j] += product
                weight = np.float64(get(gamma, j)) if gamma.size else 1.0
                grad_mean += grad * weight
                product_mean += product * weight
            slope = -scale * scale * (product_mean / size)
            shift = -scale * (grad_mean / size) if centered else 0.0
            for j in range(group * s.members, (group + 1) * s.members):
                own = scale * np.float64(get(gamma, j)) if gamma.size else scale
                for f in range(s.fold):
                    to = sample * line + f * channels + j
                    put(wide, to, np.float32(own))
                    put(wide, to + s.batch * line, np.float32(slope))
                    put(wide, to + 2 * s.batch * line, np.float32(shift))
    for j in range(channels):
        put(gamma_grad, j, np.float32(products[j]))
        put(beta_grad, j, np.float32(grads[j]))


@part
def _sums_of_channel(
    s: Columns, parts: Array, sample: int, channel: int, line: int
) -> tuple[float, float]:
    """Return the sums of gradients, and of their products with x - mean, over all chunks."""
    grad, product = 0.0, 0.0
    for i in range(s.chunks):
        at = (sample * s.chunks + i) * 2 * line + channel
        for j in range(at, at + line, s.groups * s.members):
            grad += np.float64(get(parts, j))
            product += np.float64(get(parts, j + line))
    return grad, product
