"""A chain of layers in training: forward with all saved outputs, and backward, each in one kernel.

A task of the backward kernel is a chunk of images. It takes a few of them at a time through all
stages, from the last to the first, while what it works on is in cache, and adds the gradients of
all weights to a part of its own; the parts are summed up in order. How images are divided depends
on the batch alone, so that the number of threads changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpunet.primitives.fast.backward import Back, backward, sum_parts
from gpunet.primitives.fast.bands import PANEL, Sizes
from gpunet.primitives.fast.chain import (
    CACHED,
    OPERATIONS,
    forward_all,
    image_sizes,
    relus_of,
)
from gpunet.primitives.fast.convolution import pack_weights, turned_geometry
from gpunet.primitives.fast.memory import NO_BYTES, flat, scratch_ints, workspace
from gpunet.primitives.fast.plans import plan, sparse_plan, whole_lines
from gpunet.primitives.fast.products import transpose
from gpunet.primitives.fast.simd import LANES
from gpunet.primitives.fast.threads import run, thread_count
from gpunet.primitives.geometry import Conv2DGeometry
from gpunet.primitives.reference.memory import empty
from gpunet.primitives.stages import ChainGeometry, Kept, LossAndGrads, Stage, StageGeometry

__all__ = ["chain_backward", "chain_cross_entropy", "chain_forward"]

Array = Any
Table = NDArray[np.int64]

_CHUNKS = 16  # parts that gradients are summed up in, at most
_LEAST_CHUNK = 4  # images
_MOST_WEIGHTS = 1 << 20  # of all stages: each part has room for them


class _Memory(list[Any]):
    """Outputs and indices of each stage, in one array each, and the plan of the gradients."""

    floats: Array
    indices: Array
    plan: _Plan


class _Saved(NamedTuple):
    """Where in memory the outputs of a stage are, and the indices of its maxima if it pools."""

    shape: tuple[int, ...]
    floats: slice
    indices: slice | None


def chain_forward(x: Array, stages: Sequence[Stage], g: ChainGeometry) -> tuple[Array, Kept]:
    """Return the outputs of the last stage and of all stages; one alone runs as by itself."""
    relus = relus_of(x, stages) if len(stages) > 1 else None
    p = None if relus is None else _plan(g, relus)
    if relus is None or p is None:
        return OPERATIONS.forward_all(x, stages, g)
    memory, (places, floats, maxima) = _Memory(), _places(g)
    memory.indices, memory.plan = empty((maxima,), np.uint8), p
    memory.floats = forward_all(x, stages, g, relus, memory.indices, floats)
    for shape, part, indices in places:
        where = None if indices is None else memory.indices[indices].reshape(shape)
        memory.append((memory.floats[part].reshape(shape), where))
    return memory[-1][0], memory


@lru_cache(maxsize=64)
def _places(g: ChainGeometry) -> tuple[list[_Saved], int, int]:
    """Return the place of each stage's outputs, and how many floats and indices there are."""
    places, floats, indices = [], 0, 0
    for stage in g.stages:
        shape, start, place = stage.output_shape, floats, indices
        floats += math.prod(shape)
        if stage.has_pool:
            indices += math.prod(shape)
        where = slice(place, indices) if stage.has_pool else None
        places.append(_Saved(shape, slice(start, floats), where))
    return places, floats, indices


def chain_backward(
    output_grad: Array, x: Array, stages: Sequence[Stage], g: ChainGeometry, kept: Kept,
    with_input_grad: bool,
) -> tuple[Array | None, list[tuple[Array, Array | None]]]:  # fmt: skip
    """Return the gradients of `x` and of all weights."""
    if with_input_grad or not isinstance(kept, _Memory):
        return OPERATIONS.backward_all(output_grad, x, stages, g, kept, with_input_grad)
    p = kept.plan
    weights = workspace("panels", p.weights)
    for number, stage in enumerate(stages[1:], 1):
        _lay_out(p, number, stage, weights)
    (table, inputs, backs, panels), places = p.tables, p.places
    part = whole_lines(p.part)
    parts = workspace("parts", p.chunks * part)
    scratch = workspace("scratch", thread_count() * (2 * p.activation + p.scratch))
    run(
        backward, p.chunks, len(x), p.chunk, p.block, len(stages), part, p.activation, p.scratch,
        p.lists, table, inputs, backs, flat(x), flat(output_grad), kept.floats, kept.indices,
        weights, np.zeros(p.biases, x.dtype), *places, parts, scratch, scratch,
        scratch_ints(p.lists), NO_BYTES,
    )  # fmt: skip
    grads = np.empty(p.grads, x.dtype)
    run(sum_parts, len(p.panels), p.chunks, part, table, backs, panels, parts, grads)
    return None, list(_split(p, stages, grads))


def chain_cross_entropy(
    x: Array, stages: Sequence[Stage], g: ChainGeometry, labels: Array, with_input_grad: bool
) -> LossAndGrads:
    """Return the losses and all gradients."""
    share = _equal_shares(len(x), x.dtype)
    return OPERATIONS.cross_entropy(
        x, stages, g, labels, share, with_input_grad, chain_forward, chain_backward
    )


@lru_cache(maxsize=64)
def _equal_shares(count: int, dtype: Any) -> Array:
    shares = np.full(count, 1 / count, dtype)
    shares.flags.writeable = False
    return shares


def _lay_out(p: _Plan, number: int, stage: Stage, weights: Array) -> None:
    """Write a stage's weights as the gradient of its input takes them."""
    if p.stages[number].sparse:
        *patch, filters = stage.kernel.shape
        start = p.stages[number].weights
        transpose(math.prod(patch), filters, flat(stage.kernel), weights, start)
    else:
        kernel = stage.kernel
        turned = kernel.T if kernel.ndim == 2 else kernel[::-1, ::-1].swapaxes(2, 3)
        biases = workspace("biases", p.biases)  # there are none: what it holds is not used
        pack_weights(p.inputs[number], turned, None, weights, biases)


def _split(p: _Plan, stages: Sequence[Stage], grads: Array) -> Iterator[tuple[Array, Array | None]]:
    """Yield the gradients of each stage's kernel and bias."""
    for back, stage in zip(p.stages, stages, strict=True):
        start = back.grads
        end = start + stage.kernel.size
        bias = None if stage.bias is None else grads[end : end + stage.bias.size]
        yield grads[start:end].reshape(stage.kernel.shape), bias


@lru_cache(maxsize=64)
def _plan(g: ChainGeometry, relus: tuple[bool, ...]) -> _Plan | None:
    """Return the plan for a batch; None if the kernels do not support a stage."""
    made = _Plan(g)
    for position, (stage, relu) in enumerate(zip(g.stages, relus, strict=True)):
        if not made.add(stage.for_images(made.block), relu, position == 0):
            return None
    return made if made.part <= _MOST_WEIGHTS else None


class _Plan:
    """Sizes and tables of a chain for a batch; stages are added to it one after another."""

    def __init__(self, g: ChainGeometry) -> None:
        images, largest = g.stages[0].conv.input_shape[0], max(image_sizes(g))
        self.chunk = max(_LEAST_CHUNK, -(-images // _CHUNKS))  # images in a task
        self.chunks = -(-images // self.chunk)
        self.block = max(1, min(CACHED // (2 * largest), self.chunk, images))  # images at a time
        self.activation = whole_lines(self.block * largest)  # floats of a block's largest output
        self.rows: list[Sizes] = []
        self.inputs: list[Sizes] = []  # of what makes the gradients of inputs, where not sparse
        self.stages: list[Back] = []
        self.positions: list[Table] = []
        self.segments: list[Table] = []
        self.steps: list[Table] = []
        self.panels: list[tuple[int, int]] = []  # the stage and the first filter of each panel
        self.kept = self.indices = 0  # numbers of all stages' outputs of an image
        self.part = self.grads = self.weights = 0  # floats of a part, of all gradients and weights
        self.biases = 0  # the most floats of a bias, for whole panels
        self.scratch = self.lists = 0  # of a thread's memory, beside two activations

    @cached_property
    def tables(self) -> list[Table]:
        """The numbers of `rows`, `inputs`, `stages` and `panels`, as kernels take them."""
        fields = (self.rows, self.inputs, self.stages, self.panels)
        return [np.array(field, np.int64).reshape(-1) for field in fields]

    @cached_property
    def places(self) -> list[Table]:
        """The numbers of `positions`, `segments` and `steps`, likewise."""
        return [np.concatenate(field) for field in (self.positions, self.segments, self.steps)]

    def add(self, stage: StageGeometry, relu: bool, is_first: bool) -> bool:
        """Add a stage; return whether the kernels support it."""
        g, window = stage.conv, stage.pool.pool_size
        dense = plan(g, window, relu)
        lists = None if window == (1, 1) else sparse_plan(g, window, relu, g.input_shape[0])
        turned = None if is_first or lists else turned_geometry(g)
        if not is_first and lists is None and (turned is None or window != (1, 1)):
            return False
        found = dense if lists is None else lists
        sizes = self._placed(found.sizes, found.positions, found.segments)
        sizes = sizes._replace(first_of_steps=sum(map(len, self.steps)))
        self.steps.append(dense.steps)
        self.rows.append(sizes)
        size = sizes.rows * sizes.columns // sizes.window * sizes.filters
        back = Back(
            sparse=int(lists is not None), size=size, kept=self.kept, indices=self.indices,
            part=self.part, grads=self.grads, weights=self.weights,
        )  # fmt: skip
        self.panels += [(len(self.stages), first) for first in range(0, sizes.filters, PANEL)]
        self.stages.append(back)
        self.kept += size
        self.indices += size if window != (1, 1) else 0
        self.grads += (sizes.patch + 1) * sizes.filters
        self.scratch = max(self.scratch, whole_lines(sizes.scratch))
        self.lists = max(self.lists, whole_lines(sizes.lists))
        row = sizes.patch + LANES
        dense_part = dense.panels * (sizes.steps + 1) * PANEL
        self.part += dense_part if lists is None else whole_lines(sizes.filters * row)
        self._add_input_grad(turned, sizes)
        return True

    def _placed(self, sizes: Sizes, positions: Table, segments: Table) -> Sizes:
        """Add tables, and return sizes that say where they are."""
        placed = sizes._replace(
            first_position=sum(map(len, self.positions)), first_segment=sum(map(len, self.segments))
        )
        self.positions.append(positions)
        self.segments.append(segments)
        return placed

    def _add_input_grad(self, turned: Conv2DGeometry | None, sizes: Sizes) -> None:
        """Add what makes the gradient of the input, where that is a convolution too."""
        if turned is None:
            self.inputs.append(sizes)  # not used
            self.weights += sizes.patch * sizes.filters
            return
        back = plan(turned, (1, 1), False)
        placed = self._placed(back.sizes, back.positions, back.segments)
        self.inputs.append(placed._replace(first_weight=self.weights))
        self.weights += back.weights
        self.biases = max(self.biases, back.panels * PANEL)
        self.scratch = max(self.scratch, whole_lines(back.sizes.scratch))
