"""Convolutions, pools and dense layers one after another for a few images at a time.

A thread takes some images through all layers while what is between them is in its cache: nothing
as large as a batch is made but the result. That is for inference, which keeps nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from gpunet.primitives.checks import check_same_dtype
from gpunet.primitives.fast.compile import BYTES, FLOATS, FLOATS_IN, INTS, INTS_IN, helper, kernel
from gpunet.primitives.fast.conv_pool import conv2d_max_pool_forward
from gpunet.primitives.fast.convolution import conv2d_forward
from gpunet.primitives.fast.linear import matmul
from gpunet.primitives.fast.memory import flat
from gpunet.primitives.fast.plans import plan, whole_lines
from gpunet.primitives.fast.products import PANEL, Sizes, outputs, pack
from gpunet.primitives.fast.simd import get, put, take_task
from gpunet.primitives.fast.threads import run, thread_count
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.shapes import conv2d_max_pool_geometry
from gpunet.primitives.stages import Stage, output_shape, run_in_turn

__all__ = ["chain_forward"]

Array = Any

_CACHED = 1 << 16  # floats of activations that a thread works on, half of a level-2 cache
_LARGE = 1 << 18  # weights of a stage, beyond which few images at a time would be too few
_FIELDS = len(Sizes._fields)


class _Layer(NamedTuple):
    """What a plan needs to know of a stage."""

    kernel_shape: tuple[int, ...]
    relu: bool
    strides: tuple[int, int]
    padding: Any
    dilation: tuple[int, int]
    pool_size: tuple[int, int]


class _Plan(NamedTuple):
    block: int  # images at a time
    table: NDArray[np.int64]  # Sizes of each stage, one after another
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]
    weights: int  # floats of all panels
    biases: int
    activation: int  # floats of the largest input or output of a stage, for a block
    products: int  # floats of the scratch memory of the stage that needs most


def chain_forward(x: Array, stages: Sequence[Stage]) -> Array:
    """Return the outputs of the last stage; arguments as in the reference twin."""
    sample = x.shape[1:]
    for stage in stages:
        sample = output_shape(sample, stage)
        check_same_dtype("chain_forward", x, kernel=stage.kernel, bias=stage.bias)
    small = all(stage.kernel.size <= _LARGE for stage in stages)
    if x.dtype != np.float32 or not small or not x.size:
        return run_in_turn(x, stages, conv2d_forward, conv2d_max_pool_forward, matmul)
    layers = tuple(
        _Layer(stage.kernel.shape, stage.relu, stage.strides, stage.padding, stage.dilation,
               stage.pool_size)
        for stage in stages
    )  # fmt: skip
    threads = thread_count()
    p = _plan(x.shape[1:], layers, -(-len(x) // threads))
    y = empty((len(x), *sample), x.dtype)
    panels, biases = empty((p.weights,), x.dtype), np.zeros(p.biases, x.dtype)
    for row, stage in zip(p.table, stages, strict=True):
        sizes = Sizes(*row.tolist())
        pack(sizes.patch, sizes.filters, flat(stage.kernel), panels, sizes.first_weight)
        if stage.bias is not None:
            biases[sizes.first_bias : sizes.first_bias + sizes.filters] = stage.bias
    memory = empty((threads * (p.products + 2 * p.activation),), x.dtype)
    run(
        _chain, -(-len(x) // p.block), len(x), p.block, p.products, p.activation, len(stages),
        p.table.reshape(-1), flat(x), panels, biases, p.positions, p.segments, y.reshape(-1),
        memory, memory, _NO_INDICES,
    )  # fmt: skip
    return y


_NO_INDICES = np.empty(0, np.uint8)


@lru_cache(maxsize=64)
def _plan(sample: tuple[int, ...], layers: tuple[_Layer, ...], most: int) -> _Plan:
    """Return the plan for images of shape `sample`, at most `most` of them at a time."""
    shapes, largest = [sample], math.prod(sample)
    for layer in layers:
        shapes.append(_layer_output(shapes[-1], layer))
        largest = max(largest, math.prod(shapes[-1]))
    block = max(1, min(_CACHED // (2 * largest), most))
    rows, positions, segments = [], [], []
    place = segment = weight = bias = scratch = 0
    for shape, layer in zip(shapes[:-1], layers, strict=True):
        stage = plan(_geometry(block, shape, layer), layer.pool_size, layer.relu)
        sizes = stage.sizes._replace(
            indexed=0,
            first_position=place,
            first_segment=segment,
            first_weight=weight,
            first_bias=bias,
        )
        rows.append(sizes)
        positions.append(stage.positions)
        segments.append(stage.segments)
        place += stage.positions.size
        segment += stage.segments.size
        weight += stage.panels * PANEL * sizes.patch
        bias += stage.panels * PANEL
        scratch = max(scratch, sizes.scratch)
    return _Plan(
        block,
        np.array(rows, np.int64),
        np.concatenate(positions),
        np.concatenate(segments),
        weight,
        bias,
        whole_lines(block * largest),
        scratch,
    )


def _geometry(images: int, sample: tuple[int, ...], layer: _Layer) -> Any:
    kernel_shape = layer.kernel_shape
    if len(kernel_shape) == 2:
        sample, kernel_shape = (1, 1, math.prod(sample)), (1, 1, *kernel_shape)
    return conv2d_max_pool_geometry(
        (images, *sample), kernel_shape, layer.strides, layer.padding, layer.dilation, 1,
        layer.pool_size,
    )[0]  # fmt: skip


def _layer_output(sample: tuple[int, ...], layer: _Layer) -> tuple[int, ...]:
    height, width, filters = _geometry(1, sample, layer).output_shape[1:]
    if len(layer.kernel_shape) == 2:
        return (filters,)
    return height // layer.pool_size[0], width // layer.pool_size[1], filters


@kernel(
    INTS, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64, types.int64,
    INTS_IN, FLOATS_IN, FLOATS_IN, FLOATS_IN, INTS_IN, INTS_IN, FLOATS, FLOATS, FLOATS_IN, BYTES,
)  # fmt: skip
def _chain(
    counters: Array,
    tasks: int,
    worker: int,
    images: int,
    block: int,
    products: int,
    activation: int,
    stages: int,
    table: Array,
    x: Array,
    panels: Array,
    biases: Array,
    positions: Array,
    segments: Array,
    y: Array,
    scratch: Array,
    scratch_in: Array,
    indices: Array,
) -> None:
    """Take blocks of images through all stages; a task is a block.

    A thread's memory holds products, then the input and the output of a stage, in turn.
    """
    mine = worker * (products + 2 * activation)
    first_size, last_size = x.size // images, y.size // images
    task = take_task(counters)
    while task < tasks:
        first, count = task * block, min(block, images - task * block)
        read, write = mine + products, mine + products + activation
        for i in range(count * first_size):
            put(scratch, read + i, get(x, first * first_size + i))
        for stage in range(stages):
            sizes = _sizes(table, stage * _FIELDS)
            for item in range((count + sizes.group - 1) // sizes.group * sizes.bands):
                outputs(
                    sizes, count, item, scratch_in, read, panels, biases, positions, segments,
                    scratch, write, indices, 0, scratch, scratch_in, mine,
                )  # fmt: skip
            read, write = write, read
        for i in range(count * last_size):
            put(y, first * last_size + i, get(scratch, read + i))
        task = take_task(counters)


@helper
def _sizes(table: Array, at: int) -> Sizes:
    """Return the Sizes in a table, field by field: Numba knows no other way."""
    return Sizes(
        get(table, at + 0), get(table, at + 1), get(table, at + 2), get(table, at + 3),
        get(table, at + 4), get(table, at + 5), get(table, at + 6), get(table, at + 7),
        get(table, at + 8), get(table, at + 9), get(table, at + 10), get(table, at + 11),
        get(table, at + 12), get(table, at + 13), get(table, at + 14), get(table, at + 15),
        get(table, at + 16), get(table, at + 17), get(table, at + 18), get(table, at + 19),
        get(table, at + 20), get(table, at + 21), get(table, at + 22), get(table, at + 23),
        get(table, at + 24), get(table, at + 25), get(table, at + 26), get(table, at + 27),
        get(table, at + 28), get(table, at + 29), get(table, at + 30), get(table, at + 31),
        get(table, at + 32),
    )  # fmt: skip
