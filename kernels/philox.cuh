// Purpose: the random numbers of gpunet/random.py on the device: Philox4x64-10, counter-based.
//
// Formula: block b of the key (seed, draw) is ten rounds over the counter (b + 1, 0, 0, 0). A round
//          multiplies two words to 128 bits each, swaps the halves and XORs the key in.
//          The key then grows by a constant. Block i / 8 contains 32-bit number i.
//
// Source:  Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

#pragma once

#include "common.cuh"

constexpr int PHILOX_NUMBERS = 8;  // 32-bit numbers per block

struct PhiloxBlock {
    uint64 words[4];
};

__device__ inline PhiloxBlock philox(uint64 seed, uint64 draw, const uint64 block) {
    constexpr uint64 FACTOR_0 = 0xd2e7470ee14c6c93ull, FACTOR_2 = 0xca5a826395121157ull;
    uint64 c0 = block + 1, c1 = 0, c2 = 0, c3 = 0;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64 high_0 = __umul64hi(FACTOR_0, c0), low_0 = FACTOR_0 * c0;
        const uint64 high_2 = __umul64hi(FACTOR_2, c2), low_2 = FACTOR_2 * c2;
        c0 = high_2 ^ c1 ^ seed;
        c1 = low_2;
        c2 = high_0 ^ c3 ^ draw;
        c3 = low_0;
        seed += 0x9e3779b97f4a7c15ull;  // the golden ratio
        draw += 0xbb67ae8584caa73bull;  // sqrt(3) - 1
    }
    return {{c0, c1, c2, c3}};
}

// Return 32-bit number i (0 to 7) of a block: the low half of word i / 2; for odd i the high half.
__device__ inline uint32 philox_number(const PhiloxBlock& block, const int i) {
    return static_cast<uint32>(block.words[i / 2] >> (i % 2 * 32));
}
