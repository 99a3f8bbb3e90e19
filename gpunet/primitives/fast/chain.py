"""Convolutions, pools and dense layers one after another, saving all outputs for the gradients.

A thread takes some images through all layers while what is between them is in its cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpunet.primitives.fast import activation, conv_pool, convolution, linear, softmax
from gpunet.primitives.fast.bands import FIELDS, PANEL, Sizes, sizes_at
from gpunet.primitives.fast.compile import Bytes, Floats, FloatsIn, Ints, IntsIn, kernel
from gpunet.primitives.fast.convolution import is_relu
from gpunet.primitives.fast.memory import flat, workspace
from gpunet.primitives.fast.plans import plan
from gpunet.primitives.fast.products import outputs
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import get
from gpunet.primitives.fast.threads import run, thread_count
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.stages import LARGE_STAGE, ChainGeometry, Operations, Stage

__all__ = [
    "CACHED",
    "OPERATIONS",
    "forward_all",
    "image_sizes",
    "relus_of",
]

Array = Any
Table = NDArray[np.int64]

CACHED = 1 << 16  # floats of activations that a thread works on, half of a level-2 cache
_MOST = 256  # images at a time, however small they are

OPERATIONS = Operations.of(activation, conv_pool, convolution, linear, softmax)


class _Plan(NamedTuple):
    block: int  # images at a time
    sizes: list[Sizes]  # of each stage
    table: Table  # the numbers of these, one after another
    kept: Table  # for each stage: floats of an image's outputs, of all before it, indices likewise
    positions: Table
    segments: Table
    weights: int  # floats of all panels
    biases: int
    products: int  # floats of the scratch memory of the stage that needs most


def relus_of(x: Array, stages: Sequence[Stage]) -> tuple[bool, ...] | None:
    """Return for each stage whether it has relu; None where the kernels of chains do not fit."""
    if x.dtype != np.float32 or not x.size:
        return None
    relus = []
    for stage in stages:
        relus.append(is_relu(stage.activation))
        if stage.kernel.size > LARGE_STAGE or not (relus[-1] or stage.activation is None):
            return None
    return tuple(relus)


def image_sizes(g: ChainGeometry) -> list[int]:
    """Return the numbers in an image, and in its output of each stage."""
    shapes = [g.stages[0].conv.input_shape, *[stage.output_shape for stage in g.stages]]
    return [math.prod(shape[1:]) for shape in shapes]


def forward_all(
    x: Array, stages: Sequence[Stage], g: ChainGeometry, relus: tuple[bool, ...], indices: Array,
    floats: int,
) -> Array:  # fmt: skip
    """Run the stages; return the outputs of all, one after another.

    Arguments:
        x: (batch, ...).
        stages: in turn.
        g: the geometry.
        relus: for each stage whether it has relu.
        indices: for the indices of the maxima of all stages.
        floats: of all outputs.
    """
    threads = thread_count()
    p = _plan(g, relus, min(-(-len(x) // threads), _MOST))
    panels, biases = workspace("panels", p.weights), workspace("biases", p.biases)
    for sizes, stage in zip(p.sizes, stages, strict=True):
        convolution.pack_weights(sizes, stage.kernel, stage.bias, panels, biases)
    memory = empty((floats + threads * p.products,), x.dtype)
    run(
        _chain, -(-len(x) // p.block), len(x), p.block, floats, p.products, len(stages), p.table,
        p.kept, flat(x), panels, biases, p.positions, p.segments, memory, memory, indices,
    )  # fmt: skip
    return memory


@lru_cache(maxsize=64)
def _plan(g: ChainGeometry, relus: tuple[bool, ...], most: int) -> _Plan:
    """Return the plan for at most `most` images at a time."""
    image = image_sizes(g)
    largest = max(image)
    block = max(1, min(CACHED // (2 * largest), most))
    rows, positions, segments, kept = [], [], [], []
    place = segment = weight = bias = scratch = floats = indices = 0
    for geometry, size, relu in zip(g.stages, image[1:], relus, strict=True):
        stage = plan(geometry.conv.for_images(block), geometry.pool.pool_size, relu)
        sizes = stage.sizes._replace(
            first_position=place, first_segment=segment, first_weight=weight, first_bias=bias
        )  # fmt: skip
        rows.append(sizes)
        positions.append(stage.positions)
        segments.append(stage.segments)
        place += stage.positions.size
        segment += stage.segments.size
        weight += stage.weights
        bias += stage.panels * PANEL
        scratch = max(scratch, sizes.scratch)
        kept.append((size, floats, indices))
        floats += size
        indices += size if sizes.indexed else 0
    table, outputs_kept = (np.array(numbers, np.int64).reshape(-1) for numbers in (rows, kept))
    return _Plan(
        block, rows, table, outputs_kept, np.concatenate(positions), np.concatenate(segments),
        weight, bias, scratch,
    )  # fmt: skip


@kernel
def _chain(
    counters: Ints, tasks: int, worker: int,
    images: int, block: int, floats: int, products: int, stages: int, table: IntsIn, keep: IntsIn,
    x: FloatsIn, panels: FloatsIn, biases: FloatsIn, positions: IntsIn, segments: IntsIn,
    memory: Floats, memory_in: FloatsIn, indices: Bytes,
) -> None:  # fmt: skip
    """Take blocks of images through all stages; a task is a block.

    The outputs of all images come first in `memory`, then the products of each thread.
    """
    mine, first_size = floats + worker * products, x.size // images
    task = next_task(counters, tasks, worker)
    while task < tasks:
        first, count = task * block, min(block, images - task * block)
        source, read = x, first * first_size
        for stage in range(stages):
            sizes, size = sizes_at(table, stage * FIELDS), get(keep, 3 * stage)
            to = images * get(keep, 3 * stage + 1) + first * size
            index_start = images * get(keep, 3 * stage + 2) + first * size
            for item in range((count + sizes.group - 1) // sizes.group * sizes.bands):
                outputs(
                    sizes, count, item, source, read, panels, biases, positions, segments,
                    memory, to, indices, index_start, memory, memory_in, mine,
                )  # fmt: skip
            source, read = memory_in, to
        task = next_task(counters, tasks, worker)
