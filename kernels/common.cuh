// Purpose: shared by all kernels: element types, shared memory, vector loads, grid indices.
//
// Types:   macros name the element types as NumPy does: -DT=float32 for the arrays, -DA=float32 for
//          the accumulator (float64 for float64, else float32).
//
// Limits:  CuPy compiles with -ftz=true: on a GPU, float32 subnormals (below 1.2e-38) are 0.

#pragma once

#include "ptx.cuh"

typedef signed char int8;
typedef unsigned char uint8;
typedef short int16;
typedef unsigned short uint16;
typedef int int32;
typedef unsigned int uint32;
typedef long long int64;
typedef unsigned long long uint64;
typedef float float32;
typedef double float64;

// Declares shared memory, everywhere; the tests redefine it to hand out poisoned memory.
#ifndef SHARED
#define SHARED(type, name, count) __shared__ __align__(16) type name[count]
#endif

constexpr unsigned int WHOLE_WARP = 0xffffffffu;
constexpr int WARP = 32;

__device__ inline float widen(const float16 x) { return widen_float16(x); }
__device__ inline float widen(const bfloat16 x) { return widen_bfloat16(x); }
__device__ inline float widen(const float x) { return x; }
__device__ inline double widen(const double x) { return x; }

// narrow<float16>(x) etc. converts an accumulator to an array element.
template <typename Element>
__device__ inline Element narrow(const float x) { return static_cast<Element>(x); }
template <>
__device__ inline float16 narrow<float16>(const float x) { return narrow_float16(x); }
template <>
__device__ inline bfloat16 narrow<bfloat16>(const float x) { return narrow_bfloat16(x); }
template <typename Element>
__device__ inline Element narrow(const double x) { return static_cast<Element>(x); }

// COUNT elements, read or written by one instruction. Aligned to their size, at most 16 bytes.
template <typename Element, int COUNT>
struct __align__(sizeof(Element) * COUNT < 16 ? sizeof(Element) * COUNT : 16) Vector {
    Element values[COUNT];
};

template <int COUNT, typename Element>
__device__ inline Vector<Element, COUNT> load_vector(const Element* address) {
    return *reinterpret_cast<const Vector<Element, COUNT>*>(address);
}

template <int COUNT, typename Element>
__device__ inline void store_vector(Element* address, const Vector<Element, COUNT>& vector) {
    *reinterpret_cast<Vector<Element, COUNT>*>(address) = vector;
}

// Index of this thread in a one-dimensional grid, and the grid's thread count.
__device__ inline int64 thread_index() {
    return static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64 thread_count() { return static_cast<int64>(gridDim.x) * blockDim.x; }
