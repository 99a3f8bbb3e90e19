// Purpose: depthwise convolution, where each filter reads one channel, and its gradients. A product of
//          matrices would have one channel to a group, and nearly empty tiles.
//
// Formula: y[n, oy, ox, f] = activate(bias[f] + sum over (ky, kx) of x[n, oy stride_y + ky dilation_y
//              - top, ox stride_x + kx dilation_x - left, f / multiplier] kernel[ky, kx, f]), where x
//          is 0 outside of the image. With grad, the gradient of y before the activation:
//          input_grad[n, y, x, c] = sum over (ky, kx) and the filters f of the channel of
//              grad[n, oy, ox, f] kernel[ky, kx, f], where output (oy, ox) reads (y, x) by the tap;
//          weight_grad[ky, kx, f] = sum over (n, oy, ox) of x[...] grad[n, oy, ox, f].
//
// Layout:  images (batch, height, width, channels), outputs (batch, out_height, out_width, filters),
//          kernel (kernel_height, kernel_width, filters), with filters = channels multiplier.
//          partial is (chunks, rows, filters): a row for each tap and, if bias_rows is 1, a last one
//          for the bias. output is null without an activation.
//
// Threads: forward and input gradient one-dimensional, grid-stride, a thread to VECTOR neighbouring
//          channels of a pixel, and all taps. Weight gradient: blocks of 32 x 8; each lane takes a
//          filter, the 8 warps alternate over the positions of a chunk, and are added in order;
//          blockIdx.x counts filters, blockIdx.y chunks, blockIdx.z taps, bias included.
//
// Limits:  VECTOR is 4 only if multiplier is 1, channels are a multiple of 4 and arrays are aligned to
//          16 bytes; else 1.
// Registers: at most 96 a thread, 128 for float64.

#include "activation.cuh"

constexpr int WARPS = 8;

struct Sizes {
    int batch, height, width, channels, out_height, out_width, filters, kernel_height, kernel_width;
    int stride_y, stride_x, top, left, dilation_y, dilation_x;

    __device__ int multiplier() const { return filters / channels; }
    __device__ bool is_inside(const int y, const int x) const {
        return y >= 0 && y < height && x >= 0 && x < width;
    }
};

template <int COUNT>
__device__ inline Vector<A, COUNT> load_widened(const T* address) {
    const Vector<T, COUNT> loaded = load_vector<COUNT>(address);
    Vector<A, COUNT> vector;
    for (int i = 0; i < COUNT; ++i) vector.values[i] = widen(loaded.values[i]);
    return vector;
}

// Gradients of COUNT outputs before the activation.
template <int COUNT>
__device__ inline Vector<A, COUNT> load_grads(
    const T* output_grad, const T* output, const int64 at
) {
    Vector<A, COUNT> grads = load_widened<COUNT>(output_grad + at);
    if (ACTIVATION != LINEAR) {
        const Vector<A, COUNT> y = load_widened<COUNT>(output + at);
        for (int i = 0; i < COUNT; ++i) {
            grads.values[i] = activate_backward(grads.values[i], y.values[i], A(FUSED_OPTION));
        }
    }
    return grads;
}

template <int COUNT>
__device__ inline void store_narrowed(T* address, const A (&values)[COUNT]) {
    Vector<T, COUNT> narrowed;
    for (int i = 0; i < COUNT; ++i) narrowed.values[i] = narrow<T>(values[i]);
    store_vector(address, narrowed);
}

// A pixel of an image and the first of some channels there, by their number.
struct Pixel {
    int channel, x, y;
    int64 image;

    __device__ Pixel(const int64 number, const int channels, const int width, const int height) {
        const int64 pixel = number / channels, line = pixel / width;
        channel = static_cast<int>(number - pixel * channels);
        x = static_cast<int>(pixel - line * width);
        image = line / height;
        y = static_cast<int>(line - image * height);
    }
};

extern "C" __global__ void depthwise_forward(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const T* x, const T* kernel, const T* bias, T* y
) {
    const Sizes g = {batch, height, width, channels, out_height, out_width, filters,
                     kernel_height, kernel_width, stride_y, stride_x, top, left, dilation_y,
                     dilation_x};
    const int64 count = static_cast<int64>(batch) * out_height * out_width * filters;
    for (int64 i = thread_index() * VECTOR; i < count; i += thread_count() * VECTOR) {
        const Pixel out(i, filters, out_width, out_height);
        A sums[VECTOR];
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {
            sums[j] = bias == nullptr ? A(0) : widen(bias[out.channel + j]);
        }
        const int channel = VECTOR > 1 ? out.channel : out.channel / g.multiplier();
        for (int ky = 0; ky < kernel_height; ++ky) {
            const int row = out.y * stride_y + ky * dilation_y - top;
            for (int kx = 0; kx < kernel_width; ++kx) {
                const int column = out.x * stride_x + kx * dilation_x - left;
                if (!g.is_inside(row, column)) continue;
                const int64 line = (out.image * height + row) * width + column;
                const int tap = ky * kernel_width + kx;
                const auto in = load_widened<VECTOR>(x + line * channels + channel);
                const auto weights = load_widened<VECTOR>(
                    kernel + static_cast<int64>(tap) * filters + out.channel
                );
#pragma unroll
                for (int j = 0; j < VECTOR; ++j) sums[j] += in.values[j] * weights.values[j];
            }
        }
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) sums[j] = activate(sums[j], A(FUSED_OPTION));
        store_narrowed(y + i, sums);
    }
}

// Replace the place where an output's patch begins by the output's number; false if there is none.
__device__ inline bool find_output(int& start, const int stride, const int count) {
    if (start < 0 || start % stride != 0) return false;
    start /= stride;
    return start < count;
}

extern "C" __global__ void depthwise_backward_input(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const T* output_grad, const T* output, const T* kernel, T* input_grad
) {
    const int64 count = static_cast<int64>(batch) * height * width * channels;
    const int multiplier = VECTOR > 1 ? 1 : filters / channels;
    for (int64 i = thread_index() * VECTOR; i < count; i += thread_count() * VECTOR) {
        const Pixel in(i, channels, width, height);
        A sums[VECTOR];
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) sums[j] = 0;
        for (int ky = 0; ky < kernel_height; ++ky) {
            int row = in.y + top - ky * dilation_y;
            if (!find_output(row, stride_y, out_height)) continue;
            for (int kx = 0; kx < kernel_width; ++kx) {
                int column = in.x + left - kx * dilation_x;
                if (!find_output(column, stride_x, out_width)) continue;
                const int64 line = (in.image * out_height + row) * out_width + column;
                const int64 tap = ky * kernel_width + kx;
                for (int m = 0; m < multiplier; ++m) {
                    const int filter = in.channel * multiplier + m;
                    const auto grads =
                        load_grads<VECTOR>(output_grad, output, line * filters + filter);
                    const auto weights = load_widened<VECTOR>(kernel + tap * filters + filter);
#pragma unroll
                    for (int j = 0; j < VECTOR; ++j) {
                        sums[j] += grads.values[j] * weights.values[j];
                    }
                }
            }
        }
        store_narrowed(input_grad + i, sums);
    }
}

extern "C" __global__ void __launch_bounds__(WARP * WARPS) depthwise_backward_weight(
    const int batch, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int filters, const int kernel_height, const int kernel_width,
    const int stride_y, const int stride_x, const int top, const int left, const int dilation_y,
    const int dilation_x, const int64 chunk, const T* output_grad, const T* output, const T* x,
    A* partial
) {
    SHARED(A, sums, WARP * WARPS);
    const Sizes g = {batch, height, width, channels, out_height, out_width, filters,
                     kernel_height, kernel_width, stride_y, stride_x, top, left, dilation_y,
                     dilation_x};
    const int filter = blockIdx.x * WARP + threadIdx.x, tap = blockIdx.z;
    const int ky = tap / kernel_width, kx = tap % kernel_width;
    const bool is_bias = ky >= kernel_height;
    const int64 positions = static_cast<int64>(batch) * out_height * out_width;
    const int64 begin = blockIdx.y * chunk, end = min(begin + chunk, positions);
    A sum = 0;
    if (filter < filters) {
        const int channel = filter / g.multiplier();
        for (int64 i = begin + threadIdx.y; i < end; i += WARPS) {
            const Pixel out(i, 1, out_width, out_height);
            const int row = out.y * stride_y + ky * dilation_y - top;
            const int column = out.x * stride_x + kx * dilation_x - left;
            if (!is_bias && !g.is_inside(row, column)) continue;
            const A grad = load_grads<1>(output_grad, output, i * filters + filter).values[0];
            const int64 line = (out.image * height + row) * width + column;
            sum += is_bias ? grad : grad * widen(x[line * channels + channel]);
        }
    }
    sums[threadIdx.y * WARP + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || filter >= filters) return;
    for (int warp = 1; warp < WARPS; ++warp) sum += sums[warp * WARP + threadIdx.x];
    const int64 rows = static_cast<int64>(blockIdx.y) * gridDim.z + tap;
    partial[rows * filters + filter] = sum;
}
