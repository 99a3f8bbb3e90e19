// Purpose: what kernels of normalization by columns share: how threads take a chunk of rows, and
//          sums over the warps of a block; normalization.cu and channels.cu describe the layout.
//
// Threads: blocks of 32 x 8; each lane takes a column, and the 8 warps alternate over the rows.

#pragma once

#include "common.cuh"

constexpr int WARPS = 8;

// What a thread of a block of columns takes of a chunk: some rows of a column.
struct Chunk {
    int64 sample, first, end;  // rows of all samples

    __device__ Chunk(const int64 part, const int64 chunks, const int64 chunk, const int64 rows) {
        sample = part / chunks;
        first = sample * rows + part % chunks * chunk;
        end = min(first + chunk, (sample + 1) * rows);
    }
};

__device__ inline int64 column_of_thread() {
    return static_cast<int64>(blockIdx.x) * WARP + threadIdx.x;
}

// The sum over the warps of what each lane's column has; all threads of the block take part.
__device__ inline A over_warps(const A value) {
    SHARED(A, sums, WARP * WARPS);
    __syncthreads();  // what is in it has been read
    sums[threadIdx.y * WARP + threadIdx.x] = value;
    __syncthreads();
    A sum = 0;
    for (int warp = 0; warp < WARPS; ++warp) sum += sums[warp * WARP + threadIdx.x];
    return sum;
}

__device__ inline A inverse_root(const S variance, const A epsilon) {
    return A(1) / sqrt(widen(variance) + epsilon);
}

__device__ inline A or_else(const T* weights, const int64 channel, const A otherwise) {
    return weights == nullptr ? otherwise : widen(weights[channel]);
}
