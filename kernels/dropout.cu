// Purpose: dropout; its gradient is the same kernel, applied to the gradient of the output.
//
// Formula: y[i] = scale * x[i] if 32-bit number i of the key is at least threshold, else 0, also
//          where x[i] is infinite or NaN.
//
// Layout:  x and y are (count,), contiguous, of type T; key is (2,), read on the device, so that a
//          captured step can be run again with another key.
//
// Threads: one-dimensional; thread i makes block i of the random numbers, which are 8, for the 8
//          elements from 8 * i, and so on in steps of the whole grid. It asks for its elements
//          first: the random numbers are made while they are on their way.
//
// Limits:  any grid and block; with VECTOR > 1 (a divisor of 8) arrays on boundaries of 16 bytes.
// Registers: at most 64 a thread: the random block and its key are 24, the elements up to 16; with
//          8 elements under way in each thread, half the threads that could run keep memory busy.

#include "philox.cuh"

__device__ inline T keep(const T x, const uint32 number, const uint32 threshold, const A scale) {
    return narrow<T>(number >= threshold ? widen(x) * scale : A(0));
}

extern "C" __global__ void dropout(
    const int64 count, const uint32 threshold, const A scale, const uint64* key, const T* x, T* y
) {
    constexpr int PARTS = PHILOX_NUMBERS / VECTOR;
    const uint64 seed = key[0], draw = key[1];
#pragma unroll 1  // two rounds at once would double the registers
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
