"""Scaled dot-product attention, by all scores at once."""

from __future__ import annotations

import numpy as np

from gpunet.fork import finish_before_fork
from gpunet.primitives.reference.blocks import Array

__all__ = ["HIDDEN", "attention_backward", "attention_forward"]

HIDDEN = -1e30
"""The score of a key that a query does not see: less than any other, and no infinity."""


def attention_forward(
    query: Array, key: Array, value: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """Return the output, and the logarithms of the sums of exponentials."""
    groups = query.shape[2] // key.shape[2]
    scores = _scores(query, key, mask, causal, scale)
    largest = scores.max(axis=-1, keepdims=True)
    np.exp(scores - largest, out=scores)
    sums = scores.sum(axis=-1, keepdims=True)
    output = _product(scores / sums, _by_head(value, groups))
    log_sums = (largest + np.log(sums))[..., 0]
    return np.ascontiguousarray(output.swapaxes(1, 2)), log_sums


def attention_backward(
    output_grad: Array,
    query: Array,
    key: Array,
    value: Array,
    output: Array,
    log_sums: Array,
    mask: Array | None,
    causal: bool,
    scale: float,
) -> tuple[Array, Array, Array]:
    """Return the gradients of query, key and value."""
    groups = query.shape[2] // key.shape[2]
    scores = _scores(query, key, mask, causal, scale)
    hidden = scores == HIDDEN
    shares = np.exp(np.where(hidden, -np.inf, scores - log_sums[..., None]))
    # Queries that see no key got the mean of all values.
    blind = log_sums[..., None] < HIDDEN / 2
    shares = np.where(blind, 1 / key.shape[1], shares).astype(query.dtype)
    grad = output_grad.swapaxes(1, 2)  # (batch, heads, queries, value_depth)
    share_grad = _product(grad, _by_head(value, groups).swapaxes(-1, -2))
    mean = (output_grad * output).sum(axis=-1).swapaxes(1, 2)[..., None]
    score_grad = np.where(hidden, 0, shares * (share_grad - mean)) * query.dtype.type(scale)
    query_grad = _product(score_grad, _by_head(key, groups))
    key_grad = _product(score_grad.swapaxes(-1, -2), query.swapaxes(1, 2))
    value_grad = _product(shares.swapaxes(-1, -2), grad)
    return (
        np.ascontiguousarray(query_grad.swapaxes(1, 2)),
        _of_groups(key_grad, groups),
        _of_groups(value_grad, groups),
    )


def _scores(query: Array, key: Array, mask: Array | None, causal: bool, scale: float) -> Array:
    """Return the scores (batch, heads, queries, keys), `HIDDEN` where a key is not seen."""
    groups = query.shape[2] // key.shape[2]
    scores = _product(query.swapaxes(1, 2), _by_head(key, groups).swapaxes(-1, -2))
    scores *= query.dtype.type(scale)
    if mask is not None:
        scores = np.where(mask, scores, query.dtype.type(HIDDEN))
    if causal:
        later = np.arange(scores.shape[-1]) > np.arange(scores.shape[-2])[:, None]
        scores = np.where(later, query.dtype.type(HIDDEN), scores)
    return scores


def _by_head(array: Array, groups: int) -> Array:
    """Return keys or values as (batch, heads, keys, depth), each head as often as it serves."""
    return np.repeat(array, groups, axis=2).swapaxes(1, 2)


def _of_groups(grad: Array, groups: int) -> Array:
    """Return gradients (batch, heads, keys, depth) summed over the heads that one serves."""
    batch, heads, keys, depth = grad.shape
    summed = grad.reshape(batch, heads // groups, groups, keys, depth).sum(axis=2)
    return np.ascontiguousarray(summed.swapaxes(1, 2))


def _product(a: Array, b: Array) -> Array:
    return finish_before_fork(np.matmul, a, b)
