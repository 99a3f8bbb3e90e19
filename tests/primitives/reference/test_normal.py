"""Normally distributed numbers: their distribution, and what is no key."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpunet import primitives, random

KEY = random.Generator(7).next_key()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_distributed_normally(dtype: str) -> None:
    """A million: moments within five standard deviations, Kolmogorov and Smirnov's distance."""
    count = 10**6
    y = primitives.normal_like(np.zeros((1000, 1000), dtype), KEY)
    assert y.shape == (1000, 1000)
    assert y.dtype == dtype
    numbers = np.sort(y.reshape(-1).astype("float64"))
    assert abs(numbers.mean()) < 5 / math.sqrt(count)
    assert abs(numbers.var() - 1) < 5 * math.sqrt(2 / count)
    assert abs((numbers**4).mean() - 3) < 5 * math.sqrt(96 / count)
    below = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in numbers[::100]])
    distance = np.abs(below - np.arange(0, count, 100) / count).max()
    assert distance < 1.95 / math.sqrt(count)  # exceeded once in 1,000
    assert np.abs(numbers).max() <= math.sqrt(48 * math.log(2))
    neighbours = (y[:, ::2] * y[:, 1::2]).mean()  # the two of a pair
    assert abs(neighbours) < 5 / math.sqrt(count / 2)


def test_numbers_depend_on_the_key_and_their_place_alone() -> None:
    few, many = (primitives.normal_like(np.zeros(n), KEY) for n in (5, 99))
    np.testing.assert_array_equal(few, many[:5])
    other = primitives.normal_like(np.zeros(5), random.Generator(8).next_key())
    assert (few != other).all()


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(TypeError, match="Expected a key"):
        primitives.normal_like(np.zeros(3), np.zeros(2))
    with pytest.raises(TypeError, match="normal_like: expected an array of float32"):
        primitives.normal_like(np.zeros(3, int), KEY)
