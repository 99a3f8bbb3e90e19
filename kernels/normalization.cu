// Purpose: normalization of groups whose elements lie apart, its gradients, normalization by given
//          means and variances, and moving averages of these.
//
// Formula: y = (x - mean) * scale * gamma + beta with scale = 1 / sqrt(variance + epsilon), where a
//          group of channels of a sample has a mean and a variance over all positions. With
//          z = (x - mean) * scale and g = output_grad * gamma, the gradient of x is
//          scale * (g - mean of g - z * mean of g * z), without the first mean where x is not
//          centered; that of gamma is the sum of output_grad * z, that of beta of output_grad.
//          Moments of chunks are brought together as by Chan, Golub and LeVeque, "Updating formulae
//          and a pairwise algorithm for computing sample variances", 1979.
//
// Layout:  x, y and gradients are (batch, rows, line) of type T; a line holds the `channels` of one
//          position, or of several. Means and variances are (batch, groups) of type S; gamma and
//          beta (channels,), or null for 1 and 0. Means are null where x is not centered.
//          A sample's rows are divided into chunks of `chunk`. parts is (2, batch, chunks, line):
//          of moments the means and the sums of squares, of gradients those of output_grad and of
//          its products with z. group_sums is (2, batch, groups).
//
// Threads: columns: blocks of 32 x 8; each lane takes a column, and the 8 warps alternate over the
//          rows of a chunk. blockIdx.y counts chunks, of all samples, and goes on in steps of the
//          grid. groups: one-dimensional, a warp to a group of a sample.
//
// Limits:  any sizes.
// Registers: at most 64 a thread.

#include "columns.cuh"

__device__ inline A over_lanes_of_warp(A value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(WHOLE_WARP, value, distance);
    }
    return value;
}

extern "C" __global__ void __launch_bounds__(WARP * WARPS) column_moments(
    const int64 batch, const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
    const int centered, const T* x, A* parts
) {
    const int64 column = column_of_thread();
    const bool is_column = column < line;
    for (int64 part = blockIdx.y; part < batch * chunks; part += gridDim.y) {
        const Chunk own(part, chunks, chunk, rows);
        A sum = 0, squares = 0;
        if (is_column && centered) {
            for (int64 row = own.first + threadIdx.y; row < own.end; row += WARPS) {
                sum += widen(x[row * line + column]);
            }
        }
        const A mean = over_warps(sum) / A(own.end - own.first);
        if (is_column) {
            for (int64 row = own.first + threadIdx.y; row < own.end; row += WARPS) {
                const A apart = widen(x[row * line + column]) - mean;
                squares += apart * apart;
            }
        }
        squares = over_warps(squares);
        if (threadIdx.y > 0 || !is_column) continue;
        parts[part * line + column] = mean;
        parts[(batch * chunks + part) * line + column] = squares;
    }
}

// What a lane takes of the parts of a group: every 32nd of its columns in all chunks.
struct Items {
    int64 sample, group, count, columns;

    __device__ Items(
        const int64 place, const int64 groups, const int64 chunks, const int64 columns
    )
        : sample(place / groups), group(place % groups), count(chunks * columns),
          columns(columns) {}
};

// The column that is number i of those of a group: its members in each repetition of the channels.
__device__ inline int64 column_at(
    const int64 i, const int64 group, const int64 members, const int64 channels
) {
    return i / members * channels + group * members + i % members;
}

extern "C" __global__ void finish_moments(
    const int64 batch, const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
    const int64 channels, const int64 groups, const A* parts, S* mean, S* variance
) {
    const int64 place = thread_index() / WARP, lane = thread_index() % WARP;
    if (place >= batch * groups) return;
    const int64 members = channels / groups, columns = line / groups;
    const Items items(place, groups, chunks, columns);
    const A count = A(rows * columns);
    const A* means = parts + items.sample * chunks * line;
    const A* squares_of = means + batch * chunks * line;
    A sum = 0, squares = 0;
    for (int64 i = lane; i < items.count; i += WARP) {
        const int64 part = i / columns;
        const int64 column = column_at(i % columns, items.group, members, channels);
        sum += means[part * line + column] * A(min(chunk, rows - part * chunk));
    }
    const A middle = over_lanes_of_warp(sum) / count;
    for (int64 i = lane; i < items.count; i += WARP) {
        const int64 part = i / columns;
        const int64 at = part * line + column_at(i % columns, items.group, members, channels);
        const A apart = means[at] - middle;
        squares += squares_of[at] + A(min(chunk, rows - part * chunk)) * apart * apart;
    }
    squares = over_lanes_of_warp(squares);
    if (lane > 0) return;
    if (mean != nullptr) mean[place] = narrow<S>(middle);
    variance[place] = narrow<S>(squares / count);
}

extern "C" __global__ void __launch_bounds__(WARP * WARPS) columns_forward(
    const int64 batch, const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
    const int64 channels, const int64 groups, const A epsilon, const T* x, const S* mean,
    const S* variance, const T* gamma, const T* beta, T* y
) {
    const int64 column = column_of_thread();
    if (column >= line) return;
    const int64 channel = column % channels, group = channel / (channels / groups);
    const A shift = or_else(beta, channel, 0);
    for (int64 part = blockIdx.y; part < batch * chunks; part += gridDim.y) {
        const Chunk own(part, chunks, chunk, rows);
        const int64 place = own.sample * groups + group;
        const A middle = mean == nullptr ? A(0) : widen(mean[place]);
        const A scale = inverse_root(variance[place], epsilon) * or_else(gamma, channel, 1);
        for (int64 row = own.first + threadIdx.y; row < own.end; row += WARPS) {
            const int64 i = row * line + column;
            y[i] = narrow<T>((widen(x[i]) - middle) * scale + shift);
        }
    }
}

// Rows may have statistics of their own, one row to a sample: then a chunk is of many samples, and
// `own_rows` is 1. `batch` is then 1, and counts no samples.
extern "C" __global__ void __launch_bounds__(WARP * WARPS) column_grads(
    const int64 batch, const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
    const int64 channels, const int64 groups, const int own_rows, const A epsilon,
    const T* output_grad, const T* x, const S* mean, const S* variance, A* parts
) {
    const int64 column = column_of_thread();
    const bool is_column = column < line;
    const int64 group = column % channels / (channels / groups);
    for (int64 part = blockIdx.y; part < batch * chunks; part += gridDim.y) {
        const Chunk own(part, chunks, chunk, rows);
        A sum = 0, products = 0;
        for (int64 row = own.first + threadIdx.y; is_column && row < own.end; row += WARPS) {
            const int64 i = row * line + column;
            const int64 place = (own_rows ? row : own.sample) * groups + group;
            const A middle = mean == nullptr ? A(0) : widen(mean[place]);
            const A grad = widen(output_grad[i]);
            sum += grad;
            products += grad * ((widen(x[i]) - middle) * inverse_root(variance[place], epsilon));
        }
        sum = over_warps(sum);
        products = over_warps(products);
        if (threadIdx.y > 0 || !is_column) continue;
        parts[part * line + column] = sum;
        parts[(batch * chunks + part) * line + column] = products;
    }
}

// Where each group is one channel of one sample, its sums are also the gradients of beta and gamma:
// weight_grads is (2, channels) then, else null.
extern "C" __global__ void finish_group_grads(
    const int64 batch, const int64 rows, const int64 line, const int64 chunks,
    const int64 channels, const int64 groups, const T* gamma, const A* parts, A* group_sums,
    T* weight_grads
) {
    const int64 place = thread_index() / WARP, lane = thread_index() % WARP;
    if (place >= batch * groups) return;
    const int64 members = channels / groups, columns = line / groups;
    const Items items(place, groups, chunks, columns);
    const A* sums = parts + items.sample * chunks * line;
    const A* products_of = sums + batch * chunks * line;
    A sum = 0, products = 0;
    for (int64 i = lane; i < items.count; i += WARP) {
        const int64 column = column_at(i % columns, items.group, members, channels);
        const int64 at = i / columns * line + column;
        const A weight = weight_grads == nullptr ? or_else(gamma, column % channels, 1) : A(1);
        sum += sums[at] * weight;
        products += products_of[at] * weight;
    }
    sum = over_lanes_of_warp(sum);
    products = over_lanes_of_warp(products);
    if (lane > 0) return;
    if (weight_grads != nullptr) {
        weight_grads[place] = narrow<T>(sum);
        weight_grads[channels + place] = narrow<T>(products);
        const A weight = or_else(gamma, place, 1);
        sum *= weight;
        products *= weight;
    }
    const A count = A(rows * columns);
    group_sums[place] = sum / count;
    group_sums[batch * groups + place] = products / count;
}

extern "C" __global__ void __launch_bounds__(WARP * WARPS) columns_backward(
    const int64 batch, const int64 rows, const int64 line, const int64 chunk, const int64 chunks,
    const int64 channels, const int64 groups, const A epsilon, const T* output_grad, const T* x,
    const S* mean, const S* variance, const T* gamma, const A* group_sums, T* input_grad
) {
    const int64 column = column_of_thread();
    if (column >= line) return;
    const int64 channel = column % channels, group = channel / (channels / groups);
    const A weight = or_else(gamma, channel, 1);
    for (int64 part = blockIdx.y; part < batch * chunks; part += gridDim.y) {
        const Chunk own(part, chunks, chunk, rows);
        const int64 place = own.sample * groups + group;
        const A middle = mean == nullptr ? A(0) : widen(mean[place]);
        const A scale = inverse_root(variance[place], epsilon);
        const A shift = mean == nullptr ? A(0) : group_sums[place] * scale;
        const A slope = group_sums[batch * groups + place] * scale * scale;
        const A factor = weight * scale;
        for (int64 row = own.first + threadIdx.y; row < own.end; row += WARPS) {
            const int64 i = row * line + column;
            const A grad = widen(output_grad[i]) * factor - shift;
            input_grad[i] = narrow<T>(grad - (widen(x[i]) - middle) * slope);
        }
    }
}

extern "C" __global__ void move_averages(
    const int64 count, const A momentum, const A share, const S* mean, const S* variance,
    const T* moving_mean, const T* moving_variance, T* new_mean, T* new_variance
) {
    for (int64 i = thread_index(); i < count; i += thread_count()) {
        new_mean[i] = narrow<T>(widen(moving_mean[i]) * momentum + widen(mean[i]) * share);
        new_variance[i] = narrow<T>(
            widen(moving_variance[i]) * momentum + widen(variance[i]) * share
        );
    }
}
