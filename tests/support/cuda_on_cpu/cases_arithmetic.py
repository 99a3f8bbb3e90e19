"""Cases of sums of arrays, which CuPy adds."""

from __future__ import annotations

from functools import partial

import numpy as np

from .cases import Arguments, Case


def two(rng: np.random.Generator, x: tuple[int, ...], y: tuple[int, ...]) -> Arguments:
    return [rng.normal(size=x), rng.normal(size=y)], {}


CASES = [
    Case("add", f"{x}-{y}", partial(two, x=x, y=y))
    for x, y in (((7, 5), (7, 5)), ((2, 3, 4), (4,)), ((0, 3), (3,)))
]
