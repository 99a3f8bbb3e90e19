// Purpose: normally distributed numbers of a key, for noise that is drawn anew in each replay.
//
// Formula: Box and Muller's. Of the 32-bit random numbers 2 i and 2 i + 1 of the key, the high 24
//          bits make u in (0, 1] and v in [0, 1), in steps of 2**-24, and with
//          r = sqrt(-2 log(u)) the results y[2 i] = r cos(2 pi v) and y[2 i + 1] = r sin(2 pi v).
//
// Layout:  y is (count,), of type T, computed in A; key is (2,), read on the device, so that a
//          captured step can be replayed with a new key.
//
// Threads: one-dimensional, grid-stride; thread i makes random block i, for the 8 elements from
//          8 * i.
//
// Limits:  any grid and block.
// Registers: at most 48 a thread, 64 for float64: the random block and its key take 24.
//
// Source:  Box and Muller, "A note on the generation of random normal deviates", 1958.

#include "philox.cuh"

__device__ inline float cos_pi(const float x) { return cospif(x); }
__device__ inline double cos_pi(const double x) { return cospi(x); }
__device__ inline float sin_pi(const float x) { return sinpif(x); }
__device__ inline double sin_pi(const double x) { return sinpi(x); }

extern "C" __global__ void normal(const int64 count, const uint64* key, T* y) {
    constexpr A STEP = A(1) / (1 << 24);
    const uint64 seed = key[0], draw = key[1];
#pragma unroll 1
    for (int64 block = thread_index(); block * PHILOX_NUMBERS < count; block += thread_count()) {
        const PhiloxBlock random = philox(seed, draw, block);
#pragma unroll
        for (int i = 0; i < PHILOX_NUMBERS; i += 2) {
            const A u = A((philox_number(random, i) >> 8) + 1) * STEP;
            const A v = A(philox_number(random, i + 1) >> 8) * STEP;
            const A radius = sqrt(A(-2) * log(u));
            const int64 place = block * PHILOX_NUMBERS + i;
            if (place < count) y[place] = narrow<T>(radius * cos_pi(2 * v));
            if (place + 1 < count) y[place + 1] = narrow<T>(radius * sin_pi(2 * v));
        }
    }
}
