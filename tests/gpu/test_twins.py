"""Each CUDA twin on the device, against the reference twin in float64: the cases of cuda_on_cpu."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.primitives import cuda
from gpunet.primitives import launch as launcher
from tests.support.cuda_on_cpu.cases import (
    Case,
    all_cases,
    arguments_of,
    assert_close,
    call,
    expected_of,
)

from .devices import to_device

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        pytest.param(case, dtype, id=f"{case}-{dtype}")
        for case in all_cases()
        for dtype in case.dtypes
    ],
)
def test_kernels_agree_with_the_reference_and_repeat_to_the_bit(case: Case, dtype: str) -> None:
    skip_without_tensor_cores(case)
    args, options = arguments_of(case, dtype)
    runs = [[item.get() for item in call(cuda, case, args, options, to_device)] for _ in range(2)]
    assert_close(case, runs[0], expected_of(case, args, options), dtype)
    for first, again in zip(*runs, strict=True):
        assert first.tobytes() == again.tobytes(), "the second run gave other bits"


@pytest.mark.parametrize("case", all_cases()[::7], ids=str)
def test_kernels_leave_what_they_are_given(case: Case) -> None:
    """Arguments that are not changed in place are the same after a call, on the device too."""
    skip_without_tensor_cores(case)
    args, options = arguments_of(case, case.dtypes[0])
    given = [to_device(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    call(cuda, case, given, {name: _moved(value) for name, value in options.items()})
    for position, (arg, before) in enumerate(zip(given, args, strict=True)):
        if isinstance(before, np.ndarray) and position not in case.in_place:
            np.testing.assert_array_equal(arg.get(), before)


def skip_without_tensor_cores(case: Case) -> None:
    """Skip a case that the device refuses."""
    capability = launcher.compute_capability()
    if case.precision != "fp32" and capability is not None and capability < (8, 0):
        pytest.skip(f"{case.precision} needs compute capability 8.0")


def _moved(value: object) -> object:
    return to_device(value) if isinstance(value, np.ndarray) else value
