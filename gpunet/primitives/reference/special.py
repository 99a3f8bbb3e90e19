"""Special functions that NumPy lacks."""

from __future__ import annotations

import numpy as np

from gpunet.primitives.reference.blocks import Array

__all__ = ["erf"]

# W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
# Computation 23 (1969), highest power first: erf(x) / x in x^2 up to 0.46875, and
# exp(x^2) erfc(x) in x from there to 4. Beyond 4 the second is off by less than 1e-8 of erfc,
# which is less than 2e-8 itself and so does not show in erf.
_ERF_TOP = (
    1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
    3.20937758913846947e3,
)  # fmt: skip
_ERF_BOTTOM = (
    1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
    2.84423683343917062e3,
)  # fmt: skip
_ERFC_TOP = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
    2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
    1.23033935479799725e3,
)  # fmt: skip
_ERFC_BOTTOM = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
    1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
    1.23033935480374942e3,
)  # fmt: skip
_SPLIT = 0.46875
_END = 6.0  # erf(6) is 1 in float64


def erf(x: Array) -> Array:
    """Return the error function of `x`, of any shape, to the last digits of its type."""
    size = np.abs(x)
    small = np.minimum(size, _SPLIT)
    small *= small
    near = x * _ratio(_ERF_TOP, _ERF_BOTTOM, small)
    large = np.clip(size, _SPLIT, _END)
    far = 1 - np.exp(-large * large) * _ratio(_ERFC_TOP, _ERFC_BOTTOM, large)
    return np.where(size <= _SPLIT, near, np.copysign(far, x))


def _ratio(top: tuple[float, ...], bottom: tuple[float, ...], x: Array) -> Array:
    return _polynomial(top, x) / _polynomial(bottom, x)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value
