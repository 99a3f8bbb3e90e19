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
        g, chunk, bias_rows, {output_grad, output, nullptr}, x, weight_grad, partial
    );
}

#endif
