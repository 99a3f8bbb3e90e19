// Purpose: normalization of each channel over all positions of a batch, with what follows it (adding
//          another array, an activation), and its gradients; normalization.cu has the moments.
//
// Formula: y = activate((x - mean) * scale * gamma + beta + added); scale and the gradients are those
//          of normalization.cu, where output_grad is first that before the activation, which is
//          also the gradient of `added`.
//
// Layout:  x, added, y and gradients are (rows, line) of type T; a line holds the `channels` of one
//          position, or of several. parts is (2, chunks, line): of the chunks' moments as
//          column_moments leaves them, or of gradients the sums and those of products with z.
//          mean and variance are (channels,) of type S, gamma and beta (channels,) or null for 1
//          and 0; weight_grads is (2, channels), of beta and gamma. added may be null, and so may
//          be added_grad, and the output where there is no activation.
//
// Threads: as in columns.cuh; blockIdx.y counts chunks and goes on in steps of the grid. Each block
//          adds up the parts of its columns' channels itself, in their order, which saves a launch.
//
// Limits:  any sizes.
// Registers: at most 64 a thread, 128 for float64. Loops are not unrolled: the compiler would keep
// variables in memory, on some architectures.

#include "activation.cuh"
#include "columns.cuh"

// The columns of a block and the parts of their channels; columns are counted in int.
struct Channels {
    int64 rows, line, chunk, chunks;
    int channels, column, channel;

    __device__ Channels(
        const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
        const int64 channels
    )
        : rows(rows), line(line), chunk(chunk), chunks(chunks),
          channels(static_cast<int>(channels)), column(blockIdx.x * WARP + threadIdx.x),
          channel(column % static_cast<int>(channels)) {}

    __device__ bool is_column() const { return column < line; }
    __device__ A share() const { return A(1) / (A(rows) * A(static_cast<int>(line) / channels)); }
    __device__ int64 end_of(const int64 part) const { return min((part + 1) * chunk, rows); }
    __device__ bool writes() const {  // what there is once of each channel
        return blockIdx.y == 0 && threadIdx.y == 0 && column < channels;
    }

    // The sum of term(place of a part, rows of its chunk) over all parts of the channel.
    template <typename Term>
    __device__ A sum(const Term& term) const {
        A sum = 0;
        const int64 end = is_column() ? chunks : 0;
        for (int64 part = threadIdx.y; part < end; part += WARPS) {
            const A weight = A(min(chunk, rows - part * chunk));
            const int64 last = part * line + line;
#pragma unroll 1
            for (int64 at = part * line + channel; at < last; at += channels) {
                sum += term(at, weight);
            }
        }
        return over_warps(sum);
    }
};

__device__ inline A before_activation(const T* output_grad, const T* output, const int64 i) {
    const A grad = widen(output_grad[i]);
    return ACTIVATION == LINEAR
        ? grad : activate_backward(grad, widen(output[i]), A(FUSED_OPTION));
}

extern "C" __global__ void __launch_bounds__(WARP * WARPS) channels_forward(
    const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
    const int64 channels, const A epsilon, const T* x, const A* parts, const T* gamma,
    const T* beta, const T* added, T* y, S* mean, S* variance
) {
    const Channels own(rows, line, chunk, chunks, channels);
    const A* squares = parts + chunks * line;
    const A share = own.share();  // of an element in a mean; one division is enough
    const A middle = share * own.sum([parts](const int64 at, const A weight) {
        return parts[at] * weight;
    });
    const A spread = share * own.sum([parts, squares, middle](const int64 at, const A weight) {
        const A apart = parts[at] - middle;
        return squares[at] + weight * apart * apart;
    });
    if (own.writes()) {
        mean[own.column] = narrow<S>(middle);
        variance[own.column] = narrow<S>(spread);
    }
    if (!own.is_column()) return;
    const A scale = A(1) / sqrt(spread + epsilon) * or_else(gamma, own.channel, 1);
    const A shift = or_else(beta, own.channel, 0);
#pragma unroll 1
    for (int64 part = blockIdx.y; part < chunks; part += gridDim.y) {
        const int64 end = own.end_of(part);
#pragma unroll 1
        for (int64 row = part * chunk + threadIdx.y; row < end; row += WARPS) {
            const int64 i = row * line + own.column;
            A value = (widen(x[i]) - middle) * scale + shift;
            if (added != nullptr) value += widen(added[i]);
            y[i] = narrow<T>(activate(value, A(FUSED_OPTION)));
        }
    }
}

extern "C" __global__ void __launch_bounds__(WARP * WARPS) channel_grads(
    const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
    const int64 channels, const A epsilon, const T* output_grad, const T* output, const T* x,
    const S* mean, const S* variance, A* parts
) {
    const Channels own(rows, line, chunk, chunks, channels);
    const A middle = own.is_column() ? widen(mean[own.channel]) : A(0);
    const A scale = own.is_column() ? inverse_root(variance[own.channel], epsilon) : A(0);
#pragma unroll 1
    for (int64 part = blockIdx.y; part < chunks; part += gridDim.y) {
        const int64 end = own.end_of(part);
        A sum = 0, products = 0;
#pragma unroll 1
        for (int64 row = part * chunk + threadIdx.y; own.is_column() && row < end; row += WARPS) {
            const int64 i = row * line + own.column;
            const A grad = before_activation(output_grad, output, i);
            sum += grad;
            products += grad * ((widen(x[i]) - middle) * scale);
        }
        sum = over_warps(sum);
        products = over_warps(products);
        if (threadIdx.y > 0 || !own.is_column()) continue;
        parts[part * line + own.column] = sum;
        parts[(chunks + part) * line + own.column] = products;
    }
}

extern "C" __global__ void __launch_bounds__(WARP * WARPS) channels_backward(
    const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
    const int64 channels, const A epsilon, const T* output_grad, const T* output, const T* x,
    const S* mean, const S* variance, const T* gamma, const A* parts, T* weight_grads,
    T* input_grad, T* added_grad
) {
    const Channels own(rows, line, chunk, chunks, channels);
    const A* products_of = parts + chunks * line;
    const A sum = own.sum([parts](const int64 at, const A) { return parts[at]; });
    const A products = own.sum([products_of](const int64 at, const A) { return products_of[at]; });
    if (own.writes()) {
        weight_grads[own.column] = narrow<T>(sum);
        weight_grads[channels + own.column] = narrow<T>(products);
    }
    if (!own.is_column()) return;
    const A middle = widen(mean[own.channel]), weight = or_else(gamma, own.channel, 1);
    const A scale = inverse_root(variance[own.channel], epsilon), factor = weight * scale;
    const A share = own.share();
    const A shift = sum * share * factor, slope = products * share * factor * scale;
#pragma unroll 1
    for (int64 part = blockIdx.y; part < chunks; part += gridDim.y) {
        const int64 end = own.end_of(part);
#pragma unroll 1
        for (int64 row = part * chunk + threadIdx.y; row < end; row += WARPS) {
            const int64 i = row * line + own.column;
            const A grad = before_activation(output_grad, output, i);
            if (added_grad != nullptr) added_grad[i] = narrow<T>(grad);
            input_grad[i] = narrow<T>(grad * factor - shift - (widen(x[i]) - middle) * slope);
        }
    }
}
