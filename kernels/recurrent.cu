// Purpose: one time step of an LSTM, a GRU or a simple recurrent layer, and its gradient.
//
// Formula: with x the inputs times their kernel, p the states times theirs (bias included), and
//          gates as blocks of columns:
//          LSTM        i, f, g, o = x + p; c' = s(f) c + s(i) tanh(g); h' = s(o) tanh(c')
//          GRU         z = s(x + p), r = s(x + p), g = tanh(x + r p); h' = z h + (1 - z) g
//          SIMPLE_RNN  h' = tanh(x + p)
//          s is the sigmoid; where the mask is 0 the states stay as they are.
//
// Layout:  states are (batch, units), x and p (batch, GATES, units), gates (batch, 4, units), all
//          contiguous and of type T; gates are saved for the gradient: i, f, g, o of an LSTM; z, r,
//          g and the candidate's part of p of a GRU. mask is (batch,) of uint8, or null. c, c_next
//          and c_grad are those of an LSTM, else null; so is product_grad but for a GRU.
//
// Threads: one-dimensional, grid-stride; a thread takes one unit of one sample, all its gates.
//          Neighbours read what lies side by side.
//
// Limits:  any grid and block; CELL is LSTM, GRU or SIMPLE_RNN.
// Registers: at most 64 a thread.

#define ACTIVATION LINEAR
#include "activation.cuh"

enum Cell { LSTM, GRU, SIMPLE_RNN };
constexpr int GATES = CELL == LSTM ? 4 : CELL == GRU ? 3 : 1;

extern "C" __global__ void recurrent_step(
    const int64 count, const int64 units, const T* x, const T* product, const T* h, const T* c,
    const uint8* mask, T* gates, T* h_next, T* c_next
) {
    for (int64 i = thread_index(); i < count; i += thread_count()) {
        const int64 sample = i / units, unit = i % units;
        const bool counts = mask == nullptr || mask[sample] != 0;
        const int64 at = sample * GATES * units + unit, saved = sample * 4 * units + unit;
        const A before = widen(h[i]);
        if (CELL == LSTM) {
            const A in = sigmoid(widen(x[at]) + widen(product[at]));
            const A forget = sigmoid(widen(x[at + units]) + widen(product[at + units]));
            const A g = tanh(widen(x[at + 2 * units]) + widen(product[at + 2 * units]));
            const A out = sigmoid(widen(x[at + 3 * units]) + widen(product[at + 3 * units]));
            const A carry = widen(c[i]), next = forget * carry + in * g;
            gates[saved] = narrow<T>(in);
            gates[saved + units] = narrow<T>(forget);
            gates[saved + 2 * units] = narrow<T>(g);
            gates[saved + 3 * units] = narrow<T>(out);
            c_next[i] = narrow<T>(counts ? next : carry);
            h_next[i] = narrow<T>(counts ? out * tanh(next) : before);
        } else if (CELL == GRU) {
            const A z = sigmoid(widen(x[at]) + widen(product[at]));
            const A r = sigmoid(widen(x[at + units]) + widen(product[at + units]));
            const A part = widen(product[at + 2 * units]);
            const A g = tanh(widen(x[at + 2 * units]) + r * part);
            gates[saved] = narrow<T>(z);
            gates[saved + units] = narrow<T>(r);
            gates[saved + 2 * units] = narrow<T>(g);
            gates[saved + 3 * units] = narrow<T>(part);
            h_next[i] = narrow<T>(counts ? z * before + (1 - z) * g : before);
        } else {
            h_next[i] = narrow<T>(counts ? tanh(widen(x[at]) + widen(product[at])) : before);
        }
    }
}

// h_grad is that of the state after this step from what reads it; carried, changed, the part that
// passes by the products of the step after it, and then of this one; product, or null at the last
// step, the part through these products. c_grad is changed from that of c' to that of c.
extern "C" __global__ void recurrent_step_backward(
    const int64 count, const int64 units, const T* h_grad, const T* product, const T* gates,
    const T* h, const T* h_next, const T* c, const T* c_next, const uint8* mask, T* carried,
    T* c_grad, T* x_grad, T* product_grad
) {
    for (int64 i = thread_index(); i < count; i += thread_count()) {
        const int64 sample = i / units, unit = i % units;
        const bool counts = mask == nullptr || mask[sample] != 0;
        const int64 at = sample * GATES * units + unit, saved = sample * 4 * units + unit;
        const A through = product == nullptr ? A(0) : widen(product[i]);
        const A grad = widen(h_grad[i]) + widen(carried[i]) + through;
        if (CELL == LSTM) {
            const A in = widen(gates[saved]), forget = widen(gates[saved + units]);
            const A g = widen(gates[saved + 2 * units]), out = widen(gates[saved + 3 * units]);
            const A y = tanh(widen(c_next[i])), after = widen(c_grad[i]);
            const A total = after + grad * out * (1 - y * y);
            x_grad[at] = narrow<T>(counts ? total * g * in * (1 - in) : A(0));
            x_grad[at + units] =
                narrow<T>(counts ? total * widen(c[i]) * forget * (1 - forget) : A(0));
            x_grad[at + 2 * units] = narrow<T>(counts ? total * in * (1 - g * g) : A(0));
            x_grad[at + 3 * units] = narrow<T>(counts ? grad * y * out * (1 - out) : A(0));
            c_grad[i] = narrow<T>(counts ? total * forget : after);
            carried[i] = narrow<T>(counts ? A(0) : grad);
        } else if (CELL == GRU) {
            const A z = widen(gates[saved]), r = widen(gates[saved + units]);
            const A g = widen(gates[saved + 2 * units]), part = widen(gates[saved + 3 * units]);
            const A z_grad = counts ? grad * (widen(h[i]) - g) * z * (1 - z) : A(0);
            const A g_grad = counts ? grad * (1 - z) * (1 - g * g) : A(0);
            const A r_grad = g_grad * part * r * (1 - r);
            x_grad[at] = product_grad[at] = narrow<T>(z_grad);
            x_grad[at + units] = product_grad[at + units] = narrow<T>(r_grad);
            x_grad[at + 2 * units] = narrow<T>(g_grad);
            product_grad[at + 2 * units] = narrow<T>(g_grad * r);
            carried[i] = narrow<T>(counts ? grad * z : grad);
        } else {
            const A y = widen(h_next[i]);
            x_grad[at] = narrow<T>(counts ? grad * (1 - y * y) : A(0));
            carried[i] = narrow<T>(counts ? A(0) : grad);
        }
    }
}
