"""No kernel is without a case: what is in kernels/ is what the cases launch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import backend
from gpunet.primitives import cuda
from gpunet.primitives import launch as launcher
from gpunet.primitives.launch import Kernel, use_executor
from tests.support.cuda_on_cpu.builds import RecordingExecutor, record_cases
from tests.support.cuda_on_cpu.cases import all_cases, laid_out_like
from tests.support.cuda_on_cpu.cpu_executor import ORDERS, CpuExecutor, compiler

# What is launched past the launcher, by the backend's probe; it has a test of its own here.
DIRECT = {("probe.cu", "probe")}


def test_every_kernel_has_a_case() -> None:
    executor = RecordingExecutor(multiprocessors=4)
    record_cases(executor)
    launched = {(launch.kernel.source, launch.kernel.name) for launch in executor.launches}
    present = {
        (path.name, name)
        for path in backend.kernel_folder().glob("*.cu")
        for name in launcher.kernel_names(path.name)
    }
    assert present - launched - DIRECT == set(), "add cases to cases_<family>.py"
    assert launched <= present


def test_every_twin_has_a_case() -> None:
    assert set(cuda.__all__) - {case.primitive for case in all_cases()} == set()


def test_no_two_cases_have_one_name() -> None:
    names = [str(case) for case in all_cases()]
    assert {name for name in names if names.count(name) > 1} == set()


def test_no_macro_names_what_the_launcher_names() -> None:
    """Builds are told apart by their macros, each of which is given once."""
    executor = RecordingExecutor()
    record_cases(executor)
    for launch in executor.launches:
        names = [name for name, _ in launch.build.macros]
        assert len(names) == len(set(names)), launch.build


@pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("grid", [1, 2, 3])
def test_the_probe_writes_what_the_backend_expects(order: str, grid: Any) -> None:
    count, block = 100, 64
    values = np.zeros(grid * block, np.float32)
    with use_executor(CpuExecutor(order)):
        Kernel("probe.cu", "probe")(grid, block, count, values, types={})
    expected = np.arange(len(values), dtype=np.float32) ** 2 + 1
    expected[count:] = 0
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_arguments_lie_in_memory_as_a_case_makes_them(dtype: str) -> None:
    whole = np.arange(60.0).reshape(3, 4, 5)
    for array in (whole, whole.T, whole[:, ::-1], whole[..., ::2], np.arange(9.0)[1:], whole[:0]):
        copy = laid_out_like(array, dtype)
        np.testing.assert_array_equal(copy, array)
        assert copy.flags.c_contiguous == array.flags.c_contiguous
        if array.size and array.flags.c_contiguous:
            past = copy.ctypes.data % 16 // copy.itemsize
            assert past == array.ctypes.data % 16 // array.itemsize
