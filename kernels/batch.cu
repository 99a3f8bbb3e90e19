// Purpose: gathers the samples of a batch from all of the data, as they are or as scaled numbers of
//          another type; and rescales numbers of any type.
//
// Formula: batch[i] = data[rows[i]], or T(data[rows[i]]) * scale. No row outside of the data is
//          read: such a sample is filled with `missing`, or with NaN.
//          y[i] = T(x[i]) * scale + offset, product and sum each rounded, as NumPy rounds them.
//
// Layout:  data is (samples, size), batch (count, size), rows (count,); all contiguous. For
//          gather_copy an element is T, an unsigned integer of as many bits as the real one has;
//          for gather_convert that of data is D. For rescale x is (count,) of D and y of T.
//
// Threads: blocks of two dimensions: threads along y take samples, those along x take VECTOR
//          elements each; so do the axes of the grid, the other way round, since its x reaches
//          further. Threads loop over the elements of a sample, not over samples. For rescale
//          all is one-dimensional: thread i takes VECTOR elements from i * VECTOR, and so on in
//          steps of the whole grid, and the first threads one each of those left over.
//
// Limits:  gridDim.x * blockDim.y at least count, and VECTOR divides size; any grid for rescale.
//          With VECTOR > 1 arrays on boundaries of 16 bytes.
// Registers: at most 48 a thread: nearly full occupancy, as loads are all there is to wait for.

#include "common.cuh"

template <int WIDTH, typename From, typename To, typename Convert>
__device__ inline void gather(
    const int64 samples, const int64 count, const int64 size, const To missing, const From* data,
    const int64* rows, To* batch, const Convert convert
) {
    const int64 sample = static_cast<int64>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (sample >= count) return;
    const int64 row = rows[sample];
    const bool is_there = row >= 0 && row < samples;
    const int64 first = static_cast<int64>(blockIdx.y) * blockDim.x + threadIdx.x;
    const int64 threads = static_cast<int64>(gridDim.y) * blockDim.x;
    for (int64 i = first * WIDTH; i < size; i += threads * WIDTH) {
        Vector<To, WIDTH> result;
        if (is_there) {
            const Vector<From, WIDTH> part = load_vector<WIDTH>(data + row * size + i);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) result.values[j] = convert(part.values[j]);
        } else {
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) result.values[j] = missing;
        }
        store_vector(batch + sample * size + i, result);
    }
}

extern "C" __global__ void gather_copy(
    const int64 samples, const int64 count, const int64 size, const T missing, const T* data,
    const int64* rows, T* batch
) {
    gather<VECTOR>(samples, count, size, missing, data, rows, batch, [](const T x) { return x; });
}

// A number of any type in A: an integer is rounded once.
template <typename Number>
__device__ inline A in_accumulator(const Number x) { return static_cast<A>(x); }
__device__ inline A in_accumulator(const float16 x) { return widen(x); }
__device__ inline A in_accumulator(const bfloat16 x) { return widen(x); }

extern "C" __global__ void gather_convert(
    const int64 samples, const int64 count, const int64 size, const A scale, const D* data,
    const int64* rows, T* batch
) {
    const T missing = narrow<T>(static_cast<A>(bits_float(0x7fc00000u)));  // NaN
    gather<VECTOR>(samples, count, size, missing, data, rows, batch, [scale](const D x) {
        return narrow<T>(in_accumulator(x) * scale);
    });
}

extern "C" __global__ void rescale(
    const int64 count, const A scale, const A offset, const D* x, T* y
) {
    const auto rescaled = [scale, offset](const D value) {
        return narrow<T>(rounded_product(in_accumulator(value), scale) + offset);
    };
    const int64 vectors = count / VECTOR;
    for (int64 i = thread_index(); i < vectors; i += thread_count()) {
        const Vector<D, VECTOR> part = load_vector<VECTOR>(x + i * VECTOR);
        Vector<T, VECTOR> result;
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) result.values[j] = rescaled(part.values[j]);
        store_vector(y + i * VECTOR, result);
    }
    const int64 last = vectors * VECTOR + thread_index();
    if (last < count) y[last] = rescaled(x[last]);
}
