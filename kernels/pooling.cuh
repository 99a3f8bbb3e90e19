// Purpose: which value of a window is its largest, for pooling.cu and for what else takes it.

#pragma once

#include "common.cuh"

// Whether a value is to be taken instead of the best before it: of equal ones the first stays, and
// a NaN is larger than any number.
template <typename Value>
__device__ inline bool beats(const Value value, const Value best) {
    return value > best || (value != value && best == best);
}

// The outputs of a window of 2 x 2, as they come row by row.
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
