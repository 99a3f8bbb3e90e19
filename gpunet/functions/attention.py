"""Scaled dot-product attention."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, differentiable

__all__ = ["dot_product_attention", "self_attention"]

Result = tuple[Array, Callable[[Array], Any]]


@differentiable
def dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
) -> Result:
    """Return softmax(scale * query @ key.T) @ value for each head, (batch, time, heads, depth).

    The scores are made in tiles: a matrix of all of them is never in memory, nor for the gradient.
    A query that sees no key gets the mean of all values; see `primitives.attention_forward`.

    Arguments:
        query: (batch, queries, heads, depth).
        key: (batch, keys, key_heads, depth); key_heads divides heads.
        value: (batch, keys, key_heads, value_depth).
        mask: bool (batch, heads, queries, keys), False where a key is hidden; any size may be 1. It
            has no gradient.
        scale: factor of the scores; 1 / sqrt(depth) by default.
        is_causal: hide keys at later positions than the query's.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> x = np.ones((2, 5, 4, 8), "float32")
    >>> dot_product_attention(x, x, x, is_causal=True).shape
    (2, 5, 4, 8)
    """
    options: dict[str, Any] = {"causal": is_causal, "scale": scale}
    y, log_sums = primitives.attention_forward(query, key, value, mask, **options)

    def backward(output_grad: Array) -> Any:
        grads = functools.cache(
            lambda: primitives.attention_backward(
                output_grad, query, key, value, y, log_sums, mask, **options
            )
        )
        return (lambda: grads()[0], lambda: grads()[1], lambda: grads()[2])

    return y, backward


@differentiable
def self_attention(
    x: Array,
    query_kernel: Array,
    key_kernel: Array,
    value_kernel: Array,
    query_bias: Array | None = None,
    key_bias: Array | None = None,
    value_bias: Array | None = None,
    mask: Array | None = None,
    *,
    is_causal: bool = False,
) -> Result:
    """Return `dot_product_attention` of three projections of one array, made together.

    Arguments:
        x: (batch, time, features).
        query_kernel: (features, heads, depth).
        key_kernel, value_kernel: (features, key_heads, depth) and (features, key_heads,
            value_depth).
        query_bias, key_bias, value_bias: of the shape of each kernel without its first axis, or
            None.
        mask, is_causal: as in `dot_product_attention`.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> kernel = np.ones((6, 2, 3), "float32")
    >>> self_attention(np.ones((1, 5, 6), "float32"), kernel, kernel, kernel).shape
    (1, 5, 2, 3)
    """
    kernels = query_kernel, key_kernel, value_kernel
    biases = query_bias, key_bias, value_bias
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    matrices = [kernel.reshape(len(kernel), -1) for kernel in kernels]
    shifts = [None if bias is None else bias.reshape(-1) for bias in biases]
    projected = primitives.dense_each(rows, matrices, shifts)
    query, key, value = (
        array.reshape(*x.shape[:-1], *kernel.shape[1:])
        for array, kernel in zip(projected, kernels, strict=True)
    )
    y, log_sums = primitives.attention_forward(query, key, value, mask, causal=is_causal)

    def backward(output_grad: Array) -> Any:
        grads = [
            grad.reshape(len(rows), -1)
            for grad in primitives.attention_backward(
                output_grad, query, key, value, y, log_sums, mask, causal=is_causal
            )
        ]

        def of_weights(number: int) -> Any:
            bias, kernel = biases[number], kernels[number]
            found = functools.cache(
                lambda: primitives.dense_backward_weight(
                    grads[number], rows, with_bias=bias is not None
                )
            )
            return (
                lambda: found()[0].reshape(kernel.shape),
                lambda: found()[1].reshape(bias.shape),  # type: ignore[union-attr]
            )

        pairs = [of_weights(number) for number in range(3)]
        return (
            lambda: primitives.dense_each_backward_input(grads, matrices).reshape(x.shape),
            *(of_kernel for of_kernel, _ in pairs),
            *(of_bias for _, of_bias in pairs),
        )

    return y, backward
