// Purpose: what a training step does between the backward pass and the update: it adds up the parts
//          of the gradients that blocks of other kernels made, looks for numbers that are not
//          finite, takes the batch into the scores, and counts.
//
// Formula: gradients[destination + i] = sum over p of parts[first + p stride + i], for each segment
//          (a weight) and each i below its size; a segment without parts is only looked at.
//          totals[0] += weight * sum of losses, totals[1] += sum of hits,
//          counters[i] += increments[i].
//          failed[0] is set if a loss is NaN or infinite, failed[1] if a gradient or its square is:
//          an optimizer that keeps squares would divide by infinity from then on. Neither is ever
//          set back here, so that what follows can leave the weights alone.
//
// Layout:  table is (segments, 6) of int64: first block, destination, size, first, stride, parts.
//          parts and gradients are flat, of type T; losses (samples,) of type T; hits (samples,) or
//          null; totals (2,) float64; counters and increments (count,); failed (3,).
//
// Threads: blocks of 256. A block has 256 elements of one segment, one a thread, which adds the
//          parts in their order. The last block, beyond those of the segments, has the scores and
//          the counters, where `samples` says that there are some: its threads take every 256th
//          sample, and their sums are added by halves.
//
// Limits:  blocks are counted from 0 in the order of the segments; at least one segment.
// Registers: at most 64 a thread: the loop over parts is unrolled on some architectures.

#include "common.cuh"

constexpr int BLOCK = 256;
constexpr int FIELDS = 6;

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
    const int segments, const int64* table, const T* parts, T* gradients, const int64 samples,
    const float64 weight, const T* losses, const uint8* hits, float64* totals, const int count,
    const int64* increments, int64* counters, int64* failed
) {
    SHARED(float64, shared, BLOCK);
    if (samples == 0 || blockIdx.x + 1 < gridDim.x) {
        add_parts(table + find_segment(segments, table, blockIdx.x) * FIELDS, parts, gradients,
                  failed);
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
