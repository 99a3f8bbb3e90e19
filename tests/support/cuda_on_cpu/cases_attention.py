"""Cases of scaled dot-product attention and its gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tests.support.doors import reference

from .cases import Arguments, Case

# Batch, queries, keys, heads, heads of keys, depth, depth of values; shape of the mask, causal.
SIZES: list[tuple[tuple[int, ...], tuple[int, ...] | None, bool]] = [
    ((2, 5, 7, 2, 2, 8, 8), None, False),
    ((1, 1, 1, 1, 1, 1, 1), None, True),
    ((2, 33, 40, 2, 1, 5, 3), None, True),  # one tile and a bit, one head of keys for two
    ((1, 70, 65, 4, 2, 33, 40), (1, 1, 1, 65), False),  # padding; past a slice of 32
    ((2, 40, 70, 2, 2, 4, 6), (2, 2, 40, 70), True),  # blind queries see what is behind, too
    ((1, 70, 34, 2, 1, 6, 4), (1, 1, 70, 1), True),
    ((1, 3, 2, 1, 1, 66, 130), None, False),  # past a slice of 64, and of 128
    ((0, 3, 2, 1, 1, 2, 2), None, False),
    ((1, 0, 2, 1, 1, 2, 2), None, False),
]


def forward(
    rng: np.random.Generator, sizes: tuple[int, ...], masked: Any, causal: bool
) -> Arguments:
    batch, queries, keys, heads, key_heads, depth, width = sizes
    arrays = [
        rng.normal(size=(batch, queries, heads, depth)),
        rng.normal(size=(batch, keys, key_heads, depth)),
        rng.normal(size=(batch, keys, key_heads, width)),
    ]
    mask = None
    if masked is not None:
        mask = rng.random(masked) < 0.5
        mask[:, :, 1::3] = mask[:, :, 1::3] & (masked[2] == 1)  # whole rows of queries are blind
    return [*arrays, mask], {"causal": causal, "scale": 1.5 / depth**0.5}


def backward(
    rng: np.random.Generator, sizes: tuple[int, ...], masked: Any, causal: bool
) -> Arguments:
    (query, key, value, mask), options = forward(rng, sizes, masked, causal)
    y, log_sums = reference.attention_forward(query, key, value, mask, **options)
    return [rng.normal(size=y.shape), query, key, value, y, log_sums, mask], options


def views(rng: np.random.Generator) -> Arguments:
    (query, key, value, _), options = forward(rng, (2, 9, 5, 2, 2, 6, 4), None, False)
    mask = (rng.random((5, 9, 2, 2)) < 0.7).T[:, :, :5, :]
    return [query[:, ::2], key[..., ::-1], value[..., ::3], mask], options


CASES = [
    *(
        Case(
            f"attention_{way}",
            f"{sizes}-{masked}-{causal}",
            partial(make, sizes=sizes, masked=masked, causal=causal),
            terms=terms,
        )
        for sizes, masked, causal in SIZES
        for way, make, terms in (
            ("forward", forward, sizes[5] + sizes[2]),
            # Errors of scores and of shares go into the gradients.
            ("backward", backward, 2 * (sizes[5] + sizes[6]) + sizes[1] + sizes[2]),
        )
    ),
    Case("attention_forward", "views", views, terms=11),
]
