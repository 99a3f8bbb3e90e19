"""Normalization: the batch's statistics, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import check_gradients, functions
from gpunet.layers import Input
from gpunet.models import Model

rng = np.random.default_rng(0)
X, GAMMA, BETA = rng.normal(size=(3, 4, 5)), rng.normal(size=4), rng.normal(size=4)


@pytest.mark.parametrize("axis", [1, -2])
def test_the_batch_is_normalized_by_its_own_moments(axis: int) -> None:
    y, mean, variance = functions.normalize_batch(X, GAMMA, BETA, axis, 0.1)
    np.testing.assert_allclose(mean.numpy(), X.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(variance.numpy(), X.var((0, 2)), rtol=1e-12)
    over = (None, slice(None), None)
    expected = (X - X.mean((0, 2))[over]) / np.sqrt(X.var((0, 2)) + 0.1)[over]
    np.testing.assert_allclose(y.numpy(), expected * GAMMA[over] + BETA[over], rtol=1e-10)
    check_gradients(lambda *xs: functions.normalize_batch(*xs, axis, 0.1)[0], X, GAMMA, BETA)
    check_gradients(lambda x: functions.normalize_batch(x, axis=axis)[0], X)


def test_the_batch_of_a_symbol() -> None:
    x = Input((4, 5))
    y, mean, variance = functions.normalize_batch(x)
    assert (y.shape, mean.shape, variance.shape) == ((None, 4, 5), (5,), (5,))
    found = Model(x, y * 0.0 + mean).predict(X.astype("float32"), verbose=0)
    np.testing.assert_allclose(found[2, 1], X.mean((0, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: functions.layer_normalization(X, axis=3), ValueError, "different axes.*axis=3"),
        (lambda: functions.layer_normalization(X, axis=(1, -2)), ValueError, "different axes"),
        (lambda: functions.rms_normalization(X, axis=()), ValueError, "different axes"),
        (lambda: functions.group_normalization(X, groups=2), ValueError, "divides the 5 channels"),
        (lambda: functions.group_normalization(X, groups=1, axis=0), ValueError, "not the first"),
        (lambda: functions.layer_normalization(X, GAMMA), ValueError, r"gamma of shape \(5,\)"),
        (lambda: functions.normalize_batch(X[:0]), ValueError, "at least one row"),
        (
            lambda: functions.normalize_batch(X, GAMMA.astype("float32"), axis=1),
            TypeError,
            "gamma of float32",
        ),
        (
            lambda: functions.batch_normalization(X, GAMMA, GAMMA, -1),
            ValueError,
            r"mean of shape \(5,\)",
        ),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
