"""Mistakes put into the kernels of recurrences; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]

MUTANTS = [
    Mutant(
        "the carry of a masked step moves on",
        "recurrent.cu",
        "recurrent_forward",
        "c_next[i] = narrow<T>(counts ? next : carry);",
        "c_next[i] = narrow<T>(next);",
    ),
    Mutant(
        "the state of a masked step moves on",
        "recurrent.cu",
        "recurrent_forward",
        "counts ? z * before + (1 - z) * g : before",
        "z * before + (1 - z) * g",
    ),
    Mutant(
        "the mask of another sample",
        "recurrent.cu",
        "recurrent_forward",
        "mask[sample] != 0;\n        const int64 at = sample * GATES * units + unit, "
        "saved = sample * 4 * units + unit;\n        const A before",
        "mask[unit % (count / units)] != 0;\n        const int64 at = sample * GATES * units + "
        "unit, saved = sample * 4 * units + unit;\n        const A before",
    ),
    Mutant(
        "reset before the product",
        "recurrent.cu",
        "recurrent_forward",
        "tanh(widen(x[at + 2 * units]) + r * part)",
        "tanh(r * (widen(x[at + 2 * units]) + part))",
    ),
    Mutant(
        "an element past the end",
        "recurrent.cu",
        "recurrent_forward",
        "i < count; i += thread_count()) {\n        const int64 sample = i / units, unit = i % "
        "units;\n        const bool counts = mask == nullptr || mask[sample] != 0;\n        const "
        "int64 at = sample * GATES * units + unit, saved = sample * 4 * units + unit;\n        "
        "const A before",
        "i <= count; i += thread_count()) {\n        const int64 sample = i / units, unit = i % "
        "units;\n        const bool counts = mask == nullptr || mask[sample] != 0;\n        const "
        "int64 at = sample * GATES * units + unit, saved = sample * 4 * units + unit;\n        "
        "const A before",
    ),
    Mutant(
        "the gradient of a masked carry lost",
        "recurrent.cu",
        "recurrent_backward",
        "c_grad[i] = narrow<T>(counts ? total * forget : after);",
        "c_grad[i] = narrow<T>(counts ? total * forget : A(0));",
    ),
    Mutant(
        "what passes a masked step by lost",
        "recurrent.cu",
        "recurrent_backward",
        "carried[i] = narrow<T>(counts ? grad * z : grad);",
        "carried[i] = narrow<T>(grad * z);",
    ),
    Mutant(
        "the gradient through the products left out",
        "recurrent.cu",
        "recurrent_backward",
        "+ widen(carried[i]) + through;",
        "+ widen(carried[i]);",
    ),
    Mutant(
        "the candidate's product without its reset gate",
        "recurrent.cu",
        "recurrent_backward",
        "narrow<T>(g_grad * r);",
        "narrow<T>(g_grad);",
    ),
    Mutant(
        "the carry after in place of the one before",
        "recurrent.cu",
        "recurrent_backward",
        "total * widen(c[i]) * forget",
        "total * widen(c_next[i]) * forget",
    ),
    Mutant(
        "no barrier before the slices are added",
        "sequence.cu",
        "recurrent_forward",
        "= sum[gate];\n        }\n        __syncthreads();",
        "= sum[gate];\n        }",
    ),
    Mutant(
        "no barrier before the next step",
        "sequence.cu",
        "recurrent_forward",
        "state[unit] = before;\n        }\n        __syncthreads();\n    }\n}",
        "state[unit] = before;\n        }\n    }\n}",
    ),
    Mutant(
        "the slices overlap",
        "sequence.cu",
        "recurrent_forward",
        "first = slice * length,",
        "first = max(0, slice * length - 1),",
    ),
    Mutant(
        "the mask of the first step",
        "sequence.cu",
        "recurrent_forward",
        "mask[step * batch + blockIdx.x] != 0;\n"
        "            const T rounded = narrow<T>(counts ? next",
        "mask[blockIdx.x] != 0;\n            const T rounded = narrow<T>(counts ? next",
    ),
    Mutant(
        "the carry of a masked step set",
        "sequence.cu",
        "recurrent_forward",
        "narrow<T>(counts ? moved : carry)",
        "narrow<T>(moved)",
    ),
    Mutant(
        "the last slice left out",
        "sequence.cu",
        "recurrent_forward",
        "for (int s = 0; s < slices; ++s)",
        "for (int s = 0; s + 1 < slices || s == 0; ++s)",
    ),
    Mutant(
        "the first state not kept",
        "sequence.cu",
        "recurrent_forward",
        "        h_states[places.at(0, 1) + unit] = h[places.at(0, 1) + unit];\n",
        "",
    ),
    Mutant(
        "no barrier before the products back",
        "sequence.cu",
        "recurrent_backward",
        "            carried = widen(narrow<T>(carried));\n        }\n        __syncthreads();",
        "            carried = widen(narrow<T>(carried));\n        }",
    ),
    Mutant(
        "no barrier after the products back",
        "sequence.cu",
        "recurrent_backward",
        "if (lane == 0) through[row] = sum;\n        }\n        __syncthreads();",
        "if (lane == 0) through[row] = sum;\n        }",
    ),
    Mutant(
        "the candidate's product of a state without its reset gate",
        "sequence.cu",
        "recurrent_backward",
        "last = g_grad * r;",
        "last = g_grad;",
    ),
    Mutant(
        "the product of the first step left out",
        "sequence.cu",
        "recurrent_backward",
        "narrow<T>(carried + through[unit]);",
        "narrow<T>(carried);",
    ),
    Mutant(
        "the carry after the step before it",
        "sequence.cu",
        "recurrent_backward",
        "total * widen(c_states[now]) *",
        "total * widen(c_states[next]) *",
    ),
    Mutant(
        "what passes by a masked step of a sequence lost",
        "sequence.cu",
        "recurrent_backward",
        "carried = counts ? grad * z : grad;",
        "carried = grad * z;",
    ),
]
