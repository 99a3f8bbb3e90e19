"""Scaled dot-product attention."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gpunet import primitives
from gpunet.autograd import Array, differentiable

__all__ = ["dot_product_attention"]

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
