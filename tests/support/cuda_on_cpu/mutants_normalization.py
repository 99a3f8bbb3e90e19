"""Mistakes put into normalization; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]

_COLUMNS, _ROWS = "normalization.cu", "row_normalization.cu"
_SHARED, _CHANNELS = "columns.cuh", "channels.cu"
_FORWARD, _BACKWARD, _FUSED = "normalize_forward", "normalize_backward", "channels"

MUTANTS = [
    Mutant(
        "no barrier before the sums are read",
        _SHARED,
        _FORWARD,
        "= value;\n    __syncthreads();\n    A sum = 0;",
        "= value;\n    A sum = 0;",
    ),
    Mutant(
        "no barrier before the sums are written again",
        _SHARED,
        _FORWARD,
        "__syncthreads();  // what is in it has been read",
        "",
    ),
    Mutant(
        "a chunk past the rows of its sample",
        _SHARED,
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
    Mutant(
        "a channel's columns in other places left out",
        _CHANNELS,
        _FORWARD,
        "const int64 last = part * line + line;",
        "const int64 last = part * line + channels;",
    ),
    Mutant(
        "each chunk counted as a whole one",
        _CHANNELS,
        _FORWARD,
        "const A weight = A(min(chunk, rows - part * chunk));",
        "const A weight = A(chunk);",
    ),
    Mutant(
        "the spread of the chunks' means left out",
        _CHANNELS,
        _FORWARD,
        "return squares[at] + weight * apart * apart;",
        "return squares[at];",
    ),
    Mutant(
        "nothing added",
        _CHANNELS,
        _FUSED,
        "if (added != nullptr) value += widen(added[i]);",
        "",
    ),
    Mutant(
        "activated before the sum",
        _CHANNELS,
        _FUSED,
        "if (added != nullptr) value += widen(added[i]);\n            y[i] = narrow<T>("
        "activate(value, A(FUSED_OPTION)));",
        "value = activate(value, A(FUSED_OPTION));\n            "
        "if (added != nullptr) value += widen(added[i]);\n            y[i] = narrow<T>(value);",
    ),
    Mutant(
        "the gradient after the activation added up",
        _CHANNELS,
        _FUSED,
        "            const A grad = before_activation(output_grad, output, i);\n"
        "            sum += grad;",
        "            const A grad = widen(output_grad[i]);\n            sum += grad;",
    ),
    Mutant(
        "the gradient after the activation passed on",
        _CHANNELS,
        _FUSED,
        "added_grad[i] = narrow<T>(grad);",
        "added_grad[i] = output_grad[i];",
    ),
    Mutant(
        "the gradient of gamma without the factor of a channel",
        _CHANNELS,
        _BACKWARD,
        "const A shift = sum * share * factor,",
        "const A shift = sum * share * scale,",
    ),
    Mutant(
        "the last chunk of gradients left out",
        _CHANNELS,
        _BACKWARD,
        "part < end; part += WARPS",
        "part + 1 < end; part += WARPS",
    ),
    Mutant(
        "no barrier before the rows of a block are added",
        _ROWS,
        _BACKWARD,
        "    __syncthreads();\n    for (int64 i = threadIdx.x; i < 2 * members;",
        "    for (int64 i = threadIdx.x; i < 2 * members;",
    ),
    Mutant(
        "a row past the end added",
        _ROWS,
        _BACKWARD,
        "const int64 end = row < rows ? members : 0;",
        "const int64 end = members;",
    ),
    Mutant(
        "gamma in its own gradient",
        _ROWS,
        _BACKWARD,
        "            betas[i] += grad;\n"
        "            gammas[i] += grad * z;\n"
        "            const A weighted = grad * (gamma == nullptr ? A(1) : widen(gamma[i]));",
        "            const A weighted = grad * (gamma == nullptr ? A(1) : widen(gamma[i]));\n"
        "            betas[i] += grad;\n"
        "            gammas[i] += weighted * z;",
    ),
    Mutant(
        "the last row of a block left out",
        _ROWS,
        _BACKWARD,
        "row < at_once; ++row) {\n            total",
        "row + 1 < at_once; ++row) {\n            total",
    ),
]
