"""The statistics of columns, from what the kernels of normalization leave for each chunk.

Sums are in float64, in the order of the chunks. The results are rows of numbers as the second phase
takes them: for each sample a row of `fold` times all channels, which are groups of members.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast.compile import part
from gpunet.primitives.fast.simd import get, put

__all__ = ["SUMS", "Columns", "backward_rows", "forward_rows"]

Array = Any

SUMS = 4  # rows of float64 that the sums of a sample's columns take


class Columns(NamedTuple):
    """A table for each sample, as `normalization` divides it, and the groups of its channels."""

    batch: int
    rows: int
    fold: int  # positions in a row
    groups: int
    members: int  # channels of a group
    chunk: int  # rows
    chunks: int  # of a sample


@part
def forward_rows(
    s: Columns, epsilon: float, parts: Array, gamma: Array, beta: Array, means: Array,
    variances: Array, sums: Array, wide: Array,
) -> None:  # fmt: skip
    """Write means and variances of all groups, and rows of means, scales and shifts to `wide`.

    The squares of deviations from the means of chunks are brought together as by Chan, Golub and
    LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    channels = s.groups * s.members
    line = s.fold * channels
    size = np.float64(s.rows * s.fold * s.members)
    for sample in range(s.batch):
        for j in range(3 * line):
            put(sums, j, 0.0)
        for i in range(s.chunks):
            count = np.float64(min(s.chunk, s.rows - i * s.chunk))
            at = (sample * s.chunks + i) * 2 * line
            for j in range(line):
                put(sums, j, get(sums, j) + count * np.float64(get(parts, at + j)))
        for group in range(s.groups):
            mean = _sum_of_group(s, sums, 0, group) / size
            put(means, sample * s.groups + group, np.float32(mean))
            for f in range(s.fold):
                first = line + f * channels + group * s.members
                for j in range(first, first + s.members):
                    put(sums, j, mean)
        for i in range(s.chunks):
            count = np.float64(min(s.chunk, s.rows - i * s.chunk))
            at = (sample * s.chunks + i) * 2 * line
            for j in range(line):
                apart = np.float64(get(parts, at + j)) - get(sums, line + j)
                squares = np.float64(get(parts, at + line + j)) + count * (apart * apart)
                put(sums, 2 * line + j, get(sums, 2 * line + j) + squares)
        for group in range(s.groups):
            variance = _sum_of_group(s, sums, 2 * line, group) / size
            put(variances, sample * s.groups + group, np.float32(variance))
            scale = 1 / math.sqrt(variance + epsilon)
            _fill_forward(s, sample, group, scale, gamma, beta, sums, line, wide)


@part
def _fill_forward(
    s: Columns, sample: int, group: int, scale: float, gamma: Array, beta: Array, sums: Array,
    means: int, wide: Array,
) -> None:  # fmt: skip
    """Write the numbers of a group to the rows of a sample; its means are at sums[means:]."""
    channels = s.groups * s.members
    line = s.fold * channels
    for j in range(group * s.members, (group + 1) * s.members):
        own = scale * np.float64(get(gamma, j)) if gamma.size else scale
        shift = get(beta, j) if beta.size else np.float32(0)
        for to in range(sample * line + j, sample * line + line, channels):
            put(wide, to, np.float32(get(sums, means + j)))
            put(wide, to + s.batch * line, np.float32(own))
            put(wide, to + 2 * s.batch * line, shift)


@part
def _sum_of_group(s: Columns, sums: Array, start: int, group: int) -> float:
    """Return the sum of the columns of a group, whose sums are at sums[start:]."""
    total = 0.0
    for f in range(s.fold):
        first = start + (f * s.groups + group) * s.members
        for j in range(first, first + s.members):
            total += get(sums, j)
    return total


@part
def backward_rows(
    s: Columns, epsilon: float, centered: bool, parts: Array, means: Array, variances: Array,
    gamma: Array, gamma_grad: Array, beta_grad: Array, sums: Array, wide: Array,
) -> None:  # fmt: skip
    """Write the gradients of gamma and beta, and rows of numbers to `wide`.

    They are means, scales, slopes and shifts. Each chunk has three rows, its sums first.
    """
    channels = s.groups * s.members
    line, rows = s.fold * channels, s.batch * s.fold * channels
    size = np.float64(s.rows * s.fold * s.members)
    for j in range(4 * line):
        put(sums, j, 0.0)
    for sample in range(s.batch):
        for j in range(2 * line):
            put(sums, j, 0.0)
        for i in range(s.chunks):
            at = (sample * s.chunks + i) * 3 * line
            for j in range(2 * line):
                put(sums, j, get(sums, j) + np.float64(get(parts, at + j)))
        for group in range(s.groups):
            variance = np.float64(get(variances, sample * s.groups + group))
            scale = 1 / math.sqrt(variance + epsilon)
            grad_mean, product_mean = 0.0, 0.0
            for j in range(group * s.members, (group + 1) * s.members):
                grad, product = 0.0, 0.0
                for at in range(j, line, channels):
                    grad += get(sums, at)
                    product += get(sums, line + at)
                product *= scale
                put(sums, 2 * line + j, get(sums, 2 * line + j) + grad)
                put(sums, 3 * line + j, get(sums, 3 * line + j) + product)
                weight = np.float64(get(gamma, j)) if gamma.size else 1.0
                grad_mean += grad * weight
                product_mean += product * weight
            slope = np.float32(-scale * scale * (product_mean / size))
            shift = np.float32(-scale * (grad_mean / size) if centered else 0.0)
            mean = get(means, sample * s.groups + group) if centered else np.float32(0)
            for j in range(group * s.members, (group + 1) * s.members):
                own = scale * np.float64(get(gamma, j)) if gamma.size else scale
                for to in range(sample * line + j, sample * line + line, channels):
                    put(wide, to, mean)
                    put(wide, to + rows, np.float32(own))
                    put(wide, to + 2 * rows, slope)
                    put(wide, to + 3 * rows, shift)
    for j in range(channels):
        put(gamma_grad, j, np.float32(get(sums, 3 * line + j)))
        put(beta_grad, j, np.float32(get(sums, 2 * line + j)))
