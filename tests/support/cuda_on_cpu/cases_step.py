"""Cases of what a training step does beside its layers; it has no twin, so NumPy's way is here."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives.cuda import batch, step
from gpunet.primitives.cuda.step import Scored, Segment

from .cases import Arguments, Array, Case

# Three weights with parts, of which the second fills blocks to the end; one without is looked at.
SEGMENTS = (
    Segment(0, 300, 7, 400, 3),
    Segment(320, 512, 2000, 513, 5),
    Segment(832, 1, 5000, 1, 9),
    Segment(840, 70),
)
FLAT, PARTS = 920, 5100


def finish_by_numpy(
    gradients: Array, parts: Array, segments: Any, failed: Array, *given: Any, **options: Any
) -> None:
    for destination, size, first, stride, count in segments:
        if count:
            places = first + stride * np.arange(count)[:, None] + np.arange(size)
            gradients[destination : destination + size] = parts[places].sum(axis=0)
        if not np.isfinite(gradients[destination : destination + size]).all():
            failed[1] = 1
    if given:
        losses, weight, hits, totals, increments, counters = given
        totals += losses.sum() * weight, 0 if hits is None else hits.sum()
        counters += increments
        if not np.isfinite(losses).all():
            failed[0] = 1


def finish(gradients: Array, parts: Array, segments: Any, failed: Array, *given: Any) -> None:
    if not given:
        step.finish_gradients(gradients, parts, segments, failed)
        return
    losses, weight, hits, totals, *counted = given
    # The harness rounds all that is floating: totals are float64 whatever is tried.
    wide = totals.astype(np.float64)
    step.finish_gradients(
        gradients, parts, segments, failed, Scored(losses, weight, hits, wide, *counted)
    )
    totals[...] = wide


def make(
    rng: np.random.Generator,
    scored: bool = True,
    samples: int = 300,
    with_hits: bool = True,
    bad: str = "",
) -> Arguments:
    gradients, parts = rng.normal(size=FLAT), rng.normal(size=PARTS)
    losses = rng.random(samples)
    if bad == "loss":
        losses[-1] = np.inf
    if bad == "gradient":
        gradients[901] = np.nan
    if bad == "part":
        parts[2000 + 513 * 4 + 511] = np.inf
    arguments = [gradients, parts, SEGMENTS, np.zeros(3, np.int64)]
    if scored:
        hits = rng.integers(0, 2, samples).astype(np.uint8) if with_hits else None
        counters = np.arange(300)
        increments = rng.integers(0, 50, 300)
        arguments += [losses, 2, hits, np.array([3.0, 1.0]), increments, counters]
    return arguments, {}


def gather_by_numpy(x: Array, y: Array, rows: Array, first: Array, count: int) -> Any:
    chosen = rows[first[0] : first[0] + count]
    return x[chosen], y[chosen]


def make_pair(rng: np.random.Generator, x: Any, y: Any, first: int, count: int) -> Arguments:
    """Return data of the shapes and types given, and which of their rows to take."""
    arrays = [
        rng.integers(0, 200, shape).astype(dtype) if dtype != "float" else rng.normal(size=shape)
        for shape, dtype in (x, y)
    ]
    return [*arrays, rng.permutation(len(arrays[0])), np.array([first]), count], {}


def _finish(label: str, scored: bool = True, **options: Any) -> Case:
    return Case(
        "finish_gradients",
        label,
        partial(make, scored=scored, **options),
        terms=9,
        in_place=(0, 3, 7, 9) if scored else (0, 3),
        function=finish,
        oracle=finish_by_numpy,
    )


def _pair(label: str, x: Any, y: Any, first: int, count: int, **options: Any) -> Case:
    return Case(
        "gather_pair",
        label,
        partial(make_pair, x=x, y=y, first=first, count=count),
        function=batch.gather_pair,
        oracle=gather_by_numpy,
        **options,
    )


CASES = [
    _finish("gradients alone", scored=False),
    _finish("scored"),
    _finish("one sample, no hits", samples=1, with_hits=False),
    *(_finish(f"bad {bad}", bad=bad) for bad in ("loss", "gradient", "part")),
    _pair("images", ((50, 28, 28, 1), "float"), ((50, 10), "float"), 20, 30),
    _pair("bytes", ((9, 5, 3), "uint8"), ((9,), "int64"), 0, 9, dtypes=("float32",)),
    _pair("labels longer", ((9, 2), "float"), ((9, 1030), "float"), 8, 1),
    _pair("odd", ((300, 7), "float"), ((300, 1), "int32"), 3, 290, dtypes=("float32",)),
]
