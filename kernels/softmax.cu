// Purpose: softmax, its logarithm, the cross-entropy of a softmax with labels, and their gradients.
//
// Formula: along an axis, y = exp(x - max) / sum(exp(x - max)), and its logarithm
//          y = x - max - log(sum(exp(x - max))); exp is at most 1. A sample's loss is
//          -sum(labels * log(softmax(logits))), or that of one label, a class number. A class of
//          label 0 counts for nothing, even if its logit is minus infinity.
//
// Layout:  arrays are (outer, length, inner), contiguous, of type T; a row is what lies along the
//          axis in the middle, and there are outer * inner of them. Cross-entropy: logits and
//          probabilities are (rows, length), losses (rows,); labels are of type L, (rows,) class
//          numbers if SPARSE, else (rows, length) probabilities.
//
// Threads: one-dimensional; LANES threads that follow one another share a row, each taking every
//          LANES-th element. A row is read anew for its maximum, its sum and its result: it is in
//          the caches then. One lane a row reads neighbours in memory where inner is large; for
//          inner 1, the lanes of a row do.
//
// Limits:  LANES is 1, 2, 4, 8, 16 or 32, or the size of the block, up to 1,024 threads in whole
//          warps. A class number out of range cannot be an error here: it makes a sample's loss and
//          its gradient NaN, and nothing is read out of bounds.
// Registers: at most 72 a thread: exp and log of float64 take most of them; 28 warps still fit.

#include "lanes.cuh"
#include "softmax.cuh"

// A lane's share of a row: elements `first`, `first + step` and so on before `end`; none for a row
// that is not there.
struct Share {
    int64 row, first, step, end;

    __device__ Share(const int64 rows, const int64 length, const int64 inner) {
        row = thread_index() / LANES;
        const int64 outer = inner == 1 ? row : row / inner;
        const int64 start = outer * length * inner + row - outer * inner;
        first = start + thread_index() % LANES * inner;
        step = LANES * inner;
        end = row < rows ? start + length * inner : first;
    }

    __device__ bool is_first_lane() const { return first < end && thread_index() % LANES == 0; }
};

__device__ inline A maximum_of(const Share& share, const T* x) {
    A largest = -infinity();
    for (int64 i = share.first; i < share.end; i += share.step) {
        largest = Max::of(largest, widen(x[i]));
    }
    return over_lanes<Max>(largest);
}

__device__ inline A sum_of_exponentials(const Share& share, const T* x, const A largest) {
    A sum = 0;
    for (int64 i = share.first; i < share.end; i += share.step) sum += exp(widen(x[i]) - largest);
    return over_lanes<Sum>(sum);
}

extern "C" __global__ void softmax_forward(
    const int64 rows, const int64 length, const int64 inner, const T* x, T* y
) {
    const Share share(rows, length, inner);
    const A largest = maximum_of(share, x), sum = sum_of_exponentials(share, x, largest);
    for (int64 i = share.first; i < share.end; i += share.step) {
        y[i] = narrow<T>(exp(widen(x[i]) - largest) / sum);
    }
}

extern "C" __global__ void softmax_backward(
    const int64 rows, const int64 length, const int64 inner, const T* output_grad, const T* y,
    T* input_grad
) {
    const Share share(rows, length, inner);
    A mean = 0;
    for (int64 i = share.first; i < share.end; i += share.step) {
        mean += widen(output_grad[i]) * widen(y[i]);
    }
    mean = over_lanes<Sum>(mean);
    for (int64 i = share.first; i < share.end; i += share.step) {
        input_grad[i] = narrow<T>((widen(output_grad[i]) - mean) * widen(y[i]));
    }
}

extern "C" __global__ void log_softmax_forward(
    const int64 rows, const int64 length, const int64 inner, const T* x, T* y
) {
    const Share share(rows, length, inner);
    const A largest = maximum_of(share, x);
    const A log_sum = log(sum_of_exponentials(share, x, largest));
    for (int64 i = share.first; i < share.end; i += share.step) {
        y[i] = narrow<T>(widen(x[i]) - largest - log_sum);
    }
}

extern "C" __global__ void log_softmax_backward(
    const int64 rows, const int64 length, const int64 inner, const T* output_grad, const T* y,
    T* input_grad
) {
    const Share share(rows, length, inner);
    A sum = 0;
    for (int64 i = share.first; i < share.end; i += share.step) sum += widen(output_grad[i]);
    sum = over_lanes<Sum>(sum);
    for (int64 i = share.first; i < share.end; i += share.step) {
        input_grad[i] = narrow<T>(widen(output_grad[i]) - exp(widen(y[i])) * sum);
    }
}

extern "C" __global__ void softmax_cross_entropy_forward(
    const int64 rows, const int64 length, const T* logits, const L* labels, T* losses,
    T* probabilities
) {
    const Share share(rows, length, 1);
    const A largest = maximum_of(share, logits);
    A sum = 0, chosen = 0, label_sum = 0;
    for (int64 i = share.first; i < share.end; i += share.step) {
        const A logit = widen(logits[i]) - largest;
        sum += exp(logit);
        if (SPARSE) continue;
        const A label = probability(labels[i]);
        label_sum += label;
        if (label != 0) chosen += label * logit;
    }
    sum = over_lanes<Sum>(sum);
    if (!SPARSE) chosen = over_lanes<Sum>(chosen), label_sum = over_lanes<Sum>(label_sum);
    for (int64 i = share.first; i < share.end; i += share.step) {
        probabilities[i] = narrow<T>(exp(widen(logits[i]) - largest) / sum);
    }
    if (!share.is_first_lane()) return;
    if (SPARSE) {
        const int64 label = class_number(labels[share.row], length);
        label_sum = label < 0 ? not_a_number() : A(1);
        if (label >= 0) chosen = widen(logits[share.row * length + label]) - largest;
    }
    losses[share.row] = narrow<T>(log(sum) * label_sum - chosen);
}

extern "C" __global__ void softmax_cross_entropy_backward(
    const int64 rows, const int64 length, const T* output_grad, const T* probabilities,
    const L* labels, T* logits_grad
) {
    const Share share(rows, length, 1);
    const bool is_row = share.row < rows;
    const A scale = is_row ? widen(output_grad[share.row]) : A(0);
    A label_sum = 1;  // of probabilities it is not always that
    int64 chosen = -1;
    if (SPARSE) {
        const int64 label = is_row ? class_number(labels[share.row], length) : -1;
        if (label < 0) label_sum = not_a_number();
        else chosen = share.row * length + label;
    } else {
        label_sum = 0;
        for (int64 i = share.first; i < share.end; i += share.step) {
            label_sum += probability(labels[i]);
        }
        label_sum = over_lanes<Sum>(label_sum);
    }
    for (int64 i = share.first; i < share.end; i += share.step) {
        const A label = SPARSE ? A(i == chosen) : probability(labels[i]);
        logits_grad[i] = narrow<T>((widen(probabilities[i]) * label_sum - label) * scale);
    }
}
