"""Convolution, bias, activation and max pooling as one, by the kernels of `products`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.checks import check_convolution, check_pooled_grad, check_same_dtype
from gpunet.primitives.fast import sparse
from gpunet.primitives.fast.convolution import (
    activated,
    add_weight_grads,
    before_activation,
    can,
    multiply,
    split_grads,
)
from gpunet.primitives.fast.memory import flat, scratch, scratch_ints, workspace
from gpunet.primitives.fast.plans import SparsePlan, plan, sparse_plan
from gpunet.primitives.fast.products import PANEL
from gpunet.primitives.fast.simd import LANES
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.shapes import Padding, Pool2DGeometry, Window, conv2d_max_pool_geometry

__all__ = [
    "conv2d_max_pool_backward_input",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_forward",
]

Array = Any


def conv2d_max_pool_forward(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
    pool_size: Window = 2,
) -> tuple[Array, Array]:
    """Return the pooled outputs and their indices; arguments as in the reference twin."""
    conv, pool = conv2d_max_pool_geometry(
        x.shape, kernel.shape, strides, padding, dilation, groups, pool_size
    )
    check_convolution(x, kernel, bias, activation)
    if not can(conv, x) or pool.index_dtype != "uint8":
        return reference.conv2d_max_pool_forward(
            x, kernel, bias, strides=strides, padding=padding, dilation=dilation, groups=groups,
            activation=activation, pool_size=pool_size,
        )  # fmt: skip
    y, indices = empty(pool.output_shape, x.dtype), _indices(pool)
    multiply(plan(conv, pool.pool_size, activation == "relu"), x, kernel, bias, y, indices)
    return activated(y, activation), indices


def _indices(pool: Pool2DGeometry) -> Array:
    if pool.pool_size == (1, 1):  # the kernel does not write what is always 0
        return np.zeros(pool.output_shape, np.uint8)
    return empty(pool.output_shape, np.uint8)


def conv2d_max_pool_backward_weight(
    output_grad: Array,
    indices: Array,
    x: Array,
    kernel_shape: tuple[int, ...],
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
    output: Array | None = None,
    pool_size: Window = 2,
    with_bias: bool = False,
) -> tuple[Array, Array | None]:
    """Return the gradients of the kernel and of the bias; arguments as in the reference twin."""
    conv, pool = conv2d_max_pool_geometry(
        x.shape, kernel_shape, strides, padding, dilation, groups, pool_size
    )
    check_same_dtype("conv2d_max_pool", x, output_grad=output_grad)
    check_pooled_grad(output_grad, indices, output, activation, pool)
    if not can(conv, x) or pool.index_dtype != "uint8":
        return reference.conv2d_max_pool_backward_weight(
            output_grad, indices, x, kernel_shape, strides=strides, padding=padding,
            dilation=dilation, groups=groups, activation=activation, output=output,
            pool_size=pool_size, with_bias=with_bias,
        )  # fmt: skip
    grad, output, relu = before_activation(output_grad, output, activation)
    p = sparse_plan(conv, pool.pool_size, relu)
    if p is None:
        dense = plan(conv, pool.pool_size, relu)
        return add_weight_grads(dense, kernel_shape, grad, output, indices, x, with_bias)
    return _sparse_weight_grads(p, kernel_shape, grad, output, indices, x, with_bias)


def _sparse_weight_grads(
    p: SparsePlan,
    kernel_shape: tuple[int, ...],
    output_grad: Array,
    output: Array,
    indices: Array,
    x: Array,
    with_bias: bool,
) -> tuple[Array, Array | None]:
    sizes = p.sizes
    parts = workspace("parts", p.chunks * sizes.filters * (sizes.patch + LANES))
    memory = scratch(sizes.scratch)
    run(
        sparse.weight_grad, p.chunks * -(-sizes.filters // PANEL), sizes, p.chunk, p.block, flat(x),
        flat(output_grad), flat(output), flat(indices), p.positions, p.segments, parts, memory,
        memory, scratch_ints(sizes.lists),
    )  # fmt: skip
    grads = np.empty((sizes.patch + 1) * sizes.filters, x.dtype)
    sparse.sum_parts(p.chunks, sizes.patch, sizes.filters, parts, grads)
    return split_grads(grads, kernel_shape, with_bias)


def conv2d_max_pool_backward_input(
    output_grad: Array,
    indices: Array,
    kernel: Array,
    input_shape: tuple[int, ...],
    *,
    strides: Window = 1,
    padding: Padding = "valid",
    dilation: Window = 1,
    groups: int = 1,
    activation: str | None = None,
    output: Array | None = None,
    pool_size: Window = 2,
) -> Array:
    """Return the gradient of the input; arguments as in the reference twin."""
    conv, pool = conv2d_max_pool_geometry(
        input_shape, kernel.shape, strides, padding, dilation, groups, pool_size
    )
    check_same_dtype("conv2d_max_pool", kernel, output_grad=output_grad)
    check_pooled_grad(output_grad, indices, output, activation, pool)
    fits = can(conv, kernel) and pool.index_dtype == "uint8"
    p = sparse_plan(conv, pool.pool_size, activation == "relu") if fits else None
    if p is None:
        return reference.conv2d_max_pool_backward_input(
            output_grad, indices, kernel, input_shape, strides=strides, padding=padding,
            dilation=dilation, groups=groups, activation=activation, output=output,
            pool_size=pool_size,
        )  # fmt: skip
    grad, output, _ = before_activation(output_grad, output, activation)
    weights = workspace("panels", kernel.size)  # (filters, patch)
    sparse.transpose(p.sizes.patch, p.sizes.filters, flat(kernel), weights, 0)
    input_grad = empty(input_shape, kernel.dtype)
    memory = scratch(p.sizes.scratch)
    run(
        sparse.input_grad, p.sizes.images, p.sizes, flat(grad), flat(output), flat(indices),
        weights, p.positions, p.segments, input_grad.reshape(-1), memory, memory,
        scratch_ints(p.sizes.lists),
    )  # fmt: skip
    return input_grad
