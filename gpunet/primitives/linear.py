"""The matrix product, with bias and activation as one pass, and the gradient of a bias."""

from __future__ import annotations

from typing import Any

from gpunet.primitives.activation_table import Activation, as_fused
from gpunet.primitives.checks import check_matmul
from gpunet.primitives.twins import twins_of

__all__ = ["bias_backward", "matmul"]

Array = Any


def matmul(
    a: Array, b: Array, bias: Array | None = None, *,
    transpose_a: bool = False, transpose_b: bool = False,
    activation: str | Activation | None = None,
) -> Array:  # fmt: skip
    """Return ``activation(a @ b + bias)``.

    Arguments:
        a: (rows, inner), or (inner, rows) with `transpose_a`; or a stack of such matrices, with an
            axis before.
        b: (inner, columns), or (columns, inner) with `transpose_b`; a stack of as many if `a` is.
        bias: (columns,), or None.
        transpose_a: use the transpose of `a`, without copying it.
        transpose_b: likewise of `b`.
        activation: a name of `OUTPUT_ACTIVATIONS`, an `Activation` of such a name, or None.

    Raises:
        TypeError, ValueError: types or shapes do not fit, or the activation is unknown.

    >>> import numpy as np
    >>> matmul(np.ones((2, 3)), np.ones((3, 1)), np.array([0.5]))
    array([[3.5],
           [3.5]])
    """
    twins = twins_of("matmul", a, b, bias)
    check_matmul(a, b, bias, transpose_a, transpose_b)
    return twins.matmul(a, b, bias, transpose_a, transpose_b, as_fused(activation))


def bias_backward(output_grad: Array) -> Array:
    """Return the sum of `output_grad` (..., channels) over all axes but the last, (channels,).

    Raises:
        TypeError: `output_grad` is no array of floating-point numbers.

    >>> import numpy as np
    >>> bias_backward(np.ones((2, 3, 4)))
    array([6., 6., 6., 6.])
    """
    twins = twins_of("bias_backward", output_grad)
    return twins.bias_backward(output_grad)
