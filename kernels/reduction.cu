// Purpose: sums over the rows of a matrix in a fixed order: bias gradients, and the partial sums of
//          matmul.cu, convolution.cu and conv_pool.cu.
//
// Formula: sum_rows:    y[c, j] = activate(sum over the rows r of chunk c of x[r, j]
//                                          + bias[j % period])
//          sum_windows: y[w, j] = activate(max over i of sum over s of parts[s, w, i, j]
//                                          + bias[j]), and indices[w, j] is the first such i.
//
// Layout:  sum_rows: x is (rows, columns) of type S; y is (chunks, columns); bias is (period,) or
//          null. Bias and activation need a single chunk: for more, compile with LINEAR and pass
//          no bias.
//          sum_windows: parts is (splits, windows, 4, columns) of type S; y and indices are
//          (windows, columns); bias is (columns,) or null. `count` is windows * columns.
//
// Threads: sum_rows: blocks of 32 x 8: each lane takes a column, the 8 warps alternate over the
//          rows of the block's chunk; then warp 0 adds the 8 sums. blockIdx.y counts chunks.
//          sum_windows: one-dimensional, grid-stride; a thread takes one column of one window.
//
// Limits:  any sizes; at most 65,535 chunks.
// Registers: at most 64 a thread.

#include "activation.cuh"
#include "pooling.cuh"

constexpr int WARPS = 8;

extern "C" __global__ void __launch_bounds__(WARP * WARPS) sum_rows(
    const int64 rows, const int64 columns, const int64 rows_in_chunk, const int64 period,
    const S* x, const T* bias, T* y
) {
    SHARED(A, sums, WARP * WARPS);
    const int64 column = static_cast<int64>(blockIdx.x) * WARP + threadIdx.x;
    const int64 begin = blockIdx.y * rows_in_chunk;
    const int64 end = min(begin + rows_in_chunk, rows);
    A sum = 0;
    if (column < columns) {
        for (int64 row = begin + threadIdx.y; row < end; row += WARPS) {
            sum += widen(x[row * columns + column]);
        }
    }
    sums[threadIdx.y * WARP + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
    for (int warp = 1; warp < WARPS; ++warp) sum += sums[warp * WARP + threadIdx.x];
    if (bias != nullptr) sum += widen(bias[column % period]);
    y[blockIdx.y * columns + column] = narrow<T>(activate(sum, A(FUSED_OPTION)));
}

extern "C" __global__ void sum_windows(
    const int64 count, const int64 columns, const int splits, const S* parts, const T* bias, T* y,
    uint8* indices
) {
    for (int64 i = thread_index(); i < count; i += thread_count()) {
        const int64 window = i / columns, column = i % columns;
        const S* from = parts + window * WINDOW_SIZE * columns + column;
        A sums[WINDOW_SIZE] = {};
#pragma unroll 4  // 16 loads in flight
        for (int split = 0; split < splits; ++split, from += count * WINDOW_SIZE) {
            for (int j = 0; j < WINDOW_SIZE; ++j) sums[j] += widen(from[j * columns]);
        }
        if (bias != nullptr) {
            for (int j = 0; j < WINDOW_SIZE; ++j) sums[j] += widen(bias[column]);
        }
        const Largest largest = largest_of(sums);
        y[i] = narrow<T>(activate(largest.value, A(FUSED_OPTION)));
        indices[i] = static_cast<uint8>(largest.place);
    }
}
