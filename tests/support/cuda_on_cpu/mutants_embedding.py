"""Mistakes put into the gradient of an embedding; see mutants.py."""

from __future__ import annotations

from .mutants import Mutant

__all__ = ["MUTANTS"]


def _mutant(label: str, old: str, new: str) -> Mutant:
    return Mutant(label, "embedding.cu", "embedding_backward", old, new)


MUTANTS = [
    _mutant("indices past the end", "start + lane < count ?", "true ?"),
    _mutant("a column past the last", "other >= 0 && column < features", "other >= 0"),
    _mutant("a row past the last", "&& first + row < rows", ""),
    _mutant("rows of the next window", "row >= 0 && row < WINDOW &&", "row >= 0 &&"),
    _mutant("one index of a vote", "found &= found - 1;", "found = 0;"),
    _mutant("sums not begun at 0", "sums[row * WARP] = 0;", ";"),
    _mutant("the gradient of the window's first sample", "(start + other)", "start"),
]
