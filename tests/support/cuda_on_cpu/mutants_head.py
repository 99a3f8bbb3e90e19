"""Mistakes put into the end of a classifier; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]


def _mutant(label: str, old: str, new: str) -> Mutant:
    return Mutant(label, "head.cu", "dense_cross_entropy", old, new)


MUTANTS = [
    _mutant(
        "the gradient not of the mean",
        "label_sum - label) * scale;",
        "label_sum - label);",
    ),
    _mutant(
        "label sums taken for 1",
        "(logits[c * SAMPLES] * label_sum - label)",
        "(logits[c * SAMPLES] - label)",
    ),
    _mutant(
        "a part in the next one's place",
        "static_cast<int64>(blockIdx.x) * rows * units;",
        "static_cast<int64>(blockIdx.x + 1) * rows * units;",
    ),
    _mutant(
        "parts without room for the bias",
        "static_cast<int64>(blockIdx.x) * rows * units;",
        "static_cast<int64>(blockIdx.x) * inputs * units;",
    ),
    _mutant(
        "a part begun anew with each tile",
        "A sum = is_first ? A(0) : *place;",
        "A sum = 0;",
    ),
    _mutant(
        "a part that does not begin at 0",
        "A sum = is_first ? A(0) : *place;",
        "A sum = *place;",
    ),
    _mutant(
        "a sample past the end scored",
        "if (sample < count) scores.score",
        "scores.score",
    ),
    _mutant(
        "a sample past the end read",
        "(first + min(sample, count - 1))",
        "(first + sample)",
    ),
    _mutant(
        "the chunk's end past the batch's",
        "min(begin + chunk, static_cast<int64>(batch))",
        "begin + chunk",
    ),
    _mutant(
        "no barrier before the first layer",
        "tile.load(lowest, x);\n        __syncthreads();",
        "tile.load(lowest, x);",
    ),
    _mutant(
        "no barrier after the hidden layer",
        "tile.activate_hidden(hidden, last);\n            __syncthreads();",
        "tile.activate_hidden(hidden, last);",
    ),
    _mutant(
        "no barrier before the softmax",
        "});\n        __syncthreads();\n        const int sample",
        "});\n        const int sample",
    ),
    _mutant(
        "no barrier after the softmax",
        "tile.score(last, scores);\n        __syncthreads();",
        "tile.score(last, scores);",
    ),
    _mutant(
        "no barrier after the hidden gradient",
        "tile.grad_of_hidden(last, hidden);\n            __syncthreads();",
        "tile.grad_of_hidden(last, hidden);",
    ),
    _mutant(
        "no barrier before the next samples",
        "__syncthreads();  // what is in the tiles has been read",
        "",
    ),
    _mutant(
        "a slice of each sum left out",
        "for (int distance = COUNT / 2; distance > 0;",
        "for (int distance = COUNT / 2; distance > 1;",
    ),
    _mutant(
        "rows of weights over one another",
        "line((units + 3) / 8 * 8 + 4)",
        "line((units + 3) / 8 * 8)",
    ),
    _mutant(
        "the gradient of the activation left out",
        "if_there(sample, activate_backward(sum, saved, A(FUSED_OPTION)));",
        "if_there(sample, sum);",
    ),
    _mutant(
        "the last of what is equally large",
        "other_place < place && !beats(largest, other)",
        "other_place > place && !beats(largest, other)",
    ),
    _mutant(
        "classes beyond a warp left out of the maximum",
        "for (int i = place + WARP; i < count; i += WARP) {",
        "for (int i = count; i < count; i += WARP) {",
    ),
    _mutant(
        "no input of 1 for the bias",
        "if (rows > inputs && threadIdx.x < SAMPLES)",
        "if (rows > inputs && threadIdx.x + 1 < SAMPLES)",
    ),
]
