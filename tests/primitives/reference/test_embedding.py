"""The gradient of an embedding: sums in order, and indices that do not exist."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import primitives


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_one_row_are_added_in_the_order_of_the_samples(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    grad, indices = rng.normal(size=(40, 5, 3)).astype(dtype), rng.integers(0, 4, (40, 5))
    expected = np.zeros((6, 3), dtype)
    for row, part in zip(indices.ravel(), grad.reshape(-1, 3), strict=True):
        expected[row] += part
    found = primitives.embedding_backward(grad, indices, rows=6)
    assert found.dtype == dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("wrong", [-1, 4, 2**40, -(2**63)])
def test_indices_that_are_not_there(wrong: int) -> None:
    with pytest.raises(IndexError, match=f"indices from 0 to 3, received {wrong}"):
        primitives.embedding_backward(np.ones((2, 3)), np.array([1, wrong]), rows=4)


@pytest.mark.parametrize(
    ("grad", "indices", "error", "message"),
    [
        (np.ones((2, 3)), np.zeros(2, np.int32), TypeError, "indices of int64, received int32"),
        (np.ones((2, 3)), np.zeros((2, 3), np.int64), ValueError, "output_grad of shape"),
        (np.ones((2, 3), int), np.zeros(2, np.int64), TypeError, "as its first argument"),
    ],
)
def test_arguments_that_do_not_fit(
    grad: Any, indices: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        primitives.embedding_backward(grad, indices, rows=4)
