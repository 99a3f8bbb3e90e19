// Purpose: all that CUDA C++ cannot say, as inline PTX, each with a version for the host; and the
//          16-bit element types, which need no header of CUDA's this way.
//
// Layout:  float16 is IEEE 754 binary16; bfloat16 is the upper half of a float32.

#pragma once

struct float16 {
    unsigned short bits;
};

struct bfloat16 {
    unsigned short bits;
};

__device__ inline unsigned int float_bits(const float value) {
#ifdef __CUDACC__
    return __float_as_uint(value);
#else
    unsigned int bits;
    __builtin_memcpy(&bits, &value, sizeof(bits));
    return bits;
#endif
}

__device__ inline float bits_float(const unsigned int bits) {
#ifdef __CUDACC__
    return __uint_as_float(bits);
#else
    float value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
#endif
}

// A product that is rounded whatever is added to it, never fused with a sum.
__device__ inline float rounded_product(const float a, const float b) {
#ifdef __CUDACC__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}
__device__ inline double rounded_product(const double a, const double b) {
#ifdef __CUDACC__
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}

__device__ inline float widen_float16(const float16 x) {
#ifdef __CUDACC__
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
    return value;
#else
    // The exponent is moved by its place in the word and by the difference of the biases, 127 - 15;
    // a product does the latter for numbers below the normal range too.
    const unsigned int sign = (x.bits & 0x8000u) << 16, rest = (x.bits & 0x7fffu) << 13;
    if ((x.bits & 0x7c00u) == 0x7c00u) return bits_float(sign | 0x7f800000u | rest);
    return bits_float(sign | float_bits(bits_float(rest) * 0x1p112f));
#endif
}

// To the nearest, ties to even, as all conversions here.
__device__ inline float16 narrow_float16(const float value) {
#ifdef __CUDACC__
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return {bits};
#else
    const unsigned int sign = (float_bits(value) >> 16) & 0x8000u;
    const unsigned int size = float_bits(value) & 0x7fffffffu;
    unsigned int bits;
    if (size > 0x7f800000u) bits = 0x7fffu;
    else if (size >= 0x477ff000u) bits = 0x7c00u;  // rounds to more than 65504
    else if (size >= 0x38800000u) bits = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13;
    else bits = float_bits(bits_float(size) + 0.5f) - 0x3f000000u;  // below 2^-14: units of 2^-24
    return {static_cast<unsigned short>(sign | bits)};
#endif
}

__device__ inline float widen_bfloat16(const bfloat16 x) {
    return bits_float(static_cast<unsigned int>(x.bits) << 16);
}

__device__ inline bfloat16 narrow_bfloat16(const float value) {
    const unsigned int bits = float_bits(value);
    if (value != value) return {static_cast<unsigned short>((bits >> 16) | 0x40u)};
    return {static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}
