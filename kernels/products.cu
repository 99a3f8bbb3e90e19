// Purpose: dense layers that read the same input, such as the queries, keys and values of attention:
//          all of their products by one launch, and the gradient of the input by another.
//
// Formula: y_k = x kernel_k + bias_k, and input_grad = sum over k of grad_k kernel_k^T.
//
// Layout:  x and input_grad are (rows, inputs), kernel_k (inputs, columns), bias_k (columns,) or
//          null, y_k and grad_k (rows, columns), all contiguous and of type T.
//
// Threads: see gemm.cuh. blockIdx.x counts tiles, row by row; blockIdx.z the layers of dense_each.
//
// Limits:  up to 4 layers of as many columns; those that are not there are null. VECTOR_A, VECTOR_B
//          and VECTOR_Y are 4 only if the contiguous axis of the operands and the results is a
//          multiple of 4 and the arrays are aligned to 16 bytes; else 1.
// Registers: at most 216 a thread.

#include "gemm.cuh"

// One layer's arrays, by its number: an index would move them to local memory.
#define TAKE(k) case k: kernel = kernel_##k; bias = bias_##k; y = y_##k; break

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) dense_each(
    const int rows, const int columns, const int inputs, const T* x,
    const T* kernel_0, const T* bias_0, T* y_0, const T* kernel_1, const T* bias_1, T* y_1,
    const T* kernel_2, const T* bias_2, T* y_2, const T* kernel_3, const T* bias_3, T* y_3
) {
    const T* kernel;
    const T* bias;
    T* y;
    switch (blockIdx.z) {
        TAKE(0);
        TAKE(1);
        TAKE(2);
        default: kernel = kernel_3; bias = bias_3; y = y_3;
    }
    const int across = (columns + BLOCK_N - 1) / BLOCK_N;
    const int first_m = blockIdx.x / across * BLOCK_M, first_n = blockIdx.x % across * BLOCK_N;
    const Matrix<true> left = {x, rows, inputs, inputs};
    const Matrix<false> right = {kernel, columns, inputs, columns};
    const Result<true> result = {y, nullptr, bias, rows, columns, columns};
    multiply(left, right, first_m, first_n, 0, inputs, result);
}

// Up to four matrices (rows, columns), side by side along k.
struct Joined {
    static constexpr bool ALONG_K = true;
    typedef int Row;
    typedef int Place;

    const T *first, *second, *third, *fourth;
    int rows, columns, length;

    __device__ Row row(const int r) const { return r; }
    __device__ Place place(const int k) const { return k; }
    __device__ void advance(Place& place) const { place += BLOCK_K; }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& place) const {
        if (row >= rows || place >= length) return zeros<COUNT>();
        const bool in_half = place >= 2 * columns;
        const int within = in_half ? place - 2 * columns : place;
        const bool is_later = within >= columns;
        const T* data = in_half ? (is_later ? fourth : third) : (is_later ? second : first);
        const int64 line = static_cast<int64>(row) * columns;
        return load_widened<COUNT>(data + line + (is_later ? within - columns : within));
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) dense_each_backward_input(
    const int layers, const int rows, const int columns, const int inputs,
    const T* grad_0, const T* kernel_0, const T* grad_1, const T* kernel_1, const T* grad_2,
    const T* kernel_2, const T* grad_3, const T* kernel_3, T* input_grad
) {
    const int across = (inputs + BLOCK_N - 1) / BLOCK_N, length = layers * columns;
    const int first_m = blockIdx.x / across * BLOCK_M, first_n = blockIdx.x % across * BLOCK_N;
    const Joined grads = {grad_0, grad_1, grad_2, grad_3, rows, columns, length};
    const Joined kernels = {kernel_0, kernel_1, kernel_2, kernel_3, inputs, columns, length};
    const Result<false> result = {input_grad, nullptr, nullptr, rows, inputs, inputs};
    multiply(grads, kernels, first_m, first_n, 0, length, result);
}
