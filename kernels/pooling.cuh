// Purpose: the maximum of a pooling window and its index, for all kernels that pool.

#pragma once

#include "common.cuh"

// Return whether a value replaces the best so far: the first of equal values wins, and NaN is
// larger than any number.
template <typename Value>
__device__ inline bool beats(const Value value, const Value best) {
    return value > best || (value != value && best == best);
}

// Outputs of a 2 x 2 window, in row-major order.
constexpr int WINDOW_SIZE = 4;

struct Largest {
    A value;
    int place;
};

__device__ inline Largest largest_of(const A (&values)[WINDOW_SIZE]) {
    Largest best = {values[0], 0};
    for (int i = 1; i < WINDOW_SIZE; ++i) {
        if (beats(values[i], best.value)) best = {values[i], i};
    }
    return best;
}
