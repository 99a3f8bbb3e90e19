"""Cases of dropout."""

from __future__ import annotations

from functools import partial

import numpy as np

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")


def dropout(
    rng: np.random.Generator, shape: tuple[int, ...], rate: float, infinite: bool = False
) -> Arguments:
    key = rng.integers(0, 2**64, 2, dtype=np.uint64)
    x = np.full(shape, np.inf) if infinite else rng.normal(size=shape)
    return [x, key], {"rate": rate}


def view(rng: np.random.Generator) -> Arguments:
    (_, key), options = dropout(rng, (), 0.5)
    return [rng.normal(size=(9, 16)).T[::2], key], options


def off_boundary(rng: np.random.Generator) -> Arguments:
    (_, key), options = dropout(rng, (), 0.5)
    return [rng.normal(size=1002)[1:], key], options


def strided_key(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=20), rng.integers(0, 2**64, 4, dtype=np.uint64)[::2]], {"rate": 0.5}


CASES = [
    # 1,003 elements leave a rest of a thread's 8, and 3 are fewer.
    *(
        Case(
            f"dropout_{way}",
            f"{shape}-{rate}",
            partial(dropout, shape=shape, rate=rate),
            dtypes=ALL,
        )
        for way in ("forward", "backward")
        for shape in ((17, 59), (3,), (2, 3, 4))
        for rate in (0.5, 0.1)
    ),
    *(
        Case("dropout_forward", f"rate={rate}", partial(dropout, shape=(8, 9), rate=rate))
        for rate in (0.0, 2**-33, 1 - 2**-53, 1.0)
    ),
    *(
        Case("dropout_forward", f"{shape}", partial(dropout, shape=shape, rate=0.25))
        for shape in ((1,), (0, 3), (140_001,))  # the last goes round the grid again
    ),
    Case("dropout_forward", "infinite", partial(dropout, shape=(50,), rate=0.5, infinite=True)),
    Case("dropout_forward", "view", view),
    Case("dropout_forward", "off-boundary", off_boundary, dtypes=ALL),
    Case("dropout_forward", "strided-key", strided_key),
]
