// Purpose: 2-D convolution and its gradients, for any kernel size, stride, padding, dilation and
//          groups, as matrix products whose operands are never materialized (implicit GEMM).
//
// Formula: y[n, oy, ox, f] = activate(bias[f] + sum over (ky, kx, c) of
//              x[n, oy stride_y + ky dilation_y - top, ox stride_x + kx dilation_x - left, c]
//              kernel[ky, kx, c, f]), where x is 0 outside of the image.
//          With grad, the gradient of y before the activation:
//          input_grad[n, y, x, c] = sum over (ky, kx, f) of grad[n, oy, ox, f] kernel[ky, kx, c, f]
//              where output (oy, ox) reads pixel (y, x) through tap (ky, kx);
//          weight_grad[ky, kx, c, f] = sum over (n, oy, ox) of x[...] grad[n, oy, ox, f].
//
// Layout:  images (batch, height, width, channels), kernel (kernel_height, kernel_width, channels /
//          groups, filters). The rows of weight_grad are the taps (ky, kx, c); if bias_rows is 1,
//          a last row holds the bias gradient (the bias is the weight of a constant input 1).
//
// Threads: see convolution.cuh, which defines the operands.
//
// Limits:  see convolution.cuh.
// Registers: at most 216 a thread.

#define POOL 1

#include "convolution.cuh"

#if PASS == FORWARD

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_forward(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const int groups, const int chunk, const T* x, const T* kernel,
    const T* bias, T* y, A* partial
) {
    const Geometry g = {batch, height, width, channels, out_height, out_width, filters,
                        kernel_height, kernel_width, stride_y, stride_x, top, left, dilation_y,
                        dilation_x, groups};
    const int rows = g.positions(), first = g.first_filter();
    const Result<true> result = {
        y + first, own_part(partial, rows, filters, first), bias == nullptr ? bias : bias + first,
        rows, g.group_filters(), filters
    };
    multiply_forward(g, chunk, x, kernel, result);
}

#elif PASS == INPUT_GRAD

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_backward_input(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const int groups, const int chunk, const T* output_grad, const T* output,
    const T* kernel, T* input_grad, A* partial
) {
    const Geometry g = {batch, height, width, channels, out_height, out_width, filters,
                        kernel_height, kernel_width, stride_y, stride_x, top, left, dilation_y,
                        dilation_x, groups};
    multiply_input_grad(g, chunk, {output_grad, output, nullptr}, kernel, input_grad, partial);
}

#elif PASS == WEIGHT_GRAD

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_backward_weight(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const int groups, const int chunk, const int bias_rows,
    const T* output_grad, const T* output, const T* x, T* weight_grad, A* partial
) {
    const Geometry g = {batch, height, width, channels, out_height, out_width, filters,
                        kernel_height, kernel_width, stride_y, stride_x, top, left, dilation_y,
                        dilation_x, groups};
    multiply_weight_grad(
        g, chunk, bias_rows, {output_grad, output, nullptr}, x, weight_grad, partial, blockIdx.x,
        blockIdx.y
    );
}

#elif PASS == WEIGHT_GRADS

// One of the products, by its number: an index would move the arrays to local memory.
#define TAKE(k) \
    case k: grads = {grad_##k, output_##k, nullptr}; x = x_##k; partial = partial_##k; break

// Products of small convolutions fill the device together. table is (products, 19) of int64: the
// first block, the chunk, the bias rows and the geometry; at most 16 products, without groups.
// partial_k is that of conv2d_backward_weight; blocks count the tiles of a split, then splits.
extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) conv2d_backward_weights(
    const int products, const int64* table,
    const T* grad_0, const T* output_0, const T* x_0, A* partial_0,
    const T* grad_1, const T* output_1, const T* x_1, A* partial_1,
    const T* grad_2, const T* output_2, const T* x_2, A* partial_2,
    const T* grad_3, const T* output_3, const T* x_3, A* partial_3,
    const T* grad_4, const T* output_4, const T* x_4, A* partial_4,
    const T* grad_5, const T* output_5, const T* x_5, A* partial_5,
    const T* grad_6, const T* output_6, const T* x_6, A* partial_6,
    const T* grad_7, const T* output_7, const T* x_7, A* partial_7,
    const T* grad_8, const T* output_8, const T* x_8, A* partial_8,
    const T* grad_9, const T* output_9, const T* x_9, A* partial_9,
    const T* grad_10, const T* output_10, const T* x_10, A* partial_10,
    const T* grad_11, const T* output_11, const T* x_11, A* partial_11,
    const T* grad_12, const T* output_12, const T* x_12, A* partial_12,
    const T* grad_13, const T* output_13, const T* x_13, A* partial_13,
    const T* grad_14, const T* output_14, const T* x_14, A* partial_14,
    const T* grad_15, const T* output_15, const T* x_15, A* partial_15
) {
    constexpr int FIELDS = 19;
    int number = 0;
    while (number + 1 < products && table[(number + 1) * FIELDS] <= blockIdx.x) ++number;
    const int64* row = table + number * FIELDS;
    const auto field = [row](const int i) { return static_cast<int>(row[i]); };
    const Geometry g = {field(3), field(4), field(5), field(6), field(7), field(8), field(9),
                        field(10), field(11), field(12), field(13), field(14), field(15),
                        field(16), field(17), field(18)};
    Grads grads;
    const T* x;
    A* partial;
    switch (number) {
        TAKE(0);
        TAKE(1);
        TAKE(2);
        TAKE(3);
        TAKE(4);
        TAKE(5);
        TAKE(6);
        TAKE(7);
        TAKE(8);
        TAKE(9);
        TAKE(10);
        TAKE(11);
        TAKE(12);
        TAKE(13);
        TAKE(14);
        default: grads = {grad_15, output_15, nullptr}; x = x_15; partial = partial_15;
    }
    const int rows = g.kernel_height * g.kernel_width * g.channels + field(2);
    const int tiles =
        (rows + BLOCK_M - 1) / BLOCK_M * ((g.filters + BLOCK_N - 1) / BLOCK_N);
    const int block = blockIdx.x - field(0);
    multiply_weight_grad(
        g, field(1), field(2), grads, x, nullptr, partial, block % tiles, block / tiles
    );
}

#endif
