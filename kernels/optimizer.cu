// Purpose: the updates of all parameters at once, in place, over flat buffers.
//
// Formula: sgd_update: step = -learning_rate * gradient; with a velocity, velocity = momentum *
//          velocity + step, and then step = velocity, or with Nesterov's look ahead step +=
//          momentum * velocity; parameter += step.
//          adam_update: mean += (gradient - mean) * mean_share; variance += (gradient^2 - variance)
//          * variance_share; parameter -= alpha * mean / (sqrt(variance) + epsilon), where alpha =
//          learning_rate * sqrt(1 - beta_2^step) / (1 - beta_1^step) (Kingma and Ba, 2014,
//          section 2). The shares are 1 - beta, and 1 - beta^step is -expm1(step * log(beta)):
//          shares and logarithms come from the host, computed in double, so that nothing cancels
//          here, and no double power is needed.
//
// Layout:  all buffers are (count,), contiguous, of type T; velocity may be null; learning_rate and
//          step are (1,), read on the device, so that a captured step can be run again; skip is
//          (3,) or null: unless its first two elements are 0 the step is left out, and its third
//          counts it.
//
// Threads: one-dimensional; thread i takes VECTOR elements from i * VECTOR, and so on in steps of
//          the whole grid. The last count % VECTOR elements go one each to the first threads. Each
//          thread computes alpha for itself: memory is what these kernels wait for, and this work
//          is done meanwhile; if one thread did it for its block, the others would wait for it.
//
// Limits:  any grid and block; with VECTOR > 1 buffers on boundaries of 16 bytes.
// Registers: at most 64 a thread: four vectors and their addresses are 32 in float64.

#include "common.cuh"

// Whether the step is to be left out; it is counted then.
__device__ inline bool is_skipped(int64* skip) {
    if (skip == nullptr || (skip[0] == 0 && skip[1] == 0)) return false;
    if (thread_index() == 0) ++skip[2];
    return true;
}

__device__ inline T sgd(
    const T parameter, const T gradient, T* velocity, const A rate, const A momentum,
    const bool nesterov
) {
    A step = -rate * widen(gradient);
    if (velocity) {
        const A speed = momentum * widen(*velocity) + step;
        *velocity = narrow<T>(speed);
        step = nesterov ? momentum * speed + step : speed;
    }
    return narrow<T>(widen(parameter) + step);
}

extern "C" __global__ void sgd_update(
    const int64 count, const A momentum, const int nesterov, const T* learning_rate,
    const T* gradients, T* parameters, T* velocity, int64* skip
) {
    if (is_skipped(skip)) return;
    const A rate = widen(learning_rate[0]);
    const int64 vectors = count / VECTOR;
    for (int64 i = thread_index(); i < vectors; i += thread_count()) {
        const Vector<T, VECTOR> gradient = load_vector<VECTOR>(gradients + i * VECTOR);
        Vector<T, VECTOR> parameter = load_vector<VECTOR>(parameters + i * VECTOR), speed;
        if (velocity) speed = load_vector<VECTOR>(velocity + i * VECTOR);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {
            parameter.values[j] = sgd(
                parameter.values[j], gradient.values[j], velocity ? speed.values + j : nullptr,
                rate, momentum, nesterov
            );
        }
        if (velocity) store_vector(velocity + i * VECTOR, speed);
        store_vector(parameters + i * VECTOR, parameter);
    }
    const int64 last = vectors * VECTOR + thread_index();
    if (last < count) {
        T* own = velocity ? velocity + last : nullptr;
        parameters[last] = sgd(parameters[last], gradients[last], own, rate, momentum, nesterov);
    }
}

struct AdamOptions {
    A mean_share, variance_share, epsilon, alpha;
};

__device__ inline T adam(
    const T parameter, const T gradient, T& mean, T& variance, const AdamOptions& options
) {
    const A g = widen(gradient), before = widen(mean), square_before = widen(variance);
    const A m = before + (g - before) * options.mean_share;
    const A v = square_before + (g * g - square_before) * options.variance_share;
    mean = narrow<T>(m);
    variance = narrow<T>(v);
    return narrow<T>(widen(parameter) - options.alpha * (m / (sqrt(v) + options.epsilon)));
}

extern "C" __global__ void adam_update(
    const int64 count, const A mean_share, const A variance_share, const A log_beta_1,
    const A log_beta_2, const A epsilon, const int64* step, const T* learning_rate,
    const T* gradients, T* parameters, T* mean, T* variance, int64* skip
) {
    if (is_skipped(skip)) return;
    const A steps = static_cast<A>(step[0]);
    const A unbias_1 = -expm1(steps * log_beta_1), unbias_2 = -expm1(steps * log_beta_2);
    const A alpha = widen(learning_rate[0]) * sqrt(unbias_2) / unbias_1;
    const AdamOptions options = {mean_share, variance_share, epsilon, alpha};
    const int64 vectors = count / VECTOR;
    for (int64 i = thread_index(); i < vectors; i += thread_count()) {
        const Vector<T, VECTOR> gradient = load_vector<VECTOR>(gradients + i * VECTOR);
        Vector<T, VECTOR> parameter = load_vector<VECTOR>(parameters + i * VECTOR);
        Vector<T, VECTOR> m = load_vector<VECTOR>(mean + i * VECTOR);
        Vector<T, VECTOR> v = load_vector<VECTOR>(variance + i * VECTOR);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {
            parameter.values[j] =
                adam(parameter.values[j], gradient.values[j], m.values[j], v.values[j], options);
        }
        store_vector(mean + i * VECTOR, m);
        store_vector(variance + i * VECTOR, v);
        store_vector(parameters + i * VECTOR, parameter);
    }
    const int64 last = vectors * VECTOR + thread_index();
    if (last < count) {
        parameters[last] =
            adam(parameters[last], gradients[last], mean[last], variance[last], options);
    }
}
