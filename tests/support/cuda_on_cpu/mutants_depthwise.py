"""Mistakes put into depthwise convolution; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]

_FILE = "depthwise.cu"
_FORWARD, _INPUT = "conv2d_forward", "conv2d_backward_input"
_WEIGHT = "conv2d_backward_weight"

MUTANTS = [
    Mutant(
        "the channel of another filter",
        _FILE,
        _FORWARD,
        "VECTOR > 1 ? out.channel : out.channel / g.multiplier();",
        "VECTOR > 1 ? out.channel : out.channel % channels;",
    ),
    Mutant(
        "pixels past the edge read",
        _FILE,
        _FORWARD,
        "if (!g.is_inside(row, column)) continue;\n                const int64 line = (out",
        "if (row < 0 || column < 0) continue;\n                const int64 line = (out",
    ),
    Mutant(
        "dilation left out",
        _FILE,
        _FORWARD,
        "out.y * stride_y + ky * dilation_y - top;\n            for",
        "out.y * stride_y + ky - top;\n            for",
    ),
    Mutant(
        "the bias of the first channel for all",
        _FILE,
        _FORWARD,
        "widen(bias[out.channel + j])",
        "widen(bias[out.channel])",
    ),
    Mutant(
        "an output between two strides",
        _FILE,
        _INPUT,
        "if (start < 0 || start % stride != 0) return false;",
        "if (start < 0) return false;",
    ),
    Mutant(
        "an output past the last",
        _FILE,
        _INPUT,
        "return start < count;",
        "return start <= count;",
    ),
    Mutant(
        "the first filter of a channel alone",
        _FILE,
        _INPUT,
        "for (int m = 0; m < multiplier; ++m)",
        "for (int m = 0; m < 1; ++m)",
    ),
    Mutant(
        "the gradient after the activation",
        _FILE,
        _INPUT,
        "if (ACTIVATION != LINEAR) {",
        "if (false) {",
    ),
    Mutant(
        "no barrier before the warps are added",
        _FILE,
        _WEIGHT,
        "= sum;\n    __syncthreads();",
        "= sum;",
    ),
    Mutant(
        "the last warp left out",
        _FILE,
        _WEIGHT,
        "for (int warp = 1; warp < WARPS; ++warp)",
        "for (int warp = 1; warp + 1 < WARPS; ++warp)",
    ),
    Mutant(
        "the bias at the edge of images alone",
        _FILE,
        _WEIGHT,
        "if (!is_bias && !g.is_inside(row, column))",
        "if (!g.is_inside(row, column))",
    ),
    Mutant(
        "a chunk past the last position",
        _FILE,
        _WEIGHT,
        "end = min(begin + chunk, positions);",
        "end = begin + chunk;",
    ),
]
