// Purpose: the formulas of the activations and their gradients, for one number. The kernels of
//          activation.cu apply them to arrays, those of matmul.cu and convolution.cu to their
//          results.
//
// The macro ACTIVATION is one of the names below, or Fused(name, options...). A gradient is computed
// from what the forward pass saved, as gpunet/primitives/activation_table.py says: the output, or
// the input (silu, gelu and their like).
//
// Sources: Clevert et al., 2015 (elu); Klambauer et al., 2017 (selu); Hendrycks and Gimpel, 2016
//          (gelu and its form in tanh).

#pragma once

#include "common.cuh"

enum Activation {
    LINEAR, RELU, CLIPPED_RELU, LEAKY_RELU, ELU, SELU, SIGMOID, HARD_SIGMOID, TANH, SOFTPLUS,
    SOFTSIGN, SILU, HARD_SILU, GELU, GELU_TANH
};

// An activation with constant options, in the order of the table; it converts to its name.
struct Fused {
    Activation name;
    double first, second, third;

    constexpr Fused(
        const Activation name, const double first = 0, const double second = 0,
        const double third = 0
    ) : name(name), first(first), second(second), third(third) {}

    constexpr operator Activation() const { return name; }
};

constexpr double NO_LIMIT = -1;  // for the option max_value
constexpr Fused FUSED = ACTIVATION;
constexpr double FUSED_OPTION = FUSED.first;

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

// The limit of clipped_relu.
__device__ inline A largest() {
    return FUSED.second == NO_LIMIT ? A(bits_float(0x7f800000u)) : A(FUSED.second);
}

// `option` is the negative slope of leaky_relu and the alpha of elu; clipped_relu has its options
// in the macro alone. NaN stays NaN.
__device__ inline A activate(const A x, const A option) {
    switch (ACTIVATION) {
        case RELU: return x < 0 ? A(0) : x;
        case CLIPPED_RELU:
            if (!(x <= A(FUSED.third))) return x > largest() ? largest() : x;
            return FUSED.first > 0 ? A(FUSED.first) * (x - A(FUSED.third)) : A(0);
        case LEAKY_RELU: return x < 0 ? option * x : x;
        case ELU: return x < 0 ? option * expm1(x) : x;
        case SELU: return A(SELU_SCALE) * (x < 0 ? A(SELU_ALPHA) * expm1(x) : x);
        case SIGMOID: return sigmoid(x);
        case HARD_SIGMOID: return x < -3 ? A(0) : x > 3 ? A(1) : (x + 3) / 6;
        case TANH: return tanh(x);
        case SOFTPLUS: return (x < 0 ? A(0) : x) + log1p(exp(-fabs(x)));
        case SOFTSIGN: return x / (1 + fabs(x));
        case SILU: return x * sigmoid(x);
        case HARD_SILU: return x * (x < -3 ? A(0) : x > 3 ? A(1) : (x + 3) / 6);
        case GELU: return A(0.5) * x * (1 + erf(x * A(SQRT_HALF)));
        case GELU_TANH: return A(0.5) * x * (1 + gelu_inner(gelu_bounded(x)));
        default: return x;
    }
}

// The gradient of the input, from that of the output and from what was saved.
__device__ inline A activate_backward(const A output_grad, const A saved, const A option) {
    switch (ACTIVATION) {
        case RELU: return saved <= 0 ? A(0) : output_grad;
        case CLIPPED_RELU:
            if (saved >= largest()) return 0;
            if (saved <= 0) return FUSED.first > 0 ? A(FUSED.first) * output_grad : A(0);
            return output_grad;
        case LEAKY_RELU: return saved > 0 ? output_grad : option * output_grad;
        case ELU: return saved > 0 ? output_grad : output_grad * (saved + option);
        case SELU:
            return output_grad * (saved > 0 ? A(SELU_SCALE) : saved + A(SELU_SCALE * SELU_ALPHA));
        case SIGMOID: return output_grad * (saved * (1 - saved));
        case HARD_SIGMOID: return saved > 0 && saved < 1 ? output_grad / 6 : A(0);
        case TANH: return output_grad * (1 - saved * saved);
        case SOFTPLUS: return output_grad * -expm1(-saved);
        case SOFTSIGN: return output_grad * ((1 - fabs(saved)) * (1 - fabs(saved)));
        case HARD_SILU:
            return output_grad * (saved <= -3 ? A(0) : saved >= 3 ? A(1) : saved / 3 + A(0.5));
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
