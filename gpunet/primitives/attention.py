"""Scaled dot-product attention, and its gradient, without a matrix of all scores in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunet.arguments import is_number
from gpunet.primitives.checks import check_same_dtype, check_shape
from gpunet.primitives.twins import twins_of

__all__ = ["attention_backward", "attention_forward"]

Array = Any


def attention_forward(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array]:
    """Return softmax(scale * query @ key.T) @ value for each head, and the logarithms of its sums.

    Queries see the keys that neither `mask` nor `causal` hides. A query that sees none gets the
    plain mean of all values, hidden ones included, as in Keras 3.15; its scores have no gradient.
    Keys and values may have fewer heads: each of these then serves as many heads of the queries, as
    in grouped-query attention. Formula: Vaswani et al., 2017; in tiles by an online softmax, Dao et
    al., 2022.

    Arguments:
        query: (batch, queries, heads, depth).
        key: (batch, keys, key_heads, depth), where key_heads divides heads.
        value: (batch, keys, key_heads, value_depth).
        mask: bool (batch, heads, queries, keys), False where a key is hidden; any size may be 1.
        causal: hide keys at later positions than the query's.
        scale: factor of the scores; 1 / sqrt(depth) by default.

    Returns:
        The output, (batch, queries, heads, value_depth), and for `attention_backward` the logarithm
        of each query's sum of exponentials, (batch, heads, queries), of the type of the sums.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> x = np.zeros((1, 2, 1, 4))
    >>> value = np.array([2.0, 4.0]).reshape(1, 2, 1, 1)
    >>> attention_forward(x, x, value)[0].ravel()
    array([3., 3.])
    >>> attention_forward(x, x, value, causal=True)[0].ravel()
    array([2., 3.])
    """
    twins = twins_of("attention_forward", query, key, value, mask)
    _check_heads(query, key, value)
    _check_mask(query, key, mask)
    return twins.attention_forward(query, key, value, mask, bool(causal), _scale(query, scale))


def attention_backward(
    output_grad: Array,
    query: Array,
    key: Array,
    value: Array,
    output: Array,
    log_sums: Array,
    mask: Array | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Array, Array, Array]:
    """Return the gradients of query, key and value, each of its shape.

    Arguments:
        output_grad: gradient of the output, of its shape.
        query, key, value, mask, causal, scale: as in `attention_forward`.
        output, log_sums: the results of `attention_forward`.

    Raises:
        TypeError, ValueError: types or shapes do not fit.

    >>> import numpy as np
    >>> x, value = np.zeros((1, 2, 1, 4)), np.ones((1, 2, 1, 1))
    >>> output, log_sums = attention_forward(x, x, value)
    >>> attention_backward(np.ones_like(output), x, x, value, output, log_sums)[2].ravel()
    array([1., 1.])
    """
    where = "attention_backward"
    twins = twins_of(where, output_grad, query, key, value, output, log_sums, mask)
    _check_heads(query, key, value)
    _check_mask(query, key, mask)
    check_same_dtype(where, query, output_grad=output_grad, output=output)
    expected = (*query.shape[:-1], value.shape[-1])
    check_shape(where, "output_grad", output_grad.shape, expected)
    check_shape(where, "output", output.shape, expected)
    batch, queries, heads, _ = query.shape
    check_shape(where, "log_sums", log_sums.shape, (batch, heads, queries))
    return twins.attention_backward(
        output_grad, query, key, value, output, log_sums, mask, bool(causal), _scale(query, scale)
    )


def _scale(query: Array, scale: float | None) -> float:
    if scale is None:
        return 1 / math.sqrt(query.shape[-1])
    if not is_number(scale) or not math.isfinite(scale):
        raise ValueError(f"attention: expected scale as one finite number, received {scale!r}.")
    return float(scale)


def _check_heads(query: Array, key: Array, value: Array) -> None:
    where = "attention"
    check_same_dtype(where, query, key=key, value=value)
    shapes = query.shape, key.shape, value.shape
    if any(len(shape) != 4 for shape in shapes) or shapes[0][-1] == 0:
        raise ValueError(
            f"{where}: expected query, key and value of shape (batch, time, heads, depth), "
            f"received {shapes[0]}, {shapes[1]} and {shapes[2]}."
        )
    (batch, _, heads, depth), (key_batch, keys, key_heads, key_depth), of_value = shapes
    if (key_batch, key_depth) != (batch, depth) or of_value[:3] != key.shape[:3] or keys == 0:
        raise ValueError(
            f"{where}: expected queries and keys of one batch and depth, and as many values as "
            f"keys, at least one, received query {shapes[0]}, key {shapes[1]}, value {of_value}."
        )
    if key_heads == 0 or heads % key_heads:
        raise ValueError(
            f"{where}: expected heads of the queries that those of the keys divide, received "
            f"{heads} and {key_heads}."
        )


def _check_mask(query: Array, key: Array, mask: Array | None) -> None:
    if mask is None:
        return
    full = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
    if mask.dtype != np.bool_:
        raise TypeError(
            f"attention: expected mask of bool, received {mask.dtype}: give mask != 0, or "
            "mask.astype(bool)."
        )
    sizes = mask.shape
    if len(sizes) != 4 or any(a not in (1, b) for a, b in zip(sizes, full, strict=True)):
        raise ValueError(
            f"attention: expected mask of shape (batch, heads, queries, keys), here {full}, with 1 "
            f"where it is the same for all, received {sizes}."
        )
