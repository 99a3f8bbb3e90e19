"""Partial sums of the gradients of a chain's weights, in one buffer, totalled by one launch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet.primitives import launch
from gpunet.primitives.cuda import conv_pool, conv_pool_small, convolution
from gpunet.primitives.cuda.step import add_up, finish_all
from gpunet.primitives.cuda.weight_products import later_parts_shape, weight_parts_later
from gpunet.primitives.partial_sums import Parts, parts_are_left
from gpunet.primitives.stages import Stage, StageGeometry

__all__ = ["Place", "Places", "as_grads", "write_parts"]

Array = Any
Grads = list[tuple[Any, Any]]

_ALIGNMENT = 32  # elements


class Place(NamedTuple):
    """The place of the partial sums of a stage's gradients.

    Attributes:
        first: the element that they begin with.
        parts: how many partial sums there are.
        rows: of a partial sum; the last is the gradient of the bias, if there is one.
        columns: of a partial sum.
    """

    first: int
    parts: int
    rows: int
    columns: int


class Places:
    """Places of partial sums in one buffer, which is made afterwards."""

    def __init__(self) -> None:
        self.size = 0

    def add(self, count: int, rows: int, columns: int) -> Place:
        """Return the place of `count` partial sums of (rows, columns)."""
        place = Place(self.size, count, rows, columns)
        self.size += -(-count * rows * columns // _ALIGNMENT) * _ALIGNMENT
        return place

    def of_stage(self, x: Array, stage: Stage, g: StageGeometry) -> Place | None:
        """Return the place for a stage's partial sums; None if it has none."""
        if g.is_dense or g.pool.pool_size not in ((1, 1), conv_pool.POOL_SIZE):
            return None
        if g.pool.pool_size == (1, 1) and (later := _later(x, g, stage.bias is not None)):
            return self.add(*later)
        kernels = conv_pool_small if _is_small(g, x) else convolution
        return self.add(*kernels.weight_parts_shape(x, g.conv, stage.bias is not None))


def write_parts(
    output_grad: Array, x: Array, stage: Stage, g: StageGeometry, kept: tuple[Array, Array | None],
    buffer: Array, place: Place,
) -> None:  # fmt: skip
    """Write the partial sums of a stage's gradients into their place.

    Arguments:
        output_grad, x, stage, g, kept: as in `Operations.backward`.
        buffer: holds the partial sums.
        place: their place in it.
    """
    output, indices = kept
    size = place.parts * place.rows * place.columns
    partial = buffer[place.first : place.first + size].reshape(place[1:])
    given: Any = convolution.before_activation(output_grad, output, stage.activation)
    if indices is not None:
        given = (*given, launch.contiguous(indices))
    arguments = given, x, g.conv, stage.activation, stage.bias is not None, partial
    if indices is None:
        later = _later(x, g, stage.bias is not None)
        write = weight_parts_later if later else convolution.backward_weight_parts
        write(*arguments)
    elif _is_small(g, x):
        conv_pool_small.backward_weight_parts(*arguments)
    else:
        convolution.backward_weight_parts(*arguments, conv_pool.WEIGHT_GRAD)


def _later(x: Array, g: StageGeometry, with_bias: bool) -> tuple[int, int, int] | None:
    """Return the shape of partial sums that may wait for those of other layers, or None."""
    if not parts_are_left():
        return None
    return later_parts_shape(math.prod(g.conv.output_shape), x, g.conv, with_bias)


def _is_small(g: StageGeometry, x: Array) -> bool:
    return g.pool.pool_size == conv_pool.POOL_SIZE and conv_pool_small.supports(g.conv, x.dtype)


def as_grads(buffer: Array, stages: Sequence[Stage], found: Sequence[Place | Any]) -> Grads:
    """Return the gradients of stages: as `Parts` inside `leaving_parts`, else as arrays.

    Arguments:
        buffer: holds the partial sums.
        stages: those of the chain.
        found: for each the place of its partial sums, or its gradients.
    """
    grads: Grads = [
        _as_parts(buffer, stage, item) if isinstance(item, Place) else item
        for stage, item in zip(stages, found, strict=True)
    ]
    if parts_are_left():
        return grads
    parts = [grad for pair in grads for grad in pair if isinstance(grad, Parts)]
    added = iter(_added(buffer, parts))
    return [
        (next(added) if isinstance(kernel, Parts) else kernel,
         next(added) if isinstance(bias, Parts) else bias)
        for kernel, bias in grads
    ]  # fmt: skip


def _as_parts(buffer: Array, stage: Stage, place: Place) -> tuple[Parts, Parts | None]:
    stride, shape = place.rows * place.columns, stage.kernel.shape
    kernel = Parts(buffer, place.first, stride, place.parts, shape, add_up)
    if stage.bias is None:
        return kernel, None
    first = place.first + math.prod(shape)
    return kernel, Parts(buffer, first, stride, place.parts, stage.bias.shape, add_up)


def _added(buffer: Array, parts: Sequence[Parts]) -> list[Array]:
    """Return the totals of partial sums that are in one buffer."""
    if not parts:
        return []
    ends = np.cumsum([math.prod(part.shape) for part in parts]).tolist()
    flat = launch.empty((ends[-1],), buffer.dtype)
    begins = [0, *ends[:-1]]
    failed = launch.empty((3,), np.int64)  # ignored
    finish_all(flat, list(zip(begins, parts, strict=True)), (), failed)
    return [
        flat[begin:end].reshape(part.shape)
        for begin, end, part in zip(begins, ends, parts, strict=True)
    ]
