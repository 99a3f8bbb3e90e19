"""Each CUDA twin, its real launches run on the CPU, against the reference twin in float64."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from gpunet.primitives import cuda
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.builds import RecordingExecutor
from tests.support.cuda_on_cpu.cases import (
    Case,
    all_cases,
    arguments_of,
    assert_close,
    call,
    expected_of,
)
from tests.support.cuda_on_cpu.cpu_executor import ORDERS, CpuExecutor, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")


@pytest.fixture(scope="module", autouse=True)
def compiled(request: pytest.FixtureRequest) -> None:
    """Compile what the chosen tests launch on all cores; under pytest-xdist these run tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    executor, recorder = CpuExecutor(), RecordingExecutor(CpuExecutor().multiprocessors())
    with use_executor(recorder):
        for item in request.session.items:
            if item.get_closest_marker("skip"):  # for want of --slow
                continue
            if item.path == request.path and isinstance(item, pytest.Function):
                case, dtype = item.callspec.params.values()
                call(cuda, case, *arguments_of(case, dtype))
    needed = {launch.build: launch.kernel for launch in recorder.launches}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(executor.compile, needed.values(), needed.keys()):
            pass


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        # There are many builds of products: in full precision they are quick enough.
        pytest.param(
            case, dtype, id=f"{case}-{dtype}", marks=[pytest.mark.slow] * (case.precision != "fp32")
        )
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
