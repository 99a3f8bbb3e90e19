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

__all__ = ["NO_SCORES", "Scored", "Segment", "add_up", "finish_gradients", "segments_of"]

Array = Any

_FINISH = Kernel("step.cu", "finish_gradients")

_BLOCK = 256


class Segment(NamedTuple):
    """The place of a weight's gradient in the flat buffer, and of its partial sums, if any."""

    destination: int
    size: int
    first: int = 0
    stride: int = 0
    parts: int = 0


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


def segments_of(parts: Sequence[tuple[int, Parts]]) -> tuple[Segment, ...]:
    """Return the segments of gradients whose partial sums are in one buffer.

    Arguments:
        parts: each with its destination, an element of the flat buffer.
    """
    return tuple(
        Segment(destination, math.prod(part.shape), part.first, part.stride, part.count)
        for destination, part in parts
    )


def finish_gradients(
    gradients: Array, parts: Array | None, segments: tuple[Segment, ...], failed: Array,
    scored: Scored = NO_SCORES,
) -> None:  # fmt: skip
    """Total partial sums into `gradients`, check that all is finite, and score the batch.

    Arguments:
        gradients: flat, changed.
        parts: the buffer of the partial sums; None if there are none.
        segments: at least one.
        failed: int64 (3,); its first element is set if a loss is not finite, its second if a
            gradient or its square is not.
        scored: the batch's losses and counters.
    """
    blocks, table = _table(segments)
    samples = 0 if scored.losses is None else scored.losses.size
    counters = 0 if scored.counters is None else scored.counters.size
    _FINISH(
        blocks + (samples > 0), _BLOCK, len(segments), launch.constant(table), parts, gradients,
        samples, scored.weight, scored.losses, scored.hits, scored.totals,
        counters, scored.increments, scored.counters, failed, types={"T": gradients.dtype},
    )  # fmt: skip


def add_up(parts: Parts) -> Array:
    """Return the total of partial sums."""
    total = launch.empty(parts.shape, parts.dtype)
    failed = launch.empty((3,), np.int64)  # ignored
    finish_gradients(total.reshape(-1), parts.buffer, segments_of([(0, parts)]), failed)
    return total


@lru_cache(maxsize=256)
def _table(segments: tuple[Segment, ...]) -> tuple[int, bytes]:
    """Return how many blocks the segments take, and the kernel's table of them."""
    blocks = [max(1, launch.ceil_div(segment.size, _BLOCK)) for segment in segments]
    first_blocks = np.cumsum([0, *blocks[:-1]])
    rows = [[first, *segment] for first, segment in zip(first_blocks, segments, strict=True)]
    return sum(blocks), np.array(rows, np.int64).tobytes()
