// Purpose: a block's sums in gemm.cuh, computed by warps on tensor cores.
//
// Threads: a warp computes WARP_M x WARP_N sums of its slice, as many as 32 threads of
//          thread_sums.cuh, in tiles of 16 x 8. Lane i holds rows i / 4 and i / 4 + 8 of each tile,
//          columns 2 (i % 4) and the next; of the factors, every fourth k from i % 4.
//          The instruction's k may be any permutation of the tile's k, since all are added: with
//          this one, shared memory is read without bank conflicts if lines are 8 modulo 16 long.
//
// Limits:  elements of float32; SLICE_K is a multiple of MMA_K. Devices from sm_80.

#pragma once

#include "tile_sums.cuh"

constexpr int MMA_M = 16, MMA_N = 8, MMA_K = PRECISION == TF32 ? 8 : 16;
constexpr int WARP_M = 8 * THREAD_M < BLOCK_M ? 8 * THREAD_M : BLOCK_M;
constexpr int WARP_N = WARP * THREAD_M * THREAD_N / WARP_M;
static_assert(WARP_M % MMA_M == 0 && WARP_N % MMA_N == 0 && SLICE_K % MMA_K == 0, "uneven");
static_assert(BLOCK_M % WARP_M == 0 && BLOCK_N % WARP_N == 0, "uneven");

// The sums of one lane.
class TileSums {
public:
    __device__ TileSums()
        : slice(threadIdx.x / SLICE_THREADS),
          warp_m(threadIdx.x % SLICE_THREADS / WARP / ACROSS),
          warp_n(threadIdx.x / WARP % ACROSS),
          row(threadIdx.x % WARP / 4),
          place(threadIdx.x % 4) {}

    // Add the products of a pair of tiles over the slice's part of k.
    __device__ void add(const A* tile_a, const A* tile_b) {
        const int first = slice * SLICE_K + place;
        const A* from_a = tile_a + first * line_of(BLOCK_M) + warp_m * WARP_M + row;
        const A* from_b = tile_b + first * line_of(BLOCK_N) + warp_n * WARP_N + row;
#pragma unroll
        for (int k = 0; k < SLICE_K; k += MMA_K) {
            uint32 b[TILES_N][2];
#pragma unroll
            for (int n = 0; n < TILES_N; ++n) {
                read<BLOCK_N>(b[n][0], b[n][1], from_b + k * line_of(BLOCK_N) + n * MMA_N);
            }
#pragma unroll
            for (int m = 0; m < TILES_M; ++m) {
                const A* upper = from_a + k * line_of(BLOCK_M) + m * MMA_M;
                uint32 a[4];
                read<BLOCK_M>(a[0], a[2], upper);
                read<BLOCK_M>(a[1], a[3], upper + MMA_M / 2);
#pragma unroll
                for (int n = 0; n < TILES_N; ++n) {
                    if constexpr (PRECISION == TF32) add_tf32_products(sums[m][n], a, b[n]);
                    else add_bfloat16_products(sums[m][n], a, b[n]);
                }
            }
        }
    }

    // Store the block's sums, a line of tiles at a time, through shared memory: so that one thread
    // gets all sums of a group. No thread reads the tiles any more: `memory` is reused.
    template <typename Result>
    __device__ void store(
        A* memory, const int first_m, const int first_n, const Result& result
    ) const {
        const Parts<BLOCK_M / WARP_M * MMA_M, MMA_M, WARP_M> parts = {memory, slice};
#pragma unroll
        for (int m = 0; m < TILES_M; ++m) {
            if (m > 0) __syncthreads();  // the line before has been read
#pragma unroll
            for (int n = 0; n < TILES_N; ++n) {
                for (int half = 0; half < 2; ++half) {
                    const float* pair = sums[m][n] + 2 * half;
                    parts.template store<2>(
                        warp_m * MMA_M + half * MMA_M / 2 + row,
                        warp_n * WARP_N + n * MMA_N + place * 2, {{{pair[0], pair[1]}}}
                    );
                }
            }
            __syncthreads();
            parts.add_up(first_m + m * MMA_M, first_n, result);
        }
    }

private:
    static constexpr int ACROSS = BLOCK_N / WARP_N;  // warps
    static constexpr int TILES_M = WARP_M / MMA_M, TILES_N = WARP_N / MMA_N;

    const int slice, warp_m, warp_n;
    const int row, place;  // of the lane in a tile; in B's tile, `row` is a column of the product
    float sums[TILES_M][TILES_N][4] = {};

    // Read the lane's factors of a row: from the lower and the upper half of MMA_K.
    template <int BLOCK>
    __device__ static void read(uint32& lower, uint32& upper, const A* from) {
        lower = factors(from, line_of(BLOCK));
        upper = factors(from + MMA_K / 2 * line_of(BLOCK), line_of(BLOCK));
    }

    // Return a register of factors: one of TF32, or two of bfloat16, 4 values of k apart.
    __device__ static uint32 factors(const A* from, const int line) {
        if constexpr (PRECISION == TF32) return float_bits(*from);
        return float_bits(*from) >> 16 | (float_bits(from[4 * line]) & 0xffff0000u);
    }
};
