"""Convolution, bias, activation and max pooling as one, by the kernels of `products`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.fast import sparse
from gpunet.primitives.fast.convolution import (
    activated,
    add_weight_grads,
    before_activation,
    is_relu,
    multiply,
    split_grads,
    supports,
)
from gpunet.primitives.fast.memory import flat, scratch, scratch_ints, workspace
from gpunet.primitives.fast.plans import plan, sparse_plan
from gpunet.primitives.fast.products import PANEL, transpose
from gpunet.primitives.fast.simd import LANES
from gpunet.primitives.fast.threads import run
from gpunet.primitives.geometry import Conv2DGeometry, Pool2DGeometry
from gpunet.primitives.reference.memory import empty

__all__ = [
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
]

Array = Any


def conv2d_max_pool_forward(
    x: Array, kernel: Array, bias: Array | None, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the largest of each window, and its index."""
    if not _supports(conv, pool, x):
        return reference.conv2d_max_pool_forward(x, kernel, bias, conv, pool, activation)
    y, indices = empty(pool.output_shape, x.dtype), _indices(pool)
    multiply(plan(conv, pool.pool_size, is_relu(activation)), x, kernel, bias, y, indices)
    return activated(y, activation), indices


def _supports(conv: Conv2DGeometry, pool: Pool2DGeometry, x: Array) -> bool:
    return supports(conv, x) and pool.index_dtype == "uint8"


def _indices(pool: Pool2DGeometry) -> Array:
    if pool.pool_size == (1, 1):  # the kernel does not write what is always 0
        return np.zeros(pool.output_shape, np.uint8)
    return empty(pool.output_shape, np.uint8)


def conv2d_max_pool_backward_weight(
    output_grad: Array, indices: Array, x: Array, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None, output: Array | None, with_bias: bool,
) -> tuple[Array, Array | None]:  # fmt: skip
    """Return the gradients of the kernel and of the bias."""
    if not _supports(conv, pool, x):
        return reference.conv2d_max_pool_backward_weight(
            output_grad, indices, x, conv, pool, activation, output, with_bias
        )
    grad, output, relu = before_activation(output_grad, output, activation)
    p = sparse_plan(conv, pool.pool_size, relu)
    if p is None:
        dense = plan(conv, pool.pool_size, relu)
        return add_weight_grads(dense, conv.kernel_shape, grad, output, indices, x, with_bias)
    sizes = p.sizes
    parts = workspace("parts", p.chunks * sizes.filters * (sizes.patch + LANES))
    memory = scratch(sizes.scratch)
    run(
        sparse.weight_grad, p.chunks * -(-sizes.filters // PANEL), sizes, p.chunk, p.block, flat(x),
        flat(grad), flat(output), flat(indices), p.positions, p.segments, parts, memory, memory,
        scratch_ints(sizes.lists),
    )  # fmt: skip
    grads = np.empty((sizes.patch + 1) * sizes.filters, x.dtype)
    sparse.sum_parts(p.chunks, sizes.patch, sizes.filters, parts, grads)
    return split_grads(grads, conv.kernel_shape, with_bias)


def conv2d_max_pool_backward_input(
    output_grad: Array, indices: Array, kernel: Array, conv: Conv2DGeometry, pool: Pool2DGeometry,
    activation: Activation | None, output: Array | None,
) -> Array:  # fmt: skip
    """Return the gradient of the input."""
    supported = _supports(conv, pool, kernel)
    p = sparse_plan(conv, pool.pool_size, is_relu(activation)) if supported else None
    if p is None:
        return reference.conv2d_max_pool_backward_input(
            output_grad, indices, kernel, conv, pool, activation, output
        )
    grad, output, _ = before_activation(output_grad, output, activation)
    weights = workspace("panels", kernel.size)  # (filters, patch)
    transpose(p.sizes.patch, p.sizes.filters, flat(kernel), weights, 0)
    input_grad = empty(conv.input_shape, kernel.dtype)
    memory = scratch(p.sizes.scratch)
    run(
        sparse.input_grad, p.sizes.images, p.sizes, flat(grad), flat(output), flat(indices),
        weights, p.positions, p.segments, input_grad.reshape(-1), memory, memory,
        scratch_ints(p.sizes.lists),
    )  # fmt: skip
    return input_grad
