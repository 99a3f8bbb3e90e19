"""Products of matrices and the gradients of dense layers by Numba, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.doors import Doors, reference
from tests.support.fast_arrays import EPSILON, Array, lay_out, layouts, numbers, seeds

matrices = pytest.importorskip("gpunet.primitives.fast.matrices")
fast = Doors(pytest.importorskip("gpunet.primitives.fast"))

CHECKED = ("dense_backward_weight", "dense_each", "dense_each_backward_input", "matmul")

# Around the sizes of tiles (6 rows), panels (16 columns), runs (256) and blocks (144 rows); from 4
# blocks on they keep their panels.
rows = st.sampled_from([1, 2, 5, 6, 7, 33, 250, 500, 900])
columns = st.sampled_from([1, 3, 16, 17, 40, 140])
inner = st.sampled_from([1, 2, 31, 256, 257, 600])


def close(found: Array, a: Array, b: Array, others: Any = 0) -> None:
    """Assert that a product is within its rounding: of each sum, a product's share of it."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    assert found.dtype == np.float32
    bound = EPSILON * (8 + 4 * a.shape[-1] ** 0.5) * (np.abs(a) @ np.abs(b) + np.abs(others))
    assert np.all(np.abs(found - (a @ b + others)) <= bound + EPSILON)


@given(
    sizes=st.tuples(rows, inner, columns), stack=st.sampled_from([0, 0, 1, 3]),
    transposed=st.tuples(st.booleans(), st.booleans()), with_bias=st.booleans(), layout=layouts,
    seed=seeds,
)  # fmt: skip
def test_products(
    sizes: tuple[int, int, int], stack: int, transposed: tuple[bool, bool], with_bias: bool,
    layout: str, seed: int,
) -> None:  # fmt: skip
    m, k, n = sizes
    before = (stack,) if stack else ()
    a, b = numbers(seed, (*before, m, k)), numbers(seed + 1, (*before, k, n))
    bias = numbers(seed + 2, (n,)) if with_bias and not stack else None
    given = [
        lay_out(np.ascontiguousarray(matrix.swapaxes(-1, -2)) if turned else matrix, layout)
        for matrix, turned in zip((a, b), transposed, strict=True)
    ]
    options = {"transpose_a": transposed[0], "transpose_b": transposed[1]}
    y = fast.matmul(*given, bias, **options)
    close(y, a, b, 0 if bias is None else bias)
    if not stack:
        positive = fast.matmul(*given, bias, **options, activation="relu")
        np.testing.assert_array_equal(positive, np.maximum(y, 0))


@pytest.mark.parametrize("transposed", [False, True])
def test_a_matrix_that_is_a_transpose_is_read_in_place(transposed: bool) -> None:
    a, b = numbers(0, (40, 30)), numbers(1, (20, 30))
    expected = fast.matmul(a, np.ascontiguousarray(b.T))
    given = (a, b) if transposed else (a, b.T)
    np.testing.assert_array_equal(fast.matmul(*given, transpose_b=transposed), expected)


def test_a_sum_does_not_depend_on_what_else_is_computed() -> None:
    """A row of a product is that of the product of the row: blocks change no bit."""
    a, b = numbers(0, (300, 600)), numbers(1, (600, 150))
    y = fast.matmul(a, b)
    for row in (0, 7, 299):
        np.testing.assert_array_equal(fast.matmul(a[row : row + 1], b)[0], y[row])
    np.testing.assert_array_equal(fast.matmul(a, b[:, 100:]), y[:, 100:])


def test_numbers_that_are_not_finite() -> None:
    a, b = numbers(0, (7, 300)), numbers(1, (300, 20))
    a[2, 260], b[3, 5] = np.nan, np.inf
    y = fast.matmul(a, b, activation="relu")
    assert np.isnan(y).sum() == 20
    assert np.isnan(y[2]).all()
    assert np.isin(y[np.arange(7) != 2, 5], (0, np.inf)).all()


@given(
    sizes=st.tuples(st.sampled_from([1, 7, 250, 500, 1100]), columns, columns), layout=layouts,
    seed=seeds,
)  # fmt: skip
def test_gradients_of_dense_layers(sizes: tuple[int, int, int], layout: str, seed: int) -> None:
    count, inputs, units = sizes
    x, output_grad = numbers(seed, (count, inputs)), numbers(seed + 1, (count, units))
    laid = lay_out(output_grad, layout), lay_out(x, layout)
    kernel_grad, bias_grad = fast.dense_backward_weight(*laid, with_bias=True)
    close(kernel_grad, x.T, output_grad)
    close(bias_grad[None], np.ones((1, count)), output_grad)
    assert fast.dense_backward_weight(*laid)[1] is None


def test_gradients_are_the_same_bits_on_any_number_of_threads() -> None:
    x, output_grad = numbers(0, (1500, 70)), numbers(1, (1500, 40))
    expected = matrices.weight_gradients(output_grad, x, True)
    for threads in (1, 3, 64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matrices, "thread_count", lambda threads=threads: threads)
            patch.setattr(matrices, "scratch", lambda size: np.empty(64 * size, np.float32))
            found = matrices.weight_gradients(output_grad, x, True)
        for array, same in zip(found, expected, strict=True):
            np.testing.assert_array_equal(array, same)


@given(
    sizes=st.tuples(rows, columns), count=st.integers(1, 4), wider=st.sampled_from([0, 9]),
    seed=seeds,
)  # fmt: skip
def test_several_dense_layers(sizes: tuple[int, int], count: int, wider: int, seed: int) -> None:
    samples, inputs = sizes
    x = numbers(seed, (samples, inputs))
    units = [21 + wider * i for i in range(count)]
    kernels = [numbers(seed + i, (inputs, units[i])) for i in range(count)]
    biases = [None if i % 2 else numbers(seed + i, (units[i],)) for i in range(count)]
    outputs = fast.dense_each(x, kernels, biases)
    for y, kernel, bias in zip(outputs, kernels, biases, strict=True):
        close(y, x, kernel, 0 if bias is None else bias)
    found = fast.dense_each_backward_input(outputs, kernels)
    close(found, np.concatenate(outputs, 1), np.concatenate(kernels, 1).T)
    wide = [y.astype(np.float64) for y in outputs]
    expected = reference.dense_each_backward_input(wide, [k.astype(np.float64) for k in kernels])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
