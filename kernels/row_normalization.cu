// Purpose: normalization of groups whose elements lie together, as rows, and the gradient of the
//          input; normalization.cu has the formulas, and those of the weights' gradients.
//
// Layout:  x, y and gradients are (rows, members) of type T, with `groups` rows to a sample; means
//          and variances are (rows,) of type S, and means null where x is not centered; gamma and
//          beta are (groups, members), or null for 1 and 0.
//
// Threads: one-dimensional; LANES threads that follow one another share a row, each taking every
//          LANES-th element. A row is read anew for each of its sums: it is in the caches then.
//
// Limits:  as in lanes.cuh; rows_backward_weights has at most a warp to a row.
// Registers: at most 64 a thread.

#include "lanes.cuh"

// A lane's share of a row: elements `first`, `first + LANES` and so on before `end`; none for a row
// that is not there.
struct Share {
    int64 row, first, end, weights;  // weights: from an element to its gamma and beta

    __device__ Share(const int64 rows, const int64 groups, const int64 members) {
        row = thread_index() / LANES;
        first = row * members + thread_index() % LANES;
        end = row < rows ? (row + 1) * members : first;
        weights = row % groups * members - row * members;
    }

    __device__ bool is_row() const { return first < end; }
    __device__ bool is_first_lane() const { return is_row() && thread_index() % LANES == 0; }
};

extern "C" __global__ void rows_forward(
    const int64 rows, const int64 groups, const int64 members, const A epsilon, const T* x,
    const T* gamma, const T* beta, T* y, S* mean, S* variance
) {
    const Share share(rows, groups, members);
    A middle = 0, squares = 0;
    if (mean != nullptr) {
        for (int64 i = share.first; i < share.end; i += LANES) middle += widen(x[i]);
        middle = over_lanes<Sum>(middle) / A(members);
    }
    for (int64 i = share.first; i < share.end; i += LANES) {
        const A apart = widen(x[i]) - middle;
        squares += apart * apart;
    }
    squares = over_lanes<Sum>(squares) / A(members);
    const A scale = A(1) / sqrt(squares + epsilon);
    for (int64 i = share.first; i < share.end; i += LANES) {
        A value = (widen(x[i]) - middle) * scale;
        if (gamma != nullptr) value *= widen(gamma[i + share.weights]);
        if (beta != nullptr) value += widen(beta[i + share.weights]);
        y[i] = narrow<T>(value);
    }
    if (!share.is_first_lane()) return;
    if (mean != nullptr) mean[share.row] = narrow<S>(middle);
    variance[share.row] = narrow<S>(squares);
}

extern "C" __global__ void rows_backward(
    const int64 rows, const int64 groups, const int64 members, const A epsilon,
    const T* output_grad, const T* x, const T* gamma, const S* mean, const S* variance,
    T* input_grad
) {
    const Share share(rows, groups, members);
    A middle = 0, scale = 0;
    if (share.is_row()) {
        if (mean != nullptr) middle = widen(mean[share.row]);
        scale = A(1) / sqrt(widen(variance[share.row]) + epsilon);
    }
    A sum = 0, products = 0;
    for (int64 i = share.first; i < share.end; i += LANES) {
        const A weight = gamma == nullptr ? A(1) : widen(gamma[i + share.weights]);
        const A grad = widen(output_grad[i]) * weight;
        sum += grad;
        products += grad * ((widen(x[i]) - middle) * scale);
    }
    sum = over_lanes<Sum>(sum) / A(members);
    products = over_lanes<Sum>(products) / A(members);
    if (mean == nullptr) sum = 0;
    for (int64 i = share.first; i < share.end; i += LANES) {
        const A weight = gamma == nullptr ? A(1) : widen(gamma[i + share.weights]);
        const A z = (widen(x[i]) - middle) * scale;
        const A grad = widen(output_grad[i]) * weight;
        input_grad[i] = narrow<T>((grad - sum - z * products) * scale);
    }
}

// The same, and the parts of the gradients of beta and gamma that the block's rows have: parts is
// (2, blocks, members). One group to a sample, and 2 * members numbers for each row that a block
// has at a time must fit MOST_SUMS. Blocks of whole warps take rows in steps of the grid.
#if LANES <= 32
constexpr int MOST_SUMS = 4096;

extern "C" __global__ void rows_backward_weights(
    const int64 rows, const int64 members, const A epsilon, const T* output_grad, const T* x,
    const T* gamma, const S* mean, const S* variance, T* input_grad, A* parts
) {
    SHARED(A, sums, MOST_SUMS);
    const int at_once = blockDim.x / LANES, own = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    A* betas = sums + own * members;
    A* gammas = betas + at_once * members;
    for (int64 i = lane; i < members; i += LANES) betas[i] = gammas[i] = 0;
    for (int64 first = static_cast<int64>(blockIdx.x) * at_once; first < rows;
         first += static_cast<int64>(gridDim.x) * at_once) {
        const int64 row = first + own, start = row * members;
        const int64 end = row < rows ? members : 0;
        A middle = 0, scale = 0;
        if (row < rows) {
            if (mean != nullptr) middle = widen(mean[row]);
            scale = A(1) / sqrt(widen(variance[row]) + epsilon);
        }
        A sum = 0, products = 0;
        for (int64 i = lane; i < end; i += LANES) {
            const A grad = widen(output_grad[start + i]);
            const A z = (widen(x[start + i]) - middle) * scale;
            betas[i] += grad;
            gammas[i] += grad * z;
            const A weighted = grad * (gamma == nullptr ? A(1) : widen(gamma[i]));
            sum += weighted;
            products += weighted * z;
        }
        sum = over_lanes<Sum>(sum) / A(members);
        products = over_lanes<Sum>(products) / A(members);
        if (mean == nullptr) sum = A(0);
        for (int64 i = lane; i < end; i += LANES) {
            const A weight = gamma == nullptr ? A(1) : widen(gamma[i]);
            const A z = (widen(x[start + i]) - middle) * scale;
            const A grad = widen(output_grad[start + i]) * weight;
            input_grad[start + i] = narrow<T>((grad - sum - z * products) * scale);
        }
    }
    __syncthreads();
    for (int64 i = threadIdx.x; i < 2 * members; i += blockDim.x) {
        const int64 kind = i / members, member = i % members;
        A total = 0;
        for (int row = 0; row < at_once; ++row) {
            total += sums[(kind * at_once + row) * members + member];
        }
        parts[(kind * gridDim.x + blockIdx.x) * members + member] = total;
    }
}
#endif
