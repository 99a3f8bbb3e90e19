"""Bounds on the rounding errors of sums, from the size of the terms that are summed.

A sum of n products, added in any order, is off by at most n u sum(|terms|), where u is the unit
roundoff of the type (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).
The sum of |terms| is what an oracle gives for the absolute values of the same arguments. It does
not shrink where terms cancel, as the result does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["OTHER_ROUNDINGS", "assert_sums_close", "bound", "unit_roundoff"]

Array = np.ndarray[Any, np.dtype[Any]]

OTHER_ROUNDINGS = 8  # of what is done to a sum: a bias, an activation or its slope, a mean


def unit_roundoff(dtype: Any) -> float:
    """Return the greatest relative error of rounding to a type: 2**-24 for float32."""
    return float(np.finfo(dtype).eps) / 2


def bound(terms: int, sizes: Array, dtype: Any = np.float32) -> Array:
    """Return how far sums may be from the exact ones.

    Arguments:
        terms: the most roundings that a term goes through: as many as there are terms in a sum,
            and for sums of sums those of the inner ones too.
        sizes: the sums of the absolute values of the terms.
        dtype: that the sums are computed in.
    """
    return (terms + OTHER_ROUNDINGS) * unit_roundoff(dtype) * np.abs(sizes)


def assert_sums_close(
    found: Array, expected: Array, terms: int, sizes: Array, *, computed: int = 1
) -> None:
    """Assert that sums are right up to rounding, in the type of `found`.

    Arguments:
        found: float32 or float64.
        expected: the same in float64, or as another library computes it.
        terms, sizes: as in `bound`.
        computed: how many of the two sides carry rounding errors.
    """
    assert found.shape == expected.shape
    assert found.dtype in (np.float32, np.float64)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    errors = np.abs(found.astype(np.float64) - expected)
    tiny = 1e-30  # for sums of nothing, and of numbers below the normal range
    np.testing.assert_array_less(errors, computed * bound(terms, sizes, found.dtype) + tiny)
