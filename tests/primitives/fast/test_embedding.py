"""The gradient of an embedding by Numba: bit for bit that of sums in the order of the samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.doors import Doors, reference
from tests.support.fast_arrays import numbers

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))

CHECKED = ("embedding_backward",)


@given(
    shape=st.lists(st.sampled_from([0, 1, 3, 20]), max_size=2),
    rows=st.sampled_from([1, 5, 70]),
    features=st.sampled_from([0, 1, 7, 16, 33]),
    seed=st.integers(0, 2**32),
)
def test_the_bits_are_the_reference_s(
    shape: list[int], rows: int, features: int, seed: int
) -> None:
    indices = np.random.default_rng(seed).integers(0, rows, shape)
    grad = numbers(seed, (*shape, features))
    found = fast.embedding_backward(grad, indices, rows=rows)
    assert found.shape == (rows, features)
    assert found.tobytes() == reference.embedding_backward(grad, indices, rows=rows).tobytes()
