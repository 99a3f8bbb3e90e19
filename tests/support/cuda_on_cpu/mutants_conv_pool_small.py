"""Mistakes put into convolution of few channels with pooling; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]

FILE = "conv_pool_small.cu"
FORWARD, WEIGHT, PARTS = (
    "conv2d_max_pool_forward",
    "conv2d_max_pool_backward_weight",
    "conv2d_max_pool_small_parts",
)

MUTANTS = [
    Mutant("a row below the image", FILE, FORWARD, "y < layer.height", "y <= layer.height"),
    Mutant("a pixel beside the image", FILE, FORWARD, "place < length;", "place <= length;"),
    Mutant("padding that is not 0", FILE, WEIGHT, "? value : A(0);", "? value : A(1);"),
    Mutant(
        "strips longer than rows",
        FILE,
        FORWARD,
        "count(min(layer.span, layer.columns - first))",
        "count(layer.span)",
    ),
    Mutant(
        "the last pixels of a strip left out",
        FILE,
        FORWARD,
        "i < (count - 1) * STEP + SEEN;",
        "i < count * STEP;",
    ),
    Mutant(
        "the row of another image",
        FILE,
        FORWARD,
        "line % layer.rows * (2 * STRIDE_Y)",
        "line * (2 * STRIDE_Y)",
    ),
    Mutant(
        "a strip written while lanes read the one before",
        FILE,
        PARTS,
        "__syncwarp();  // no lane reads the strip before any more",
        "",
    ),
    Mutant(
        "a strip read before all lanes have written it",
        FILE,
        FORWARD,
        "memory[row * LINE + i] = values[row];\n        }\n        __syncwarp();",
        "memory[row * LINE + i] = values[row];\n        }",
    ),
    Mutant(
        "pixels kept from the wrong place",
        FILE,
        FORWARD,
        "values[row][i] = values[row][i + STEP];",
        "values[row][i] = values[row][i + 1];",
    ),
    Mutant(
        "rows and columns of a window exchanged",
        FILE,
        FORWARD,
        "y - output / 2 * STRIDE_Y, kx = x - output % 2 * STRIDE_X",
        "y - output % 2 * STRIDE_Y, kx = x - output / 2 * STRIDE_X",
    ),
    Mutant(
        "the bias left out",
        FILE,
        FORWARD,
        "sums[output] += added;",
        "sums[output] += 0;",
    ),
    Mutant("a filter past the last", FILE, FORWARD, "if (filter < filters) {", "{"),
    Mutant(
        "no activation", FILE, FORWARD, "activate(largest.value, A(FUSED_OPTION))", "largest.value"
    ),
    Mutant(
        "the gradient of the wrong output",
        FILE,
        WEIGHT,
        "index / 2 % 2 * (STRIDE_Y * LINE)",
        "index % 2 * (STRIDE_Y * LINE)",
    ),
    Mutant(
        "strides left out",
        FILE,
        WEIGHT,
        "index % 2 * (STRIDE_X * CHANNELS)",
        "index % 2 * CHANNELS",
    ),
    Mutant(
        "the gradient after the activation",
        FILE,
        WEIGHT,
        "if (ACTIVATION != LINEAR) {",
        "if (ACTIVATION == LINEAR) {",
    ),
    Mutant(
        "windows of the next strip added",
        FILE,
        WEIGHT,
        "if (first + i < strip.count) {",
        "if (first + i <= strip.count) {",
    ),
    Mutant(
        "a strip in two blocks' parts",
        FILE,
        WEIGHT,
        "end = min(begin + chunk, layer.strips())",
        "end = min(begin + chunk + 1, layer.strips())",
    ),
    Mutant(
        "sums added up before all warps have left them",
        FILE,
        WEIGHT,
        "__syncthreads();\n        const int row",
        "const int row",
    ),
    Mutant(
        "sums overwritten before they are added up",
        FILE,
        WEIGHT,
        "__syncthreads();  // no thread needs what is in the memory any more",
        "",
    ),
    Mutant(
        "the sums of a warp left out",
        FILE,
        WEIGHT,
        "for (int from = 0; from < WARPS;",
        "for (int from = 1; from < WARPS;",
    ),
    Mutant(
        "parts with room for no bias",
        FILE,
        PARTS,
        "(static_cast<int64>(blockIdx.x) * part_rows + row)",
        "(static_cast<int64>(blockIdx.x) * TAPS + row)",
    ),
]
