"""The ceiling: NumPy's float32 matrix product, with the BLAS it ships."""

from __future__ import annotations

import numpy as np

from benchmarks.cases import Case
from benchmarks.workers import Variant


class Library:
    """The matrix product, as a case of `benchmarks.cases`."""

    def __init__(self, threads: int) -> None:
        self.versions = {"NumPy": np.__version__}

    def sgemm(self, case: Case) -> dict[str, Variant]:
        a, b = np.random.default_rng(0).random((2, case.batch, case.batch), np.float32)
        y = np.empty_like(a)
        return {"": Variant(lambda: np.matmul(a, b, out=y))}
