"""The weights of a network as its kernel reads them, kept while their bits stay the same."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from gpunet.primitives.activation_table import RELU, Activation
from gpunet.primitives.fast.bands import Sizes
from gpunet.primitives.fast.compile import Ints, IntsIn, Words, helper, kernel
from gpunet.primitives.fast.convolution import pack_weights
from gpunet.primitives.fast.memory import NO_FLOATS, aligned
from gpunet.primitives.fast.plans import Plan, whole_lines
from gpunet.primitives.fast.sharing import next_task
from gpunet.primitives.fast.threads import run
from gpunet.primitives.network_operations import Activate, Network, Product

__all__ = ["Packing", "largest_output", "packed", "packing"]

Array = Any

_MOST_KEPT = 1 << 24  # numbers: more are packed in each call
_CHUNK = 1 << 15  # numbers compared by a task


def largest_output(activation: Activation) -> float | None:
    """Return the limit of an activation that else is relu; None if it is another.

    >>> largest_output(Activation("relu")), largest_output(Activation("tanh"))
    (inf, None)
    """
    if activation == RELU:
        return math.inf
    options = dict(activation.options)
    if activation.name != "clipped_relu" or options["negative_slope"] or options["threshold"]:
        return None
    return options["max_value"]


class _Kept(NamedTuple):
    arrays: list[Array]  # what was packed
    copies: Array  # its bits
    chunks: NDArray[np.int64]
    packed: tuple[Array, Array]

    def is_current(self) -> bool:
        """Return whether the weights have the bits that were packed."""
        differs = np.zeros(1, np.int64)
        tasks = max(1, self.copies.size // _CHUNK)
        run(_compare, tasks, self.chunks, self.copies, differs)
        return not differs[0]


class Packing(NamedTuple):
    """Where the weights of each operation of a network are, and in which layout.

    Attributes:
        sizes: of each product that is not depthwise, else None.
        weights, biases: where they begin.
        weight_count, bias_count: floats of all together.
    """

    sizes: list[Sizes | None]
    weights: list[int]
    biases: list[int]
    weight_count: int
    bias_count: int

    @property
    def layout(self) -> tuple[bool, ...]:
        """Equal where the packed weights are."""
        return tuple(sizes is not None and sizes.winograd == 1 for sizes in self.sizes)


def packing(network: Network, plans: dict[int, Plan]) -> Packing:
    """Return where weights are to be, given the plans of the products that are not depthwise."""
    found, weight, bias = Packing([], [], [], 0, 0), 0, 0
    for number, operation in enumerate(network.operations):
        plan, sizes = plans.get(number), None
        if plan is not None:
            sizes = plan.sizes._replace(first_weight=weight, first_bias=bias)
        found.sizes.append(sizes)
        found.weights.append(weight)
        found.biases.append(bias)
        if isinstance(operation, Product):
            weight += operation.kernel.size if plan is None else plan.weights
            bias += operation.kernel.shape[-1]
        elif isinstance(operation, Activate):
            bias += 1
        weight, bias = whole_lines(weight), whole_lines(bias)
    return found._replace(weight_count=weight, bias_count=bias)


def packed(network: Network, places: Packing) -> tuple[Array, Array]:
    """Return the weights and the biases of all operations, packed."""
    of_layouts = network.memo.setdefault("packed", {})
    kept = of_layouts.get(places.layout)
    if kept is not None and kept.is_current():
        return kept.packed
    found = _pack(network, places)
    if sum(array.size for array in network.arrays) <= _MOST_KEPT:
        of_layouts[places.layout] = _keep(network, found)
    return found


def _pack(network: Network, places: Packing) -> tuple[Array, Array]:
    """Return new memory with the weights, normalization folded into them."""
    weights, biases = aligned(places.weight_count), aligned(places.bias_count)
    for number, operation in enumerate(network.operations):
        weight, bias, sizes = places.weights[number], places.biases[number], places.sizes[number]
        if isinstance(operation, Activate):
            biases[bias] = largest_output(operation.activation)
        elif isinstance(operation, Product):
            kernel, offset = operation.folded()
            if sizes is not None:
                pack_weights(sizes, kernel, offset, weights, biases)
            else:
                weights[weight : weight + kernel.size] = kernel.reshape(-1)
                biases[bias : bias + kernel.shape[-1]] = 0 if offset is None else offset
    return weights, biases


def _keep(network: Network, found: tuple[Array, Array]) -> _Kept | None:
    """Return what finds out whether the weights change; None where they are not contiguous."""
    arrays = network.arrays
    if not all(array.flags.c_contiguous and array.flags.aligned for array in arrays):
        return None
    copies = np.concatenate([NO_FLOATS, *[array.reshape(-1) for array in arrays]]).view(np.int32)
    chunks, start = [], 0
    for array in arrays:
        for first in range(0, array.size, _CHUNK):
            size = min(_CHUNK, array.size - first)
            chunks.append((array.ctypes.data + 4 * first, start + first, size))
        start += array.size
    return _Kept(arrays, copies, np.array(chunks, np.int64).reshape(-1), found)


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
    """Return a pointer to int32 at an address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(32).as_pointer())

    return types.CPointer(types.int32)(types.int64), codegen


@kernel
def _compare(
    counters: Ints, tasks: int, worker: int, chunks: IntsIn, copies: Words, differs: Ints
) -> None:
    """Set differs[0] to 1 if memory has other bits than the copies.

    Of each chunk there are its address, where its copy begins, and how many numbers it has.
    """
    count = chunks.size // 3
    task = next_task(counters, tasks, worker)
    while task < tasks:
        for chunk in range(task * count // tasks, (task + 1) * count // tasks):
            address, start, size = (
                chunks[3 * chunk],
                chunks[3 * chunk + 1],
                chunks[3 * chunk + 2],
            )
            if _differ(carray(_pointer(address), size), copies[start : start + size]):
                differs[0] = 1
        task = next_task(counters, tasks, worker)


@helper
def _differ(a: Array, b: Array) -> bool:
    bits = np.int32(0)
    for i in range(b.size):
        bits |= a[i] ^ b[i]
    return bits != 0
