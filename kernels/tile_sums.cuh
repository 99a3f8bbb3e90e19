// Purpose: the sums that a block of gemm.cuh makes: how two tiles in shared memory are multiplied,
//          and how the sums come to who stores them.
//
// Layout:  a tile is (BLOCK_K, rows) with PAD elements after each line, against conflicts of the
//          banks.
//
// Threads: SLICES groups of threads each make all the sums of a block over a part of each tile's k:
//          more threads for few sums. In the end their parts go through shared memory and are added
//          in the order of the slices.
//          A thread makes THREAD_M x THREAD_N sums of its slice, in groups of 4 x 4 that lie
//          BLOCK / (THREAD / 4) apart, so that the threads of a warp read neighbouring vectors.
//
// Limits:  BLOCK_K is a multiple of SLICES, and the parts fit in the memory of the tiles.

#pragma once

#include "common.cuh"

#ifndef SLICES
#define SLICES 1
#endif

constexpr int SLICE_THREADS = (BLOCK_M / THREAD_M) * (BLOCK_N / THREAD_N);
constexpr int THREADS = SLICES * SLICE_THREADS;
constexpr int SLICE_K = BLOCK_K / SLICES;  // of a tile's k
// Blocks that a multiprocessor shall hold at once, which limits the registers of a thread: 512
// threads, or 256 where a thread has many sums, wide ones, or many rows to keep since it loads
// single elements.
constexpr bool IS_LIGHT = sizeof(A) == 4 && THREAD_M * THREAD_N <= 32 && VECTOR_A > 1;
constexpr int LEAST_BLOCKS = (IS_LIGHT ? 512 : 256) / THREADS;

constexpr int PAD = 4;
__device__ constexpr int line_of(const int rows) { return rows + PAD; }
// Elements of a tile; there are two of each.
constexpr int SIZE_A = BLOCK_K * line_of(BLOCK_M), SIZE_B = BLOCK_K * line_of(BLOCK_N);
static_assert(
    SLICES == 1 || SLICES * BLOCK_M * line_of(BLOCK_N) <= 2 * (SIZE_A + SIZE_B),
    "the parts of the slices do not fit in the memory of the tiles"
);

// How many neighbouring sums a thread makes in one go.
__device__ constexpr int group_size(const int count) { return count < 4 ? count : 4; }
constexpr int GROUP_M = group_size(THREAD_M), GROUP_N = group_size(THREAD_N);

// The place of sum i of a thread within its block's tile: groups lie apart, see above.
template <int BLOCK, int THREAD, int GROUP>
__device__ inline int tile_index(const int thread, const int i) {
    return i / GROUP * (BLOCK / (THREAD / GROUP)) + thread * GROUP + i % GROUP;
}

template <int BLOCK, int THREAD, int GROUP>
__device__ inline void read_fragment(A (&fragment)[THREAD], const A* line, const int thread) {
#pragma unroll
    for (int i = 0; i < THREAD; i += GROUP) {
        const Vector<A, GROUP> part =
            load_vector<GROUP>(line + tile_index<BLOCK, THREAD, GROUP>(thread, i));
        for (int j = 0; j < GROUP; ++j) fragment[i + j] = part.values[j];
    }
}

// The parts of a block's sums that its slices have made, in shared memory: (SLICES, BLOCK_M,
// BLOCK_N), its lines padded.
struct Parts {
    static constexpr int ROWS = 1;

    A* memory;
    int slice;

    // Keeps sums of the thread's slice.
    __device__ void store(const int m, const int n, const Vector<A, GROUP_N> (&sums)[ROWS]) const {
        store_vector(at(slice, m, n), sums[0]);
    }

    // Adds up what all slices have kept, by all threads of the block, and stores the sums.
    template <typename Result>
    __device__ void add_up(const int first_m, const int first_n, const Result& result) const {
        constexpr int ACROSS = BLOCK_N / GROUP_N, COUNT = BLOCK_M / Result::ROWS * ACROSS;
        for (int i = threadIdx.x; i < COUNT; i += THREADS) {
            const int m = i / ACROSS * Result::ROWS, n = i % ACROSS * GROUP_N;
            Vector<A, GROUP_N> sums[Result::ROWS];
#pragma unroll
            for (int row = 0; row < Result::ROWS; ++row) sums[row] = total(m + row, n);
            result.store(first_m + m, first_n + n, sums);
        }
    }

    __device__ Vector<A, GROUP_N> total(const int m, const int n) const {
        Vector<A, GROUP_N> sums = load_vector<GROUP_N>(at(0, m, n));
#pragma unroll
        for (int from = 1; from < SLICES; ++from) {
            const Vector<A, GROUP_N> part = load_vector<GROUP_N>(at(from, m, n));
            for (int i = 0; i < GROUP_N; ++i) sums.values[i] += part.values[i];
        }
        return sums;
    }

    __device__ A* at(const int of_slice, const int m, const int n) const {
        return memory + (of_slice * BLOCK_M + m) * line_of(BLOCK_N) + n;
    }
};

// What a thread makes of its block's sums.
class TileSums {
public:
    __device__ TileSums()
        : slice(threadIdx.x / SLICE_THREADS),
          thread_m(threadIdx.x % SLICE_THREADS / (BLOCK_N / THREAD_N)),
          thread_n(threadIdx.x % (BLOCK_N / THREAD_N)) {}

    // Adds the products of a pair of tiles, over the slice's part of k.
    __device__ void add(const A* tile_a, const A* tile_b) {
        const A* line_a = tile_a + slice * SLICE_K * line_of(BLOCK_M);
        const A* line_b = tile_b + slice * SLICE_K * line_of(BLOCK_N);
#pragma unroll
        for (int i = 0; i < SLICE_K; ++i) {
            A fragment_a[THREAD_M], fragment_b[THREAD_N];
            read_fragment<BLOCK_M, THREAD_M, GROUP_M>(
                fragment_a, line_a + i * line_of(BLOCK_M), thread_m
            );
            read_fragment<BLOCK_N, THREAD_N, GROUP_N>(
                fragment_b, line_b + i * line_of(BLOCK_N), thread_n
            );
#pragma unroll
            for (int m = 0; m < THREAD_M; ++m) {
#pragma unroll
                for (int n = 0; n < THREAD_N; ++n) sums[m][n] += fragment_a[m] * fragment_b[n];
            }
        }
    }

    // Stores the block's sums. No thread reads the tiles any more: `memory` is theirs.
    template <typename Result>
    __device__ void store(
        A* memory, const int first_m, const int first_n, const Result& result
    ) const {
        if constexpr (SLICES == 1) {
            store_own(first_m, first_n, result);
        } else {
            const Parts parts = {memory, slice};
            store_own(0, 0, parts);
            __syncthreads();
            parts.add_up(first_m, first_n, result);
        }
    }

private:
    const int slice, thread_m, thread_n;
    A sums[THREAD_M][THREAD_N] = {};

    template <typename Result>
    __device__ void store_own(const int first_m, const int first_n, const Result& result) const {
        static_assert(GROUP_M % Result::ROWS == 0, "a thread's neighbouring rows are too few");
#pragma unroll
        for (int m = 0; m < THREAD_M; m += Result::ROWS) {
#pragma unroll
            for (int n = 0; n < THREAD_N; n += GROUP_N) {
                Vector<A, GROUP_N> group[Result::ROWS];
#pragma unroll
                for (int row = 0; row < Result::ROWS; ++row) {
                    for (int i = 0; i < GROUP_N; ++i) group[row].values[i] = sums[m + row][n + i];
                }
                result.store(
                    first_m + tile_index<BLOCK_M, THREAD_M, GROUP_M>(thread_m, m),
                    first_n + tile_index<BLOCK_N, THREAD_N, GROUP_N>(thread_n, n), group
                );
            }
        }
    }
};
