// Purpose: gathers the samples of a batch from up to 8 arrays of any types at once, such as inputs,
//          targets and sample weights.
//
// Formula: batch[i] = data[rows[first[0] + i]], byte by byte. `first` is read here, so that a captured
//          step can be run again for other samples. No row outside of the data is read: all bits of
//          such a sample are 1, which is NaN or -1.
//
// Layout:  data_k is (samples, size_k) of bytes, batch_k (count, size_k); all contiguous.
//
// Threads: blockIdx.z is the array. Threads along y take samples, those along x take width_k bytes
//          each; so do the axes of the grid, the other way round, since its x reaches further.
//          Threads loop over the bytes of a sample, not over samples.
//
// Limits:  gridDim.x * blockDim.y at least count, gridDim.z at most 8; width_k is 1, 2, 4, 8 or 16,
//          divides size_k, and data_k and batch_k begin on boundaries of as many bytes.
// Registers: at most 48 a thread: nearly full occupancy, as loads are all there is to wait for.

#include "common.cuh"

template <int WIDTH>
__device__ inline void copy_row(
    const int64 size, const bool is_there, const uint8* row, uint8* result
) {
    const int64 first = static_cast<int64>(blockIdx.y) * blockDim.x + threadIdx.x;
    const int64 threads = static_cast<int64>(gridDim.y) * blockDim.x;
    Vector<uint8, WIDTH> missing;
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) missing.values[j] = 255;
    for (int64 i = first * WIDTH; i < size; i += threads * WIDTH) {
        store_vector(result + i, is_there ? load_vector<WIDTH>(row + i) : missing);
    }
}

__device__ inline void gather(
    const int64 samples, const int64 count, const int64* rows, const int64 size, const int width,
    const uint8* data, uint8* batch
) {
    const int64 sample = static_cast<int64>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (sample >= count) return;
    const int64 row = rows[sample];
    const bool is_there = row >= 0 && row < samples;
    const uint8* source = data + (is_there ? row * size : 0);
    uint8* result = batch + sample * size;
    switch (width) {
        case 16: return copy_row<16>(size, is_there, source, result);
        case 8: return copy_row<8>(size, is_there, source, result);
        case 4: return copy_row<4>(size, is_there, source, result);
        case 2: return copy_row<2>(size, is_there, source, result);
        default: return copy_row<1>(size, is_there, source, result);
    }
}

// The arguments of one array in place of those of all: an index would move them to local memory.
#define TAKE(k) size = size_##k; width = width_##k; data = data_##k; batch = batch_##k; break

extern "C" __global__ void gather_batches(
    const int64 samples, const int64 count, const int64* first, const int64* rows,
    const int64 size_0, const int width_0, const uint8* data_0, uint8* batch_0,
    const int64 size_1, const int width_1, const uint8* data_1, uint8* batch_1,
    const int64 size_2, const int width_2, const uint8* data_2, uint8* batch_2,
    const int64 size_3, const int width_3, const uint8* data_3, uint8* batch_3,
    const int64 size_4, const int width_4, const uint8* data_4, uint8* batch_4,
    const int64 size_5, const int width_5, const uint8* data_5, uint8* batch_5,
    const int64 size_6, const int width_6, const uint8* data_6, uint8* batch_6,
    const int64 size_7, const int width_7, const uint8* data_7, uint8* batch_7
) {
    int64 size;
    int width;
    const uint8* data;
    uint8* batch;
    switch (blockIdx.z) {
        case 0: TAKE(0);
        case 1: TAKE(1);
        case 2: TAKE(2);
        case 3: TAKE(3);
        case 4: TAKE(4);
        case 5: TAKE(5);
        case 6: TAKE(6);
        default: TAKE(7);
    }
    gather(samples, count, rows + first[0], size, width, data, batch);
}
