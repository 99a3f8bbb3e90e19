"""Scaled dot-product attention as CUDA kernels, kernels/attention.cu."""

from __future__ import annotations

from typing import Any

from gpunet.primitives import launch
from gpunet.primitives.launch import Kernel
from gpunet.primitives.shapes import mask_steps

__all__ = ["attention_backward", "attention_forward"]

Array = Any

_FORWARD = Kernel("attention.cu", "attention_forward")
_QUERIES = Kernel("attention.cu", "attention_queries")
_KEYS = Kernel("attention.cu", "attention_keys")

_THREADS, _TILE = 128, 32
_SLICES = (32, 64, 128)  # columns that a block makes; the last one for sums of float32


def attention_forward(
    query: Array, key: Array, value: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """Return the output, and the logarithms of the sums of exponentials."""
    batch, queries, heads, _ = query.shape
    width = value.shape[-1]
    output = launch.empty((batch, queries, heads, width), query.dtype)
    log_sums = launch.empty((batch, heads, queries), launch.accumulator(query.dtype))
    piece = _slice(query.dtype, width)
    _FORWARD(
        # With no columns a block still makes the sums.
        (launch.ceil_div(queries, _TILE), batch * heads, max(1, launch.ceil_div(width, piece))),
        _THREADS,
        *_sizes(query, key, value, mask, causal, scale),
        *(launch.contiguous(x) for x in (query, key, value)),
        _bytes(mask),
        output,
        log_sums,
        types={"T": query.dtype},
        SLICE=piece,
    )
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
    batch, queries, heads, depth = query.shape
    _, keys, key_heads, width = value.shape
    query_grad, key_grad, value_grad = (
        launch.empty(x.shape, query.dtype) for x in (query, key, value)
    )
    means = launch.empty(log_sums.shape, log_sums.dtype)
    sizes = _sizes(query, key, value, mask, causal, scale)
    output_grad, query, key, value, output, log_sums = (
        launch.contiguous(x) for x in (output_grad, query, key, value, output, log_sums)
    )
    mask, types = _bytes(mask), {"T": query.dtype}
    piece = _slice(query.dtype, depth)
    _QUERIES(
        (launch.ceil_div(queries, _TILE), batch * heads, launch.ceil_div(depth, piece)),
        _THREADS, *sizes, output_grad, query, key, value, output, log_sums, mask, query_grad, means,
        types=types, SLICE=piece,
    )  # fmt: skip
    piece = _slice(query.dtype, max(depth, width))
    _KEYS(
        (launch.ceil_div(keys, _TILE), batch * key_heads,
         launch.ceil_div(max(depth, width), piece)),
        _THREADS, *sizes, output_grad, query, key, value, log_sums, means, mask, key_grad,
        value_grad, types=types, SLICE=piece,
    )  # fmt: skip
    return query_grad, key_grad, value_grad


def _slice(dtype: Any, columns: int) -> int:
    """Return how many columns a block makes: all, or as many as its memory allows."""
    most = len(_SLICES) if launch.accumulator(dtype).itemsize == 4 else len(_SLICES) - 1
    return next((size for size in _SLICES[:most] if size >= columns), _SLICES[most - 1])


def _sizes(
    query: Array, key: Array, value: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Any, ...]:
    """Return the sizes, options and steps of the mask, as the kernels take them."""
    _, queries, heads, depth = query.shape
    _, keys, key_heads, width = value.shape
    steps = (0,) * 4 if mask is None else mask_steps(mask.shape)
    return (heads, key_heads, queries, keys, depth, width, int(causal), scale, *steps)


def _bytes(mask: Array | None) -> Array | None:
    return None if mask is None else launch.contiguous(mask).view("u1")
