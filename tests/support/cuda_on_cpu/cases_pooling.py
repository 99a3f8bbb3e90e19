"""Cases of the poolings."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives.geometry import pool2d_geometry
from tests.support.doors import reference

from .cases import Arguments, Case

ALL = ("float32", "float64", "float16", "bfloat16")
Options = dict[str, Any]

# (batch, height, width, channels) and options. Channels fill whole vectors, or do not.
SHAPES: list[tuple[tuple[int, ...], Options]] = [
    ((2, 6, 8, 16), {"pool_size": 2}),
    ((3, 7, 5, 4), {"pool_size": 2}),  # pixels after the last window
    ((2, 9, 7, 8), {"pool_size": 2, "padding": "same"}),
    ((1, 1, 1, 1), {"pool_size": 1}),
    ((1, 1, 1, 3), {"pool_size": 2, "padding": 1}),
    ((2, 6, 5, 3), {"pool_size": 2, "strides": 1}),
    ((2, 7, 9, 8), {"pool_size": 3, "strides": 2, "padding": 1}),
    ((2, 9, 11, 2), {"pool_size": 3}),
    ((2, 7, 8, 6), {"pool_size": 2, "strides": 3}),  # pixels between windows
    ((1, 9, 8, 5), {"pool_size": (4, 2), "strides": (3, 4), "padding": ((1, 2), (0, 1))}),
    ((1, 12, 9, 3), {"pool_size": (4, 1), "strides": (4, 5)}),
    ((1, 9, 40, 1), {"pool_size": (2, 3), "strides": (1, 30)}),  # apart in one direction
    ((1, 24, 9, 1), {"pool_size": (2, 1), "strides": (13, 5)}),  # cells too large for a thread
    ((2, 20, 19, 2), {"pool_size": (17, 19)}),  # more than 256 elements
    ((0, 4, 4, 3), {"pool_size": 2}),
    ((0, 4, 4, 4), {"pool_size": 3, "strides": 1}),
]
ROUNDED: list[tuple[tuple[int, ...], Options]] = [SHAPES[0], SHAPES[5], SHAPES[6], SHAPES[13]]
LARGE: tuple[tuple[int, ...], Options] = ((3, 65, 66, 32), {"pool_size": 2})  # many blocks


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of which many are equal."""
    return np.where(rng.random(shape) < 0.5, rng.integers(-1, 2, shape), rng.normal(size=shape))


def forward(rng: np.random.Generator, shape: tuple[int, ...], options: Options) -> Arguments:
    return [numbers(rng, shape)], options


def backward(
    rng: np.random.Generator, kind: str, shape: tuple[int, ...], options: Options
) -> Arguments:
    result = getattr(reference, f"{kind}_pool2d_forward")(numbers(rng, shape), **options)
    saved = [result[1]] if kind == "max" else []
    output_shape = pool2d_geometry(shape, **options).output_shape
    return [rng.normal(size=output_shape), *saved, shape], options


def strided_forward(rng: np.random.Generator) -> Arguments:
    return [rng.normal(size=(2, 4, 9, 8)).transpose(0, 3, 2, 1)[:, ::-1]], {"pool_size": 2}


def strided_backward(rng: np.random.Generator) -> Arguments:
    (x,), options = strided_forward(rng)
    _, indices = reference.max_pool2d_forward(x, **options)
    output_grad = rng.normal(size=indices.shape[::-1]).T
    return [output_grad, np.asfortranarray(indices), x.shape], options


def windows_of_a_pixel(shape: tuple[int, ...], options: Options) -> int:
    """Return how many windows the sum of a gradient has, at most."""
    g = pool2d_geometry(shape, **options)
    return math.prod(-(-size // step) for size, step in zip(g.pool_size, g.strides, strict=True))


def cases_of(shape: tuple[int, ...], options: Options, dtypes: tuple[str, ...]) -> list[Case]:
    label = f"{shape}-{options}"
    g = pool2d_geometry(shape, **options)
    make = partial(forward, shape=shape, options=options)
    terms = windows_of_a_pixel(shape, options)
    return [
        Case("max_pool2d_forward", label, make, dtypes=dtypes),
        Case("average_pool2d_forward", label, make, math.prod(g.pool_size), dtypes=dtypes),
        *(
            Case(
                f"{kind}_pool2d_backward",
                label,
                partial(backward, kind=kind, shape=shape, options=options),
                terms,
                dtypes=dtypes,
            )
            for kind in ("max", "average")
        ),
    ]


CASES = [
    *(
        case
        for shape, options in SHAPES
        for case in cases_of(
            shape, options, ALL if (shape, options) in ROUNDED else ("float32", "float64")
        )
    ),
    *cases_of(*LARGE, dtypes=("float32",)),
    Case("max_pool2d_forward", "views", strided_forward),
    Case("average_pool2d_forward", "views", strided_forward, 4),
    Case("max_pool2d_backward", "views", strided_backward),
]
