// Purpose: test whether this machine can compile and run kernels. gpunet.backend runs it once and
//          checks every number it writes.
//
// Formula: values[i] = i * i + 1        for 0 <= i < count; nothing is written past count.
//
// Layout:  values is float32 (count,), contiguous.
//
// Threads: one-dimensional grid of one-dimensional blocks; thread i writes values[i].
//
// Limits:  any block size; grid * block >= count; exact while i * i + 1 <= 2^24, that is i < 4096.
// Registers: at most 16 a thread.

extern "C" __global__ void probe(const int count, float* values) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) {
        values[i] = static_cast<float>(i) * static_cast<float>(i) + 1.0f;
    }
}
