"""gpunet.utils.to_categorical."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet.utils import to_categorical


@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=3),
    classes=st.integers(1, 12),
    dtype=st.sampled_from(["uint8", "int8", "int32", "int64", "uint64", "float32", "float64"]),
    seed=st.integers(0, 100),
)
def test_rows_are_one_hot(shape: list[int], classes: int, dtype: str, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, shape).astype(dtype)
    rows = to_categorical(labels, classes)
    kept = labels[..., 0] if labels.ndim > 1 and labels.shape[-1] == 1 else labels
    assert rows.dtype == np.float32
    assert rows.shape == (*kept.shape, classes)
    np.testing.assert_array_equal(rows.argmax(-1), kept)
    assert (np.sort(rows, -1)[..., :-1] == 0).all()
    assert (rows.max(-1) == 1).all()


@pytest.mark.parametrize(
    "labels", [[0, 2, 1], [[1], [3]], [[0, 1], [2, 0]], 4, np.array([7, 0], np.uint8)]
)
@pytest.mark.parametrize("classes", [None, 8])
def test_values_are_those_of_keras(labels: object, classes: int | None) -> None:
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    expected = keras.utils.to_categorical(labels, classes)
    np.testing.assert_array_equal(to_categorical(labels, classes), expected)


def test_labels_of_two_kinds() -> None:
    np.testing.assert_array_equal(to_categorical([True, False]), [[0, 1], [1, 0]])
    assert to_categorical([0, 0]).shape == (2, 1)
    assert to_categorical([], 3).shape == (0, 3)
    for classes in (np.uint8(3), np.int64(3), np.array(3)):
        assert to_categorical(np.uint8(2), classes).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "error", "message"),
    [
        ([0, 10, 3, 11], 10, ValueError, r"0 to 9, received 10 at position 1 \(2 of 4 labels"),
        ([1, -1], None, ValueError, "0 to 1, received -1 at position 1"),
        ([-1, -1], None, ValueError, "0 to 0, received -1 at position 0"),
        ([0.5, 1.0], None, TypeError, "expects integer labels, received float64"),
        ([np.nan], None, TypeError, "expects integer labels"),
        ([np.inf], None, TypeError, "expects integer labels"),
        (["1"], None, TypeError, "expects integer labels, received <U1"),
        ([None], None, TypeError, "expects integer labels, received object"),
        ([], None, ValueError, "pass num_classes"),
        ([0], 0, ValueError, "integer >= 1, received 0"),
        ([0], 2.5, TypeError, "integer >= 1, received 2.5"),
        (np.ma.masked_array([0, 1], [0, 1]), None, TypeError, r"masked array: pass y\.compressed"),
    ],
)
def test_errors(labels: object, classes: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        to_categorical(labels, classes)
