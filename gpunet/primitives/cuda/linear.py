"""The matrix product as a CUDA kernel."""

from __future__ import annotations

import math
from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda.activation import activation_macro
from gpunet.primitives.cuda.tiling import finish, new_partial, plan_product, vector
from gpunet.primitives.launch import Kernel
from gpunet.primitives.shapes import matmul_sizes

__all__ = ["matmul"]

Array = Any

_MATMUL = Kernel("matmul.cu", "matmul")


def matmul(
    a: Array, b: Array, bias: Array | None, transpose_a: bool, transpose_b: bool,
    activation: Activation | None,
) -> Array:  # fmt: skip
    """Return ``activation(a @ b + bias)``."""
    rows, columns, inner = matmul_sizes(a.shape, b.shape, transpose_a, transpose_b)
    stack = a.shape[:-2]  # () for two matrices
    matrices = math.prod(stack)
    a, b = launch.contiguous(a), launch.contiguous(b)
    bias = None if bias is None else launch.contiguous(bias)
    y = launch.empty((*stack, rows, columns), a.dtype)
    vector_a = vector(a.shape[-1], a)
    plan = plan_product(rows, columns, inner, matrices, a.dtype, vector_a)
    partial = new_partial(plan, y.shape, a.dtype)
    _MATMUL(
        (plan.tiles * matrices, plan.splits), plan.tiling.threads,
        matrices, rows, columns, inner, plan.chunk, a, b, bias, y, partial,
        types={"T": a.dtype}, **plan.tiling.macros, VECTOR_A=vector_a,
        VECTOR_B=vector(b.shape[-1], b), VECTOR_Y=vector(columns, y, partial),
        TRANSPOSE_A=int(transpose_a), TRANSPOSE_B=int(transpose_b),
        ACTIVATION=activation_macro(activation),
    )  # fmt: skip
    finish(partial, y, bias, activation)
    return y
