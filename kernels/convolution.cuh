// Purpose: convolution and its gradients as matrix products (implicit GEMM): this file defines the
//          operands, whose elements are read in place. convolution.cu and conv_pool.cu use it.
//
//          | PASS          | rows m           | rows n             | sum over k       |
//          | FORWARD       | output positions | filters of a group | taps (ky, kx, c) |
//          | INPUT_GRAD    | input pixels     | channels of a group| taps (ky, kx, f) |
//          | WEIGHT_GRAD   | taps, bias       | filters of a group | output positions |
//          WEIGHT_GRADS makes those of several convolutions by one launch.
//
// Layout:  the macro POOL is the side of the pooling windows, 1 without pooling. Output positions
//          are counted window by window, so that those of a window are neighbours. A gradient is
//          given per window, with the index of the window's largest output: it belongs to that
//          output; the gradients of the others are 0.
//
// Threads: see gemm.cuh. blockIdx.x counts tiles, row by row; blockIdx.y counts splits of the sum,
//          each of `chunk` values of k, a multiple of BLOCK_K; blockIdx.z counts groups.
//
// Limits:  VECTOR_A, VECTOR_B and VECTOR_Y are 4 only if the channels or filters of a group on the
//          contiguous axis are a multiple of 4 and the array is aligned to 16 bytes; else 1. At
//          most 65,535 groups, and 2^31 - 2^16 pixels, positions, or taps to a sum. The macro PASS
//          selects one kernel, to compile no more than needed.

#pragma once

#include "gemm.cuh"

#define FORWARD 1
#define INPUT_GRAD 2
#define WEIGHT_GRAD 3
#define WEIGHT_GRADS 4

struct Geometry {
    // A coordinate so far outside that every tap of a missing row is out of bounds.
    static constexpr int NOWHERE = -(1 << 30);

    int batch, height, width, channels, out_height, out_width, filters, kernel_height, kernel_width;
    int stride_y, stride_x, top, left, dilation_y, dilation_x, groups;

    __device__ int group_channels() const { return channels / groups; }
    __device__ int group_filters() const { return filters / groups; }
    __device__ int first_channel() const { return blockIdx.z * group_channels(); }
    __device__ int first_filter() const { return blockIdx.z * group_filters(); }
    __device__ int positions() const { return batch * out_height * out_width; }
    // Converts an output position to (image, row, column).
    __device__ SquareCounter<POOL> order() const { return {out_height, out_width}; }

    __device__ bool is_inside(const int y, const int x) const {
        return static_cast<unsigned int>(y) < static_cast<unsigned int>(height) &&
               static_cast<unsigned int>(x) < static_cast<unsigned int>(width);
    }
};

// The block's tile, and its split of the sum over `length` values of k.
struct Task {
    int first_m, first_n, begin, end;

    __device__ Task(
        const int columns, const int length, const int chunk, const int tile, const int split
    ) {
        const int tiles_across = (columns + BLOCK_N - 1) / BLOCK_N;
        first_m = tile / tiles_across * BLOCK_M;
        first_n = tile % tiles_across * BLOCK_N;
        begin = split * chunk;
        end = split_end(begin, chunk, length);
    }
};

__device__ inline A* part_of(
    A* partial, const int split, const int rows, const int line, const int first
) {
    if (partial == nullptr) return nullptr;
    return partial + static_cast<int64>(split) * rows * line + first;
}

__device__ inline A* own_part(A* partial, const int rows, const int line, const int first) {
    return part_of(partial, blockIdx.y, rows, line, first);
}

// Row: an output position; k: a tap (ky, kx, c).
struct Patches {
    static constexpr bool ALONG_K = true;
    struct Row {
        int image, y, x;  // pixel read by tap (0, 0)
    };
    typedef Digits Place;

    const T* x;
    Geometry g;
    Counter taps;

    __device__ Row row(const int r) const {
        if (r >= g.positions()) return {0, Geometry::NOWHERE, Geometry::NOWHERE};
        const Digits position = g.order().at(r);
        return {
            position.high, position.middle * g.stride_y - g.top, position.low * g.stride_x - g.left
        };
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

// Gradients of the outputs before the activation.
struct Grads {
    const T* output_grad;   // of each window's largest output
    const T* output;        // the largest outputs, or null without an activation
    const uint8* indices;   // index of the largest output in its window; null without pooling

    // Return the gradients of COUNT filters at `offset`, for output `place` of the window.
    template <int COUNT>
    __device__ Vector<A, COUNT> load(const int64 offset, const int place) const {
        Vector<A, COUNT> grad = load_widened<COUNT>(output_grad + offset);
        if (ACTIVATION != LINEAR) {
            const Vector<A, COUNT> y = load_widened<COUNT>(output + offset);
            for (int i = 0; i < COUNT; ++i) {
                grad.values[i] = activate_backward(grad.values[i], y.values[i], A(FUSED_OPTION));
            }
        }
        if (POOL > 1) {
            const Vector<uint8, COUNT> chosen = load_vector<COUNT>(indices + offset);
            for (int i = 0; i < COUNT; ++i) {
                if (chosen.values[i] != place) grad.values[i] = 0;
            }
        }
        return grad;
    }
};

// Row: a pixel of the input; k: a tap (ky, kx, f).
struct GradPatches {
    static constexpr bool ALONG_K = true;
    struct Row {
        int image, y, x;  // pixel, in the padded image
    };
    typedef Digits Place;

    Grads grads;
    Geometry g;
    Counter taps;

    __device__ Row row(const int r) const {
        if (r >= g.batch * g.height * g.width) return {0, Geometry::NOWHERE, Geometry::NOWHERE};
        const int upper = r / g.width;
        return {upper / g.height, upper % g.height + g.top, r % g.width + g.left};
    }
    __device__ Place place(const int k) const { return taps.at(k); }
    __device__ void advance(Place& place) const { taps.advance(place); }

    // Return whether an output's patch begins at `start`; replace `start` by the output's index.
    __device__ static bool find_output(int& start, const int stride, const int count) {
        if (start < 0) return false;
        const int index = stride == 1 ? start : start / stride;
        const bool found = index < count && index * stride == start;
        start = index;
        return found;
    }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& tap) const {
        int y = row.y - tap.high * g.dilation_y, x = row.x - tap.middle * g.dilation_x;
        if (tap.high >= g.kernel_height || !find_output(y, g.stride_y, g.out_height) ||
            !find_output(x, g.stride_x, g.out_width)) {
            return zeros<COUNT>();
        }
        const int64 line = static_cast<int64>(row.image) * (g.out_height / POOL) + y / POOL;
        const int64 window = line * (g.out_width / POOL) + x / POOL;
        return grads.load<COUNT>(
            window * g.filters + g.first_filter() + tap.low, y % POOL * POOL + x % POOL
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

// Row: a tap (ky, kx, c), or the bias; k: an output position.
struct TapInputs {
    static constexpr bool ALONG_K = false;
    struct Row {
        int y, x;  // offset of the tap in its patch
        int channel;  // or NO_CHANNEL (0), or ONES (1, for the bias)
    };
    typedef Digits Place;
    static constexpr int NO_CHANNEL = -1, ONES = -2;

    const T* x;
    Geometry g;
    SquareCounter<POOL> positions;

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

    Grads grads;
    Geometry g;

    __device__ Row row(const int r) const { return r; }
    __device__ Place place(const int k) const { return k; }
    __device__ void advance(Place& place) const { place += BLOCK_K; }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& place) const {
        if (row >= g.group_filters() || place >= g.positions()) return zeros<COUNT>();
        const int64 window = place / (POOL * POOL);
        return grads.load<COUNT>(
            window * g.filters + g.first_filter() + row, place % (POOL * POOL)
        );
    }
};

// Multiply the operands of one output tile.
template <typename Result>
__device__ inline void multiply_forward(
    const Geometry& g, const int chunk, const T* x, const T* kernel, const Result& result
) {
    const int taps = g.kernel_height * g.kernel_width * g.group_channels();
    const int columns = g.group_filters();
    const Task task(columns, taps, chunk, blockIdx.x, blockIdx.y);
    const Patches patches = {x, g, Counter(g.kernel_width, g.group_channels())};
    const Matrix<false> weights = {kernel + g.first_filter(), columns, taps, g.filters};
    multiply(patches, weights, task.first_m, task.first_n, task.begin, task.end, result);
}

__device__ inline void multiply_input_grad(
    const Geometry& g, const int chunk, const Grads& grads, const T* kernel, T* input_grad,
    A* partial
) {
    const int taps = g.kernel_height * g.kernel_width * g.group_filters();
    const int rows = g.batch * g.height * g.width;
    const int columns = g.group_channels(), first = g.first_channel();
    const Task task(columns, taps, chunk, blockIdx.x, blockIdx.y);
    const Counter counter(g.kernel_width, g.group_filters());
    const GradPatches patches = {grads, g, counter};
    const ChannelWeights weights = {kernel, g, counter};
    const Result<false> result = {
        input_grad + first, own_part(partial, rows, g.channels, first), nullptr, rows, columns,
        g.channels
    };
    multiply(patches, weights, task.first_m, task.first_n, task.begin, task.end, result);
}

__device__ inline void multiply_weight_grad(
    const Geometry& g, const int chunk, const int bias_rows, const Grads& grads, const T* x,
    T* weight_grad, A* partial, const int tile, const int split
) {
    const int rows = g.kernel_height * g.kernel_width * g.group_channels() + bias_rows;
    const int columns = g.group_filters(), first = g.first_filter();
    const Task task(columns, g.positions(), chunk, tile, split);
    const TapInputs inputs = {x, g, g.order()};
    const PositionGrads position_grads = {grads, g};
    const Result<false> result = {
        weight_grad + first, part_of(partial, split, rows, g.filters, first), nullptr, rows,
        columns, g.filters
    };
    multiply(inputs, position_grads, task.first_m, task.first_n, task.begin, task.end, result);
}
