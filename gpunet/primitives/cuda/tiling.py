"""How a product is divided among blocks: tiles of the result, and slices and splits of the sum.

A product with a small result and a long sum has few tiles. Slices give each tile more threads; a
split makes more blocks, each of which makes a part of every sum, and `reduction.cu` adds the parts
in a fixed order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from gpunet.primitives import launch
from gpunet.primitives.activation_table import Activation
from gpunet.primitives.cuda.reduction import sum_rows
from gpunet.primitives.precision import precision_of

__all__ = [
    "Plan", "Tiling", "finish", "new_partial", "plan_product", "plan_small_product", "vector",
]  # fmt: skip

Array = Any

_VECTOR = 4  # elements that a thread loads at once


class Tiling(NamedTuple):
    """The tile of a block and that of a thread; see kernels/tile_sums.cuh."""

    block_m: int
    block_n: int
    block_k: int
    thread_m: int
    thread_n: int
    slices: int = 1
    precision: str = "fp32"

    @property
    def threads(self) -> int:
        """The threads of a block."""
        of_slice = (self.block_m // self.thread_m) * (self.block_n // self.thread_n)
        return self.slices * of_slice

    @property
    def macros(self) -> dict[str, Any]:
        """The macros of gemm.cuh."""
        named = {name.upper(): value for name, value in self._asdict().items()}
        return named | {"PRECISION": self.precision.upper()}


_LARGEST = (Tiling(128, 128, 16, 8, 8),)
_LARGE = (Tiling(128, 64, 16, 8, 4),)
_SMALL = (
    Tiling(64, 64, 16, 4, 4),
    Tiling(64, 32, 16, 4, 4),
    Tiling(32, 32, 16, 2, 4),
    Tiling(32, 32, 16, 4, 2),  # taken only where 4 rows belong together
)
_TOGETHER = Tiling(32, 32, 16, 2, 4)  # of small products in one launch
_SLICED = (Tiling(32, 32, 64, 4, 4, 4), Tiling(16, 32, 64, 4, 4, 8), Tiling(16, 16, 64, 4, 2, 8))

# Values of k that an instruction of tensor cores adds up: the least that a slice has of a tile.
_LEAST_K = {"tf32": 8, "bf16": 16}

# A split shall sum at least this many tiles, so that its start and end do not outweigh it.
_LEAST_TILES_OF_A_SPLIT = 4
_MOST_SPLITS = 1024
# What it costs to launch the kernel that adds the parts of splits up: what a multiprocessor does
# in about 2.5 microseconds, at 128 products a clock and 1.75 GHz.
_LAUNCH = 560_000
# Kernels count rows, columns and products in int, and go on past the end by less than a tile.
_MOST = 2**31 - 2**16


_Sizes = tuple[int, int, int, int]  # rows, columns, length and groups of `plan_product`


class Plan(NamedTuple):
    """A tiling, and the launch parameters that follow from it."""

    tiling: Tiling
    tiles: int  # of the result
    splits: int
    chunk: int  # values of k that a split sums, a multiple of block_k


def plan_product(
    rows: int, columns: int, length: int, groups: int, dtype: Any, vector_a: int,
    rows_together: int = 1, summed_later: bool = False, may_split: bool = True,
) -> Plan:  # fmt: skip
    """Return how to make `groups` results of (rows, columns), each sum of `length` products.

    Arguments:
        rows, columns, length, groups: sizes of the product.
        dtype: the element type. Large tiles of float64 do not fit the shared memory that every
            device gives.
        vector_a: elements of the left operand that are loaded at once. A thread that loads single
            elements keeps more addresses, and has no registers left for the largest tile.
        rows_together: neighbouring rows of the result that one thread shall make, at most 4.
        summed_later: whether another kernel adds up the parts of splits anyway, so that they cost
            no launch.
        may_split: whether a sum may be divided among blocks.

    Raises:
        OverflowError: a size is more than the kernels can count.
    """
    for size, what in ((rows, "rows"), (columns, "columns"), (length, "products to a sum")):
        if size > _MOST:
            raise OverflowError(
                f"A product of matrices on the GPU: expected at most {_MOST:,} {what}, received "
                f"{size:,}, more than its kernels count: use a smaller batch or smaller images."
            )
    candidates: tuple[Tiling, ...] = _SMALL
    if launch.accumulator(dtype).itemsize == 4:
        candidates += _SLICED + _LARGE + (_LARGEST if vector_a > 1 else ())
    candidates = tuple(tiling for tiling in candidates if tiling.thread_m >= rows_together)
    precision, launch_cost = precision_of(dtype), 0 if summed_later else _LAUNCH
    launch_cost = launch_cost if may_split else 1 << 60
    return _plan(
        (rows, columns, length, groups),
        candidates,
        precision,
        launch_cost,
        launch.multiprocessors(),
    )


def plan_small_product(rows: int, columns: int, length: int, dtype: Any) -> Plan:
    """Return how to make a result of (rows, columns) beside others: its tiling is that of all.

    Another kernel adds up the parts of splits. Arguments are those of `plan_product`.
    """
    sizes, processors = (rows, columns, length, 1), launch.multiprocessors()
    return _plan(sizes, (_TOGETHER,), precision_of(dtype), 0, processors)


@lru_cache(maxsize=4096)
def _plan(
    sizes: _Sizes, candidates: tuple[Tiling, ...], precision: str, launch_cost: int, processors: int
) -> Plan:
    least = _LEAST_K.get(precision, 1)
    tilings = [
        tiling._replace(precision=precision, slices=min(tiling.slices, tiling.block_k // least))
        for tiling in candidates
    ]
    plans = [plan for tiling in tilings for plan in _splits(tiling, sizes)]
    return min(plans, key=lambda plan: _cost(plan, sizes, launch_cost, processors))


def _splits(tiling: Tiling, sizes: _Sizes) -> list[Plan]:
    """Return the plans of a tiling with 1, 2, 4, ... splits, as long as each has enough to sum."""
    rows, columns, length, _ = sizes
    tiles = launch.ceil_div(rows, tiling.block_m) * launch.ceil_div(columns, tiling.block_n)
    tiles_of_sum = max(1, launch.ceil_div(length, tiling.block_k))
    plans, splits = [], 1
    while splits == 1 or (
        splits <= _MOST_SPLITS and tiles_of_sum >= splits * _LEAST_TILES_OF_A_SPLIT
    ):
        per_split = launch.ceil_div(tiles_of_sum, splits)
        used = launch.ceil_div(tiles_of_sum, per_split)
        plans.append(Plan(tiling, tiles, used, per_split * tiling.block_k))
        splits *= 2
    return plans


def _cost(plan: Plan, sizes: _Sizes, launch_cost: int, multiprocessors: int) -> float:
    """Return about how long a plan takes, in products that one multiprocessor does one by one.

    That is 128 products a clock, beside which count

    - the numbers of shared memory that a thread reads: THREAD_M + THREAD_N for THREAD_M * THREAD_N
      products. Tensor cores make 4 products in the time of one, and a warp reads 8 THREAD_M +
      4 THREAD_N numbers, 32 a clock, for 32 THREAD_M * THREAD_N;
    - the BLOCK_M + BLOCK_N numbers that a block loads for BLOCK_M * BLOCK_N products: 64 bytes a
      clock, so a number is 8 products;
    - the blocks of the last wave, which leave multiprocessors idle if they do not divide evenly;
    - the parts of slices, written to shared memory and read again: 4 products a number;
    - the parts of splits, written to device memory and read again: 16 products a number, about what
      a device does in the time; and the second launch.
    """
    rows, columns, length, groups = sizes
    tiling, size = plan.tiling, plan.tiling.block_m * plan.tiling.block_n
    products = tiling.thread_m * tiling.thread_n
    if tiling.precision == "fp32":
        work = 1 + (tiling.thread_m + tiling.thread_n) / products
    else:
        work = 1 / 4 + (tiling.thread_m + tiling.thread_n / 2) / products
    work += 8 * (tiling.block_m + tiling.block_n) / size
    of_block = size * min(plan.chunk, max(length, 1)) * work
    if tiling.slices > 1:
        of_block += 2 * 4 * tiling.slices * size
    cost = launch.ceil_div(plan.tiles * plan.splits * groups, multiprocessors) * of_block
    if plan.splits > 1:
        cost += launch_cost + 2 * 16 * plan.splits * rows * columns * groups / multiprocessors
    return cost


def vector(length: int, *arrays: Array | None) -> int:
    """Return how many elements to load at once along an axis of `length`: 4 if that fits, or 1."""
    present = [array for array in arrays if array is not None]
    return _VECTOR if length % _VECTOR == 0 and launch.vector_width(*present) > 1 else 1


def new_partial(plan: Plan, shape: tuple[int, ...], dtype: Any) -> Array | None:
    """Return memory for the parts of the sums, (splits, ...), if there is more than one."""
    if plan.splits == 1:
        return None
    return launch.empty((plan.splits, *shape), launch.accumulator(dtype))


def finish(
    partial: Array | None, y: Array, bias: Array | None = None, activation: Activation | None = None
) -> None:
    """Add up the parts of the sums into `y`, with what the kernel does if there is but one."""
    if partial is not None:
        sum_rows(partial.reshape(partial.shape[0], -1), y.reshape(1, -1), bias, activation)
