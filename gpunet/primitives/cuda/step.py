"""The end of a training step's backward pass, as the kernel of kernels/step.cu."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives import launch
from gpunet.primitives.launch import Kernel
from gpunet.primitives.partial_sums import Parts

__all__ = [
    "MOST_ARRAYS", "NO_SCORES", "Scored", "Segment", "Update", "add_up", "finish_all",
    "finish_gradients", "segments_of", "set_updates",
]  # fmt: skip

Array = Any

_FINISH = Kernel("step.cu", "finish_gradients")
_SET = Kernel("step.cu", "set_updates")

MOST_ARRAYS = 32
"""Arrays of partial sums, or of new values, that one launch reads."""

_BLOCK = 256


class Segment(NamedTuple):
    """The place of a weight's gradient in the flat buffer, and of its partial sums, if any."""

    destination: int
    size: int
    first: int = 0
    stride: int = 0
    parts: int = 0
    array: int = 0  # the number of the array that the partial sums are in


class Update(NamedTuple):
    """A new value of a weight.

    Attributes:
        destination: the element of the flat buffer that the weight begins with.
        value: contiguous, of the buffer's type.
        momentum: the share of the value before that is kept, 0 for none.
    """

    destination: int
    value: Array
    momentum: float = 0.0


class Scored(NamedTuple):
    """Losses and hits of a batch, the totals they are added to, and counters.

    Attributes:
        losses: (samples,), or one number for the batch, in the weights' type.
        weight: how many samples each loss counts for.
        hits: (samples,) of uint8, whether each was classified right, or None.
        totals: float64 (2,), changed: the sum of the losses so far, and that of the hits.
        increments, counters: int64 (count,); the latter is changed.
    """

    losses: Array
    weight: int
    hits: Array | None
    totals: Array
    increments: Array
    counters: Array


NO_SCORES = Scored(None, 0, None, None, None, None)


def segments_of(parts: Sequence[tuple[int, Parts]]) -> tuple[list[Array], tuple[Segment, ...]]:
    """Return the arrays that hold partial sums of gradients, and the segments of these.

    Arguments:
        parts: each with its destination, an element of the flat buffer.
    """
    numbers: dict[int, int] = {}
    arrays: list[Array] = []
    segments = []
    for destination, part in parts:
        if id(part.buffer) not in numbers:
            numbers[id(part.buffer)] = len(arrays)
            arrays.append(part.buffer)
        size, number = math.prod(part.shape), numbers[id(part.buffer)]
        segments.append(Segment(destination, size, part.first, part.stride, part.count, number))
    return arrays, tuple(segments)


def finish_all(
    gradients: Array, parts: Sequence[tuple[int, Parts]], others: Sequence[Segment], failed: Array,
    scored: Scored = NO_SCORES,
) -> None:  # fmt: skip
    """Do as `finish_gradients` with partial sums in any number of arrays.

    Arguments:
        gradients, failed, scored: as there.
        parts: each with its destination.
        others: segments without partial sums.
    """
    arrays, segments = segments_of(parts)
    for first in range(MOST_ARRAYS, len(arrays), MOST_ARRAYS):
        numbers = range(first, min(first + MOST_ARRAYS, len(arrays)))
        some = [s._replace(array=s.array - first) for s in segments if s.array in numbers]
        finish_gradients(gradients, arrays[first : numbers.stop], tuple(some), failed)
    some = [*(s for s in segments if s.array < MOST_ARRAYS), *others] or [Segment(0, 0)]
    finish_gradients(gradients, arrays[:MOST_ARRAYS], tuple(some), failed, scored)


def finish_gradients(
    gradients: Array, arrays: Sequence[Array], segments: tuple[Segment, ...], failed: Array,
    scored: Scored = NO_SCORES,
) -> None:  # fmt: skip
    """Total partial sums into `gradients`, check that all is finite, and score the batch.

    Arguments:
        gradients: flat, changed.
        arrays: flat, those of the partial sums; at most `MOST_ARRAYS`.
        segments: at least one.
        failed: int64 (3,); its first element is set if a loss is not finite, its second if a
            gradient or its square is not.
        scored: the batch's losses and counters.
    """
    blocks, table = _table(segments)
    samples = 0 if scored.losses is None else scored.losses.size
    counters = 0 if scored.counters is None else scored.counters.size
    _FINISH(
        blocks + (samples > 0), _BLOCK, len(segments), launch.constant(table), gradients,
        samples, scored.weight, scored.losses, scored.hits, scored.totals,
        counters, scored.increments, scored.counters, failed, *_padded(arrays),
        types={"T": gradients.dtype},
    )  # fmt: skip


def set_updates(weights: Array, updates: Sequence[Update], failed: Array) -> None:
    """Set weights to new values, or average these in, unless a step has failed.

    Arguments:
        weights: flat, changed.
        updates: of different weights.
        failed: int64 (3,), as `finish_gradients` leaves it.
    """
    for first in range(0, len(updates), MOST_ARRAYS):
        some = updates[first : first + MOST_ARRAYS]
        segments = [
            Segment(update.destination, update.value.size, array=number)
            for number, update in enumerate(some)
        ]
        blocks, table = _table(tuple(segments))
        momenta = np.array([update.momentum for update in some]).tobytes()
        _SET(
            blocks, _BLOCK, len(some), launch.constant(table),
            launch.constant(momenta).view(np.float64), weights, failed,
            *_padded([update.value.reshape(-1) for update in some]), types={"T": weights.dtype},
        )  # fmt: skip


def _padded(arrays: Sequence[Array]) -> list[Array | None]:
    """Return the arrays of a launch, with None for those that are not there."""
    return [*arrays, *[None] * (MOST_ARRAYS - len(arrays))]


def add_up(parts: Parts) -> Array:
    """Return the total of partial sums."""
    total = launch.empty(parts.shape, parts.dtype)
    failed = launch.empty((3,), np.int64)  # ignored
    finish_all(total.reshape(-1), [(0, parts)], (), failed)
    return total


@lru_cache(maxsize=256)
def _table(segments: tuple[Segment, ...]) -> tuple[int, bytes]:
    """Return how many blocks the segments take, and the kernel's table of them."""
    blocks = [max(1, launch.ceil_div(segment.size, _BLOCK)) for segment in segments]
    first_blocks = np.cumsum([0, *blocks[:-1]])
    rows = [[first, *segment] for first, segment in zip(first_blocks, segments, strict=True)]
    return sum(blocks), np.array(rows, np.int64).tobytes()
