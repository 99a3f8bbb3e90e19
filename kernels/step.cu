// Purpose: what a training step does between the backward pass and the optimizer: finish_gradients
//          adds up the parts of the gradients that blocks of other kernels made, looks for numbers
//          that are not finite, takes the batch into the scores, and counts; set_updates sets what
//          layers registered, such as moving averages, unless the step has failed.
//
// Formula: gradients[destination + i] = sum over p of parts_k[first + p stride + i], for each
//          segment (a weight) and each i below its size, where k is the segment's array; a segment
//          without parts is only looked at.
//          totals[0] += weight * sum of losses, totals[1] += sum of hits,
//          counters[i] += increments[i].
//          failed[0] is set if a loss is NaN or infinite, failed[1] if a gradient or its square is:
//          an optimizer that keeps squares would divide by infinity from then on. Neither is ever
//          set back here, so that what follows can leave the weights alone.
//          weights[destination + i] = weights[...] * momentum + parts_k[first + i] *
//          (1 - momentum) in
//          set_updates; without momentum just parts_k[first + i].
//
// Layout:  table is (segments, 7) of int64: first block, destination, size, first, stride, parts
//          and the number k of their array; momenta (segments,) of float64. parts_k, gradients and
//          weights are flat, of type T; losses (samples,) of type T; hits (samples,) or null;
//          totals (2,) float64; counters and increments (count,); failed (3,).
//
// Threads: blocks of 256. A block has 256 elements of one segment, one a thread, which adds the
//          parts in their order. The last block, beyond those of the segments, has the scores and
//          the counters, where `samples` says that there are some: its threads take every 256th
//          sample, and their sums are added by halves.
//
// Limits:  blocks are counted from 0 in the order of the segments; at least one segment; at most 32
//          arrays, those that no segment names may be null.
// Registers: at most 64 a thread: the loop over parts is unrolled on some architectures.

#include "common.cuh"

constexpr int BLOCK = 256;
constexpr int FIELDS = 7;

__device__ inline bool is_finite(const A x) { return x - x == 0; }
__device__ inline bool is_finite_double(const float64 x) { return x - x == 0; }

// The segment that a block is of: the last one that begins at it or before.
__device__ inline int find_segment(const int segments, const int64* table, const int64 block) {
    int low = 0, high = segments;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (table[middle * FIELDS] <= block) low = middle;
        else high = middle;
    }
    return low;
}

// One of the arrays, by its number: an index into them would move them to local memory.
#define TAKE(k) case k: parts = parts_##k; break
#define TAKE_FOUR(a, b, c, d) TAKE(a); TAKE(b); TAKE(c); TAKE(d)
#define TAKE_ARRAY(number) \
    const T* parts = nullptr; \
    switch (number) { \
        TAKE_FOUR(0, 1, 2, 3); \
        TAKE_FOUR(4, 5, 6, 7); \
        TAKE_FOUR(8, 9, 10, 11); \
        TAKE_FOUR(12, 13, 14, 15); \
        TAKE_FOUR(16, 17, 18, 19); \
        TAKE_FOUR(20, 21, 22, 23); \
        TAKE_FOUR(24, 25, 26, 27); \
        TAKE_FOUR(28, 29, 30, 31); \
    }

__device__ inline void add_parts(
    const int64* segment, const T* parts, T* gradients, int64* failed
) {
    const int64 i = (blockIdx.x - segment[0]) * BLOCK + threadIdx.x;
    if (i >= segment[2]) return;
    T* gradient = gradients + segment[1] + i;
    const int64 stride = segment[4], count = segment[5];
    const T* part = parts + segment[3] + i;
    A sum = 0;
#pragma unroll 4  // so many loads under way at once
    for (int64 p = 0; p < count; ++p) sum += part[p * stride];
    if (count > 0) *gradient = sum;
    else sum = *gradient;
    if (!is_finite(sum * sum)) failed[1] = 1;
}

// The sum of what the threads of the block have; the first thread gets it.
__device__ inline float64 sum_of_block(float64* shared, const float64 value) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    return shared[0];
}

extern "C" __global__ void __launch_bounds__(BLOCK) finish_gradients(
    const int segments, const int64* table, T* gradients, const int64 samples,
    const float64 weight, const T* losses, const uint8* hits, float64* totals, const int count,
    const int64* increments, int64* counters, int64* failed,
    const T* parts_0, const T* parts_1, const T* parts_2, const T* parts_3, const T* parts_4,
    const T* parts_5, const T* parts_6, const T* parts_7, const T* parts_8, const T* parts_9,
    const T* parts_10, const T* parts_11, const T* parts_12, const T* parts_13,
    const T* parts_14, const T* parts_15, const T* parts_16, const T* parts_17,
    const T* parts_18, const T* parts_19, const T* parts_20, const T* parts_21,
    const T* parts_22, const T* parts_23, const T* parts_24, const T* parts_25,
    const T* parts_26, const T* parts_27, const T* parts_28, const T* parts_29,
    const T* parts_30, const T* parts_31
) {
    SHARED(float64, shared, BLOCK);
    if (samples == 0 || blockIdx.x + 1 < gridDim.x) {
        const int64* segment = table + find_segment(segments, table, blockIdx.x) * FIELDS;
        TAKE_ARRAY(segment[6]);
        add_parts(segment, parts, gradients, failed);
        return;
    }
    float64 loss = 0, hit = 0;
    for (int64 i = threadIdx.x; i < samples; i += BLOCK) {
        loss += losses[i];
        if (hits != nullptr) hit += hits[i];
    }
    loss = sum_of_block(shared, loss);
    hit = sum_of_block(shared, hit);
    if (threadIdx.x == 0) {
        totals[0] += weight * loss;
        totals[1] += hit;
        if (!is_finite_double(loss)) failed[0] = 1;
    }
    for (int i = threadIdx.x; i < count; i += BLOCK) counters[i] += increments[i];
}

extern "C" __global__ void __launch_bounds__(BLOCK) set_updates(
    const int segments, const int64* table, const float64* momenta, T* weights,
    const int64* failed,
    const T* parts_0, const T* parts_1, const T* parts_2, const T* parts_3, const T* parts_4,
    const T* parts_5, const T* parts_6, const T* parts_7, const T* parts_8, const T* parts_9,
    const T* parts_10, const T* parts_11, const T* parts_12, const T* parts_13,
    const T* parts_14, const T* parts_15, const T* parts_16, const T* parts_17,
    const T* parts_18, const T* parts_19, const T* parts_20, const T* parts_21,
    const T* parts_22, const T* parts_23, const T* parts_24, const T* parts_25,
    const T* parts_26, const T* parts_27, const T* parts_28, const T* parts_29,
    const T* parts_30, const T* parts_31
) {
    if (failed[0] != 0 || failed[1] != 0) return;
    const int number = find_segment(segments, table, blockIdx.x);
    const int64* segment = table + number * FIELDS;
    const int64 place = (blockIdx.x - segment[0]) * BLOCK + threadIdx.x;
    if (place >= segment[2]) return;
    TAKE_ARRAY(segment[6]);
    T* weight = weights + segment[1] + place;
    const A value = parts[segment[3] + place], momentum = static_cast<A>(momenta[number]);
    *weight = momentum == 0 ? value : *weight * momentum + value * (1 - momentum);
}
