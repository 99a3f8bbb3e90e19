"""Cases of what a training step does beside its layers; it has no twin, so NumPy's way is here."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.primitives.cuda import batch, step
from gpunet.primitives.cuda.step import Scored, Segment

from .cases import Arguments, Array, Case

# Weights with parts, of which the second fills blocks to the end; one without is looked at. The
# last ones have arrays of their own, as many as a launch takes.
SEGMENTS = (
    Segment(0, 300, 7, 400, 3),
    Segment(320, 512, 2000, 513, 5),
    Segment(832, 1, 5000, 1, 9),
    Segment(840, 70),
    *(Segment(920 + 8 * k, 5, k % 3, 7, 2, k) for k in range(1, step.MOST_ARRAYS)),
)
FLAT, PARTS, SMALL = 1200, 5100, 16

SINGLE = ("float32",)
NINE = [(16, "uint8"), (8, "uint8"), (4, "uint8"), (2, "uint8"), (1, "uint8"), (7, "int64"),
        (400, "float"), (3, "float"), (5, "int32")]  # fmt: skip


def finish_by_numpy(
    gradients: Array, parts: list[Array], segments: Any, failed: Array, *given: Any,
    **options: Any,
) -> None:  # fmt: skip
    for destination, size, first, stride, count, number in segments:
        if count:
            places = first + stride * np.arange(count)[:, None] + np.arange(size)
            gradients[destination : destination + size] = parts[number][places].sum(axis=0)
        found = gradients[destination : destination + size]
        # Here all is float64: large numbers are in cases whose element type lacks their squares.
        if not np.abs(found).max() <= np.sqrt(np.finfo(np.float32).max):
            failed[1] = 1
    if given:
        losses, weight, hits, totals, increments, counters = given
        totals += losses.sum() * weight, 0 if hits is None else hits.sum()
        counters += increments
        if not np.isfinite(losses).all():
            failed[0] = 1


def finish(gradients: Array, parts: list[Array], segments: Any, failed: Array, *given: Any) -> None:
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
    gradients, parts = rng.normal(size=FLAT), [rng.normal(size=PARTS)]
    parts += [rng.normal(size=SMALL) for _ in range(1, step.MOST_ARRAYS)]
    losses = rng.random(samples)
    if bad == "loss":
        losses[-1] = np.inf
    if bad == "gradient":
        gradients[901] = np.nan
    if bad.startswith("square"):
        gradients[901] = -2e19 if bad == "square" else 1e160
    if bad == "part":
        parts[0][2000 + 513 * 4 + 511] = np.inf
    arguments = [gradients, parts, SEGMENTS, np.zeros(3, np.int64)]
    if scored:
        hits = rng.integers(0, 2, samples).astype(np.uint8) if with_hits else None
        counters = np.arange(300)
        increments = rng.integers(0, 50, 300)
        arguments += [losses, 2, hits, np.array([3.0, 1.0]), increments, counters]
    return arguments, {}


def gather_by_numpy(arrays: list[Array], order: Array, position: Array, size: int) -> Any:
    rows = order[position[0] : position[0] + size]
    found = []
    for array in arrays:
        exists = (rows >= 0) & (rows < len(array))
        batch = np.full((size, *array.shape[1:]), np.nan if array.dtype.kind == "f" else -1)
        batch[exists] = array[rows[exists]]
        found.append(batch if array.dtype.kind == "f" else batch.astype(array.dtype))
    return found


def make_arrays(
    rng: np.random.Generator,
    samples: int,
    arrays: list[tuple[tuple[int, ...], str]],
    first: int,
    count: int,
    missing: bool = False,
) -> Arguments:
    """Return data of the given sample shapes and types, and which of their rows to take."""
    made = [
        rng.normal(size=(samples, *shape))
        if dtype == "float"
        else rng.integers(0, 200, (samples, *shape)).astype(dtype)
        for shape, dtype in arrays
    ]
    order = rng.permutation(samples)
    if missing:
        order[[first, first + count - 1]] = -1, samples
    return [made, order, np.array([first]), count], {}


def update_by_numpy(weights: Array, updates: Any, failed: Array) -> None:
    for destination, value, momentum in [] if failed[:2].any() else updates:
        kept = weights[destination : destination + value.size]
        kept[...] = kept * momentum + value.reshape(-1) * (1 - momentum) if momentum else value.flat


def make_updates(rng: np.random.Generator, count: int, failed: int = 2) -> Arguments:
    """Return new values of weights, of one element to several blocks of them."""
    sizes = [(3, 100), (1,), (256,), (), (5, 7)]
    updates, end = [], 1
    for number in range(count):
        value = rng.normal(size=sizes[number % len(sizes)])
        updates.append(step.Update(end, np.asarray(value), (0.0, 0.9, 0.5)[number % 3]))
        end += value.size + 2
    flags = np.zeros(3, np.int64)
    flags[failed] = 1
    weights = rng.normal(size=end)
    weights[1] = np.nan  # is not averaged in without momentum
    return [weights, updates, flags], {}


def _set(label: str, **options: Any) -> Case:
    return Case(
        "set_updates",
        label,
        partial(make_updates, **options),
        in_place=(0,),
        function=step.set_updates,
        oracle=update_by_numpy,
    )


def _finish(
    label: str,
    scored: bool = True,
    dtypes: tuple[str, ...] = ("float32", "float64"),
    **options: Any,
) -> Case:
    return Case(
        "finish_gradients",
        label,
        partial(make, scored=scored, **options),
        terms=9,
        in_place=(0, 3, 7, 9) if scored else (0, 3),
        dtypes=dtypes,
        function=finish,
        oracle=finish_by_numpy,
    )


def _gather(label: str, *given: Any, missing: bool = False, **options: Any) -> Case:
    samples, arrays, first, count = given
    return Case(
        "gather_batches",
        label,
        partial(make_arrays, samples=samples, arrays=arrays, first=first, count=count,
                missing=missing),
        function=batch.gather_batches,
        oracle=gather_by_numpy,
        **options,
    )  # fmt: skip


CASES = [
    _finish("gradients alone", scored=False),
    _finish("scored"),
    _finish("one sample, no hits", samples=1, with_hits=False),
    *(_finish(f"bad {bad}", bad=bad) for bad in ("loss", "gradient", "part")),
    _finish("bad square", bad="square", dtypes=SINGLE),
    _finish("bad square of float64", bad="square of float64", dtypes=("float64",)),
    _set("two", count=2),
    _set("more than a launch takes", count=step.MOST_ARRAYS + 3),
    _set("the loss failed", count=3, failed=0),
    _set("a gradient failed", count=3, failed=1),
    _gather("images", 50, [((28, 28, 1), "float"), ((10,), "float")], 20, 30),
    _gather("bytes", 9, [((5, 3), "uint8"), ((), "int64")], 0, 9, dtypes=SINGLE),
    _gather("labels longer", 9, [((2,), "float"), ((1030,), "float")], 8, 1),
    _gather("odd", 300, [((7,), "float"), ((1,), "int32")], 3, 290, dtypes=SINGLE),
    _gather("one array", 30, [((3,), "float")], 1, 20, dtypes=("float32", "float16")),
    _gather("with weights", 30, [((4, 5), "float"), ((3,), "uint8"), ((), "float")], 1, 20),
    # Samples of each width, and one array more than a launch takes.
    _gather("nine arrays", 20, [((size,), dtype) for size, dtype in NINE], 2, 15, dtypes=SINGLE),
    _gather("rows that do not exist", 20, [((3,), "float"), ((), "int32")], 4, 9, missing=True),
]
