// Purpose: a block's sums in gemm.cuh, computed by scalar threads in full precision.
//
// Threads: a thread computes THREAD_M x THREAD_N sums of its slice, in groups of up to 4 x 4. They
//          are BLOCK / (THREAD / 4) apart, so that the threads of a warp read neighbouring vectors
//          of shared memory.

#pragma once

#include "tile_sums.cuh"

// Return the row or column of a thread's sum i in the block's tile; groups are apart, see above.
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

// The sums of one thread.
class TileSums {
public:
    __device__ TileSums()
        : slice(threadIdx.x / SLICE_THREADS),
          thread_m(threadIdx.x % SLICE_THREADS / (BLOCK_N / THREAD_N)),
          thread_n(threadIdx.x % (BLOCK_N / THREAD_N)) {}

    // Add the products of a pair of tiles over the slice's part of k.
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

    // Store the block's sums. No thread reads the tiles any more: `memory` is reused.
    template <typename Result>
    __device__ void store(
        A* memory, const int first_m, const int first_n, const Result& result
    ) const {
        if constexpr (SLICES == 1) {
            store_own(first_m, first_n, result);
        } else {
            const Parts<BLOCK_M, BLOCK_M, BLOCK_M> parts = {memory, slice};
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
