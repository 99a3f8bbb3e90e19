"""The Numba twins on the cases of the CUDA twins, against the reference in float64."""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.cuda_on_cpu.cases import (
    Case,
    all_cases,
    arguments_of,
    assert_close,
    call,
    expected_of,
)

fast = pytest.importorskip("gpunet.primitives.fast")


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in all_cases()
        if case.function is None and case.precision == "fp32" and "float32" in case.dtypes
    ],
    ids=str,
)
def test_kernels_agree_with_the_reference(case: Case) -> None:
    args, options = arguments_of(case, "float32")
    found = call(fast, case, args, options)
    # The tolerance is that of CUDA's sums; BLAS, for what has no kernel, adds in another order.
    looser = dataclasses.replace(case, terms=2 * case.terms)
    assert_close(looser, found, expected_of(case, args, options), "float32")
