// Purpose: 2-D max and average pooling and their gradients, for any window, stride and padding.
//
// Formula: y[n, i, j, c] is the maximum or mean of x[n, r, s, c] over the pixels (r, s) of window
//          (i, j) that are not padding: i * stride - top <= r < i * stride - top + window, s
//          likewise. indices[n, i, j, c] is the index of the first maximum in row-major order,
//          padding included; NaN is larger than any number.
//
// Layout:  x and input_grad are (batch, height, width, channels), of type T; y, output_grad and
//          indices are (batch, out_height, out_width, channels), indices of type K. All contiguous.
//
// Threads: one-dimensional, grid-stride. A thread takes VECTOR channels of one window (forward),
//          of one pixel (backward), or of one cell (backward_apart, for windows that do not
//          overlap). Backward gathers from all windows of the pixel in row-major order: no two
//          threads add to one number. A cell is the pixels from one window's start to the next:
//          each gradient is read once. Neighbouring threads take neighbouring channels.
//
// Limits:  VECTOR divides the channels, and above 1 it needs arrays aligned to 16 bytes. Element
//          counts fit I: uint32 below 2^31, since int64 divisions are far slower. WINDOW and STRIDE
//          are compile-time sizes for square windows and strides, so that the compiler can issue a
//          whole window's loads at once; 0 takes them from the arguments.
// Registers: at most 72 a thread: 896 threads per multiprocessor, each with 4 loads in flight.

#include "pooling.cuh"

// Do not unroll loops of unknown length: registers are worth more than fewer branches.
constexpr int UNROLL = STRIDE ? STRIDE : 1;

// One axis of an image; the first window begins `before` pixels ahead of it, in the padding.
struct Axis {
    int size, out_size, window, stride, before;

    __device__ Axis(
        const int size, const int out_size, const int window, const int stride, const int before
    )
        : size(size), out_size(out_size), window(WINDOW ? WINDOW : window),
          stride(STRIDE ? STRIDE : stride), before(before) {}

    __device__ int start(const int place) const { return place * stride - before; }
    __device__ bool inside(const int pixel) const { return pixel >= 0 && pixel < size; }
    // Return the nearest real pixel, which is in the same window.
    __device__ int clamped(const int pixel) const { return max(0, min(pixel, size - 1)); }
    // Return how many pixels of a window are not padding.
    __device__ int count(const int place) const {
        return min(start(place) + window, size) - max(start(place), 0);
    }
    // Return the first and last window with a pixel; first > last if there is none.
    __device__ int first(const int pixel) const {
        return max(pixel + before - window + stride, 0) / stride;
    }
    __device__ int last(const int pixel) const {
        return min((pixel + before) / stride, out_size - 1);
    }
    // Return how many cells cover the axis.
    __device__ int cells() const { return (size + before + stride - 1) / stride; }
};

// Coordinates of VECTOR channels in a batch of images.
struct Place {
    I image;
    int row, column, channel;

    __device__ Place(const I index, const int rows, const int columns, const int channels) {
        const I vectors = channels / VECTOR, pixel = index / vectors, all_rows = pixel / columns;
        channel = static_cast<int>(index - pixel * vectors) * VECTOR;
        column = static_cast<int>(pixel - all_rows * columns);
        image = all_rows / rows;
        row = static_cast<int>(all_rows - image * rows);
    }
};

__device__ inline I element(
    const I image, const int row, const int column, const int channel, const int height,
    const int width, const int channels
) {
    return ((image * height + row) * width + column) * channels + channel;
}

extern "C" __global__ void max_pool2d_forward(
    const I count, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int window_height, const int window_width, const int stride_height,
    const int stride_width, const int top, const int left, const T* x, T* y, K* indices
) {
    const Axis vertical(height, out_height, window_height, stride_height, top);
    const Axis horizontal(width, out_width, window_width, stride_width, left);
    for (I i = thread_index(); i < count; i += thread_count()) {
        const Place to(i, out_height, out_width, channels);
        const int top_row = vertical.start(to.row), left_column = horizontal.start(to.column);
        A best[VECTOR];
        int places[VECTOR];
        for (int a = 0; a < vertical.window; ++a) {
            const int row = vertical.clamped(top_row + a);
            for (int b = 0; b < horizontal.window; ++b) {
                const int column = horizontal.clamped(left_column + b);
                const int place = (row - top_row) * horizontal.window + column - left_column;
                const Vector<T, VECTOR> part = load_vector<VECTOR>(
                    x + element(to.image, row, column, to.channel, height, width, channels));
                for (int j = 0; j < VECTOR; ++j) {
                    const A value = widen(part.values[j]);
                    if (a + b == 0 || beats(value, best[j])) best[j] = value, places[j] = place;
                }
            }
        }
        Vector<T, VECTOR> result;
        Vector<K, VECTOR> result_places;
        for (int j = 0; j < VECTOR; ++j) {
            result.values[j] = narrow<T>(best[j]);
            result_places.values[j] = static_cast<K>(places[j]);
        }
        store_vector(y + i * VECTOR, result);
        store_vector(indices + i * VECTOR, result_places);
    }
}

extern "C" __global__ void max_pool2d_backward(
    const I count, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int window_height, const int window_width, const int stride_height,
    const int stride_width, const int top, const int left, const T* output_grad, const K* indices,
    T* input_grad
) {
    const Axis vertical(height, out_height, window_height, stride_height, top);
    const Axis horizontal(width, out_width, window_width, stride_width, left);
    for (I i = thread_index(); i < count; i += thread_count()) {
        const Place to(i, height, width, channels);
        const int first_column = horizontal.first(to.column), last_row = vertical.last(to.row);
        const int last_column = horizontal.last(to.column);
        A sums[VECTOR] = {};
        #pragma unroll 1
        for (int row = vertical.first(to.row); row <= last_row; ++row) {
            #pragma unroll 1
            for (int column = first_column; column <= last_column; ++column) {
                const int place = (to.row - vertical.start(row)) * horizontal.window + to.column -
                    horizontal.start(column);
                const I from =
                    element(to.image, row, column, to.channel, out_height, out_width, channels);
                const Vector<T, VECTOR> grad = load_vector<VECTOR>(output_grad + from);
                const Vector<K, VECTOR> chosen = load_vector<VECTOR>(indices + from);
                for (int j = 0; j < VECTOR; ++j) {
                    if (chosen.values[j] == place) sums[j] += widen(grad.values[j]);
                }
            }
        }
        Vector<T, VECTOR> result;
        for (int j = 0; j < VECTOR; ++j) result.values[j] = narrow<T>(sums[j]);
        store_vector(input_grad + i * VECTOR, result);
    }
}

extern "C" __global__ void max_pool2d_backward_apart(
    const I count, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int window_height, const int window_width, const int stride_height,
    const int stride_width, const int top, const int left, const T* output_grad, const K* indices,
    T* input_grad
) {
    const Axis vertical(height, out_height, window_height, stride_height, top);
    const Axis horizontal(width, out_width, window_width, stride_width, left);
    const int cell_rows = vertical.cells(), cell_columns = horizontal.cells();
    for (I i = thread_index(); i < count; i += thread_count()) {
        const Place cell(i, cell_rows, cell_columns, channels);
        Vector<T, VECTOR> grad = {};
        Vector<K, VECTOR> chosen = {};
        if (cell.row < out_height && cell.column < out_width) {
            const I from = element(
                cell.image, cell.row, cell.column, cell.channel, out_height, out_width, channels);
            grad = load_vector<VECTOR>(output_grad + from);
            chosen = load_vector<VECTOR>(indices + from);
        }
        #pragma unroll UNROLL
        for (int a = 0; a < vertical.stride; ++a) {
            #pragma unroll UNROLL
            for (int b = 0; b < horizontal.stride; ++b) {
                const int row = vertical.start(cell.row) + a;
                const int column = horizontal.start(cell.column) + b;
                Vector<T, VECTOR> result = {};
                const bool in_window = a < vertical.window && b < horizontal.window;
                const int place = a * horizontal.window + b;
                for (int j = 0; j < VECTOR; ++j) {
                    if (in_window && chosen.values[j] == place) result.values[j] = grad.values[j];
                }
                if (vertical.inside(row) && horizontal.inside(column)) {
                    store_vector(
                        input_grad +
                            element(cell.image, row, column, cell.channel, height, width, channels),
                        result);
                }
            }
        }
    }
}

extern "C" __global__ void average_pool2d_forward(
    const I count, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int window_height, const int window_width, const int stride_height,
    const int stride_width, const int top, const int left, const T* x, T* y
) {
    const Axis vertical(height, out_height, window_height, stride_height, top);
    const Axis horizontal(width, out_width, window_width, stride_width, left);
    for (I i = thread_index(); i < count; i += thread_count()) {
        const Place to(i, out_height, out_width, channels);
        A sums[VECTOR] = {};
        for (int a = 0; a < vertical.window; ++a) {
            const int row = vertical.start(to.row) + a;
            A row_sums[VECTOR] = {};
            for (int b = 0; b < horizontal.window; ++b) {
                // Load unconditionally, so that no load waits for a test.
                const int column = horizontal.start(to.column) + b;
                const Vector<T, VECTOR> part = load_vector<VECTOR>(
                    x + element(to.image, vertical.clamped(row), horizontal.clamped(column),
                                to.channel, height, width, channels));
                const bool counts = vertical.inside(row) && horizontal.inside(column);
                for (int j = 0; j < VECTOR; ++j) {
                    row_sums[j] += counts ? widen(part.values[j]) : A(0);
                }
            }
            for (int j = 0; j < VECTOR; ++j) sums[j] += row_sums[j];
        }
        const A pixels = static_cast<A>(vertical.count(to.row)) * horizontal.count(to.column);
        Vector<T, VECTOR> result;
        for (int j = 0; j < VECTOR; ++j) result.values[j] = narrow<T>(sums[j] / pixels);
        store_vector(y + i * VECTOR, result);
    }
}

extern "C" __global__ void average_pool2d_backward(
    const I count, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int window_height, const int window_width, const int stride_height,
    const int stride_width, const int top, const int left, const T* output_grad, T* input_grad
) {
    const Axis vertical(height, out_height, window_height, stride_height, top);
    const Axis horizontal(width, out_width, window_width, stride_width, left);
    for (I i = thread_index(); i < count; i += thread_count()) {
        const Place to(i, height, width, channels);
        const int first_column = horizontal.first(to.column), last_row = vertical.last(to.row);
        const int last_column = horizontal.last(to.column);
        A sums[VECTOR] = {};
        #pragma unroll 1
        for (int row = vertical.first(to.row); row <= last_row; ++row) {
            #pragma unroll 1
            for (int column = first_column; column <= last_column; ++column) {
                // One division for all channels; each channel gets its rounding error.
                const A pixels = static_cast<A>(vertical.count(row)) * horizontal.count(column);
                const A share = 1 / pixels;
                const Vector<T, VECTOR> grad = load_vector<VECTOR>(
                    output_grad +
                    element(to.image, row, column, to.channel, out_height, out_width, channels));
                for (int j = 0; j < VECTOR; ++j) sums[j] += widen(grad.values[j]) * share;
            }
        }
        Vector<T, VECTOR> result;
        for (int j = 0; j < VECTOR; ++j) result.values[j] = narrow<T>(sums[j]);
        store_vector(input_grad + i * VECTOR, result);
    }
}

extern "C" __global__ void average_pool2d_backward_apart(
    const I count, const int height, const int width, const int channels, const int out_height,
    const int out_width, const int window_height, const int window_width, const int stride_height,
    const int stride_width, const int top, const int left, const T* output_grad, T* input_grad
) {
    const Axis vertical(height, out_height, window_height, stride_height, top);
    const Axis horizontal(width, out_width, window_width, stride_width, left);
    const int cell_rows = vertical.cells(), cell_columns = horizontal.cells();
    for (I i = thread_index(); i < count; i += thread_count()) {
        const Place cell(i, cell_rows, cell_columns, channels);
        Vector<T, VECTOR> share = {};
        if (cell.row < out_height && cell.column < out_width) {
            const A pixels =
                static_cast<A>(vertical.count(cell.row)) * horizontal.count(cell.column);
            share = load_vector<VECTOR>(
                output_grad +
                element(cell.image, cell.row, cell.column, cell.channel, out_height, out_width,
                        channels));
            for (int j = 0; j < VECTOR; ++j) {
                share.values[j] = narrow<T>(widen(share.values[j]) / pixels);
            }
        }
        #pragma unroll UNROLL
        for (int a = 0; a < vertical.stride; ++a) {
            #pragma unroll UNROLL
            for (int b = 0; b < horizontal.stride; ++b) {
                const int row = vertical.start(cell.row) + a;
                const int column = horizontal.start(cell.column) + b;
                Vector<T, VECTOR> result = {};
                if (a < vertical.window && b < horizontal.window) result = share;
                if (vertical.inside(row) && horizontal.inside(column)) {
                    store_vector(
                        input_grad +
                            element(cell.image, row, column, cell.channel, height, width, channels),
                        result);
                }
            }
        }
    }
}
