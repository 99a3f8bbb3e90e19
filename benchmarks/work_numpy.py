"""The ceiling: NumPy's product of float32 matrices, by the BLAS it came with."""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Case
from benchmarks.workers import Way


class Library:
    """NumPy, as a worker uses it."""

    def __init__(self, threads: int) -> None:
        self.versions = {"NumPy": np.__version__}

    def sgemm(self, case: Case) -> dict[str, Way]:
        a, b = np.random.default_rng(0).random((2, case.batch, case.batch), np.float32)
        y = np.empty_like(a)
        return {"": Way(lambda: np.matmul(a, b, out=y))}
