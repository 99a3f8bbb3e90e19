"""The doors of normalization: what they refuse, for every kind of twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import primitives

X, ROW = np.zeros((2, 3, 4)), np.zeros(4)
STATISTICS = np.zeros((2, 1)), np.ones((2, 1))


def forward(x: Any = X, gamma: Any = None, beta: Any = None, groups: int = 1) -> Any:
    return primitives.normalize_forward(x, gamma, beta, groups=groups, epsilon=0.1)


def backward(grad: Any = X, gamma: Any = None, mean: Any = None, variance: Any = None) -> Any:
    variance = STATISTICS[1] if variance is None else variance
    return primitives.normalize_backward(grad, X, gamma, mean, variance, groups=1, epsilon=0.1)


def inference(x: Any = X, mean: Any = ROW, gamma: Any = None) -> Any:
    return primitives.normalize_inference(x, mean, np.ones(4), gamma, None, epsilon=0.1)


def averages(variance: Any = ROW, moving: Any = ROW) -> Any:
    return primitives.moving_averages(ROW, variance, ROW, moving, momentum=0.5)


def channels(x: Any = X[0], added: Any = None, activation: Any = None) -> Any:
    options = {"epsilon": 0.1, "activation": activation}
    return primitives.normalize_channels(x, None, None, added, **options)


def channels_backward(mean: Any = ROW, output: Any = None, activation: Any = None) -> Any:
    options = {"epsilon": 0.1, "activation": activation, "output": output}
    return primitives.normalize_channels_backward(X[0], X[0], None, mean, ROW + 1, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: forward(X[0]), ValueError, r"\(batch, positions, channels\), received \(3, 4\)"),
        (lambda: forward(groups=3), ValueError, "divides the 4 channels, received 3"),
        (lambda: forward(groups=0), ValueError, "divides the 4 channels, received 0"),
        (lambda: forward(X[:, :0]), ValueError, r"at least one element.*\(2, 0, 4\)"),
        (lambda: forward(X.astype(int)), TypeError, "normalize: .*received int64"),
        (lambda: forward(gamma=ROW[:3]), ValueError, r"gamma of shape \(4,\), received \(3,\)"),
        (lambda: forward(beta=ROW.astype("f")), TypeError, "beta of float32"),
        (lambda: backward(X[:1]), ValueError, "arrays of one shape"),
        (lambda: backward(X.astype("f")), TypeError, "float64 and output_grad of float32"),
        (lambda: backward(mean=np.zeros(2)), ValueError, r"mean of shape \(2, 1\)"),
        (lambda: backward(variance=np.zeros((1, 2))), ValueError, r"variance of shape \(2, 1\)"),
        (lambda: inference(np.zeros(())), ValueError, "received a number"),
        (lambda: inference(mean=ROW[1:]), ValueError, r"mean of shape \(4,\)"),
        (lambda: channels(X), ValueError, r"x of shape \(rows, channels\).*received \(2, 3, 4\)"),
        (lambda: channels(X[0, :0]), ValueError, r"at least one row, received \(0, 4\)"),
        (lambda: channels(added=X[0, :2]), ValueError, "arrays of one shape"),
        (lambda: channels(activation="gelu"), ValueError, "gelu"),
        (lambda: channels_backward(ROW[1:]), ValueError, r"mean of shape \(4,\)"),
        (lambda: channels_backward(activation="relu"), ValueError, "needs output"),
        (lambda: averages(ROW.astype("f")), TypeError, "variance of float32"),
        (lambda: averages(moving=ROW[:2]), ValueError, "arrays of one shape"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_batch_without_samples_is_none() -> None:
    y, mean, variance = forward(X[:0])
    assert (y.shape, mean.shape, variance.shape) == ((0, 3, 4), (0, 1), (0, 1))
    grads = primitives.normalize_backward(X[:0], X[:0], ROW, mean, variance, groups=1, epsilon=0.1)
    assert [grad.tolist() for grad in grads] == [[], [0.0] * 4, [0.0] * 4]
