"""The kernels of the way back through a chain of layers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives.fast import sparse, weight_grads
from gpunet.primitives.fast.bands import FIELDS, PANEL, Sizes, sizes_at
from gpunet.primitives.fast.compile import (
    Bytes,
    BytesIn,
    Floats,
    FloatsIn,
    Ints,
    IntsIn,
    kernel,
    part,
)
from gpunet.primitives.fast.products import outputs, sum_up
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.simd import LANES, get, put

__all__ = ["Back", "backward", "sum_parts"]

Array = Any


class Back(NamedTuple):
    """Places and sizes of a stage for backward kernels, besides `Sizes`; all count elements."""

    sparse: int  # 1 for the kernels of `sparse`, 0 for those of `weight_grads`
    size: int  # of an output of an image, pooled
    kept: int  # of all stages' before it; where its own outputs are, times the images
    indices: int  # likewise
    part: int  # where in a part its gradients are
    grads: int  # where in the sums they are: those of the kernel, then those of the bias
    weights: int  # where its weights are, as the gradient of the input takes them


_BACK, _KEPT = len(Back._fields), Back._fields.index("kept")


@kernel
def backward(
    counters: Ints, tasks: int, worker: int,
    images: int, chunk: int, block: int, stages: int, part_size: int, activation: int,
    scratch_size: int, list_size: int, table: IntsIn, inputs: IntsIn, backs: IntsIn, x: FloatsIn,
    output_grad: FloatsIn, kept: FloatsIn, indices: BytesIn, weights: FloatsIn, no_bias: FloatsIn,
    positions: IntsIn, segments: IntsIn, steps: IntsIn, parts: Floats, scratch: Floats,
    scratch_in: FloatsIn, lists: Ints, no_indices: Bytes,
) -> None:  # fmt: skip
    """Add up the gradients of all weights over chunks of images; a task is a chunk.

    A thread's memory holds the gradients of a stage's output and input, in turn, and scratch.
    """
    mine = worker * (2 * activation + scratch_size)
    memory, keys = mine + 2 * activation, worker * list_size
    last_size = output_grad.size // images
    task = next_task(counters, tasks, worker)
    while task < tasks:
        part = task * part_size
        for i in range(part, part + part_size):
            put(parts, i, np.float32(0))
        end = min((task + 1) * chunk, images)
        for first in range(task * chunk, end, block):
            count = min(block, end - first)
            read, write = mine, mine + activation
            for i in range(count * last_size):
                put(scratch, read + i, get(output_grad, first * last_size + i))
            for stage in range(stages - 1, -1, -1):
                sizes, back = sizes_at(table, stage * FIELDS), _back_at(backs, stage * _BACK)
                source, at = x, first * sizes.image
                if stage > 0:
                    source = kept
                    at += images * get(backs, (stage - 1) * _BACK + _KEPT)
                output = images * back.kept + first * back.size
                index = images * back.indices + first * back.size
                if back.sparse:
                    _sparse_stage(
                        sizes, back, count, block, source, at, read, kept, output, indices, index,
                        positions, segments, parts, part, scratch, scratch_in, memory, lists, keys,
                        weights, write, stage > 0,
                    )  # fmt: skip
                else:
                    turned = sizes_at(inputs, stage * FIELDS)
                    _dense_stage(
                        sizes, back, turned, count, source, at, read, kept, output, indices, index,
                        positions, segments, steps, parts, part, scratch, scratch_in, memory,
                        weights, no_bias, no_indices, write, stage > 0,
                    )  # fmt: skip
                read, write = write, read
        task = next_task(counters, tasks, worker)


@part
def _sparse_stage(
    sizes: Sizes, back: Back, images: int, block: int, x: Array, x_start: int, read: int,
    kept: Array, output: int, indices: Array, index: int, positions: Array, segments: Array,
    parts: Array, part: int, scratch: Array, scratch_in: Array, memory: int,
    lists: Array, keys: int, weights: Array, write: int, with_input_grad: bool,
) -> None:  # fmt: skip
    """Take the gradient at scratch[read:] through a convolution and its pooling."""
    for first in range(0, sizes.filters, PANEL):
        sparse.add_weight_grads(
            sizes, images, block, first, x, x_start, scratch_in, read, kept, output,
            indices, index, positions, segments,
            parts, part + back.part + first * (sizes.patch + LANES),
            scratch, scratch_in, memory, lists, keys,
        )  # fmt: skip
    for i in range(images if with_input_grad else 0):
        at = i * back.size
        sparse.image_grad(
            sizes, scratch_in, read + at, kept, output + at, indices, index + at,
            weights, back.weights, positions, segments, scratch, write + i * sizes.image,
            scratch, scratch_in, memory, lists, keys,
        )  # fmt: skip


@part
def _dense_stage(
    sizes: Sizes, back: Back, turned: Sizes, images: int, x: Array, x_start: int, read: int,
    kept: Array, output: int, indices: Array, index: int, positions: Array, segments: Array,
    steps: Array, parts: Array, part: int, scratch: Array, scratch_in: Array, memory: int,
    weights: Array, no_bias: Array, no_indices: Array, write: int, with_input_grad: bool,
) -> None:  # fmt: skip
    """Take the gradient at scratch[read:] through a dense layer, or a convolution."""
    weight_grads.add_weight_grads(
        sizes, images, 0, sizes.filters, x, x_start, scratch_in, read, kept, output, indices, index,
        positions, steps, parts, part + back.part, scratch, scratch_in, memory,
    )  # fmt: skip
    if with_input_grad:
        if sizes.relu:
            for i in range(images * back.size):
                if not get(kept, output + i) > 0:
                    put(scratch, read + i, np.float32(0))
        for item in range((images + turned.group - 1) // turned.group * turned.bands):
            outputs(
                turned, images, item, scratch_in, read, weights, no_bias, positions, segments,
                scratch, write, no_indices, 0, scratch, scratch_in, memory,
            )  # fmt: skip


@part
def _back_at(backs: Array, at: int) -> Back:
    """Return the Back in a table."""
    return Back(
        get(backs, at), get(backs, at + 1), get(backs, at + 2), get(backs, at + 3),
        get(backs, at + 4), get(backs, at + 5), get(backs, at + 6),
    )  # fmt: skip


@kernel
def sum_parts(
    counters: Ints, tasks: int, worker: int,
    chunks: int, part_size: int, table: IntsIn, backs: IntsIn, groups: IntsIn, parts: Floats,
    grads: Floats,
) -> None:  # fmt: skip
    """Sum the parts up, in order; a task is a panel of a stage's filters."""
    task = next_task(counters, tasks, worker)
    while task < tasks:
        stage, first = get(groups, 2 * task), get(groups, 2 * task + 1)
        sizes, back = sizes_at(table, stage * FIELDS), _back_at(backs, stage * _BACK)
        bias, count = back.grads + sizes.patch * sizes.filters, min(PANEL, sizes.filters - first)
        if back.sparse:
            row = sizes.patch + LANES
            sum_up(parts, back.part + first * row, count * row, chunks, part_size)
            sparse.write_filters(
                sizes.patch, sizes.filters, first, parts, back.part, grads, back.grads, bias
            )
        else:
            row = sizes.steps + 1
            sum_up(parts, back.part + first * row, PANEL * row, chunks, part_size)
            weight_grads.write_panel(sizes, first, parts, back.part, grads, back.grads, bias)
        task = next_task(counters, tasks, worker)
