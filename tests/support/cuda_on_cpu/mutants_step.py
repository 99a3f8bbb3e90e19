"""Mistakes put into what a training step does beside its layers; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]

MUTANTS = [
    Mutant(
        "the segment after the block's",
        "step.cu",
        "finish_gradients",
        "if (table[middle * FIELDS] <= block) low = middle;",
        "if (table[middle * FIELDS] <= block + 1) low = middle;",
    ),
    Mutant(
        "an element past the segment's end",
        "step.cu",
        "finish_gradients",
        "if (i >= segment[2]) return;",
        "if (i > segment[2]) return;",
    ),
    Mutant(
        "the last part left out",
        "step.cu",
        "finish_gradients",
        "for (int64 p = 0; p < count; ++p) sum",
        "for (int64 p = 0; p + 1 < count; ++p) sum",
    ),
    Mutant(
        "a gradient without parts not looked at",
        "step.cu",
        "finish_gradients",
        "else sum = *gradient;",
        "",
    ),
    Mutant(
        "infinity taken for finite",
        "step.cu",
        "finish_gradients",
        "const A x) { return x - x == 0; }",
        "const A x) { return x == x; }",
    ),
    Mutant(
        "no barrier before the sum",
        "step.cu",
        "finish_gradients",
        "shared[threadIdx.x] = value;\n    __syncthreads();",
        "shared[threadIdx.x] = value;",
    ),
    Mutant(
        "no barrier within the sum",
        "step.cu",
        "finish_gradients",
        "shared[threadIdx.x + half];\n        __syncthreads();",
        "shared[threadIdx.x + half];",
    ),
    Mutant(
        "losses without their weight",
        "step.cu",
        "finish_gradients",
        "totals[0] += weight * loss;",
        "totals[0] += loss;",
    ),
    Mutant(
        "counters beyond the first block of threads",
        "step.cu",
        "finish_gradients",
        "i < count; i += BLOCK) counters",
        "i < BLOCK && i < count; i += BLOCK) counters",
    ),
    Mutant(
        "squares not looked at",
        "step.cu",
        "finish_gradients",
        "!is_finite(sum * sum)",
        "!is_finite(sum)",
    ),
    Mutant(
        "the first array for the second",
        "step.cu",
        "finish_gradients",
        "TAKE_FOUR(a, b, c, d) TAKE(a); TAKE(b);",
        "TAKE_FOUR(a, b, c, d) TAKE(a); case b: parts = parts_0; break;",
    ),
    Mutant(
        "a value set though a gradient failed",
        "step.cu",
        "set_updates",
        "if (failed[0] != 0 || failed[1] != 0) return;",
        "if (failed[0] != 0) return;",
    ),
    Mutant(
        "the new value's share for the old one's",
        "step.cu",
        "set_updates",
        "*weight * momentum + value * (1 - momentum);",
        "*weight * (1 - momentum) + value * momentum;",
    ),
    Mutant(
        "what is replaced averaged in",
        "step.cu",
        "set_updates",
        "momentum == 0 ? value : *weight",
        "*weight",
    ),
    Mutant(
        "the rows from the first on",
        "gather.cu",
        "gather_batches",
        "rows + first[0],",
        "rows,",
    ),
    Mutant(
        "the size of the first array for all",
        "gather.cu",
        "gather_batches",
        "size = size_##k;",
        "size = size_0;",
    ),
    Mutant(
        "rows past the end are read",
        "gather.cu",
        "gather_batches",
        "row >= 0 && row < samples;",
        "row >= 0 && row <= samples;",
    ),
    Mutant(
        "missing samples of zeros",
        "gather.cu",
        "gather_batches",
        "missing.values[j] = 255;",
        "missing.values[j] = 0;",
    ),
    Mutant(
        "eight bytes for four",
        "gather.cu",
        "gather_batches",
        "case 4: return copy_row<4>",
        "case 4: return copy_row<8>",
    ),
    Mutant(
        "a failed loss alone leaves a step out",
        "optimizer.cu",
        "adam_update",
        "(skip[0] == 0 && skip[1] == 0)",
        "skip[0] == 0",
    ),
    Mutant(
        "each thread counts what is left out",
        "optimizer.cu",
        "sgd_update",
        "if (thread_index() == 0) ++skip[2];",
        "++skip[2];",
    ),
]
