"""The kernels of softmax, run on the CPU: shapes at random, extremes, and labels of every form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler
from tests.support.doors import cuda, reference

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

Array = np.ndarray[Any, np.dtype[Any]]

NAN, INF = float("nan"), float("inf")

seeds = st.integers(0, 2**32)
at_random = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

# float64: sums of up to 2,000 terms of at most 1, and of the rounding of exp and log.
TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(autouse=True)
def executor() -> Iterator[CpuExecutor]:
    with use_executor(executor := CpuExecutor()):
        yield executor


@at_random
@given(
    shape=st.lists(st.sampled_from([1, 2, 4, 5, 31, 70]), min_size=1, max_size=3),
    axis=st.integers(-3, 2),
    seed=seeds,
)
def test_softmax_is_that_of_the_reference(shape: list[int], axis: int, seed: int) -> None:
    axis = max(-len(shape), min(axis, len(shape) - 1))
    generator = np.random.default_rng(seed)
    x, output_grad = generator.normal(size=shape) * 5, generator.normal(size=shape)
    for name in ("softmax", "log_softmax"):
        y = getattr(cuda, f"{name}_forward")(x, axis=axis)
        expected = getattr(reference, f"{name}_forward")(x, axis=axis)
        np.testing.assert_allclose(y, expected, **TOLERANCE)
        input_grad = getattr(cuda, f"{name}_backward")(output_grad, expected, axis=axis)
        expected = getattr(reference, f"{name}_backward")(output_grad, expected, axis=axis)
        np.testing.assert_allclose(input_grad, expected, **TOLERANCE)


@pytest.mark.parametrize("length", [3, 20, 400, 1500])  # 1, 8 and 32 lanes to a row, and a block
def test_a_row_of_each_kind_of_extreme(length: int) -> None:
    x = np.full((6, length), -INF, np.float32)
    x[0, 1], x[0, 2] = 1e30, 0
    x[1, :2] = 1e4
    x[2] = 0
    x[3, -1] = NAN  # the whole row is NaN, as with infinity, or with minus infinity alone
    x[4, -1] = INF
    y, log_y = cuda.softmax_forward(x), cuda.log_softmax_forward(x)
    assert y[0, :3].tolist() == [0, 1, 0]
    assert y[1, :3].tolist() == [0.5, 0.5, 0]
    np.testing.assert_allclose(y[2], 1 / length, rtol=1e-6)
    assert log_y[0, :3].tolist() == [-INF, 0, np.float32(-1e30)]
    assert np.isnan(y[3:]).all()
    assert np.isnan(log_y[3:]).all()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isnan(log_y), np.isnan(reference.log_softmax_forward(x)))
        np.testing.assert_array_equal(np.isnan(y), np.isnan(reference.softmax_forward(x)))


@at_random
@given(batch=st.integers(0, 40), classes=st.integers(1, 50), seed=seeds)
def test_cross_entropy_is_that_of_the_reference(batch: int, classes: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, output_grad = generator.normal(size=(batch, classes)), generator.normal(size=batch)
    numbers = generator.integers(0, classes, batch)
    for labels in (
        numbers,
        np.eye(classes, dtype=bool)[numbers],
        generator.uniform(size=logits.shape),
    ):
        found = cuda.softmax_cross_entropy_forward(logits, labels)
        expected = reference.softmax_cross_entropy_forward(logits, labels)
        for ours, oracle in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, oracle, **TOLERANCE)
        arguments = output_grad, expected[1], labels
        np.testing.assert_allclose(
            cuda.softmax_cross_entropy_backward(*arguments),
            reference.softmax_cross_entropy_backward(*arguments),
            **TOLERANCE,
        )


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, -1, 3, 2], np.int8),
        np.array([1, 255, 3, 2], np.uint8),
        np.array([1, -(2**15), 2**15 - 1, 2], np.int16),
        np.array([1, 2**32 - 1, 2**31, 2], np.uint32),
        np.array([1, 2**32 + 1, -(2**63), 2], np.int64),
        np.array([1, 2**64 - 1, 2**63 + 1, 2], np.uint64),
    ],
    ids=lambda labels: labels.dtype.name,
)
def test_a_class_that_does_not_exist_makes_its_sample_nan(labels: Array) -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    losses, probabilities = cuda.softmax_cross_entropy_forward(logits, labels)
    grad = cuda.softmax_cross_entropy_backward(np.ones(4, np.float32), probabilities, labels)
    assert np.isnan(losses).tolist() == [False, True, True, False]
    assert np.isnan(grad).tolist() == [[False] * 3, [True] * 3, [True] * 3, [False] * 3]
    np.testing.assert_allclose(probabilities, reference.softmax_forward(logits), rtol=1e-6)
    right = [0, 3]
    expected, _ = reference.softmax_cross_entropy_forward(logits[right], labels[right])
    np.testing.assert_allclose(losses[right], expected, rtol=1e-6)


def test_cross_entropy_stays_finite_where_a_probability_is_0() -> None:
    logits = np.array([[0.0, 1e4, -INF]], np.float32)
    for labels in (np.array([0]), np.array([[1, 0, 0]])):
        losses, probabilities = cuda.softmax_cross_entropy_forward(logits, labels)
        assert losses.tolist() == [1e4]
        gradient = cuda.softmax_cross_entropy_backward(losses, probabilities, labels)
        assert gradient.tolist() == [[-1e4, 1e4, 0]]
        assert {losses.dtype, probabilities.dtype, gradient.dtype} == {np.dtype(np.float32)}


def test_many_rows_share_blocks_and_few_do_not(executor: CpuExecutor) -> None:
    shapes = [(2, 20), (600, 20), (2, 1500), (600, 2)]
    for shape in shapes:
        cuda.softmax_forward(np.zeros(shape))
    launches = [
        (dict(launch.build.macros)["LANES"], launch.grid, launch.block)
        for launch in executor.launches
    ]
    assert launches == [
        ("8", (1,), (32,)),
        ("8", (38,), (128,)),
        ("256", (2,), (256,)),
        ("1", (5,), (128,)),
    ]


@pytest.mark.parametrize("twins", [cuda, reference], ids=["cuda", "reference"])
@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        ((2, 3), np.zeros(2), TypeError, "class numbers to be integers, received float64"),
        ((2, 3), np.zeros(2, bool), TypeError, "class numbers to be integers, received bool"),
        ((2, 3), np.zeros((2, 3), complex), TypeError, "probabilities as numbers.*complex128"),
        ((2, 3), np.zeros((2, 1), int), ValueError, r"\(2,\).* or \(2, 3\).*received \(2, 1\)"),
        ((2, 3), np.zeros(3, int), ValueError, r"received \(3,\)"),
        ((3,), np.zeros(3, int), ValueError, r"\(batch, classes\), received \(3,\)"),
        ((2, 0), np.zeros(2, int), ValueError, r"\(batch, classes\), received \(2, 0\)"),
    ],
)
def test_labels_of_no_known_form(
    twins: Any, logits: tuple[int, ...], labels: Array, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        twins.softmax_cross_entropy_forward(np.zeros(logits), labels)
    with pytest.raises(error, match=message):
        twins.softmax_cross_entropy_backward(np.zeros(logits[0]), np.zeros(logits), labels)


@pytest.mark.parametrize("twins", [cuda, reference], ids=["cuda", "reference"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_axes_and_shapes_that_do_not_fit(twins: Any, name: str) -> None:
    forward, backward = getattr(twins, f"{name}_forward"), getattr(twins, f"{name}_backward")
    x = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"softmax: .*received axis=2: .* axes from -2 to 1"):
        forward(x, axis=2)
    with pytest.raises(ValueError, match=r"softmax_grad: .*received axis=-3"):
        backward(x, x, axis=-3)
    with pytest.raises(ValueError, match="at least one element along axis 0"):
        forward(np.zeros((0, 3)), axis=0)
    with pytest.raises(ValueError, match=r"softmax_grad: expected arrays of one shape"):
        backward(x[:1], x)
