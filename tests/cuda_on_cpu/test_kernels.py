"""Each CUDA twin, its real launches run on the CPU, against the reference twin in float64."""

from __future__ import annotations

import pytest

from gpunet.primitives import cuda
from gpunet.primitives.launcher import use_executor

from .cases import Case, all_cases, arguments_of, assert_close, call, expected_of
from .cpu_executor import ORDERS, CpuExecutor, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case}-{dtype}")
        for case in all_cases()
        for dtype in case.dtypes
    ],
)
def test_kernels_agree_with_the_reference_in_every_order(case: Case, dtype: str) -> None:
    args, options = arguments_of(case, dtype)
    runs = []
    for order in ORDERS:
        with use_executor(CpuExecutor(order)):
            runs.append(call(cuda, case, args, options))
    assert_close(case, runs[0], expected_of(case, args, options), dtype)
    for other in runs[1:]:
        for first, again in zip(runs[0], other, strict=True):
            assert first.tobytes() == again.tobytes(), "another order of threads gave other bits"
