"""What the tests of the Numba twins share: arrays as they may lie in memory, and error bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

Array = np.ndarray[Any, np.dtype[Any]]

EPSILON = 2.0**-24  # the greatest relative error of rounding to float32

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
    """Assert that sums of products are right to what rounding can do.

    Arguments:
        found: float32.
        expected: the same in float64.
        terms: products in a sum; each addition and each product may be off by `EPSILON`, and a
            few more roundings come with what is done to a sum.
        sizes: the same sums of absolute values, which the errors are relative to.
    """
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_array_less(
        np.abs(found - expected), (terms + 8) * EPSILON * np.abs(sizes) + 1e-30
    )
