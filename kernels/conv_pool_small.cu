// Purpose: conv_pool.cu for few channels, such as a network's first layer on images: forward, and
//          the gradients of weights and bias. The sums are so short that tiles of a matrix product
//          would be mostly empty.
//
// Formula: see conv_pool.cu. Only the largest output of a window has a gradient: the window adds
//          this gradient times the pixels under that output to weight_grad.
//
// Layout:  see conv_pool.cu, but `partial` is (parts, taps + bias_rows, filters): partial sums of
//          weight_grad, added by another kernel. `rows` and `columns` count windows.
//
// Threads: a lane has one filter, and keeps its weights or their gradients in registers; blockIdx.y
//          counts groups of 32 filters. A warp takes strips: up to `span` windows side by side. It
//          copies the strip's pixels to shared memory, and goes from window to window.
//          FORWARD: one strip a warp. All lanes read the same pixel; pixels shared with the next
//          window stay in registers.
//          WEIGHT_GRAD: a block takes `chunk` strips, its warps alternate. A lane reads the pixels
//          under its filter's largest output. At the end the sums of the warps are added in warp
//          order to the block's partial sum.
//
// Limits:  no dilation, no groups. Macros: KERNEL_HEIGHT, KERNEL_WIDTH (1 to 5), CHANNELS (1 to 4),
//          STRIDE_Y and STRIDE_X (1 or 2), such that the weights of a filter are at most 100 words
//          of 4 bytes; WARPS of a block, at least 8 for WEIGHT_GRAD; MOST_SPAN, the upper bound of
//          `span`; PASS, which selects the kernel. At most 2^31 - 2^16 outputs of a filter.
// Registers: at most 208 a thread, 240 for float64.

#include "activation.cuh"
#include "pooling.cuh"

#define FORWARD 1
#define WEIGHT_GRAD 2

constexpr int TAPS = KERNEL_HEIGHT * KERNEL_WIDTH * CHANNELS;
constexpr int WORDS = sizeof(A) / 4;

// Receptive field of a window's 4 outputs: SEEN numbers in each of SEEN_ROWS rows. That of the next
// window begins STEP numbers later.
constexpr int SEEN_ROWS = STRIDE_Y + KERNEL_HEIGHT;
constexpr int SEEN = (STRIDE_X + KERNEL_WIDTH) * CHANNELS;
constexpr int STEP = 2 * STRIDE_X * CHANNELS;
// Receptive field of a strip, (SEEN_ROWS, LINE) in shared memory; lines are aligned to vectors.
constexpr int LINE = ((MOST_SPAN - 1) * STEP + SEEN + 3) / 4 * 4;
constexpr int STRIP = SEEN_ROWS * LINE;

struct Layer {
    int batch, height, width, rows, columns, filters, top, left, span;

    // Strips in one row of windows, and in all rows.
    __device__ int pieces() const { return (columns + span - 1) / span; }
    __device__ int strips() const { return batch * rows * pieces(); }
};

__device__ inline int clamped(const int i, const int size) { return max(0, min(i, size - 1)); }

struct Strip {
    int line;          // row of windows, counted through all images
    int first, count;  // windows

    __device__ Strip(const Layer& layer, const int index)
        : line(index / layer.pieces()), first(index % layer.pieces() * layer.span),
          count(min(layer.span, layer.columns - first)) {}

    // Offset of the first window in an array of all windows.
    __device__ int64 offset(const Layer& layer, const int filter) const {
        return (static_cast<int64>(line) * layer.columns + first) * layer.filters + filter;
    }

    // Copy the strip's receptive field, with all lanes of the warp; 0 outside the image.
    __device__ void copy(const Layer& layer, const T* x, A* memory) const {
        const int top = line % layer.rows * (2 * STRIDE_Y) - layer.top;
        const int left = first * STEP - layer.left * CHANNELS, length = layer.width * CHANNELS;
        const T* image = x + static_cast<int64>(line / layer.rows) * layer.height * length;
        __syncwarp();  // no lane reads the strip before any more
        for (int i = threadIdx.x % WARP; i < (count - 1) * STEP + SEEN; i += WARP) {
            const int place = left + i;
            const bool in_line = place >= 0 && place < length;
            A values[SEEN_ROWS];
#pragma unroll
            for (int row = 0; row < SEEN_ROWS; ++row) {
                // Load unconditionally, from inside the image, so that no load waits for a test.
                const int y = top + row;
                const int64 from = static_cast<int64>(clamped(y, layer.height)) * length;
                const A value = widen(image[from + clamped(place, length)]);
                values[row] = in_line && y >= 0 && y < layer.height ? value : A(0);
            }
#pragma unroll
            for (int row = 0; row < SEEN_ROWS; ++row) memory[row * LINE + i] = values[row];
        }
        __syncwarp();
    }
};

#if PASS == FORWARD

// Numbers of a row that stay in registers for the next window, if there are enough registers.
constexpr bool KEEPS = SEEN > STEP && (TAPS + SEEN_ROWS * SEEN) * WORDS <= 104;
constexpr int KEPT = KEEPS ? SEEN - STEP : 0;
// Unrolled by PERIOD, after which every register is reloaded, shifts need no moves.
constexpr int PERIOD = KEEPS ? (SEEN + STEP - 1) / STEP : 1;
// Minimum blocks per multiprocessor, which bounds the registers of a thread.
constexpr int LEAST_BLOCKS = WORDS == 1 && TAPS <= 9 ? 4 : TAPS * WORDS <= 50 ? 2 : 1;

// Return the widest vector that the alignment of a strip allows, from number `first`.
__device__ constexpr int vector_of(const int first, const int count, const int width) {
    return first % width || count % width || STEP % width ? vector_of(first, count, width / 2)
                                                          : width;
}

// Receptive field of one window, in registers.
struct Seen {
    A values[SEEN_ROWS][SEEN];

    // Read numbers FIRST to END of each row.
    template <int FIRST, int END>
    __device__ void read(const A* memory) {
        constexpr int WIDTH = vector_of(FIRST, END - FIRST, 16 / sizeof(A));
#pragma unroll
        for (int row = 0; row < SEEN_ROWS; ++row) {
#pragma unroll
            for (int i = FIRST; i < END; i += WIDTH) {
                const Vector<A, WIDTH> part = load_vector<WIDTH>(memory + row * LINE + i);
                for (int j = 0; j < WIDTH; ++j) values[row][i + j] = part.values[j];
            }
        }
    }

    // Keep the numbers shared with the next window.
    __device__ void advance() {
#pragma unroll
        for (int row = 0; row < SEEN_ROWS; ++row) {
#pragma unroll
            for (int i = 0; i < KEPT; ++i) values[row][i] = values[row][i + STEP];
        }
    }

    // Add all taps to the sums, each sum in tap order.
    __device__ void multiply(const A (&weights)[TAPS], A (&sums)[WINDOW_SIZE]) const {
#pragma unroll
        for (int i = 0; i < SEEN_ROWS * SEEN; ++i) {
            const int y = i / SEEN, x = i % SEEN / CHANNELS, channel = i % CHANNELS;
#pragma unroll
            for (int output = 0; output < WINDOW_SIZE; ++output) {
                const int ky = y - output / 2 * STRIDE_Y, kx = x - output % 2 * STRIDE_X;
                if (ky < 0 || ky >= KERNEL_HEIGHT || kx < 0 || kx >= KERNEL_WIDTH) continue;
                sums[output] +=
                    values[y][i % SEEN] * weights[(ky * KERNEL_WIDTH + kx) * CHANNELS + channel];
            }
        }
    }
};

extern "C" __global__ void __launch_bounds__(WARPS * WARP, LEAST_BLOCKS)
conv2d_max_pool_small_forward(
    const int batch, const int height, const int width, const int rows, const int columns,
    const int filters, const int top, const int left, const int span, const T* x, const T* kernel,
    const T* bias, T* y, uint8* indices
) {
    SHARED(A, memory, WARPS * STRIP);
    const Layer layer = {batch, height, width, rows, columns, filters, top, left, span};
    const int warp = threadIdx.x / WARP, filter = blockIdx.y * WARP + threadIdx.x % WARP;
    const int index = blockIdx.x * WARPS + warp;
    if (index >= layer.strips()) return;
    const int read = min(filter, filters - 1);  // lanes without a filter read too, without a test
    A weights[TAPS];
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) weights[tap] = widen(kernel[tap * filters + read]);
    const A added = bias == nullptr ? A(0) : widen(bias[read]);
    const Strip strip(layer, index);
    const A* pixels = memory + warp * STRIP;
    strip.copy(layer, x, memory + warp * STRIP);
    const int64 offset = strip.offset(layer, filter);
    Seen seen;
    seen.read<0, KEPT>(pixels);
#pragma unroll PERIOD
    for (int i = 0; i < strip.count; ++i) {
        seen.read<KEPT, SEEN>(pixels + i * STEP);
        A sums[WINDOW_SIZE] = {};
        seen.multiply(weights, sums);
        for (int output = 0; output < WINDOW_SIZE; ++output) sums[output] += added;
        const Largest largest = largest_of(sums);
        if (filter < filters) {
            const int64 to = offset + static_cast<int64>(i) * filters;
            y[to] = narrow<T>(activate(largest.value, A(FUSED_OPTION)));
            indices[to] = static_cast<uint8>(largest.place);
        }
        seen.advance();
    }
}

#elif PASS == WEIGHT_GRAD

constexpr int SUMS = TAPS + 1;  // of the weights, and of the bias
constexpr int TOGETHER = 8;     // sums that a block reduces at once
constexpr int OF_A_WARP = STRIP > TOGETHER * WARP ? STRIP : TOGETHER * WARP;
constexpr int GROUP = 4;  // windows whose gradients are loaded at once
static_assert(WARPS >= TOGETHER, "each of the sums is added up by a warp");

struct Grad {
    A value;    // gradient of the largest output, before the activation
    int place;  // offset of the pixels under this output
};

__device__ inline Grad load_grad(
    const T* output_grad, const T* output, const uint8* indices, const int64 offset
) {
    const int index = indices[offset];
    Grad grad = {widen(output_grad[offset]),
                 index / 2 % 2 * (STRIDE_Y * LINE) + index % 2 * (STRIDE_X * CHANNELS)};
    if (ACTIVATION != LINEAR) {
        grad.value = activate_backward(grad.value, widen(output[offset]), A(FUSED_OPTION));
    }
    return grad;
}

__device__ inline void add_window(const Grad& grad, const A* pixels, A (&sums)[SUMS]) {
    const A* seen = pixels + grad.place;
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) {
        constexpr int IN_ROW = KERNEL_WIDTH * CHANNELS;
        sums[tap] += seen[tap / IN_ROW * LINE + tap % IN_ROW] * grad.value;
    }
    sums[TAPS] += grad.value;
}

extern "C" __global__ void __launch_bounds__(WARPS * WARP, 1)
conv2d_max_pool_small_backward_weight(
    const int batch, const int height, const int width, const int rows, const int columns,
    const int filters, const int top, const int left, const int span, const int chunk,
    const int bias_rows, const T* output_grad, const T* output, const uint8* indices, const T* x,
    A* partial
) {
    SHARED(A, memory, WARPS * OF_A_WARP);
    const Layer layer = {batch, height, width, rows, columns, filters, top, left, span};
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int filter = blockIdx.y * WARP + lane;
    const int begin = blockIdx.x * chunk, end = min(begin + chunk, layer.strips());
    A* pixels = memory + warp * OF_A_WARP;
    A sums[SUMS] = {};
    for (int index = begin + warp; index < end; index += WARPS) {
        const Strip strip(layer, index);
        strip.copy(layer, x, pixels);
        // In place of a missing window or filter load the last one, so that no load waits.
        const int64 offset = strip.offset(layer, min(filter, filters - 1));
        for (int first = 0; first < strip.count; first += GROUP) {
            Grad grads[GROUP];
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const int64 window = min(first + i, strip.count - 1);
                grads[i] = load_grad(output_grad, output, indices, offset + window * filters);
            }
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                if (first + i < strip.count) {
                    add_window(grads[i], pixels + (first + i) * STEP, sums);
                }
            }
        }
    }
    const int part_rows = TAPS + bias_rows;
#pragma unroll
    for (int first = 0; first < SUMS; first += TOGETHER) {
        __syncthreads();  // no thread needs what is in the memory any more
#pragma unroll
        for (int i = first; i < first + TOGETHER && i < SUMS; ++i) {
            memory[((i - first) * WARPS + warp) * WARP + lane] = sums[i];
        }
        __syncthreads();
        const int row = first + warp;
        if (warp >= TOGETHER || row >= part_rows || filter >= filters) continue;
        A sum = 0;
        for (int from = 0; from < WARPS; ++from) sum += memory[(warp * WARPS + from) * WARP + lane];
        partial[(static_cast<int64>(blockIdx.x) * part_rows + row) * filters + filter] = sum;
    }
}

#endif
