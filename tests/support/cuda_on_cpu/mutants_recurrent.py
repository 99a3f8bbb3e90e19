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
]
