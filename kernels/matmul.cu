// Purpose: matrix products, single or batched, with fused bias and activation. cuBLAS cannot be
//          captured in a CUDA graph through CuPy, and fuses no activation but relu.
//
// Formula: y = activate(a b + bias); a and b may each be stored transposed.
//
// Layout:  a is (rows, inner), or (inner, rows) with TRANSPOSE_A; b is (inner, columns), or
//          (columns, inner) with TRANSPOSE_B; bias is (columns,) or null; y is (rows, columns).
//          a, b and y may have a leading axis of matrices. With a split sum, partial is (splits,
//          matrices, rows, columns) and y is not written.
//
// Threads: see gemm.cuh. blockIdx.x counts tiles, row by row, matrix by matrix; blockIdx.y counts
//          splits, each of `chunk` values of inner, a multiple of BLOCK_K.
//
// Limits:  VECTOR_A, VECTOR_B and VECTOR_Y are 4 only if the contiguous axis of a, b and y is a
//          multiple of 4 and the array is aligned to 16 bytes; else 1.
// Registers: at most 216 a thread.

#include "gemm.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) matmul(
    const int matrices, const int rows, const int columns, const int inner, const int chunk,
    const T* a, const T* b, const T* bias, T* y, A* partial
) {
    const int tiles_across = (columns + BLOCK_N - 1) / BLOCK_N;
    const int tiles = (rows + BLOCK_M - 1) / BLOCK_M * tiles_across;
    const int64 matrix = blockIdx.x / tiles;
    const int tile = blockIdx.x % tiles;
    const int first_m = tile / tiles_across * BLOCK_M, first_n = tile % tiles_across * BLOCK_N;
    const int begin = blockIdx.y * chunk, end = split_end(begin, chunk, inner);
    const Matrix<!TRANSPOSE_A> left = {
        a + matrix * rows * inner, rows, inner, TRANSPOSE_A ? rows : inner
    };
    const Matrix<TRANSPOSE_B> right = {
        b + matrix * inner * columns, columns, inner, TRANSPOSE_B ? inner : columns
    };
    const int64 size = static_cast<int64>(rows) * columns;
    A* own = partial == nullptr ? nullptr : partial + (blockIdx.y * matrices + matrix) * size;
    const Result<true> result = {y + matrix * size, own, bias, rows, columns, columns};
    multiply(left, right, first_m, first_n, begin, end, result);
}
