// Purpose: the formulas of the activations and their gradients, for one number. The kernels of
//          activation.cu apply them to arrays, those of matmul.cu and convolution.cu to their
//          results.
//
// The macro ACTIVATION names one of those below. A gradient is taken from what the forward pass
// saved: its output, or for silu and gelu its input.
//
// Sources: Clevert et al., 2015 (elu); Klambauer et al., 2017 (selu); Hendrycks and Gimpel, 2016
//          (gelu and its form in tanh).

#pragma once

#include "common.cuh"

enum Activation {
    LINEAR, RELU, LEAKY_RELU, ELU, SELU, SIGMOID, HARD_SIGMOID, TANH, SOFTPLUS, SILU, GELU,
    GELU_TANH
};

// What leaky_relu and elu are given where they are fused into a product: their default options.
constexpr double FUSED_OPTION = ACTIVATION == LEAKY_RELU ? 0.2 : 1.0;

constexpr double SELU_ALPHA = 1.6732632423543772;
constexpr double SELU_SCALE = 1.0507009873554805;
constexpr double SQRT_HALF = 0.70710678118654752;
constexpr double DENSITY_AT_0 = 0.39894228040143268;  // of the normal distribution, 1 / sqrt(2 pi)
constexpr double GELU_SCALE = 0.79788456080286536;    // sqrt(2 / pi)
constexpr double GELU_CUBIC = 0.044715;
// Beyond it gelu is 0 or x to the last digit of float64, and its inner terms cannot overflow.
constexpr double GELU_END = 40.0;

__device__ inline A sigmoid(const A x) {
    const A small = exp(-fabs(x));  // at most 1
    return (x >= 0 ? A(1) : small) / (1 + small);
}

__device__ inline A gelu_bounded(const A x) {
    return x > A(GELU_END) ? A(GELU_END) : x < A(-GELU_END) ? A(-GELU_END) : x;
}

__device__ inline A gelu_inner(const A x) {
    return tanh(A(GELU_SCALE) * (x + A(GELU_CUBIC) * x * x * x));
}

// `option` is the negative slope of leaky_relu and the alpha of elu. NaN stays NaN.
__device__ inline A activate(const A x, const A option) {
    switch (ACTIVATION) {
        case RELU: return x < 0 ? A(0) : x;
        case LEAKY_RELU: return x < 0 ? option * x : x;
        case ELU: return x < 0 ? option * expm1(x) : x;
        case SELU: return A(SELU_SCALE) * (x < 0 ? A(SELU_ALPHA) * expm1(x) : x);
        case SIGMOID: return sigmoid(x);
        case HARD_SIGMOID: return x < -3 ? A(0) : x > 3 ? A(1) : (x + 3) / 6;
        case TANH: return tanh(x);
        case SOFTPLUS: return (x < 0 ? A(0) : x) + log1p(exp(-fabs(x)));
        case SILU: return x * sigmoid(x);
        case GELU: return A(0.5) * x * (1 + erf(x * A(SQRT_HALF)));
        case GELU_TANH: return A(0.5) * x * (1 + gelu_inner(gelu_bounded(x)));
        default: return x;
    }
}

// The gradient of the input, from that of the output and from what was saved.
__device__ inline A activate_backward(const A output_grad, const A saved, const A option) {
    switch (ACTIVATION) {
        case RELU: return saved > 0 ? output_grad : A(0);
        case LEAKY_RELU: return saved > 0 ? output_grad : option * output_grad;
        case ELU: return saved > 0 ? output_grad : output_grad * (saved + option);
        case SELU:
            return output_grad * (saved > 0 ? A(SELU_SCALE) : saved + A(SELU_SCALE * SELU_ALPHA));
        case SIGMOID: return output_grad * (saved * (1 - saved));
        case HARD_SIGMOID: return saved > 0 && saved < 1 ? output_grad / 6 : A(0);
        case TANH: return output_grad * (1 - saved * saved);
        case SOFTPLUS: return output_grad * -expm1(-saved);
        case SILU: {
            const A share = sigmoid(saved);
            return output_grad * (share * (1 + saved * (1 - share)));
        }
        case GELU: {
            const A x = gelu_bounded(saved);
            const A below = A(0.5) * (1 + erf(x * A(SQRT_HALF)));
            return output_grad * (below + x * A(DENSITY_AT_0) * exp(A(-0.5) * x * x));
        }
        case GELU_TANH: {
            const A x = gelu_bounded(saved), inner = gelu_inner(x);
            const A inner_grad =
                A(GELU_SCALE) * (1 + 3 * A(GELU_CUBIC) * x * x) * (1 - inner * inner);
            return output_grad * (A(0.5) * (1 + inner) + A(0.5) * x * inner_grad);
        }
        default: return output_grad;
    }
}
