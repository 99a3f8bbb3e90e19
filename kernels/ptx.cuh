// Purpose: everything CUDA C++ cannot express, as inline PTX, each with a host version; and 16-bit
//          element types that need no CUDA headers.
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

// Return the place of the lowest bit that is set; there must be one.
__device__ inline int lowest_bit(const unsigned int bits) {
#ifdef __CUDACC__
    return __ffs(bits) - 1;
#else
    return __builtin_ctz(bits);
#endif
}

// Return a * b, rounded; the compiler must not contract it into a fused multiply-add.
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
    // Shift the exponent into place and correct the bias by 127 - 15. The multiplication corrects
    // it for subnormals too.
    const unsigned int sign = (x.bits & 0x8000u) << 16, rest = (x.bits & 0x7fffu) << 13;
    if ((x.bits & 0x7c00u) == 0x7c00u) return bits_float(sign | 0x7f800000u | rest);
    return bits_float(sign | float_bits(bits_float(rest) * 0x1p112f));
#endif
}

// Round to nearest, ties to even.
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
    else bits = float_bits(bits_float(size) + 0.5f) - 0x3f000000u;  // subnormal: units of 2^-24
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

// Round to nearest with 11 significant bits, ties away from 0.
__device__ inline float round_to_tf32(const float value) {
#ifdef __CUDACC__
    unsigned int bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits_float(bits);
#else
    if (value != value) return value;
    return bits_float((float_bits(value) + 0x1000u) & 0xffffe000u);
#endif
}

// Round to the nearest bfloat16, ties to even.
__device__ inline float round_to_bfloat16(const float value) {
#ifdef __CUDACC__
    unsigned int bits;  // two bfloat16, the lower is 0
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(value), "f"(0.0f));
    return bits_float(bits);
#else
    return widen_bfloat16(narrow_bfloat16(value));
#endif
}

// Matrix product of one warp: sums (16, 8) += a (16, k) b (k, 8). A register holds P factors (1 of
// TF32, 2 of bfloat16), and k is 8 P. Lane i holds
//     sums: rows i / 4 and i / 4 + 8, columns 2 (i % 4) and the next
//     a:    the same rows, alternating;    b: column i / 4
//           first the P factors from k = P (i % 4), then the P factors from k + 4 P
#ifndef __CUDACC__
template <int PER_REGISTER>
inline float factor(const unsigned int bits, const int k) {
    if (PER_REGISTER == 1) return bits_float(bits & 0xffffe000u);  // the hardware drops low bits
    return bits_float(k % 2 ? bits & 0xffff0000u : bits << 16);
}

template <int PER_REGISTER>
inline void add_products(
    float (&sums)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]
) {
    shim::deposit({a[0], a[1], a[2], a[3], b[0], b[1]}, __LINE__);
    const int lane = shim::lane();
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4, lower = i / 2, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 8 * PER_REGISTER; ++k) {
            const int place = k / PER_REGISTER % 4, further = k / PER_REGISTER / 4;
            const unsigned int of_a = shim::deposited(row * 4 + place, lower + 2 * further);
            const unsigned int of_b = shim::deposited(column * 4 + place, 4 + further);
            sums[i] += factor<PER_REGISTER>(of_a, k) * factor<PER_REGISTER>(of_b, k);
        }
    }
}
#endif

__device__ inline void add_tf32_products(
    float (&sums)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]
) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])
    );
#else
    add_products<1>(sums, a, b);
#endif
}

__device__ inline void add_bfloat16_products(
    float (&sums)[4], const unsigned int (&a)[4], const unsigned int (&b)[2]
) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1])
    );
#else
    add_products<2>(sums, a, b);
#endif
}
