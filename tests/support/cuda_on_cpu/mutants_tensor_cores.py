"""Mistakes put into products on tensor cores, each of which the cases must find."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]

MUTANTS = [
    Mutant(
        "factors cut off where they are to be rounded",
        "gemm.cuh",
        "matmul",
        "= as_factors(loaded[i]);",
        "= loaded[i];",
    ),
    Mutant(
        "factors of bfloat16 that keep more bits on the way",
        "tile_sums.cuh",
        "conv2d_forward",
        "= round_to_bfloat16(numbers.values[i]);",
        "= round_to_tf32(numbers.values[i]);",
    ),
    Mutant(
        "the lower rows of a fragment where its later k belong",
        "warp_sums.cuh",
        "matmul",
        "read<BLOCK_M>(a[0], a[2], upper);\n                read<BLOCK_M>(a[1], a[3],",
        "read<BLOCK_M>(a[0], a[1], upper);\n                read<BLOCK_M>(a[2], a[3],",
    ),
    Mutant(
        "another order of k in one operand",
        "warp_sums.cuh",
        "conv2d_forward",
        "read<BLOCK_N>(b[n][0], b[n][1],",
        "read<BLOCK_N>(b[n][1], b[n][0],",
    ),
    Mutant(
        "lanes that take each other's places in a fragment",
        "warp_sums.cuh",
        "conv2d_backward_input",
        "row(threadIdx.x % WARP / 4),\n          place(threadIdx.x % 4)",
        "row(threadIdx.x % 8),\n          place(threadIdx.x % WARP / 8)",
    ),
    Mutant(
        "a column of sums in the place of the next",
        "warp_sums.cuh",
        "conv2d_backward_weight",
        "n * MMA_N + place * 2, {{{pair[0], pair[1]}}}",
        "n * MMA_N + place * 2, {{{pair[1], pair[0]}}}",
    ),
    Mutant(
        "two rows of sums in the place of those 8 below",
        "warp_sums.cuh",
        "conv2d_max_pool_forward",
        "= sums[m][n] + 2 * half;",
        "= sums[m][n] + 2 - 2 * half;",
    ),
    Mutant(
        "a warp that multiplies the columns of another",
        "warp_sums.cuh",
        "conv2d_max_pool_backward_weight",
        "* line_of(BLOCK_N) + warp_n * WARP_N + row;",
        "* line_of(BLOCK_N) + warp_m * WARP_N + row;",
    ),
    Mutant(
        "a step of k left out",
        "warp_sums.cuh",
        "conv2d_max_pool_backward_input",
        "k < SLICE_K; k += MMA_K)",
        "k < SLICE_K; k += 2 * MMA_K)",
    ),
    Mutant(
        "the k of the first slice in all of them",
        "warp_sums.cuh",
        "matmul",
        "first = slice * SLICE_K + place;",
        "first = place;",
    ),
    Mutant(
        "no barrier before sums are read",
        "warp_sums.cuh",
        "conv2d_forward",
        "            __syncthreads();\n            parts.add_up(first_m + m",
        "            parts.add_up(first_m + m",
    ),
    Mutant(
        "no barrier before sums are written over",
        "warp_sums.cuh",
        "conv2d_max_pool_forward",
        "if (m > 0) __syncthreads();  // the line before has been read",
        "",
    ),
    Mutant(
        "rows of the next line of tiles",
        "tile_sums.cuh",
        "conv2d_max_pool_forward",
        "line / RUN * STEP + line % RUN",
        "line",
    ),
]
