// Purpose: 2-D convolution and its gradients, of any kernel size, stride, padding, dilation and
//          groups, as products of matrices that are never in memory (implicit GEMM).
//
// Formula: y[n, oy, ox, f] = activate(bias[f] + sum over (ky, kx, c) of
//              x[n, oy stride_y + ky dilation_y - top, ox stride_x + kx dilation_x - left, c]
//              kernel[ky, kx, c, f]), where x is 0 outside of the image.
//          With grad the gradient of y before the activation,
//          input_grad[n, y, x, c] = sum over (ky, kx, f) of grad[n, oy, ox, f] kernel[ky, kx, c, f]
//              for the (oy, ox) that read pixel (y, x) with tap (ky, kx);
//          weight_grad[ky, kx, c, f] = sum over (n, oy, ox) of x[...] grad[n, oy, ox, f].
//
// Layout:  images (batch, height, width, channels), kernel (kernel_height, kernel_width, channels /
//          groups, filters). The rows of weight_grad are the taps (ky, kx, c), and below them one
//          more if bias_rows is 1: the gradient of the bias, which is the weight of an input that
//          is always 1.
//
//          | pass          | rows m           | rows n             | sum over k       |
//          | FORWARD       | output positions | filters of a group | taps (ky, kx, c) |
//          | INPUT_GRAD    | input pixels     | channels of a group| taps (ky, kx, f) |
//          | WEIGHT_GRAD   | taps, bias       | filters of a group | output positions |
//
// Threads: see gemm.cuh. blockIdx.x counts tiles, those of a row first; blockIdx.y counts splits of
//          the sum, each of `chunk` values of k, a multiple of BLOCK_K; blockIdx.z counts groups.
//
// Limits:  VECTOR_A, VECTOR_B and VECTOR_Y are 4 only if the channels or filters of a group that
//          lie along them are a multiple of 4 and the array begins on a boundary of 16 bytes; else
//          1. At most 65,535 groups, and 2^31 - 2^16 pixels, positions, or taps to a sum. The macro
//          PASS says which kernel is compiled, since each takes its time.
// Registers: at most 216 a thread.

#include "gemm.cuh"

#define FORWARD 1
#define INPUT_GRAD 2
#define WEIGHT_GRAD 3

struct Geometry {
    int batch, height, width, channels, out_height, out_width, filters, kernel_height, kernel_width;
    int stride_y, stride_x, top, left, dilation_y, dilation_x, groups;

    __device__ int group_channels() const { return channels / groups; }
    __device__ int group_filters() const { return filters / groups; }
    __device__ int first_channel() const { return blockIdx.z * group_channels(); }
    __device__ int first_filter() const { return blockIdx.z * group_filters(); }
    __device__ int positions() const { return batch * out_height * out_width; }

    __device__ bool is_inside(const int y, const int x) const {
        return static_cast<unsigned int>(y) < static_cast<unsigned int>(height) &&
               static_cast<unsigned int>(x) < static_cast<unsigned int>(width);
    }
};

// The block's tile and its part of the sum over `length` values of k.
struct Task {
    int first_m, first_n, begin, end;

    __device__ Task(const int columns, const int length, const int chunk) {
        const int tiles_across = (columns + BLOCK_N - 1) / BLOCK_N;
        first_m = blockIdx.x / tiles_across * BLOCK_M;
        first_n = blockIdx.x % tiles_across * BLOCK_N;
        begin = blockIdx.y * chunk;
        end = split_end(begin, chunk, length);
    }
};

__device__ inline A* own_part(A* partial, const int rows, const int line, const int first) {
    if (partial == nullptr) return nullptr;
    return partial + static_cast<int64>(blockIdx.y) * rows * line + first;
}

// COUNT elements of the gradient before the activation.
template <int COUNT>
__device__ inline Vector<A, COUNT> load_grad(
    const T* output_grad, const T* output, const int64 offset
) {
    Vector<A, COUNT> grad = load_widened<COUNT>(output_grad + offset);
    if (ACTIVATION != LINEAR) {
        const Vector<A, COUNT> y = load_widened<COUNT>(output + offset);
        for (int i = 0; i < COUNT; ++i) {
            grad.values[i] = activate_backward(grad.values[i], y.values[i], A(FUSED_OPTION));
        }
    }
    return grad;
}

#if PASS == FORWARD || PASS == INPUT_GRAD
// Far enough outside of any image for all taps of a row that does not exist.
constexpr int NOWHERE = -(1 << 30);
#endif

#if PASS == FORWARD

// Row: an output position; k: a tap (ky, kx, c).
struct Patches {
    static constexpr bool ALONG_K = true;
    struct Row {
        int image, y, x;  // where tap (0, 0) reads
    };
    typedef Digits Place;

    const T* x;
    Geometry g;
    Counter taps;

    __device__ Row row(const int r) const {
        if (r >= g.positions()) return {0, NOWHERE, NOWHERE};
        const int upper = r / g.out_width, y = upper % g.out_height, x = r % g.out_width;
        return {upper / g.out_height, y * g.stride_y - g.top, x * g.stride_x - g.left};
    }
    __device__ Place place(const int k) const { return taps.at(k); }
    __device__ void advance(Place& place) const { taps.advance(place); }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& tap) const {
        const int y = row.y + tap.high * g.dilation_y, column = row.x + tap.middle * g.dilation_x;
        if (tap.high >= g.kernel_height || !g.is_inside(y, column)) return zeros<COUNT>();
        const int64 line = static_cast<int64>(row.image) * g.height + y;
        return load_widened<COUNT>(
            x + (line * g.width + column) * g.channels + g.first_channel() + tap.low
        );
    }
};

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
    const int taps = kernel_height * kernel_width * g.group_channels(), rows = g.positions();
    const int columns = g.group_filters(), first = g.first_filter();
    const Task task(columns, taps, chunk);
    const Patches patches = {x, g, Counter(kernel_width, g.group_channels())};
    const Matrix<false> weights = {kernel + first, columns, taps, filters};
    const Result<true> result = {
        y + first, own_part(partial, rows, filters, first), bias == nullptr ? bias : bias + first,
        rows, columns, filters
    };
    multiply(patches, weights, task.first_m, task.first_n, task.begin, task.end, result);
}

#elif PASS == INPUT_GRAD

// Row: a pixel of the input; k: a tap (ky, kx, f).
struct GradPatches {
    static constexpr bool ALONG_K = true;
    struct Row {
        int image, y, x;  // of the pixel in the padded image
    };
    typedef Digits Place;

    const T* output_grad;
    const T* output;
    Geometry g;
    Counter taps;

    __device__ Row row(const int r) const {
        if (r >= g.batch * g.height * g.width) return {0, NOWHERE, NOWHERE};
        const int upper = r / g.width;
        return {upper / g.height, upper % g.height + g.top, r % g.width + g.left};
    }
    __device__ Place place(const int k) const { return taps.at(k); }
    __device__ void advance(Place& place) const { taps.advance(place); }

    // Whether a window begins at `start`, and which: `start` becomes its index.
    __device__ static bool find_window(int& start, const int stride, const int count) {
        if (start < 0) return false;
        const int window = stride == 1 ? start : start / stride;
        const bool found = window < count && window * stride == start;
        start = window;
        return found;
    }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& tap) const {
        int y = row.y - tap.high * g.dilation_y, x = row.x - tap.middle * g.dilation_x;
        if (tap.high >= g.kernel_height || !find_window(y, g.stride_y, g.out_height) ||
            !find_window(x, g.stride_x, g.out_width)) {
            return zeros<COUNT>();
        }
        const int64 line = static_cast<int64>(row.image) * g.out_height + y;
        const int64 position = line * g.out_width + x;
        return load_grad<COUNT>(
            output_grad, output, position * g.filters + g.first_filter() + tap.low
        );
    }
};

// Row: a channel; k: a tap (ky, kx, f).
struct ChannelWeights {
    static constexpr bool ALONG_K = true;
    typedef int Row;
    typedef Digits Place;

    const T* kernel;
    Geometry g;
    Counter taps;

    __device__ Row row(const int r) const { return r; }
    __device__ Place place(const int k) const { return taps.at(k); }
    __device__ void advance(Place& place) const { taps.advance(place); }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& tap) const {
        if (row >= g.group_channels() || tap.high >= g.kernel_height) return zeros<COUNT>();
        const int64 line =
            static_cast<int64>(tap.high * g.kernel_width + tap.middle) * g.group_channels() + row;
        return load_widened<COUNT>(kernel + line * g.filters + g.first_filter() + tap.low);
    }
};

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
    const int taps = kernel_height * kernel_width * g.group_filters();
    const int rows = batch * height * width;
    const int columns = g.group_channels(), first = g.first_channel();
    const Task task(columns, taps, chunk);
    const Counter counter(kernel_width, g.group_filters());
    const GradPatches patches = {output_grad, output, g, counter};
    const ChannelWeights weights = {kernel, g, counter};
    const Result<false> result = {
        input_grad + first, own_part(partial, rows, channels, first), nullptr, rows, columns,
        channels
    };
    multiply(patches, weights, task.first_m, task.first_n, task.begin, task.end, result);
}

#elif PASS == WEIGHT_GRAD

// Row: a tap (ky, kx, c), or the bias; k: an output position.
struct TapInputs {
    static constexpr bool ALONG_K = false;
    struct Row {
        int y, x;  // of the tap, from where its window begins
        int channel;  // or NO_CHANNEL, or ONES
    };
    typedef Digits Place;
    static constexpr int NO_CHANNEL = -1, ONES = -2;

    const T* x;
    Geometry g;
    Counter positions;

    __device__ Row row(const int r) const {
        const int channels = g.group_channels(), tap = r / channels;
        const int y = tap / g.kernel_width, x = tap % g.kernel_width;
        if (y >= g.kernel_height) {
            return {0, 0, r == g.kernel_height * g.kernel_width * channels ? ONES : NO_CHANNEL};
        }
        return {
            y * g.dilation_y - g.top, x * g.dilation_x - g.left, g.first_channel() + r % channels
        };
    }
    __device__ Place place(const int k) const { return positions.at(k); }
    __device__ void advance(Place& place) const { positions.advance(place); }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& position) const {
        Vector<A, COUNT> values = zeros<COUNT>();
        if (position.high >= g.batch) return values;
        if (row.channel < 0) {
            values.values[0] = row.channel == ONES;
            return values;
        }
        const int y = position.middle * g.stride_y + row.y;
        const int column = position.low * g.stride_x + row.x;
        if (!g.is_inside(y, column)) return values;
        const int64 line = static_cast<int64>(position.high) * g.height + y;
        return load_widened<COUNT>(x + (line * g.width + column) * g.channels + row.channel);
    }
};

// Row: a filter; k: an output position.
struct PositionGrads {
    static constexpr bool ALONG_K = false;
    typedef int Row;
    typedef int Place;

    const T* output_grad;
    const T* output;
    Geometry g;

    __device__ Row row(const int r) const { return r; }
    __device__ Place place(const int k) const { return k; }
    __device__ void advance(Place& place) const { place += BLOCK_K; }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& place) const {
        if (row >= g.group_filters() || place >= g.positions()) return zeros<COUNT>();
        const int64 offset = static_cast<int64>(place) * g.filters + g.first_filter() + row;
        return load_grad<COUNT>(output_grad, output, offset);
    }
};

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
    const int rows = kernel_height * kernel_width * g.group_channels() + bias_rows;
    const int columns = g.group_filters(), first = g.first_filter();
    const Task task(columns, g.positions(), chunk);
    const TapInputs inputs = {x, g, Counter(out_height, out_width)};
    const PositionGrads grads = {output_grad, output, g};
    const Result<false> result = {
        weight_grad + first, own_part(partial, rows, filters, first), nullptr, rows, columns,
        filters
    };
    multiply(inputs, grads, task.first_m, task.first_n, task.begin, task.end, result);
}

#endif
