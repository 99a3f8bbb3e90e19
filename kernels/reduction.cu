// Purpose: sums over the rows of a matrix, in a fixed order: the gradient of a bias, and the sum of
//          the parts that several blocks of matmul.cu, convolution.cu or conv_pool.cu have made.
//
// Formula: sum_rows:    y[c, j] = activate(sum over the rows r of chunk c of x[r, j]
//                                          + bias[j % period])
//          sum_windows: y[w, j] = activate(largest over i of sum over s of parts[s, w, i, j]
//                                          + bias[j]), and indices[w, j] is the first such i.
//
// Layout:  x is (rows, columns) of type S; y is (chunks, columns); bias is (period,) or null. The
//          activation is applied where there is one chunk: otherwise compile for LINEAR, without
//          bias.
//          parts is (splits, windows, 4, columns) of type S; y and indices are (windows, columns);
//          bias is (columns,) or null. `count` is windows * columns.
//
// Threads: sum_rows: blocks of 32 x 8: lane i of each warp takes a column, the 8 warps take turns
//          at the rows of the block's chunk; then the first warp adds the 8 sums. blockIdx.y counts
//          chunks.
//          sum_windows: one-dimensional; a thread takes a column of a window, and so on in steps of
//          the whole grid.
//
// Limits:  any sizes; 65,535 chunks.
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
#pragma unroll 4  // loads of 16 numbers under way at once
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
