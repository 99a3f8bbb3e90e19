"""Scaled dot-product attention by Numba: a task has one head of a sample, or some queries of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.primitives import reference
from gpunet.primitives.fast.attention_kernels import attend, attend_backward
from gpunet.primitives.fast.attention_tiles import (
    LINE,
    ROWS,
    STATE,
    STATES,
    TILE,
    Sizes,
)
from gpunet.primitives.fast.memory import flat, scratch
from gpunet.primitives.fast.products import PANEL
from gpunet.primitives.fast.threads import run
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.shapes import mask_steps

__all__ = ["attention_backward", "attention_forward"]

Array = Any

_NO_MASK = np.zeros(0, np.uint8)
_CHUNK = 4 * ROWS  # queries of a task: keys and values are packed once for each


def attention_forward(
    query: Array, key: Array, value: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """Return the output, and the logarithms of the sums of exponentials."""
    if query.dtype != np.float32:
        return reference.attention_forward(query, key, value, mask, causal, scale)
    sizes = _sizes(query, key, value, mask, causal)
    batch, queries, heads, _ = query.shape
    output = empty((batch, queries, heads, value.shape[-1]), np.float32)
    log_sums = np.empty((batch, heads, queries), np.float32)
    size = sizes.padded_keys * sizes.depth + sizes.keys * sizes.value_columns
    size += TILE * LINE + ROWS * sizes.value_columns + STATES + 2 * STATE
    memory = scratch(size)
    run(
        attend, batch * heads * -(-queries // _CHUNK), sizes, _CHUNK, np.float32(scale),
        flat(query), flat(key), flat(value), _flat_mask(mask), output.reshape(-1),
        log_sums.reshape(-1), memory, memory, size,
    )  # fmt: skip
    return output, log_sums


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
    if query.dtype != np.float32 or log_sums.dtype != np.float32:
        return reference.attention_backward(
            output_grad, query, key, value, output, log_sums, mask, causal, scale
        )
    sizes = _sizes(query, key, value, mask, causal)
    grads = [empty(x.shape, np.float32) for x in (query, key, value)]
    size = sizes.padded_keys * (sizes.depth + sizes.value_depth)
    size += sizes.keys * (2 * sizes.columns + sizes.value_columns)
    size += ROWS * (2 * LINE + 2 * sizes.columns + sizes.value_columns + 1)
    memory = scratch(size)
    run(
        attend_backward, sizes.batch * sizes.key_heads, sizes, np.float32(scale), flat(output_grad),
        flat(query), flat(key), flat(value), flat(output), flat(log_sums), _flat_mask(mask),
        *(grad.reshape(-1) for grad in grads), memory, memory, size,
    )  # fmt: skip
    return grads[0], grads[1], grads[2]


def _sizes(query: Array, key: Array, value: Array, mask: Array | None, causal: bool) -> Sizes:
    batch, queries, heads, depth = query.shape
    _, keys, key_heads, value_depth = value.shape
    steps = (0,) * 4 if mask is None else mask_steps(mask.shape)
    return Sizes(
        batch, heads, key_heads, queries, keys, depth, value_depth, _padded(keys), _padded(depth),
        _padded(value_depth), int(causal), int(mask is not None), *steps,
    )  # fmt: skip


def _padded(size: int) -> int:
    return -(-size // PANEL) * PANEL


def _flat_mask(mask: Array | None) -> Array:
    return _NO_MASK if mask is None else flat(mask).view(np.uint8)
