// Purpose: dropout; the backward pass is the same kernel, applied to the output's gradient.
//
// Formula: y[i] = scale * x[i] if 32-bit random number i of the key is >= threshold, else 0 (even
//          where x[i] is infinite or NaN).
//
// Layout:  x and y are (count,), contiguous, of type T; key is (2,), read on the device, so that a
//          captured step can be replayed with a new key.
//
// Threads: one-dimensional, grid-stride; thread i makes random block i (8 numbers) for the 8
//          elements from 8 * i. It issues its loads first, so that their latency is hidden behind
//          the random number generator.
//
// Limits:  any grid and block; VECTOR divides 8, and above 1 it needs arrays aligned to 16 bytes.
// Registers: at most 64 a thread: the random block and its key take 24, the elements up to 16. With
//          8 loads in flight per thread, half occupancy saturates memory.

#include "philox.cuh"

__device__ inline T keep(const T x, const uint32 number, const uint32 threshold, const A scale) {
    return narrow<T>(number >= threshold ? widen(x) * scale : A(0));
}

extern "C" __global__ void dropout(
    const int64 count, const uint32 threshold, const A scale, const uint64* key, const T* x, T* y
) {
    constexpr int PARTS = PHILOX_NUMBERS / VECTOR;
    const uint64 seed = key[0], draw = key[1];
#pragma unroll 1  // unrolling twice would double the registers
    for (int64 block = thread_index(); block * PHILOX_NUMBERS < count; block += thread_count()) {
        const int64 first = block * PHILOX_NUMBERS;
        const bool is_whole = first + PHILOX_NUMBERS <= count;
        Vector<T, VECTOR> parts[PARTS];
#pragma unroll
        for (int i = 0; i < PHILOX_NUMBERS; ++i) {
            if (is_whole && i % VECTOR == 0) parts[i / VECTOR] = load_vector<VECTOR>(x + first + i);
            if (!is_whole && first + i < count) parts[i / VECTOR].values[i % VECTOR] = x[first + i];
        }
        const PhiloxBlock random = philox(seed, draw, block);
#pragma unroll
        for (int i = 0; i < PHILOX_NUMBERS; ++i) {
            T& value = parts[i / VECTOR].values[i % VECTOR];
            value = keep(value, philox_number(random, i), threshold, scale);
            if (is_whole && (i + 1) % VECTOR == 0) {
                store_vector(y + first + i + 1 - VECTOR, parts[i / VECTOR]);
            }
            if (!is_whole && first + i < count) y[first + i] = value;
        }
    }
}
