"""Cases of normally distributed numbers."""

from __future__ import annotations

from functools import partial

import numpy as np

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")


def drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> Arguments:
    return [np.zeros(shape), rng.integers(0, 2**64, 2, dtype=np.uint64)], {}


def strided_key(rng: np.random.Generator) -> Arguments:
    return [np.zeros(20), rng.integers(0, 2**64, 4, dtype=np.uint64)[::2]], {}


CASES = [
    # 1,003 elements leave a rest of a thread's 8, and an element without its pair.
    *(
        Case("normal_like", f"{shape}", partial(drawn, shape=shape), terms=8, dtypes=ALL)
        for shape in ((17, 59), (3,), (2, 3, 4))
    ),
    *(
        Case("normal_like", f"{shape}", partial(drawn, shape=shape), terms=8)
        for shape in ((1,), (0, 3), (140_001,))  # the last goes round the grid again
    ),
    Case("normal_like", "strided-key", strided_key, terms=8),
]
