"""What the tests of the Numba twins share: arrays as they may lie in memory, and error bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.support.sums import assert_sums_close, unit_roundoff

Array = np.ndarray[Any, np.dtype[Any]]

EPSILON = unit_roundoff(np.float32)

seeds = st.integers(0, 2**32 - 1)


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _unaligned(array: Array) -> Array:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    copy = memory.view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _every_other(array: Array) -> Array:
    """Return a view of every other number of a larger array."""
    wide = np.repeat(array[..., None], 2, axis=-1)
    wide[..., 1] = 99
    return wide[..., 0]


def _other_order(array: Array) -> Array:
    return np.array(array, order="F")


LAYOUTS = {
    "as it is": np.array,
    "read-only": _read_only,
    "unaligned": _unaligned,
    "every other": _every_other,
    "other order": _other_order,
}
layouts = st.sampled_from(sorted(LAYOUTS))


def lay_out(array: Array, layout: str) -> Array:
    """Return an array of the same numbers that lies in memory as `layout` says."""
    return LAYOUTS[layout](array)  # type: ignore[operator]


def numbers(seed: int, shape: tuple[int, ...], *, whole: bool = False) -> Array:
    """Return float32 numbers: normal ones, or whole ones so small that their sums are exact."""
    generator = np.random.default_rng(seed)
    if whole:
        return generator.integers(-2, 3, shape).astype(np.float32)
    return generator.normal(size=shape).astype(np.float32)


def check_sums(found: Array, expected: Array, terms: int, sizes: Array) -> None:
    """Assert that sums of products in float32 are right to what rounding can do.

    Arguments are those of `assert_sums_close`.
    """
    assert found.dtype == np.float32
    assert_sums_close(found, expected, terms, sizes)
