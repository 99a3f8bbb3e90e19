// Purpose: the base of a block's sums in gemm.cuh, for scalar threads (thread_sums.cuh) and for
//          tensor cores (warp_sums.cuh): tile sizes in shared memory, and adding up the partial
//          sums of slices.
//
// Layout:  a tile is (BLOCK_K, rows), with PAD elements after each line against bank conflicts.
//
// Threads: SLICES groups of threads; each computes all sums of the block over its part of each
//          tile's k: more threads for few sums. At the end, the partial sums go through shared
//          memory and are added in slice order.
//
// Limits:  PRECISION is FP32; for float32 elements also TF32 or BF16: factors are rounded to 11 or
//          8 significant bits, products are accumulated in float32. BLOCK_K is a multiple of
//          SLICES, and the partial sums fit in the memory of the tiles.

#pragma once

#include "common.cuh"

#define FP32 0
#define TF32 1
#define BF16 2

#ifndef PRECISION
#define PRECISION FP32
#endif

#ifndef SLICES
#define SLICES 1
#endif

constexpr int SLICE_THREADS = (BLOCK_M / THREAD_M) * (BLOCK_N / THREAD_N);
constexpr int THREADS = SLICES * SLICE_THREADS;
constexpr int SLICE_K = BLOCK_K / SLICES;  // values of a tile's k
// Minimum blocks per multiprocessor, which bounds the registers of a thread: 512 threads, or 256 if
// a thread has many sums, float64 sums, or many row addresses (because it loads single elements).
constexpr bool IS_LIGHT = sizeof(A) == 4 && THREAD_M * THREAD_N <= 32 && VECTOR_A > 1;
constexpr int LEAST_BLOCKS = (IS_LIGHT ? 512 : 256) / THREADS;

constexpr int PAD = PRECISION == FP32 ? 4 : 8;
__device__ constexpr int line_of(const int rows) { return rows + PAD; }
// Elements of a tile; each tile is double-buffered.
constexpr int SIZE_A = BLOCK_K * line_of(BLOCK_M), SIZE_B = BLOCK_K * line_of(BLOCK_N);

// Neighbouring sums that a thread computes as one group.
__device__ constexpr int group_size(const int count) { return count < 4 ? count : 4; }
constexpr int GROUP_M = group_size(THREAD_M), GROUP_N = group_size(THREAD_N);

// Return numbers rounded to PRECISION, ready to be multiplied.
template <int COUNT>
__device__ inline Vector<A, COUNT> as_factors(Vector<A, COUNT> numbers) {
    for (int i = 0; i < COUNT; ++i) {
        if constexpr (PRECISION == TF32) numbers.values[i] = round_to_tf32(numbers.values[i]);
        if constexpr (PRECISION == BF16) numbers.values[i] = round_to_bfloat16(numbers.values[i]);
    }
    return numbers;
}

// Partial sums of a block's slices in shared memory: (SLICES, LINES, BLOCK_N), padded lines. The
// lines are rows of the block's tile, in runs of RUN rows; the runs begin STEP rows apart.
template <int LINES, int RUN, int STEP>
struct Parts {
    static constexpr int ROWS = 1;
    static constexpr int SIZE = SLICES * LINES * line_of(BLOCK_N);

    A* memory;
    int slice;

    // Store neighbouring sums of the thread's slice.
    template <int COUNT>
    __device__ void store(const int line, const int n, const Vector<A, COUNT> (&sums)[ROWS]) const {
        store_vector(at(slice, line, n), sums[0]);
    }

    // Add the partial sums of all slices, with all threads of the block, and store the sums.
    template <typename Result>
    __device__ void add_up(const int first_m, const int first_n, const Result& result) const {
        static_assert(SIZE <= 2 * (SIZE_A + SIZE_B), "the memory of the tiles is too small");
        static_assert(RUN % Result::ROWS == 0, "rows that belong together are in different runs");
        constexpr int ACROSS = BLOCK_N / GROUP_N, COUNT = LINES / Result::ROWS * ACROSS;
        for (int i = threadIdx.x; i < COUNT; i += THREADS) {
            const int line = i / ACROSS * Result::ROWS, n = i % ACROSS * GROUP_N;
            Vector<A, GROUP_N> sums[Result::ROWS];
#pragma unroll
            for (int row = 0; row < Result::ROWS; ++row) sums[row] = total(line + row, n);
            result.store(first_m + line / RUN * STEP + line % RUN, first_n + n, sums);
        }
    }

    __device__ Vector<A, GROUP_N> total(const int line, const int n) const {
        Vector<A, GROUP_N> sums = load_vector<GROUP_N>(at(0, line, n));
#pragma unroll
        for (int from = 1; from < SLICES; ++from) {
            const Vector<A, GROUP_N> part = load_vector<GROUP_N>(at(from, line, n));
            for (int i = 0; i < GROUP_N; ++i) sums.values[i] += part.values[i];
        }
        return sums;
    }

    __device__ A* at(const int of_slice, const int line, const int n) const {
        return memory + (of_slice * LINES + line) * line_of(BLOCK_N) + n;
    }
};
