// Purpose: the gradient of an embedding: the gradients of chosen rows, added up for each row of the
//          table.
//
// Formula: table_grad[r] = sum of output_grad[i] over all i with indices[i] = r, in the order of i.
//          An index outside of the table is left out.
//
// Layout:  output_grad is (count, features), indices (count,), table_grad (rows, features), all
//          contiguous; element type T, sums of type A.
//
// Threads: blocks of 4 warps. A warp has WINDOW rows of the table that follow one another, and 32
//          columns: a lane has one of them. blockIdx.x counts the windows by fours, blockIdx.y the
//          columns, in steps of the grid. The lanes read 32 indices at a time; those of the window
//          are found by a vote, and their gradients added in turn. No lane adds to what another
//          does: the order is that of the samples.
//
// Limits:  WINDOW up to 32: the sums of a block take 16 KiB of shared memory, 32 KiB for float64.
// Registers: at most 64 a thread.

#include "common.cuh"

constexpr int WARPS = 4, AT_ONCE = 4;

extern "C" __global__ void __launch_bounds__(128) embedding_backward(
    const int64 count, const int64 features, const int64 rows, const T* output_grad,
    const int64* indices, T* table_grad
) {
    SHARED(A, memory, WARPS * WINDOW * WARP);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int64 first = (static_cast<int64>(blockIdx.x) * WARPS + warp) * WINDOW;
    A* sums = memory + warp * WINDOW * WARP + lane;  // of this lane alone: no barrier
    for (int64 begin = static_cast<int64>(blockIdx.y) * WARP; begin < features;
         begin += static_cast<int64>(gridDim.y) * WARP) {
        const int64 column = begin + lane;
        for (int row = 0; row < WINDOW; ++row) sums[row * WARP] = 0;
        for (int64 start = 0; start < count; start += WARP) {
            const int64 index = start + lane < count ? indices[start + lane] : -1;
            const int64 row = index < rows ? index - first : -1;
            unsigned int found = __ballot_sync(WHOLE_WARP, row >= 0 && row < WINDOW && index >= 0);
            while (found) {
                A gradients[AT_ONCE];
                int places[AT_ONCE];
#pragma unroll
                for (int i = 0; i < AT_ONCE; ++i) {  // all loads before the first sum
                    const int other = found ? lowest_bit(found) : -1;
                    found &= found - 1;
                    const int place = __shfl_sync(WHOLE_WARP, static_cast<int>(row), other & 31);
                    const bool is_there = other >= 0 && column < features;
                    const int64 at = (start + other) * features + column;
                    places[i] = is_there ? place * WARP : -1;
                    gradients[i] = is_there ? widen(output_grad[at]) : A(0);
                }
#pragma unroll
                for (int i = 0; i < AT_ONCE; ++i) {
                    if (places[i] >= 0) sums[places[i]] += gradients[i];
                }
            }
        }
        for (int row = 0; row < WINDOW && first + row < rows; ++row) {
            if (column < features) {
                table_grad[(first + row) * features + column] = narrow<T>(sums[row * WARP]);
            }
        }
    }
}
