"""Gradients of the kernels of several convolutions and dense layers, by one launch.

The products of a small layer do not fill a device, and nothing reads them before the backward pass
has ended: so they wait for those of other layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda import convolution
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.cuda.tiling import Plan, plan_small_product, vector
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.launch import Kernel
from gpunet.primitives.partial_sums import defer

__all__ = ["later_parts_shape", "weight_parts_later"]

Array = Any

_KERNEL = Kernel("convolution.cu", "conv2d_backward_weights")

_MOST_PRODUCTS = 16  # of one launch
_MOST_BYTES = 4 << 20  # of the operands of a product, which stay in memory until it is made


class _Product(NamedTuple):
    """The operands of a product; `given` and the others are those of `backward_weight_parts`."""

    given: tuple[Array, Array | None]
    x: Array
    g: Conv2DGeometry
    activation: Activation | None
    with_bias: bool
    partial: Array


def later_parts_shape(
    outputs: int, x: Array, g: Conv2DGeometry, with_bias: bool
) -> tuple[int, int, int] | None:
    """Return the shape of the partial sums (parts, rows, filters) of a product that can wait.

    None if it is large, or has groups.

    Arguments:
        outputs: elements of the gradient of the output.
        x, g, with_bias: as in `convolution.backward_weight_parts`.
    """
    if g.groups > 1 or not 0 < outputs * x.itemsize + x.nbytes <= _MOST_BYTES:
        return None
    rows, filters = convolution.weight_shape(g, with_bias)
    return _plan(g, with_bias, x.dtype).splits, rows, filters


def weight_parts_later(
    given: tuple[Array, Array | None], x: Array, g: Conv2DGeometry,
    activation: Activation | None, with_bias: bool, partial: Array,
) -> None:  # fmt: skip
    """Write partial sums of a kernel's gradient with those of others, within `leaving_parts`.

    Arguments:
        given, x, g, activation, with_bias: as in `convolution.backward_weight_parts`.
        partial: of the shape `later_parts_shape`, changed.
    """
    product = _Product(given, launch.contiguous(x), g, activation, with_bias, partial)
    defer(_run, product)


def _plan(g: Conv2DGeometry, with_bias: bool, dtype: Any) -> Plan:
    rows, filters = convolution.weight_shape(g, with_bias)
    return plan_small_product(rows, filters, convolution.positions(g), dtype)


def _run(products: Sequence[_Product]) -> None:
    """Launch the products: those of equal types, activations and vectors together."""
    groups: dict[Any, list[_Product]] = {}
    for product in products:
        filters = product.g.kernel_shape[3]
        vectors = (
            vector(product.g.kernel_shape[2], product.x),
            vector(filters, *product.given),
            vector(filters, product.partial),
        )
        key = product.x.dtype, product.activation, vectors
        groups.setdefault(key, []).append(product)
    for (dtype, activation, vectors), listed in groups.items():
        for first in range(0, len(listed), _MOST_PRODUCTS):
            _launch(listed[first : first + _MOST_PRODUCTS], dtype, activation, vectors)


def _launch(
    products: Sequence[_Product], dtype: Any, activation: Activation | None,
    vectors: tuple[int, int, int],
) -> None:  # fmt: skip
    plans = [_plan(p.g, p.with_bias, dtype) for p in products]
    tiling = plans[0].tiling
    rows = tuple([(p.g, p.with_bias, plan) for p, plan in zip(products, plans, strict=True)])
    blocks, table = _table(rows)
    arrays = [array for p in products for array in (*p.given, p.x, p.partial)]
    arrays += [None] * (4 * (_MOST_PRODUCTS - len(products)))
    _KERNEL(
        blocks, tiling.threads, len(products), launch.constant(table), *arrays,
        types={"T": dtype}, PASS="WEIGHT_GRADS", ACTIVATION=activation_macro(activation),
        **tiling.macros, VECTOR_A=vectors[0], VECTOR_B=vectors[1], VECTOR_Y=vectors[2],
    )  # fmt: skip


@lru_cache(maxsize=256)
def _table(products: tuple[tuple[Conv2DGeometry, bool, Plan], ...]) -> tuple[int, bytes]:
    """Return how many blocks the products take, and the kernel's table of them."""
    rows, blocks = [], 0
    for g, with_bias, plan in products:
        rows.append([blocks, plan.chunk, int(with_bias), *convolution.sizes(g)])
        blocks += plan.tiles * plan.splits
    return blocks, np.array(rows, np.int64).tobytes()
