"""Mistakes put into normalization; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]

_COLUMNS, _ROWS = "normalization.cu", "row_normalization.cu"
_FORWARD, _BACKWARD = "normalize_forward", "normalize_backward"

MUTANTS = [
    Mutant(
        "no barrier before the sums are read",
        _COLUMNS,
        _FORWARD,
        "= value;\n    __syncthreads();\n    A sum = 0;",
        "= value;\n    A sum = 0;",
    ),
    Mutant(
        "no barrier before the sums are written again",
        _COLUMNS,
        _FORWARD,
        "__syncthreads();  // what is in it has been read",
        "",
    ),
    Mutant(
        "a chunk past the rows of its sample",
        _COLUMNS,
        _FORWARD,
        "end = min(first + chunk, (sample + 1) * rows);",
        "end = first + chunk;",
    ),
    Mutant(
        "the last chunk counted as a whole one",
        _COLUMNS,
        _FORWARD,
        "A(min(chunk, rows - part * chunk));\n    }\n    const A middle",
        "A(chunk);\n    }\n    const A middle",
    ),
    Mutant(
        "the means of chunks taken for that of the group",
        _COLUMNS,
        _FORWARD,
        "* apart * apart;\n    }\n    squares = over_lanes_of_warp",
        "* 0;\n    }\n    squares = over_lanes_of_warp",
    ),
    Mutant(
        "the members of another group",
        _COLUMNS,
        _FORWARD,
        "channels + group * members + i % members;",
        "channels + i % members;",
    ),
    Mutant(
        "a mean where there is none",
        _COLUMNS,
        _FORWARD,
        "if (is_column && centered) {",
        "if (is_column) {",
    ),
    Mutant(
        "the last step of a warp's sum left out",
        _COLUMNS,
        _FORWARD,
        "int distance = WARP / 2; distance > 0;",
        "int distance = WARP / 2; distance > 1;",
    ),
    Mutant(
        "the statistics of the first sample for all",
        _COLUMNS,
        _FORWARD,
        "const int64 place = own.sample * groups + group;\n        const A middle = mean == nullptr"
        " ? A(0) : widen(mean[place]);\n        const A scale = inverse_root(variance[place],"
        " epsilon) * or_else",
        "const int64 place = group;\n        const A middle = mean == nullptr"
        " ? A(0) : widen(mean[place]);\n        const A scale = inverse_root(variance[place],"
        " epsilon) * or_else",
    ),
    Mutant(
        "the statistics of a sample for its rows",
        _COLUMNS,
        _BACKWARD,
        "(own_rows ? row : own.sample)",
        "(own.sample)",
    ),
    Mutant(
        "no gamma in the sums of a group",
        _COLUMNS,
        _BACKWARD,
        "sum += sums[at] * weight;",
        "sum += sums[at];",
    ),
    Mutant(
        "the gradient through the mean where none is subtracted",
        _COLUMNS,
        _BACKWARD,
        "mean == nullptr ? A(0) : group_sums[place] * scale;",
        "group_sums[place] * scale;",
    ),
    Mutant(
        "averages exchanged",
        _COLUMNS,
        "moving_averages",
        "narrow<T>(widen(moving_mean[i]) * momentum",
        "narrow<T>(widen(moving_variance[i]) * momentum",
    ),
    Mutant(
        "a row past the last",
        _ROWS,
        _FORWARD,
        "end = row < rows ? (row + 1) * members : first;",
        "end = (row + 1) * members;",
    ),
    Mutant(
        "the weights of the first group for all",
        _ROWS,
        _FORWARD,
        "weights = row % groups * members - row * members;",
        "weights = -row * members;",
    ),
    Mutant(
        "the gradient through the mean of rows where none is subtracted",
        _ROWS,
        _BACKWARD,
        "if (mean == nullptr) sum = 0;",
        "",
    ),
]
