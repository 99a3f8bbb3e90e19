"""Attention by Numba against the reference in float64: drawn sizes, masks and extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.doors import Doors, reference
from tests.support.fast_arrays import numbers

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))

CHECKED = ("attention_backward", "attention_forward")

# Scores are sums of at most 40 products of numbers below 3, right to 40 * 2**-24 * 360 = 9e-4 at
# worst and by far less in fact; exponentials have that as a relative error. Errors seen: 1e-5.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-4}


def wide(*arrays: Any) -> list[Any]:
    return [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]


@given(
    times=st.tuples(*[st.sampled_from([1, 2, 7, 47, 49, 66, 130, 200])] * 2),
    heads=st.sampled_from([(1, 1), (4, 2), (3, 1), (2, 2)]),
    depths=st.tuples(*[st.sampled_from([1, 5, 16, 33, 40])] * 2),
    batch=st.integers(0, 2),
    mask=st.sampled_from([None, (0, 0, 0, 1), (1, 0, 0, 1), (1, 1, 1, 1), (0, 0, 1, 0)]),
    share=st.sampled_from([0.02, 0.5, 0.98]),
    causal=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_values_and_gradients(
    times: tuple[int, int],
    heads: tuple[int, int],
    depths: tuple[int, int],
    batch: int,
    mask: tuple[int, ...] | None,
    share: float,
    causal: bool,
    seed: int,
) -> None:
    (queries, keys), (of_queries, of_keys), (depth, width) = times, heads, depths
    shape = (batch, of_queries, queries, keys)
    seen = None
    if mask is not None:
        sizes = [n if there else 1 for n, there in zip(shape, mask, strict=True)]
        seen = np.random.default_rng(seed).random(sizes) < share
    arrays = [
        np.clip(numbers(seed + i, size), -3, 3)
        for i, size in enumerate(
            [
                (batch, queries, of_queries, depth),
                (batch, keys, of_keys, depth),
                (batch, keys, of_keys, width),
                (batch, queries, of_queries, width),
            ]
        )
    ]
    *inputs, grad = arrays
    found = fast.attention_forward(*inputs, seen, causal=causal)
    expected = reference.attention_forward(*wide(*inputs), seen, causal=causal)
    for ours, oracle in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, oracle, **TOLERANCE)
    ours = fast.attention_backward(grad, *inputs, *found, seen, causal=causal)
    oracle = reference.attention_backward(*wide(grad, *inputs), *expected, seen, causal=causal)
    scale = max(1, queries * of_queries // of_keys) ** 0.5  # so many terms, of either sign
    for one, other in zip(ours, oracle, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4 * scale)


def test_scores_of_any_size_stay_finite() -> None:
    query = np.full((1, 60, 1, 4), 1e4, np.float32)
    key = np.linspace(-1e4, 1e4, 70, dtype=np.float32)[None, :, None, None] * np.ones(4, "f4")
    value = np.arange(70, dtype=np.float32).reshape(1, 70, 1, 1)
    y, log_sums = fast.attention_forward(query, key, value)
    assert y.ravel().tolist() == [69] * 60
    assert np.isfinite(log_sums).all()
    grads = fast.attention_backward(np.ones_like(y), query, key, value, y, log_sums)
    assert all(np.isfinite(grad).all() for grad in grads)
    assert grads[2].ravel()[-1] == 60


def test_nan_stays_with_its_queries() -> None:
    query, key, value = (
        numbers(0, (1, 60, 1, 4)),
        numbers(1, (1, 70, 1, 4)),
        numbers(2, (1, 70, 1, 3)),
    )
    query[0, 50, 0, 1] = np.nan
    y, _ = fast.attention_forward(query, key, value)
    assert np.isnan(y).any(axis=(0, 2, 3)).nonzero()[0].tolist() == [50]
    key[0, 66] = np.nan
    y, _ = fast.attention_forward(query, key, value, causal=True)
    assert np.isnan(y).any(axis=(0, 2, 3)).nonzero()[0].tolist() == [50]
    assert np.isnan(fast.attention_forward(query, key, value)[0]).all()
