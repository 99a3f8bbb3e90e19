// Purpose: all time steps of an LSTM, a GRU or a simple recurrent layer in one launch, and their
//          gradients, back through time. Samples do not depend on each other: a block has one.
//
// Formula: that of recurrent.cu, where p = h kernel + bias, and the gradient of a state has the part
//          that passes through the products of the step after it, product_grad kernel^T.
//
// Layout:  x is (steps, batch, GATES, units), kernel (units, GATES, units), bias (GATES, units) or
//          null, h and c (batch, units), states (steps + 1, batch, units) with h or c first, gates
//          (steps, batch, 4, units) as in recurrent.cu, mask (steps, batch) of uint8 or null. What
//          a cell does not have is null.
//
// Threads: a block of threads for each sample. Forward, threads are (slice, unit), with units rounded
//          up to warps; a thread sums its slice of the products for all gates of its unit, and
//          those of slice 0 add the slices in order and apply the cell. Backward, the first threads
//          have a unit each; a warp makes the product with a row of the kernel, lane by lane.
//
// Limits:  at most 256 units; blocks of whole warps, up to 512 threads and at least `columns`, the
//          units rounded up to a multiple of 32, which divides the block.
// Registers: at most 128 a thread.

#define ACTIVATION LINEAR
#include "activation.cuh"

enum Cell { LSTM, GRU, SIMPLE_RNN };
constexpr int GATES = CELL == LSTM ? 4 : CELL == GRU ? 3 : 1;
constexpr int MOST_UNITS = 256, MOST_THREADS = 512;

// A sample's numbers of one time step begin at `at(step)`, `width` of them to a unit.
struct Places {
    int64 batch, units;

    __device__ int64 at(const int64 step, const int width) const {
        return (step * batch + blockIdx.x) * width * units;
    }
};

extern "C" __global__ void __launch_bounds__(MOST_THREADS) recurrent_sequence(
    const int steps, const int batch, const int units, const int columns, const T* x,
    const T* kernel, const T* bias, const T* h, const T* c, const uint8* mask, T* gates,
    T* h_states, T* c_states
) {
    SHARED(A, state, MOST_UNITS);
    SHARED(A, sums, MOST_THREADS * GATES);
    const Places places = {batch, units};
    const int unit = threadIdx.x % columns, slice = threadIdx.x / columns;
    const int slices = blockDim.x / columns, length = (units + slices - 1) / slices;
    const int first = slice * length, end = min(first + length, units);
    const bool is_unit = unit < units, has_unit = is_unit && slice == 0;
    A before = 0, carry = 0;
    if (has_unit) {
        before = widen(h[places.at(0, 1) + unit]);
        h_states[places.at(0, 1) + unit] = h[places.at(0, 1) + unit];
        state[unit] = before;
        if (CELL == LSTM) {
            carry = widen(c[places.at(0, 1) + unit]);
            c_states[places.at(0, 1) + unit] = c[places.at(0, 1) + unit];
        }
    }
    __syncthreads();
    for (int step = 0; step < steps; ++step) {
        A sum[GATES];
#pragma unroll
        for (int gate = 0; gate < GATES; ++gate) sum[gate] = 0;
        if (is_unit) {
#pragma unroll 2
            for (int k = first; k < end; ++k) {
                const T* row = kernel + static_cast<int64>(k) * GATES * units + unit;
#pragma unroll
                for (int gate = 0; gate < GATES; ++gate) {
                    sum[gate] += state[k] * widen(row[gate * units]);
                }
            }
        }
#pragma unroll
        for (int gate = 0; gate < GATES; ++gate) {
            sums[gate * blockDim.x + threadIdx.x] = sum[gate];
        }
        __syncthreads();
        if (has_unit) {
            const T* from = x + places.at(step, GATES) + unit;
            A part[GATES];
#pragma unroll
            for (int gate = 0; gate < GATES; ++gate) {
                part[gate] = bias == nullptr ? A(0) : widen(bias[gate * units + unit]);
#pragma unroll 1  // unrolled, as 4 products at once, it would spill
                for (int s = 0; s < slices; ++s) {
                    part[gate] += sums[gate * blockDim.x + s * columns + unit];
                }
            }
            A next;
            if (CELL == LSTM) {
                const A opened = sigmoid(widen(from[0]) + part[0]);
                const A kept = sigmoid(widen(from[units]) + part[1 % GATES]);
                const A g = tanh(widen(from[2 * units]) + part[2 % GATES]);
                const A out = sigmoid(widen(from[3 * units]) + part[3 % GATES]);
                const bool counts = mask == nullptr || mask[step * batch + blockIdx.x] != 0;
                T* saved = gates + places.at(step, 4) + unit;
                saved[0] = narrow<T>(opened);
                saved[units] = narrow<T>(kept);
                saved[2 * units] = narrow<T>(g);
                saved[3 * units] = narrow<T>(out);
                const A moved = kept * carry + opened * g;
                next = out * tanh(moved);
                const T rounded = narrow<T>(counts ? moved : carry);
                c_states[places.at(step + 1, 1) + unit] = rounded;
                carry = widen(rounded);
            } else if (CELL == GRU) {
                const A z = sigmoid(widen(from[0]) + part[0]);
                const A r = sigmoid(widen(from[units]) + part[1 % GATES]);
                const A of_state = part[2 % GATES];
                const A g = tanh(widen(from[2 * units]) + r * of_state);
                T* saved = gates + places.at(step, 4) + unit;
                saved[0] = narrow<T>(z);
                saved[units] = narrow<T>(r);
                saved[2 * units] = narrow<T>(g);
                saved[3 * units] = narrow<T>(of_state);
                next = z * before + (1 - z) * g;
            } else {
                next = tanh(widen(from[0]) + part[0]);
            }
            const bool counts = mask == nullptr || mask[step * batch + blockIdx.x] != 0;
            const T rounded = narrow<T>(counts ? next : before);
            h_states[places.at(step + 1, 1) + unit] = rounded;
            before = widen(rounded);
            state[unit] = before;
        }
        __syncthreads();
    }
}

// The gradients of the states after all steps are h_grads; first_h_grad and first_c_grad those of
// the first states. product_grad is that of p for a GRU, else null: it is that of x.
extern "C" __global__ void __launch_bounds__(MOST_THREADS) recurrent_sequence_backward(
    const int steps, const int batch, const int units, const T* h_grads, const T* c_grad,
    const T* kernel, const T* h_states, const T* c_states, const T* gates, const uint8* mask,
    T* x_grad, T* product_grad, T* first_h_grad, T* first_c_grad
) {
    SHARED(A, grads, GATES * MOST_UNITS);  // of the products
    SHARED(A, through, MOST_UNITS);        // of the state, through the products
    const Places places = {batch, units};
    const int unit = threadIdx.x, lane = threadIdx.x % WARP;
    const bool has_unit = unit < units;
    A carried = 0, after = 0;
    if (has_unit) {
        through[unit] = 0;
        if (CELL == LSTM) after = widen(c_grad[places.at(0, 1) + unit]);
    }
    for (int step = steps - 1; step >= 0; --step) {
        if (has_unit) {
            const bool counts = mask == nullptr || mask[step * batch + blockIdx.x] != 0;
            const int64 now = places.at(step, 1) + unit, next = places.at(step + 1, 1) + unit;
            const T* saved = gates + places.at(step, 4) + unit;
            const A grad = widen(h_grads[now]) + carried + through[unit];
            A of_x[GATES], last = 0;
            if (CELL == LSTM) {
                const A opened = widen(saved[0]), kept = widen(saved[units]);
                const A g = widen(saved[2 * units]), out = widen(saved[3 * units]);
                const A y = tanh(widen(c_states[next]));
                const A total = after + grad * out * (1 - y * y);
                of_x[0] = total * g * opened * (1 - opened);
                of_x[1 % GATES] = total * widen(c_states[now]) * kept * (1 - kept);
                of_x[2 % GATES] = total * opened * (1 - g * g);
                of_x[3 % GATES] = grad * y * out * (1 - out);
                after = widen(narrow<T>(counts ? total * kept : after));
                carried = counts ? A(0) : grad;
                last = of_x[3 % GATES];
            } else if (CELL == GRU) {
                const A z = widen(saved[0]), r = widen(saved[units]);
                const A g = widen(saved[2 * units]), part = widen(saved[3 * units]);
                const A g_grad = grad * (1 - z) * (1 - g * g);
                of_x[0] = grad * (widen(h_states[now]) - g) * z * (1 - z);
                of_x[1 % GATES] = g_grad * part * r * (1 - r);
                of_x[2 % GATES] = g_grad;
                carried = counts ? grad * z : grad;
                last = g_grad * r;
            } else {
                const A y = widen(h_states[next]);
                last = of_x[0] = grad * (1 - y * y);
                carried = counts ? A(0) : grad;
            }
#pragma unroll
            for (int gate = 0; gate < GATES; ++gate) {
                const int64 at = places.at(step, GATES) + gate * units + unit;
                const T of_input = narrow<T>(counts ? of_x[gate] : A(0));
                const T of_product =
                    gate + 1 < GATES ? of_input : narrow<T>(counts ? last : A(0));
                x_grad[at] = of_input;
                if (CELL == GRU) product_grad[at] = of_product;
                grads[gate * units + unit] = widen(of_product);
            }
            carried = widen(narrow<T>(carried));
        }
        __syncthreads();
        for (int row = threadIdx.x / WARP; row < units; row += blockDim.x / WARP) {
            const T* weights = kernel + static_cast<int64>(row) * GATES * units;
            A sum = 0;
            for (int j = lane; j < GATES * units; j += WARP) sum += grads[j] * widen(weights[j]);
#pragma unroll
            for (int distance = WARP / 2; distance > 0; distance /= 2) {
                sum += __shfl_xor_sync(WHOLE_WARP, sum, distance);
            }
            if (lane == 0) through[row] = sum;
        }
        __syncthreads();
    }
    if (!has_unit) return;
    first_h_grad[places.at(0, 1) + unit] = narrow<T>(carried + through[unit]);
    if (CELL == LSTM) first_c_grad[places.at(0, 1) + unit] = narrow<T>(after);
}
