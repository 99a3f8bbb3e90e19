"""Cases of the gradient of an embedding."""

from __future__ import annotations

from functools import partial

import numpy as np

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")


def drawn(
    rng: np.random.Generator, shape: tuple[int, ...], rows: int, features: int, most: int = 0
) -> Arguments:
    indices = rng.integers(0, most or rows, shape)
    return [rng.normal(size=(*shape, features)), indices], {"rows": rows}


def views(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(4, 3, 5)).transpose(2, 1, 0), rng.integers(0, 7, (10, 3))[::2]], {
        "rows": 7
    }


CASES = [
    *(
        Case(
            "embedding_backward",
            f"{shape}-{rows}x{features}",
            partial(drawn, shape=shape, rows=rows, features=features),
            terms=max(1, 4 * int(np.prod(shape)) // max(1, rows)),
            dtypes=dtypes,
        )
        # Windows of 1 to 32 rows, some past the table's end, and columns past a warp's.
        for shape, rows, features, dtypes in (
            ((5, 7), 11, 33, ALL),
            ((70,), 3, 4, ("float32", "float64")),
            ((3, 40), 130, 32, ("float32", "float64")),
            ((200,), 700, 5, ALL),
            ((2, 3, 4), 1100, 1, ("float32",)),
            ((0, 3), 4, 2, ("float32",)),
            ((3,), 4, 0, ("float32",)),
            ((), 2, 3, ("float32",)),
        )
    ),
    # Nearly all samples choose one row.
    Case(
        "embedding_backward",
        "one-row",
        partial(drawn, shape=(300,), rows=50, features=40, most=2),
        terms=300,
    ),
    Case("embedding_backward", "views", views, terms=8),
]
