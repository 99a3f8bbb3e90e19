"""The compiled recurrences: by value, on views, and on any number of threads."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from tests.support.doors import Doors, reference
from tests.support.fast_arrays import LAYOUTS, Array, lay_out, numbers

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))
threads = importlib.import_module("gpunet.primitives.fast.threads")

CHECKED = {"recurrent_backward", "recurrent_forward"}
GATES = {"lstm": 4, "gru": 3, "simple_rnn": 1}


def arguments(cell: str, sizes: tuple[int, int, int], masked: bool, layout: str) -> list[Any]:
    steps, batch, units = sizes
    columns = GATES[cell] * units
    shapes = [(steps, batch, columns), (units, columns), (columns,), (batch, units), (batch, units)]
    arrays: list[Any] = [lay_out(numbers(i, shape), layout) for i, shape in enumerate(shapes)]
    arrays[1] = arrays[1] / np.float32(units**0.5)
    if cell != "lstm":
        arrays[4] = None
    draw = np.random.default_rng(9)
    return [*arrays, draw.integers(0, 2, (steps, batch)).astype(bool) if masked else None]


def results(twins: Any, cell: str, given: list[Any], dtype: str, layout: str) -> list[Array]:
    """Return what both passes give."""

    def cast(x: Any) -> Any:
        return x.astype(dtype) if x is not None and x.dtype != bool else x

    given = given if dtype == "float32" else [cast(x) for x in given]
    states, carries, gates = twins.recurrent_forward(*given, cell=cell)
    grads = cast(lay_out(numbers(7, states[1:].shape), layout))
    c_grad = None if carries is None else cast(numbers(8, carries[0].shape))
    kernel, mask = given[1], given[5]
    back = twins.recurrent_backward(grads, c_grad, kernel, states, carries, gates, mask, cell=cell)
    return [array for array in (states, carries, gates, *back) if array is not None]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 6, 8), (5, 13, 33), (2, 7, 64), (2, 53, 18)])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("cell", GATES)
def test_values(cell: str, layout: str, sizes: tuple[int, int, int], masked: bool) -> None:
    """States and gates are of size 1, and sums of up to 64 products of 4 gates in each of 5 steps.

    An error of a step is passed on to the next: 5 sums of 256 terms of 1e-7.
    """
    given = arguments(cell, sizes, masked, layout)
    found = results(fast, cell, given, "float32", layout)
    expected = results(reference, cell, given, "float64", layout)
    for ours, oracle in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        scale = max(1.0, np.abs(oracle).max())
        np.testing.assert_allclose(ours, oracle, atol=1e-5 * scale)


@pytest.mark.parametrize("cell", GATES)
def test_the_number_of_threads_changes_no_bit(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = arguments(cell, (4, 100, 16), True, "as it is")
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "_made", threads._Workers(count))
        arrays = results(fast, cell, given, "float32", "as it is")
        found.append([array.tobytes() for array in arrays])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("cell", GATES)
def test_nothing_to_do(cell: str) -> None:
    for sizes in ((0, 3, 4), (3, 0, 4)):
        given = arguments(cell, sizes, False, "as it is")
        arrays = results(fast, cell, given, "float32", "as it is")
        assert arrays[0].shape == (sizes[0] + 1, *sizes[1:])


@pytest.mark.parametrize("cell", GATES)
def test_a_sample_does_not_depend_on_its_batch(cell: str) -> None:
    """Each has the bits that it has alone."""
    given = arguments(cell, (4, 9, 20), False, "as it is")
    whole = fast.recurrent_forward(*given, cell=cell)[0]
    alone = [None if x is None else x[:, 4:5] if i == 0 else x[4:5] if i in (3, 4) else x
             for i, x in enumerate(given)]  # fmt: skip
    np.testing.assert_array_equal(fast.recurrent_forward(*alone, cell=cell)[0], whole[:, 4:5])
