"""Mistakes put into attention; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]


def _forward(label: str, old: str, new: str) -> Mutant:
    return Mutant(label, "attention.cu", "attention_forward", old, new)


def _backward(label: str, old: str, new: str) -> Mutant:
    return Mutant(label, "attention.cu", "attention_backward", old, new)


MUTANTS = [
    _forward("a query sees the next key", "causal && key > query)", "causal && key > query + 1)"),
    _forward(
        "later keys left out for blind queries", "if (!any_of_block(blind, flag)) break;", "break;"
    ),
    _forward("sums that keep their old scale", "sums[i][j] *= change;", ";"),
    _forward("totals that keep their old scale", "totals[i] * change + total", "totals[i] + total"),
    _forward(
        "keys past the last",
        "const bool is_there = start + own_column(j) < keys && row < queries;",
        "const bool is_there = row < queries;",
    ),
    _forward(
        "queries past the last written",
        "if (own_row(i) < rows && column < length)",
        "if (column < length)",
    ),
    _forward(
        "columns past the last written",
        "if (own_row(i) < rows && column < length)",
        "if (own_row(i) < rows)",
    ),
    _forward(
        "columns past the last read",
        "return row < rows && column < length ?",
        "return row < rows ?",
    ),
    _forward(
        "no wait for the factors",
        "__syncthreads();  // the buffer has been read, the factors have been written",
        "",
    ),
    _backward(
        "a gradient without the mean", "share * (grad - mean) * scale", "share * grad * scale"
    ),
    _backward(
        "a gradient without the scale", "share * (grad - mean) * scale", "share * (grad - mean)"
    ),
    _backward("blind queries share nothing", "is_blind(log_sum) ? A(1) / A(keys) : A(0)", "A(0)"),
    _backward(
        "blind queries left out where they are earlier",
        "if (!any_of_block(row < queries && is_blind(log_sums[place + row]), flag)) continue;",
        "continue;",
    ),
    _backward(
        "the last key of the diagonal",
        "min(keys, first + own.rows) : keys",
        "min(keys, first + own.rows - 1) : keys",
    ),
    _backward(
        "heads of one group alone", "head < (key_head + 1) * groups", "head < key_head * groups + 1"
    ),
    _backward("factors written over", "__syncthreads();  // the factors have been read", ""),
    _backward(
        "a query's mean of one lane",
        "sum += grads.get(own_row(i), j)",
        "sum = grads.get(own_row(i), j)",
    ),
]
