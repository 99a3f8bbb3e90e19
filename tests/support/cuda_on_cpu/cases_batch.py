"""Cases of what a model is fed: gathered batches, and numbers rescaled."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def gather(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    batch: int,
    kind: str = "float64",
    **options: Any,
) -> Arguments:
    data = rng.normal(size=shape) if kind == "float64" else rng.integers(0, 100, shape)
    rows = rng.integers(0, max(1, shape[0]), batch)
    return [data.astype(kind), rows], options


def off_boundary(rng: np.random.Generator) -> Arguments:
    data = rng.normal(size=9 * 8 + 1)[1:].reshape(9, 8)
    return [data, np.array([8, 0, 3])], {}


def view(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(8, 9)).T, rng.integers(0, 9, 10)[::2]], {}


def repeated(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(4, 12)), np.array([3, 3, 0, 3])], {}


def rescale(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    kind: str = "float64",
    scale: float = 1 / 127.5,
    offset: float = -1.0,
    **options: Any,
) -> Arguments:
    x = rng.normal(size=shape) if kind == "float64" else rng.integers(0, 100, shape)
    return [x.astype(kind)], {"scale": scale, "offset": offset, **options}


def rescaled_view(rng: np.random.Generator, dtype: str) -> Arguments:
    x = rng.integers(0, 256, (9, 8, 3)).astype("uint8")
    return [x.transpose(2, 0, 1)[:, ::-1]], {"scale": 0.3, "dtype": dtype}


def rescaled_off_boundary(rng: np.random.Generator, dtype: str) -> Arguments:
    return [rng.integers(0, 256, 75).astype("uint8")[1:]], {"scale": 0.3, "dtype": dtype}


# Samples of single numbers, of an odd size, of whole vectors, and of more than a block's threads;
# batches of none, and of more than a block's samples.
SHAPES = [
    ((6,), 4),
    ((6,), 300),
    ((5, 3, 7), 4),
    ((5, 4, 4), 2),
    ((5, 4, 4), 70),
    ((3, 37, 31), 2),
    ((3, 40, 32), 3),
    ((5, 3), 0),
    ((5, 0), 2),
]

CASES = [
    *(
        Case("gather_batch", f"{shape}-{batch}", partial(gather, shape=shape, batch=batch),
             dtypes=ALL)
        for shape, batch in SHAPES
    ),
    *(
        Case("gather_batch", f"{shape}-{batch}-scaled",
             partial(gather, shape=shape, batch=batch, scale=0.3))
        for shape, batch in SHAPES
    ),
    *(
        Case("gather_batch", f"{kind}-{shape}", partial(gather, shape=shape, batch=6, kind=kind),
             dtypes=("float32",))
        for kind in INTEGERS
        for shape in ((9,), (4, 8, 8), (4, 5))
    ),
    *(
        Case("gather_batch", f"{kind}-{shape}-as-{dtype}",
             partial(gather, shape=shape, batch=6, kind=kind, dtype=dtype, scale=1 / 255),
             dtypes=(dtype,))
        for kind in ("bool", "uint8", "int64", "uint16")
        for shape in ((9,), (4, 28, 28), (4, 5))
        for dtype in ("float32", "float64")
    ),
    *(
        Case("rescale_forward", str(shape), partial(rescale, shape=shape), dtypes=ALL)
        for shape in ((), (0, 3), (1,), (7,), (3, 4, 4), (2, 9, 9, 3))
    ),
    # More than the grid has threads for: they go round again.
    Case("rescale_forward", "large", partial(rescale, shape=(70_003,))),
    *(
        Case("rescale_forward", f"{kind}-{shape}-as-{dtype}",
             partial(rescale, shape=shape, kind=kind, dtype=dtype), dtypes=(dtype,))
        for kind in INTEGERS
        for shape in ((3,), (5, 9, 9))
        for dtype in ("float32", "float64")
    ),
    *(
        Case("rescale_forward", f"{name}-as-{dtype}", partial(make, dtype=dtype), dtypes=(dtype,))
        for name, make in (("view", rescaled_view), ("off-boundary", rescaled_off_boundary))
        for dtype in ("float32", "float64")
    ),
    Case("gather_batch", "off-boundary", off_boundary, dtypes=ALL),
    Case("gather_batch", "view", view),
    Case("gather_batch", "repeated", repeated),
]  # fmt: skip
