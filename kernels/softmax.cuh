// Purpose: what softmax.cu and head.cu share: numbers that are not finite, and labels.
//
// The macro L names their type.

#pragma once

#include "operations.cuh"

__device__ inline A infinity() { return bits_float(0x7f800000u); }
__device__ inline A not_a_number() { return bits_float(0x7fc00000u); }

// A label as a number to compute with.
template <typename Label>
__device__ inline A probability(const Label label) { return static_cast<A>(label); }
__device__ inline A probability(const float16 label) { return widen(label); }
__device__ inline A probability(const bfloat16 label) { return widen(label); }

// A label as the number of a class, or -1 if there is no such class.
template <typename Label>
__device__ inline int64 class_number(const Label label, const int64 classes) {
    const int64 number = static_cast<int64>(label);  // of uint64 beyond the range: negative
    return number >= 0 && number < classes ? number : -1;
}
__device__ inline int64 class_number(const float16, const int64) { return -1; }
__device__ inline int64 class_number(const bfloat16, const int64) { return -1; }
