"""The exponential function and its like for float32, in arithmetic that LLVM makes vectors of.

Each is right to about 2 units in the last place (`erf` to 5), for infinite arguments too, and of
NaN is NaN.
The coefficients are fits of least greatest error, made for the ranges named beside them.
"""

from __future__ import annotations

import numpy as np

from gpunet.primitives.fast.compile import formula
from gpunet.primitives.fast.simd import (
    LANES,
    Vector,
    larger,
    multiply,
    multiply_add,
    power_of_2,
    splat,
    subtract,
)

__all__ = ["erf", "exp", "exp_of_vector", "expm1", "gelu_slope", "log1p", "sigmoid", "tanh"]

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_LOG2_E = np.float32(1.4426950408889634)
_LN2 = np.float32(0.6931471805599453)
_LN2_HIGH = np.float32(0.693359375)  # of so few digits that its multiples here are exact
_LN2_LOW = np.float32(-2.1219444005469057e-4)

# Added to a small number it leaves that, rounded, in the last bits of the sum.
_ROUNDER = np.float32(1.5 * 2**23)
_ROUNDER_BITS = np.int32(_ROUNDER.view(np.int32))
_BIAS, _MANTISSA = np.int32(127), np.int32(23)  # of the bits of a float32

_LEAST, _MOST = np.float32(-104), np.float32(89)  # beyond them exp is 0 or infinite
_LEAST_NORMAL = np.float32(-87)  # expm1 is -1 there
_LEAST_POWER = np.float32(-88)  # log2(e) times it is nearest to -127, whose power of 2 is made 0
_SQRT2_LESS_1 = np.float32(0.41421356)

# exp(r) = 1 + r + r^2 P(r) up to ln(2) / 2
_E0, _E1, _E2 = np.float32(0.5), np.float32(0.16666573), np.float32(0.041666362)
_E3, _E4 = np.float32(0.008363776), np.float32(0.0013942164)
# log(1 + f) = 2 s + s^3 P(s^2), s = f / (2 + f), from 1/sqrt(2) to sqrt(2)
_L0, _L1 = np.float32(0.6666667), np.float32(0.40000132)
_L2, _L3 = np.float32(0.2854987), np.float32(0.23355676)
# erf(x) = x P(x^2) / Q(x^2), and to one unit in the last place 1 from the end on
_P0, _P1, _P2 = np.float32(1.1283791), np.float32(0.19222389), np.float32(0.049569827)
_P3, _P4 = np.float32(0.0033970417), np.float32(0.00013651981)
_P5, _P6 = np.float32(-1.9867266e-06), np.float32(2.1002835e-08)
_Q1, _Q2 = np.float32(0.50368601), np.float32(0.11183248)
_Q3, _Q4 = np.float32(0.013714083), np.float32(0.00088860583)
_END = np.float32(3.83)
# The slope of x Phi(x), Phi the normal distribution, is 1/2 + x P(x^2) / Q(x^2) to 3e-8, and 0 or 1
# to 4e-8 beyond the end
_S0, _S1, _S2 = np.float32(0.79788476), np.float32(-0.04151696), np.float32(0.014529997)
_S3, _S4 = np.float32(-0.00014815854), np.float32(3.3008335e-05)
_S5, _S6, _S7 = np.float32(-1.0087149e-07), np.float32(2.785022e-09), np.float32(-1.5357588e-11)
_T1, _T2, _T3 = np.float32(0.281302), np.float32(0.036971912), np.float32(0.0029522954)
_T4, _T5 = np.float32(0.00015020881), np.float32(5.5567117e-06)
_SLOPE_END = np.float32(6)


@formula
def exp(x: np.float32) -> np.float32:
    """Return e to the power of x."""
    x = _MOST if x > _MOST else x
    x = _LEAST if x < _LEAST else x
    power, rest = _reduced(x)
    # Two factors: 2^power itself may be too large or too small for a float32.
    half = power >> 1
    first = _power_of_2(half)
    return multiply_add(first, rest, first) * _power_of_2(power - half)


@formula
def exp_of_vector(x: Vector) -> Vector:
    """Return e to the power of a vector's numbers up to 0; less than 2^-126 may be 0.

    For sums of exponentials, which LLVM does not put into vectors: it keeps the order of sums.
    """
    x = larger(splat(_LEAST_POWER, LANES), x)
    rounder = splat(_ROUNDER, LANES)
    rounded = multiply_add(x, splat(_LOG2_E, LANES), rounder)
    n = subtract(rounded, rounder)
    r = multiply_add(n, splat(-_LN2_HIGH, LANES), x)
    r = multiply_add(n, splat(-_LN2_LOW, LANES), r)
    rest = multiply_add(splat(_E4, LANES), r, splat(_E3, LANES))
    rest = multiply_add(rest, r, splat(_E2, LANES))
    rest = multiply_add(rest, r, splat(_E1, LANES))
    rest = multiply_add(rest, r, splat(_E0, LANES))
    rest = multiply_add(rest, multiply(r, r), r)
    factor = power_of_2(rounded, _BIAS - _ROUNDER_BITS)
    return multiply_add(factor, rest, factor)


@formula
def expm1(x: np.float32) -> np.float32:
    """Return e to the power of x, less 1, for x up to 0."""
    power, rest = _reduced(_LEAST_NORMAL if x < _LEAST_NORMAL else x)
    factor = _power_of_2(power)
    return multiply_add(factor, rest, factor - _ONE)


@formula
def log1p(x: np.float32) -> np.float32:
    """Return the logarithm of 1 + x, for x from 0 to 1."""
    large = x > _SQRT2_LESS_1
    f = (x - _ONE) * _HALF if large else x
    s = f / (_TWO + f)
    z = s * s
    log = multiply_add(multiply_add(multiply_add(_L3, z, _L2), z, _L1), z, _L0)
    log = multiply_add(s * z, log, _TWO * s)
    return log + (_LN2 if large else _ZERO)


@formula
def erf(x: np.float32) -> np.float32:
    """Return the error function of x."""
    x = _END if x > _END else x
    x = -_END if x < -_END else x
    z = x * x
    above = multiply_add(multiply_add(multiply_add(_P6, z, _P5), z, _P4), z, _P3)
    above = multiply_add(multiply_add(multiply_add(above, z, _P2), z, _P1), z, _P0)
    below = multiply_add(multiply_add(_Q4, z, _Q3), z, _Q2)
    below = multiply_add(multiply_add(below, z, _Q1), z, _ONE)
    result = x * above / below
    result = _ONE if result > _ONE else result
    return -_ONE if result < -_ONE else result


@formula
def gelu_slope(x: np.float32) -> np.float32:
    """Return the derivative of x Phi(x), right to about 4 times 2^-24."""
    z = x * x
    above = multiply_add(multiply_add(multiply_add(_S7, z, _S6), z, _S5), z, _S4)
    above = multiply_add(multiply_add(multiply_add(above, z, _S3), z, _S2), z, _S1)
    above = multiply_add(above, z, _S0)
    below = multiply_add(multiply_add(multiply_add(_T5, z, _T4), z, _T3), z, _T2)
    below = multiply_add(multiply_add(below, z, _T1), z, _ONE)
    slope = x * above / below + _HALF
    slope = _ONE if x > _SLOPE_END else slope
    return _ZERO if x < -_SLOPE_END else slope


@formula
def sigmoid(x: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-x)), 0 where that is below the least normal number."""
    least = -abs(x)
    power, rest = _reduced(least)
    factor = _power_of_2(power)
    small = _ZERO if least < _LEAST_NORMAL else multiply_add(factor, rest, factor)  # at most 1
    return (small if x < _ZERO else _ONE) / (_ONE + small)


@formula
def tanh(x: np.float32) -> np.float32:
    """Return the hyperbolic tangent of x."""
    small = expm1(-_TWO * abs(x))
    size = -small / (_TWO + small)
    return -size if x < _ZERO else size


@formula
def _reduced(x: np.float32) -> tuple[np.int32, np.float32]:
    """Return an integer n and expm1(r), where x = n ln(2) + r."""
    rounded = multiply_add(x, _LOG2_E, _ROUNDER)
    n = rounded - _ROUNDER
    r = multiply_add(n, -_LN2_LOW, multiply_add(n, -_LN2_HIGH, x))
    rest = multiply_add(multiply_add(multiply_add(_E4, r, _E3), r, _E2), r, _E1)
    rest = multiply_add(multiply_add(rest, r, _E0), r * r, r)
    return np.int32(np.float32(rounded).view(np.int32) - _ROUNDER_BITS), rest


@formula
def _power_of_2(power: int) -> np.float32:
    return np.int32((power + _BIAS) << _MANTISSA).view(np.float32)
