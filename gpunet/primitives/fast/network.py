"""A network in one call of a kernel: a thread takes some images through all operations.

Of few images the threads share each operation instead. Packed weights are kept from call to call
while the bits of the weights stay the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpunet.primitives.activation_table import RELU
from gpunet.primitives.fast import activation, conv_pool, convolution, depthwise, linear, pooling
from gpunet.primitives.fast.bands import Sizes
from gpunet.primitives.fast.chain import CACHED
from gpunet.primitives.fast.memory import NO_BYTES, flat, workspace
from gpunet.primitives.fast.network_kernels import (
    AVERAGE_POOL,
    CHUNK,
    CLIP,
    DEPTHWISE,
    FIELDS,
    MAX_POOL,
    OUTSIDE,
    PRODUCT,
    ROW,
    SUM,
    Layout,
    Row,
    forward,
)
from gpunet.primitives.fast.packed_network import Packing, largest_output, packed, packing
from gpunet.primitives.fast.plans import BAND, Plan, plan, whole_lines
from gpunet.primitives.fast.threads import run, thread_count
from gpunet.primitives.network_operations import (
    Activate,
    Flatten,
    Network,
    Operation,
    Pooling,
    Primitives,
    Product,
    Sum,
)
from gpunet.primitives.reference.memory import empty

__all__ = ["network_forward"]

Array = Any
Table = NDArray[np.int64]

_PRIMITIVES = Primitives.of(activation, conv_pool, convolution, linear, pooling)
_MOST = 256  # images at a time, however small they are
_LEAST_SHARED = 1 << 23  # multiplications: some 250 microseconds of a thread
_LEAST_BAND = 24  # outputs of a product in a task that threads share
_NOTHING: Table = np.empty(0, np.int64)
_KEPT = 64  # plans that a network keeps


def network_forward(x: Array, network: Network, geometries: list[Any]) -> Array:
    """Return the output of the last operation."""
    lowered = _lowered(network) if x.dtype == np.float32 and x.size else None
    if lowered is None:
        return _PRIMITIVES.network_forward(x, network, geometries)
    p = _plan_for(lowered, x.shape)
    weights, biases = packed(lowered, p.packing)
    y = empty(p.output_shape, x.dtype)
    scratch = workspace("scratch", p.scratch)
    run(
        forward, p.tasks, p.layout, p.table, flat(x), weights, biases, p.positions, p.segments,
        y.reshape(-1), scratch, scratch, np.zeros(2 * p.layout.operations, np.int64), NO_BYTES,
    )  # fmt: skip
    return y


def _lowered(network: Network) -> Network | None:
    """Return a network that does the same by what the kernel knows; None if that cannot be."""
    if "lowered" not in network.memo:
        network.memo["lowered"] = _lower(network)
    return network.memo["lowered"]


def _lower(network: Network) -> Network | None:
    operations: list[Operation] = []
    values = [0]  # the number that each value has in the new network
    for operation in network.operations:
        sources = tuple(values[source] for source in operation.sources)
        activation = getattr(operation, "activation", None)
        operation = dataclasses.replace(operation, sources=sources)
        if activation is not None and largest_output(activation) is None:
            return None
        if isinstance(operation, Product) and operation.is_depthwise and operation.has_pool:
            return None
        if isinstance(operation, Product) and activation not in (None, RELU):
            operations.append(dataclasses.replace(operation, activation=None))
            operation = Activate((len(operations),), activation)
        operations.append(operation)
        values.append(len(operations))
    result, read = len(operations), set[int]()
    for number in range(len(operations), 0, -1):
        if isinstance(operations[number - 1], Flatten) and number == result:
            result = operations[number - 1].sources[0]
        else:
            read.update(operations[number - 1].sources)
    # The kernel writes the output, it does not read it.
    return None if result == 0 or result in read else Network(operations)


class _Plan(NamedTuple):
    tasks: int
    layout: Layout
    table: Table
    positions: Table
    segments: Table
    packing: Packing
    output_shape: tuple[int, ...]
    scratch: int  # floats


def _plan_for(network: Network, shape: tuple[int, ...]) -> _Plan:
    plans = network.memo.setdefault("plans", {})
    found = plans.get(shape)
    if found is None:
        if len(plans) >= _KEPT:
            plans.clear()
        found = plans[shape] = _Planner(network, shape).plan()
    return found


class _Planner:
    """Makes the plan of a network for one shape of the input.

    Arguments:
        network: what `_lower` returns.
        shape: of the input.
    """

    def __init__(self, network: Network, shape: tuple[int, ...]) -> None:
        self.network = network
        self.geometries, shapes = zip(*network.shapes(shape), strict=True)
        self.shapes = [shape, *shapes]
        self.sizes = [math.prod(s[1:]) for s in self.shapes]  # floats of an image of each value
        images, floats = shape[0], self._places(1)[1]
        fits = images <= min(CACHED // floats, _MOST)
        # To call another thread takes as long as a small network.
        alone = fits and images * self._products_of_image() < _LEAST_SHARED
        self.threads = 1 if alone else thread_count()
        self.shared = fits and self.threads > 1 and images < 2 * self.threads
        most = images if self.shared else -(-images // self.threads)
        self.block = max(1, min(CACHED // floats, most, _MOST))
        self.offsets, self.values = self._places(self.block)
        self.rows: list[list[int]] = []
        self.positions: list[Table] = [_NOTHING]
        self.segments: list[Table] = [_NOTHING]
        self.plans = self._plans_of_products()
        self.packing = packing(network, self.plans)
        self.products = 0

    def plan(self) -> _Plan:
        """Return the plan."""
        for number, operation in enumerate(self.network.operations):
            if not isinstance(operation, Flatten):
                self._add(number, operation)
        images, areas = self.shapes[0][0], 1 if self.shared else self.threads
        layout = Layout(
            images, self.block, int(self.shared), len(self.rows), areas, self.values, self.products
        )
        return _Plan(
            self.threads if self.shared else -(-images // self.block), layout,
            np.array(self.rows, np.int64).reshape(-1), np.concatenate(self.positions),
            np.concatenate(self.segments), self.packing, self.shapes[-1],
            areas * self.values + self.threads * self.products,
        )  # fmt: skip

    def _products_of_image(self) -> int:
        """Return the multiplications of an image in all products."""
        count = 0
        for operation, g in zip(self.network.operations, self.geometries, strict=True):
            if isinstance(operation, Product):
                count += math.prod(g[0].output_shape[1:]) * math.prod(operation.kernel.shape[:-1])
        return count

    def _places(self, block: int) -> tuple[list[int], int]:
        """Return where the values of a block begin, and the floats of all together.

        A value lies where none does that is read later on. The input and the output are elsewhere.
        """
        operations = self.network.operations
        same = list(range(len(self.sizes)))  # for each value the one whose numbers it has
        for number, operation in enumerate(operations):
            if isinstance(operation, Flatten):
                same[number + 1] = same[operation.sources[0]]
        last_read = [0] * len(same)
        for number, operation in enumerate(operations):
            for source in operation.sources:
                last_read[same[source]] = number
        places, end = [OUTSIDE] * len(same), 1
        for value in range(1, len(same)):
            size = whole_lines(block * self.sizes[value])
            if same[value] == value != same[-1]:
                taken = sorted(
                    (places[v], places[v] + whole_lines(block * self.sizes[v]))
                    for v in range(1, value)
                    if same[v] == v != same[-1] and last_read[v] >= value - 1
                )
                places[value] = _first_gap(taken, size)
                end = max(end, places[value] + size)
            else:
                places[value] = places[same[value]]
        return places, end

    def _add(self, number: int, operation: Operation) -> None:
        """Add the row of an operation."""
        sources = operation.sources
        kind, parts, sizes = self._described(number, operation)
        row = Row(
            kind, self.offsets[sources[0]], self.offsets[sources[-1]], self.offsets[number + 1],
            self.sizes[sources[0]], self.sizes[number + 1], parts, self.packing.weights[number],
            self.packing.biases[number], int(getattr(operation, "activation", None) == RELU),
        )  # fmt: skip
        self.rows.append([*row, *sizes, *[0] * (ROW - FIELDS - len(sizes))])

    def _described(self, number: int, operation: Operation) -> tuple[int, int, Sequence[int]]:
        """Return the kind of an operation, the tasks of an image, and the sizes of its kind."""
        geometry = self.geometries[number]
        if isinstance(operation, Product) and operation.is_depthwise:
            conv = geometry[0].for_images(self.block)
            return DEPTHWISE, conv.output_shape[1], depthwise.sizes_of(conv)
        if isinstance(operation, Product):
            return PRODUCT, 0, self._product(number)
        if isinstance(operation, Pooling):
            pool = geometry.for_images(self.block)
            kind = MAX_POOL if operation.largest else AVERAGE_POOL
            return kind, pool.output_shape[1], pooling.sizes_of(pool)
        parts = max(1, -(-self.sizes[number + 1] // CHUNK))
        return SUM if isinstance(operation, Sum) else CLIP, parts, ()

    def _product(self, number: int) -> Sizes:
        """Return the sizes of a product, and add its tables to those of all."""
        sizes, found = self.packing.sizes[number], self.plans[number]
        assert sizes is not None
        sizes = sizes._replace(
            indexed=0, first_position=sum(map(len, self.positions)),
            first_segment=sum(map(len, self.segments)),
        )  # fmt: skip
        self.positions.append(found.positions)
        self.segments.append(found.segments)
        self.products = max(self.products, sizes.scratch)
        return sizes

    def _plans_of_products(self) -> dict[int, Plan]:
        """Return the plan of each product that is not depthwise."""
        found = {}
        for number, operation in enumerate(self.network.operations):
            if isinstance(operation, Product) and not operation.is_depthwise:
                conv, pool = self.geometries[number]
                most = BAND
                if self.shared:
                    outputs = math.prod(conv.output_shape[1:3])
                    most = max(_LEAST_BAND, outputs // (2 * self.threads))
                relu = operation.activation == RELU
                found[number] = plan(conv.for_images(self.block), pool.pool_size, relu, most)
        return found


def _first_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """Return the first place of a size beside those taken, which are in order."""
    end = 0
    for first, last in taken:
        if first - end >= size:
            break
        end = max(end, last)
    return end
