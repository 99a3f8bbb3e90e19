// Purpose: augmentation of images: warps by a matrix an image with its colors, the means of
//          channels that contrast is about, and the random numbers that both are drawn by.
//
// Formula: pixel (i, j) of the result is the input at row u and column v, with the image's matrix
//          (a, b, c, d, e, f, g, h), g = h = 0 where it has 6 entries:
//          v = (a j + b i + c) / (g j + h i + 1), u = (d j + e i + f) / (g j + h i + 1); between
//          pixels it is interpolated along rows, then down, past the border as FILL_MODE says.
//          Channel k then becomes value * colors[n, k, 0] + colors[n, k, 1], clipped to
//          [low, high]. Products and sums are rounded one by one: the bits are NumPy's.
//          recolor_images: channel k of red, green and blue lacks L - x[k] of the largest, L, which
//          grows with how far the hue is from the channel's own; hues are turned, and what lacks is
//          scaled, up to L.
//          uniform: y[k] = (32-bit number k of the key >> 8) / 2**24.
//
// Layout:  x is (batch, height, width, channels) of type D, y (batch, out_height, out_width,
//          channels) of T, matrices (batch, ENTRIES), colors (batch, channels, 2) or null; means
//          (batch, channels). All contiguous. key is (2,), read on the device, so that a captured
//          step can be replayed with a new key.
//
// Threads: one-dimensional. warp_images and recolor_images are grid-stride, a thread takes all channels of a pixel of
//          the result; neighbours take neighbouring pixels. image_means has a block for each
//          channel of each image, whose threads add float64 sums in a fixed order. uniform is
//          grid-stride; thread k makes random block k, 8 numbers.
//
// Limits:  any grid for warp_images and uniform; 256 threads a block for image_means.
// Registers: at most 72 a thread, 96 for float64: four addresses, four weights and the matrix.

#include "philox.cuh"

constexpr int CONSTANT = 0, NEAREST = 1, WRAP = 2, REFLECT = 3;
constexpr int MEAN_THREADS = 256;

// Return the integer at or below x, which fits an int.
__device__ inline int integer_below(const A x) {
    const int cut = static_cast<int>(x);
    return cut - (static_cast<A>(cut) > x);
}

// Return the nearest integer, of two the even one.
__device__ inline int nearest_integer(const A x) {
    const int below = integer_below(x);
    const A rest = x - static_cast<A>(below);
    return below + (rest > A(0.5) || (rest == A(0.5) && below % 2 != 0));
}

template <typename Number>
__device__ inline A in_accumulator(const Number x) { return static_cast<A>(x); }
__device__ inline A in_accumulator(const float16 x) { return widen(x); }
__device__ inline A in_accumulator(const bfloat16 x) { return widen(x); }

// Return a place that fits an int; past the reach, and for NaN, the farthest.
__device__ inline A within_reach(const A place) {
    constexpr A FARTHEST = 1 << 30;
    const A below = place < FARTHEST ? place : FARTHEST;
    return below > -FARTHEST ? below : -FARTHEST;
}

// Return the place in [0, size) that stands for one past the border.
__device__ inline int continued(const int place, const int size) {
    if (FILL_MODE == WRAP) {
        const int rest = place % size;
        return rest < 0 ? rest + size : rest;
    }
    if (FILL_MODE == REFLECT) {
        const int rest = place % (2 * size), folded = rest < 0 ? rest + 2 * size : rest;
        return min(folded, 2 * size - 1 - folded);
    }
    return max(0, min(place, size - 1));
}

// Return a (1 - share) + b share; a itself at a share of 0.
__device__ inline A between(const A a, const A b, const A share) {
    return share > 0 ? rounded_product(a, 1 - share) + rounded_product(b, share) : a;
}

// The pixels of one image, of which those past the border are `fill` or others.
struct Image {
    const D* pixels;
    int height, width, channels;
    A fill;

    // Return the address of a pixel, null for the constant past the border.
    __device__ const D* at(const int i, const int j) const {
        const bool is_inside = i >= 0 && i < height && j >= 0 && j < width;
        if (FILL_MODE == CONSTANT && !is_inside) return nullptr;
        const int row = continued(i, height), column = continued(j, width);
        return pixels + (static_cast<int64>(row) * width + column) * channels;
    }
    __device__ A value(const D* pixel, const int channel) const {
        return FILL_MODE == CONSTANT && !pixel ? fill : in_accumulator(pixel[channel]);
    }
};

extern "C" __global__ void warp_images(
    const int64 count, const int height, const int width, const int channels, const int out_height,
    const int out_width, const A fill, const A low, const A high, const D* x, const A* matrices,
    const A* colors, T* y
) {
    for (int64 pixel = thread_index(); pixel < count; pixel += thread_count()) {
        const int64 line = pixel / out_width, image = line / out_height;
        const A j = static_cast<A>(pixel - line * out_width);
        const A i = static_cast<A>(line - image * out_height);
        const A* m = matrices + image * ENTRIES;
        A v = rounded_product(m[0], j) + rounded_product(m[1], i) + m[2];
        A u = rounded_product(m[3], j) + rounded_product(m[4], i) + m[5];
        if (ENTRIES == 8) {
            const A depth = rounded_product(m[6], j) + rounded_product(m[7], i) + 1;
            v = v / depth;
            u = u / depth;
        }
        v = within_reach(v);
        u = within_reach(u);
        const int row = BILINEAR ? integer_below(u) : nearest_integer(u);
        const int column = BILINEAR ? integer_below(v) : nearest_integer(v);
        const A right = v - static_cast<A>(column), down = u - static_cast<A>(row);
        const Image from{
            x + image * height * width * channels, height, width, channels, fill
        };
        const D* first = from.at(row, column);
        const D* second = BILINEAR ? from.at(row, column + 1) : first;
        const D* third = BILINEAR ? from.at(row + 1, column) : first;
        const D* fourth = BILINEAR ? from.at(row + 1, column + 1) : first;
#pragma unroll 1
        for (int channel = 0; channel < channels; ++channel) {
            A value = from.value(first, channel);
            if (BILINEAR) {
                value = between(
                    between(value, from.value(second, channel), right),
                    between(from.value(third, channel), from.value(fourth, channel), right), down);
            }
            if (colors) {
                const A* color = colors + (image * channels + channel) * 2;
                value = rounded_product(value, color[0]) + color[1];
            }
            value = value < low ? low : value;
            value = value > high ? high : value;
            y[pixel * channels + channel] = narrow<T>(value);
        }
    }
}

extern "C" __global__ void image_means(
    const int64 pixels, const int channels, const D* x, T* means
) {
    SHARED(float64, sums, MEAN_THREADS);
    const int64 image = blockIdx.x / channels;
    const int channel = blockIdx.x % channels;
    const D* first = x + image * pixels * channels + channel;
    float64 sum = 0;
    for (int64 pixel = threadIdx.x; pixel < pixels; pixel += MEAN_THREADS) {
        sum += in_accumulator(first[pixel * channels]);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = MEAN_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) means[blockIdx.x] = narrow<T>(static_cast<A>(sums[0] / pixels));
}

// Return what a channel lacks that is `distance` sixths of the circle from its own hue.
__device__ inline A lack(A distance) {
    distance = distance > 3 ? distance - 6 : distance;
    distance = distance < -3 ? distance + 6 : distance;
    const A past = (distance < 0 ? -distance : distance) - 1;
    return past < 0 ? A(0) : past > 1 ? A(1) : past;
}

extern "C" __global__ void recolor_images(
    const int64 count, const int64 image, const A low, const D* x, const A* colors, T* y
) {
    for (int64 pixel = thread_index(); pixel < count; pixel += thread_count()) {
        const A* color = colors + pixel / image * 2;
        const A turn = rounded_product(color[0], 6);
        A values[3];
#pragma unroll
        for (int k = 0; k < 3; ++k) values[k] = in_accumulator(x[pixel * 3 + k]) - low;
        const A first = values[0], second = values[1], third = values[2];
        const A larger = first > second ? first : second;
        const A largest = larger > third ? larger : third;
        const A smaller = first < second ? first : second;
        const A spread = largest - (smaller < third ? smaller : third);
        if (spread > 0) {
            const A whole = largest / spread, scale = color[1] < whole ? color[1] : whole;
            const A red = (largest - first) / spread, green = (largest - second) / spread;
            const A blue = (largest - third) / spread;
            const A hue = turn +
                (red <= 0 ? blue - green : green <= 0 ? red - blue + 2 : green - red + 4);
#pragma unroll
            for (int k = 0; k < 3; ++k) {
                const A lacks = turn != 0 ? rounded_product(spread, lack(hue - 2 * k))
                                          : largest - values[k];
                values[k] = largest - rounded_product(lacks, scale);
            }
        }
#pragma unroll
        for (int k = 0; k < 3; ++k) y[pixel * 3 + k] = narrow<T>(values[k] + low);
    }
}

extern "C" __global__ void uniform(const int64 count, const uint64* key, T* y) {
    constexpr A STEP = A(1) / (1 << 24);
    const uint64 seed = key[0], draw = key[1];
#pragma unroll 1
    for (int64 block = thread_index(); block * PHILOX_NUMBERS < count; block += thread_count()) {
        const PhiloxBlock random = philox(seed, draw, block);
#pragma unroll
        for (int k = 0; k < PHILOX_NUMBERS; ++k) {
            const int64 place = block * PHILOX_NUMBERS + k;
            if (place < count) y[place] = narrow<T>(A(philox_number(random, k) >> 8) * STEP);
        }
    }
}
