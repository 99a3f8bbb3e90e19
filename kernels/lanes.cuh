// Purpose: what LANES threads that follow one another have, taken together.
//
// Limits:  LANES is 1, 2, 4, 8, 16 or 32, or the size of the block, up to 1,024 threads in whole
//          warps.

#pragma once

#include "operations.cuh"

constexpr int WARPS_TO_A_ROW = (LANES + WARP - 1) / WARP;

// What the lanes of a row have, taken together in an order that is always the same: all threads of
// the block take part, and each lane gets its row's result.
template <typename Operation>
__device__ inline A over_lanes(A value) {
    for (int distance = (LANES < WARP ? LANES : WARP) / 2; distance > 0; distance /= 2) {
        value = Operation::of(value, __shfl_xor_sync(WHOLE_WARP, value, distance));
    }
    if constexpr (LANES > WARP) {
        SHARED(A, parts, WARPS_TO_A_ROW);
        __syncthreads();  // what is in it has been read
        if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = value;
        __syncthreads();
        value = parts[0];
        for (int i = 1; i < WARPS_TO_A_ROW; ++i) value = Operation::of(value, parts[i]);
    }
    return value;
}
