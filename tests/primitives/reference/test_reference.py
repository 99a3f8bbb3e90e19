"""Dispatch by the type of the arrays; matrix products, softmax, dropout and the updates."""

from __future__ import annotations

import math
import sys
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet import primitives, random

Array = np.ndarray[Any, np.dtype[Any]]

# Float64 sums of at most some dozens of numbers near 1.
TOLERANCE = {"rtol": 1e-12, "atol": 1e-13}

sides = st.integers(0, 5)
seeds = st.integers(0, 2**32)


# --- dispatch


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Return a stand-in for CuPy whose arrays can be told from NumPy's and no more."""
    module = types.ModuleType("cupy")
    module.ndarray = type("ndarray", (), {"__module__": "cupy", "shape": (3,), "dtype": "float32"})
    module.ndarray.dtype = np.dtype(np.float32)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_numpy_and_cupy_arrays_in_one_call(cupy: types.ModuleType) -> None:
    with pytest.raises(TypeError, match="NumPy and CuPy"):
        primitives.matmul(np.ones((1, 1)), cupy.ndarray())
    with pytest.raises(TypeError, match="NumPy and CuPy"):
        primitives.matmul(np.ones((1, 1)), np.ones((1, 1)), bias=cupy.ndarray())


def test_the_first_argument_is_an_array_of_floats() -> None:
    for wrong in ([1.0, 2.0], 1.0, None):
        with pytest.raises(TypeError, match="softmax: expected an array"):
            primitives.softmax_forward(wrong)
    for dtype in (np.int64, np.float16, np.complex128, bool, object):
        with pytest.raises(TypeError, match=r"float32 or float64 .*received"):
            primitives.softmax_forward(np.zeros(3, dtype))


def test_arguments_may_be_given_by_name() -> None:
    y = primitives.matmul(b=np.ones((3, 1)), transpose_a=False, a=np.ones((2, 3)))
    assert y.tolist() == [[3.0], [3.0]]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'output_grad'"):
        primitives.bias_backward()  # type: ignore[call-arg]


# --- matrix products


@given(
    rows=sides,
    inner=sides,
    columns=sides,
    transposed=st.tuples(st.booleans(), st.booleans()),
    name=st.sampled_from([None, *primitives.OUTPUT_ACTIVATIONS]),
    seed=seeds,
)
def test_matmul(
    rows: int,
    inner: int,
    columns: int,
    transposed: tuple[bool, bool],
    name: str | None,
    seed: int,
) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(rows, inner)), generator.normal(size=(inner, columns))
    bias = generator.normal(size=columns)
    expected = np.array(
        [[math.fsum(a[i] * b[:, j]) + bias[j] for j in range(columns)] for i in range(rows)]
    ).reshape(rows, columns)
    if name is not None:
        expected = primitives.activate(expected, name)
    y = primitives.matmul(
        a.T.copy() if transposed[0] else a,
        b.T.copy() if transposed[1] else b,
        bias,
        transpose_a=transposed[0],
        transpose_b=transposed[1],
        activation=name,
    )
    np.testing.assert_allclose(y, expected, **TOLERANCE)


def test_matmul_of_what_does_not_fit() -> None:
    a, b = np.zeros((2, 3)), np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"received \(2, 3\) @ \(4, 3\)"):
        primitives.matmul(a, b, transpose_b=True)
    with pytest.raises(ValueError, match=r"two matrices, or two stacks .*\(2, 3\) and \(3,\)"):
        primitives.matmul(a, b[:, 0])
    with pytest.raises(ValueError, match=r"bias of shape \(4,\), received \(1,\)"):
        primitives.matmul(a, b, np.zeros(1))
    with pytest.raises(TypeError, match="received float64 and b of float32"):
        primitives.matmul(a, b.astype(np.float32))
    for bias in (1.0, [1.0] * 4):
        with pytest.raises(TypeError, match="expected bias as an array or None, received"):
            primitives.matmul(a, b, bias)
    with pytest.raises(TypeError, match="received float64 and bias of float32"):
        primitives.matmul(a, b, np.zeros(4, np.float32))


@given(shape=st.lists(st.integers(0, 40), min_size=1, max_size=3), channels=st.integers(1, 4))
def test_bias_backward_sums_all_but_the_last_axis(shape: list[int], channels: int) -> None:
    output_grad = np.cos(np.arange(math.prod(shape) * channels)).reshape(*shape, channels)
    found = primitives.bias_backward(output_grad)
    rows = output_grad.reshape(-1, channels) if output_grad.size else np.zeros((0, channels))
    expected = [math.fsum(rows[:, channel]) for channel in range(channels)]
    # sums of up to 64,000 numbers near 1, in parts of 1024
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_bias_backward_of_many_rows_rounds_little() -> None:
    ones = np.full((300, 1000, 1), 0.1, np.float32)
    # One running sum of 300,000 float32 numbers would be off by about 1e-3.
    np.testing.assert_allclose(primitives.bias_backward(ones), 30_000, rtol=1e-5)


# --- softmax and cross-entropy


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    axis=st.integers(-4, 3),
    seed=seeds,
)
def test_softmax_and_its_logarithm(shape: list[int], axis: int, seed: int) -> None:
    axis = max(-len(shape), min(axis, len(shape) - 1))
    x = np.random.default_rng(seed).normal(size=shape) * 3
    expected = np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)
    y, log_y = (
        primitives.softmax_forward(x, axis=axis),
        primitives.log_softmax_forward(x, axis=axis),
    )
    np.testing.assert_allclose(y, expected, **TOLERANCE)
    np.testing.assert_allclose(log_y, np.log(expected), **TOLERANCE)
    output_grad, step = np.cos(np.arange(x.size)), np.sin(np.arange(x.size))
    output_grad, step = output_grad.reshape(shape), step.reshape(shape)
    for forward, backward, saved in (
        (primitives.softmax_forward, primitives.softmax_backward, y),
        (primitives.log_softmax_forward, primitives.log_softmax_backward, log_y),
    ):
        gradient = backward(output_grad, saved, axis=axis)
        change = forward(x + 1e-5 * step, axis=axis) - forward(x - 1e-5 * step, axis=axis)
        # central differences: truncation about 1e-10, rounding 1e-16 / 1e-5
        expected_change = np.vdot(change, output_grad) / 2e-5
        np.testing.assert_allclose(np.vdot(gradient, step), expected_change, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_large_numbers(dtype: type) -> None:
    x = np.array([[1e30, 0.0, -1e30], [1e4, 1e4, -np.inf]], dtype)
    y, log_y = primitives.softmax_forward(x), primitives.log_softmax_forward(x)
    assert y.tolist() == [[1, 0, 0], [0.5, 0.5, 0]]
    np.testing.assert_allclose(log_y[0], np.array([0, -1e30, -2e30], dtype), rtol=1e-6)
    assert {y.dtype, log_y.dtype} == {np.dtype(dtype)}
    assert primitives.softmax_backward(y, y).dtype == dtype
    assert primitives.log_softmax_backward(y, log_y).dtype == dtype


@given(batch=st.integers(0, 5), classes=st.integers(1, 5), seed=seeds)
def test_cross_entropy_of_all_forms_of_labels(batch: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(batch, classes))
    classes_of = generator.integers(0, classes, batch)
    one_hot = np.eye(classes)[classes_of]
    weights = generator.uniform(size=(batch, classes))  # need not sum to 1
    output_grad, step = generator.normal(size=batch), generator.normal(size=logits.shape)
    log_probabilities = np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    for labels, as_weights in (
        (classes_of, one_hot),
        (classes_of.astype(np.uint8), one_hot),
        (one_hot, one_hot),
        (one_hot.astype(bool), one_hot),
        (weights, weights),
    ):
        losses, probabilities = primitives.softmax_cross_entropy_forward(logits, labels)
        expected = -(as_weights * log_probabilities).sum(axis=1)
        np.testing.assert_allclose(losses, expected, **TOLERANCE)
        np.testing.assert_allclose(probabilities, np.exp(log_probabilities), **TOLERANCE)
        gradient = primitives.softmax_cross_entropy_backward(output_grad, probabilities, labels)
        ahead, _ = primitives.softmax_cross_entropy_forward(logits + 1e-5 * step, labels)
        behind, _ = primitives.softmax_cross_entropy_forward(logits - 1e-5 * step, labels)
        change = np.vdot(ahead - behind, output_grad) / 2e-5
        np.testing.assert_allclose(np.vdot(gradient, step), change, rtol=1e-6, atol=1e-8)


def test_cross_entropy_stays_finite_where_a_probability_is_0() -> None:
    logits = np.array([[0.0, 1e4, -np.inf]], np.float32)
    for labels in (np.array([0]), np.array([[1, 0, 0]])):
        losses, probabilities = primitives.softmax_cross_entropy_forward(logits, labels)
        assert losses.tolist() == [1e4]
        assert losses.dtype == probabilities.dtype == np.float32
        gradient = primitives.softmax_cross_entropy_backward(losses, probabilities, labels)
        assert gradient.tolist() == [[-1e4, 1e4, 0]]
        assert gradient.dtype == np.float32


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 3]), ValueError, r"in \[0, 3\), received numbers from 0 to 3"),
        (np.array([-1, 0]), ValueError, r"in \[0, 3\), received numbers from -1 to 0"),
        (np.array([0.0, 1.0]), TypeError, "integers, received float64"),
        (np.array([[0], [1]]), ValueError, r"\(2,\).* or \(2, 3\).*received \(2, 1\)"),
        (np.array([0, 1, 2]), ValueError, r"received \(3,\)"),
    ],
)
def test_labels_that_do_not_fit(labels: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        primitives.softmax_cross_entropy_forward(np.zeros((2, 3)), labels)
    with pytest.raises(error, match=message):
        primitives.softmax_cross_entropy_backward(np.zeros(2), np.zeros((2, 3)), labels)


def test_cross_entropy_of_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"logits of shape \(batch, classes\), received \(3,\)"):
        primitives.softmax_cross_entropy_forward(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ValueError, match=r"output_grad of shape \(2,\), received \(2, 1\)"):
        primitives.softmax_cross_entropy_backward(
            np.zeros((2, 1)), np.zeros((2, 3)), np.zeros(2, int)
        )


# --- dropout


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1 - 2**-53])
def test_dropout_keeps_what_its_key_says(dtype: type, rate: float) -> None:
    key = random.next_key()
    x = np.linspace(1, 2, 12_000, dtype=dtype).reshape(3, 40, 100)
    y = primitives.dropout_forward(x, key, rate=rate)
    kept = (random.bits(key, x.size) >= rate * 2.0**32).reshape(x.shape)
    np.testing.assert_allclose(y, np.where(kept, x / (1 - rate), 0), rtol=1e-6)
    assert y.dtype == dtype
    # 12,000 draws: five standard deviations are at most 0.023
    assert abs(1 - rate - kept.mean()) < 0.025
    gradient = primitives.dropout_backward(np.full_like(x, np.inf), key, rate=rate)
    np.testing.assert_array_equal(gradient, np.where(kept, np.inf, 0))


def test_dropout_at_rate_0_is_the_input() -> None:
    x = np.random.default_rng(0).normal(size=(4, 5))
    assert primitives.dropout_forward(x, random.next_key(), rate=0).tolist() == x.tolist()


def test_dropout_at_rate_1_is_0() -> None:
    x = np.ones((4, 5))
    assert not primitives.dropout_forward(x, random.next_key(), rate=1).any()


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_dropout_rate_out_of_range(rate: float) -> None:
    with pytest.raises(ValueError, match="rate from 0 to 1, received"):
        primitives.dropout_forward(np.zeros(3), random.next_key(), rate=rate)


# --- updates


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0, False), (0.9, False), (0.9, True)])
def test_sgd_takes_keras_steps(dtype: type, momentum: float, nesterov: bool) -> None:
    generator = np.random.default_rng(0)
    count = 20_000  # more than one chunk
    p = generator.normal(size=count)
    v = np.zeros(count)
    parameters, rate = p.astype(dtype), np.array([0.1], dtype)
    velocity = np.zeros(count, dtype) if momentum else None
    for _ in range(4):
        g = generator.normal(size=count)
        v = momentum * v - 0.1 * g
        p = p + (momentum * v - 0.1 * g if nesterov else v)
        primitives.sgd_update(
            parameters, g.astype(dtype), velocity, rate, momentum=momentum, nesterov=nesterov
        )
    # a few units in the last place of numbers up to about 5
    np.testing.assert_allclose(parameters, p, rtol=0, atol=30 * np.finfo(dtype).eps)
    assert parameters.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_takes_keras_steps(dtype: type) -> None:
    generator = np.random.default_rng(0)
    count = 20_000  # more than one chunk
    p = generator.normal(size=count)
    m, v = np.zeros(count), np.zeros(count)
    parameters, mean, variance = p.astype(dtype), np.zeros(count, dtype), np.zeros(count, dtype)
    rate = np.array([0.01], dtype)
    for step in range(1, 5):
        g = generator.normal(size=count)
        alpha = 0.01 * math.sqrt(1 - 0.99**step) / (1 - 0.8**step)
        m += (g - m) * (1 - 0.8)
        v += (g * g - v) * (1 - 0.99)
        p -= alpha * m / (np.sqrt(v) + 1e-3)
        primitives.adam_update(
            parameters,
            g.astype(dtype),
            mean,
            variance,
            np.array([step]),
            rate,
            beta_1=0.8,
            beta_2=0.99,
            epsilon=1e-3,
        )
    for found, expected in ((parameters, p), (mean, m), (variance, v)):
        # a few units in the last place of numbers up to about 5
        np.testing.assert_allclose(found, expected, rtol=0, atol=30 * np.finfo(dtype).eps)
        assert found.dtype == dtype


def test_updates_of_what_does_not_fit() -> None:
    flat, rate, step = np.zeros(4), np.array([0.1]), np.array([1])
    with pytest.raises(ValueError, match="expected a velocity buffer"):
        primitives.sgd_update(flat, flat, None, rate, momentum=0.9, nesterov=False)
    with pytest.raises(ValueError, match=r"expected gradients of shape \(4,\), received \(3,\)"):
        primitives.sgd_update(flat, flat[:3], None, rate, momentum=0.0, nesterov=False)
    with pytest.raises(ValueError, match="flat buffers"):
        primitives.sgd_update(np.zeros((2, 2)), flat, None, rate, momentum=0.0, nesterov=False)
    options = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    with pytest.raises(TypeError, match="variance of float32"):
        primitives.adam_update(flat, flat, flat, flat.astype("f4"), step, rate, **options)
    with pytest.raises(ValueError, match="expected mean of shape"):
        primitives.adam_update(flat, flat, np.zeros(1), flat, step, rate, **options)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1.8e19, "float32", True),
        (-1.8e19, "float32", True),
        (1.9e19, "float32", False),
        (-1.9e19, "float32", False),
        (1.9e19, "float64", True),
        (2e154, "float64", False),
        (np.nan, "float32", False),
        (-np.inf, "float64", False),
    ],
)
def test_squares_are_finite(value: float, dtype: str, expected: bool) -> None:
    gradients = np.array([0.5, value, -0.5], dtype)
    with np.errstate(over="ignore"):
        assert np.isfinite(gradients * gradients).all() == expected
    assert primitives.squares_are_finite(gradients) is expected
    assert primitives.squares_are_finite(gradients[:0])


def test_the_largest_gradients_whose_squares_are_finite_leave_adam_finite() -> None:
    largest = np.float32(np.sqrt(np.float64(np.finfo(np.float32).max)))
    largest = np.nextafter(largest, np.float32(0))
    above = np.nextafter(np.nextafter(largest, np.float32(np.inf)), np.float32(np.inf))
    gradients = np.array([largest, -largest])
    assert primitives.squares_are_finite(gradients)
    assert not primitives.squares_are_finite(np.array([above]))
    buffers = [np.zeros(2, np.float32) for _ in range(3)]
    for step in range(1, 4):
        primitives.adam_update(
            buffers[0], gradients, *buffers[1:], np.array([step]), np.array([0.1], np.float32)
        )
    assert all(np.isfinite(buffer).all() for buffer in buffers)
