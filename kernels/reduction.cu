// Purpose: sums over the rows of a matrix, in a fixed order: the gradient of a bias, and the sum of
//          the parts that several blocks of matmul.cu or convolution.cu have made.
//
// Formula: y[c, j] = activate(sum over the rows r of chunk c of x[r, j] + bias[j % period])
//
// Layout:  x is (rows, columns) of type S; y is (chunks, columns); bias is (period,) or null. The
//          activation is applied where there is one chunk: otherwise compile for LINEAR, without
//          bias.
//
// Threads: blocks of 32 x 8: lane i of each warp takes a column, the 8 warps take turns at the rows
//          of the block's chunk; then the first warp adds the 8 sums. blockIdx.y counts chunks.
//
// Limits:  any sizes; 65,535 chunks.
// Registers: at most 64 a thread.

#include "activation.cuh"

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
