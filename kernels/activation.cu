// Purpose: every activation and its gradient, element by element.
//
// Formula: y[i] = activate(x[i]); input_grad[i] = output_grad[i] * activate'(...), see
//          activation.cuh.
//
// Layout:  all arrays are (count,), contiguous, of type T.
//
// Threads: one-dimensional; thread i takes VECTOR elements from i * VECTOR, and so on in steps of
//          the whole grid. The last count % VECTOR elements go one each to the first threads.
//
// Limits:  any grid and block; with VECTOR > 1 arrays on boundaries of 16 bytes.
// Registers: at most 64 a thread, 128 for float64, which gelu's gradient takes on sm_90.

#include "activation.cuh"

extern "C" __global__ void activation_forward(
    const int64 count, const A option, const T* x, T* y
) {
    const int64 vectors = count / VECTOR;
    for (int64 i = thread_index(); i < vectors; i += thread_count()) {
        Vector<T, VECTOR> part = load_vector<VECTOR>(x + i * VECTOR);
        for (int j = 0; j < VECTOR; ++j) {
            part.values[j] = narrow<T>(activate(widen(part.values[j]), option));
        }
        store_vector(y + i * VECTOR, part);
    }
    const int64 last = vectors * VECTOR + thread_index();
    if (last < count) y[last] = narrow<T>(activate(widen(x[last]), option));
}

extern "C" __global__ void activation_backward(
    const int64 count, const A option, const T* output_grad, const T* saved, T* input_grad
) {
    const int64 vectors = count / VECTOR;
    for (int64 i = thread_index(); i < vectors; i += thread_count()) {
        Vector<T, VECTOR> grad = load_vector<VECTOR>(output_grad + i * VECTOR);
        const Vector<T, VECTOR> from = load_vector<VECTOR>(saved + i * VECTOR);
        for (int j = 0; j < VECTOR; ++j) {
            const A value = activate_backward(widen(grad.values[j]), widen(from.values[j]), option);
            grad.values[j] = narrow<T>(value);
        }
        store_vector(input_grad + i * VECTOR, grad);
    }
    const int64 last = vectors * VECTOR + thread_index();
    if (last < count) {
        const A value = activate_backward(widen(output_grad[last]), widen(saved[last]), option);
        input_grad[last] = narrow<T>(value);
    }
}
