"""The batch that is gathered from all of the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import primitives

IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "int64", "uint64", "float16", "float32", "float64"]
)
def test_rows_keep_their_type(dtype: str) -> None:
    data = IMAGES.astype(dtype)
    batch = primitives.gather_batch(data, np.array([3, 0, 3]))
    assert batch.dtype == dtype
    np.testing.assert_array_equal(batch, data[[3, 0, 3]])
    batch[...] = 0
    np.testing.assert_array_equal(data, IMAGES.astype(dtype))  # a copy, not a view


@pytest.mark.parametrize("dtype", [np.float32, "float64"])
def test_rows_become_scaled_numbers(dtype: Any) -> None:
    batch = primitives.gather_batch(IMAGES, np.array([1, 2]), dtype=dtype, scale=1 / 255)
    assert batch.dtype == dtype
    np.testing.assert_array_equal(batch, IMAGES[1:3].astype(dtype) * np.dtype(dtype).type(1 / 255))


def test_floating_point_data_are_scaled_in_their_own_type() -> None:
    batch = primitives.gather_batch(IMAGES.astype("f4"), np.array([2]), scale=0.5)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, IMAGES[2:3] * np.float32(0.5))


def test_labels_and_no_rows_at_all() -> None:
    labels = np.array([5, 6, 7])
    assert primitives.gather_batch(labels, np.array([2, 0])).tolist() == [7, 5]
    assert primitives.gather_batch(IMAGES, np.zeros(0, np.int64)).shape == (0, 3, 2)


@pytest.mark.parametrize("rows", [[4], [0, -1], [2**40]])
def test_rows_that_are_not_there(rows: list[int]) -> None:
    with pytest.raises(IndexError, match="rows from 0 to 3, received some from"):
        primitives.gather_batch(IMAGES, np.array(rows))


@pytest.mark.parametrize(
    ("data", "rows", "options", "error", "message"),
    [
        (IMAGES, np.array([0], np.int32), {}, TypeError, "rows of int64, received int32"),
        (IMAGES, np.array([[0]]), {}, ValueError, r"rows of shape \(batch,\), received \(1, 1\)"),
        (np.float64(3), np.array([0]), {}, ValueError, r"of shape \(samples, ...\), received"),
        (IMAGES, np.array([0]), {"dtype": "int64"}, TypeError, "floating-point dtype .* int64"),
        (IMAGES, np.array([0]), {"scale": 2.0}, TypeError, "floating-point dtype .* scale=2.0"),
        (np.array(["a"]), np.array([0]), {}, TypeError, "as its first argument, received <U1"),
        ([1, 2], np.array([0]), {}, TypeError, "an array as its first argument, received list"),
    ],
)
def test_what_does_not_fit(
    data: Any, rows: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        primitives.gather_batch(data, rows, **options)


def test_other_primitives_still_refuse_integers() -> None:
    with pytest.raises(TypeError, match="float32 or float64 as its first argument"):
        primitives.activate(np.arange(3), "relu")
