"""Sums of arrays: NumPy's, whatever memory they lie in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import primitives
from gpunet.primitives.reference import memory

LARGE = 2 * memory._LEAST // 4  # numbers of an array whose memory is kept


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.arange(LARGE, dtype="f4").reshape(2, -1), np.ones((2, LARGE // 2), "f4")),
        (np.arange(LARGE, dtype="f4").reshape(2, -1).T, np.ones((LARGE // 2, 2), "f4")),
        (np.arange(LARGE, dtype="f4").reshape(2, -1), np.ones(LARGE // 2, "f4")),
        (np.arange(LARGE), np.full(LARGE, 0.5, "f4")),
        (np.ones((0, 3), "f4"), np.ones((0, 3), "f4")),
        (np.array([True, False]), np.array([True, True])),
        (np.arange(3), 2.5),
        (np.array(1.0), np.array(2.0)),
    ],
)
def test_sums_are_numpys(x: Any, y: Any) -> None:
    found, expected = primitives.add(x, y), x + y
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_a_sum_takes_memory_that_was_freed_and_none_of_its_operands() -> None:
    x = np.ones(LARGE, "f4")
    first = primitives.add(x, x)
    where = first.ctypes.data
    second = primitives.add(first, first)
    assert second.ctypes.data != where
    del first
    assert primitives.add(x, x).ctypes.data == where


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        primitives.add(np.ones(2), np.ones(3))
