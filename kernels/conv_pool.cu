// Purpose: 2-D convolution fused with bias, activation and 2 x 2 max pooling (stride 2), and its
//          gradients. The convolution's output is never materialized, nor is its gradient: the
//          epilogue takes the maximum in registers; the backward passes expand gradients while they
//          fill shared memory.
//
// Formula: with conv[n, oy, ox, f] as in convolution.cu, before the activation,
//          y[n, i, j, f] = activate(max of conv[n, 2 i + a, 2 j + b, f] over a, b in {0, 1});
//          indices[n, i, j, f] = 2 a + b of the first maximum; NaN is larger than any number. The
//              activation follows the maximum, since it is monotonic.
//          The gradient of conv[n, 2 i + a, 2 j + b, f] is the gradient of y[n, i, j, f] before the
//          activation if indices[n, i, j, f] = 2 a + b, else 0; the gradients of input, weights and
//          bias follow as in convolution.cu.
//
// Layout:  images (batch, height, width, channels); kernel and weight_grad as in convolution.cu; y,
//          its gradient and indices are (batch, out_height / 2, out_width / 2, filters). out_height
//          and out_width are even: outputs that fill no window are not computed.
//
// Threads: see convolution.cuh. Output positions are counted window by window, so that the 4 sums
//          of a window are neighbouring rows of one thread.
//
// Limits:  see convolution.cuh; for FORWARD THREAD_M is at least 4. If FORWARD splits its sums, the
//          partial sums go to `partial`, (splits, windows, 4, filters), and sum_windows in
//          reduction.cu adds them and takes the maximum.
// Registers: at most 216 a thread.

#define POOL 2

#include "convolution.cuh"
#include "pooling.cuh"

#if PASS == FORWARD

// Epilogue: stores each window's maximum to y and its index to `indices`; or, for a split sum, all
// partial sums to the block's part of `partial`.
struct PooledResult {
    static constexpr int ROWS = WINDOW_SIZE;

    T* y;
    uint8* indices;
    A* partial;     // or null
    const T* bias;  // or null
    int rows, columns;
    int64 line;  // stride between windows of y, in elements

    __device__ void store(const int m, const int n, const Vector<A, GROUP_N> (&sums)[ROWS]) const {
        if (m >= rows) return;  // rows are whole windows
        if (VECTOR_Y > 1) {  // columns are a multiple of GROUP_N
            if (n < columns) store_some<GROUP_N>(m, n, sums, 0);
        } else {
            for (int i = 0; i < GROUP_N; ++i) {
                if (n + i < columns) store_some<1>(m, n + i, sums, i);
            }
        }
    }

    template <int COUNT>
    __device__ void store_some(
        const int m, const int n, const Vector<A, GROUP_N> (&sums)[ROWS], const int first
    ) const {
        if (partial != nullptr) {
            for (int row = 0; row < ROWS; ++row) {
                Vector<A, COUNT> part;
                for (int i = 0; i < COUNT; ++i) part.values[i] = sums[row].values[first + i];
                store_vector(partial + (m + row) * line + n, part);
            }
            return;
        }
        Vector<T, COUNT> values;
        Vector<uint8, COUNT> places;
        for (int i = 0; i < COUNT; ++i) {
            const A added = bias == nullptr ? A(0) : widen(bias[n + i]);
            A window[ROWS];
            for (int row = 0; row < ROWS; ++row) {
                window[row] = sums[row].values[first + i] + added;
            }
            const Largest largest = largest_of(window);
            values.values[i] = narrow<T>(activate(largest.value, A(FUSED_OPTION)));
            places.values[i] = static_cast<uint8>(largest.place);
        }
        const int64 offset = m / ROWS * line + n;
        store_vector(y + offset, values);
        store_vector(indices + offset, places);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_max_pool_forward(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const int groups, const int chunk, const T* x, const T* kernel,
    const T* bias, T* y, uint8* indices, A* partial
) {
    const Geometry g = {batch, height, width, channels, out_height, out_width, filters,
                        kernel_height, kernel_width, stride_y, stride_x, top, left, dilation_y,
                        dilation_x, groups};
    const int rows = g.positions(), first = g.first_filter();
    const PooledResult result = {
        y + first, indices + first, own_part(partial, rows, filters, first),
        bias == nullptr ? bias : bias + first, rows, g.group_filters(), filters
    };
    multiply_forward(g, chunk, x, kernel, result);
}

#elif PASS == INPUT_GRAD

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_max_pool_backward_input(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const int groups, const int chunk, const T* output_grad, const T* output,
    const uint8* indices, const T* kernel, T* input_grad, A* partial
) {
    const Geometry g = {batch, height, width, channels, out_height, out_width, filters,
                        kernel_height, kernel_width, stride_y, stride_x, top, left, dilation_y,
                        dilation_x, groups};
    multiply_input_grad(g, chunk, {output_grad, output, indices}, kernel, input_grad, partial);
}

#elif PASS == WEIGHT_GRAD

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_max_pool_backward_weight(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const int groups, const int chunk, const int bias_rows,
    const T* output_grad, const T* output, const uint8* indices, const T* x, T* weight_grad,
    A* partial
) {
    const Geometry g = {batch, height, width, channels, out_height, out_width, filters,
                        kernel_height, kernel_width, stride_y, stride_x, top, left, dilation_y,
                        dilation_x, groups};
    multiply_weight_grad(
        g, chunk, bias_rows, {output_grad, output, indices}, x, weight_grad, partial, blockIdx.x,
        blockIdx.y
    );
}

#endif
