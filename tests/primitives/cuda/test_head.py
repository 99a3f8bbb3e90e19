"""The kernel of a classifier's end, run on the CPU: shapes at random, extremes, and its parts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.primitives import Stage
from gpunet.primitives.cuda import head
from gpunet.primitives.launch import use_executor
from tests.support.cuda_on_cpu.cases_head import GAP, launch, make, oracle, places_of, room_of
from tests.support.cuda_on_cpu.cpu_executor import CpuExecutor, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs g++ to run kernels on the CPU")

Array = np.ndarray[Any, np.dtype[Any]]

NAN, INF = float("nan"), float("inf")


def flat(results: list[Any]) -> list[Array]:
    """Return the arrays of what the kernel or the oracle gives, those of each layer too."""
    grads = [array for pair in results[-1] for array in pair]
    return [array for array in (*results[:-1], *grads) if array is not None]


def problem(batch: int, *sizes: int, seed: int = 0, **options: Any) -> tuple[Any, list[Stage], Any]:
    """Return an input, layers and labels, in float64."""
    (x, stages, labels), _ = make(np.random.default_rng(seed), batch, sizes, **options)
    return x, stages, labels


def of_type(dtype: str, x: Array, stages: list[Stage]) -> tuple[Array, list[Stage]]:
    return x.astype(dtype), [
        stage._replace(
            kernel=stage.kernel.astype(dtype),
            bias=None if stage.bias is None else stage.bias.astype(dtype),
        )
        for stage in stages
    ]


sizes = st.integers(1, 40)


@given(
    batch=st.integers(1, 40),
    inputs=st.integers(1, 70),
    hidden=st.one_of(st.none(), sizes),
    classes=sizes,
    form=st.sampled_from(["int64", "one-hot float64", "probabilities"]),
    biases=st.sampled_from(["bb", "b-", "-b", "--"]),
    with_input_grad=st.booleans(),
    multiprocessors=st.sampled_from([1, 4, 132]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=150)
def test_layers_of_any_size(
    batch: int,
    inputs: int,
    hidden: int | None,
    classes: int,
    form: str,
    biases: str,
    with_input_grad: bool,
    multiprocessors: int,
    seed: int,
) -> None:
    layers = (inputs, classes) if hidden is None else (inputs, hidden, classes)
    given_ = problem(batch, *layers, form=form, biases=biases, activation="tanh", seed=seed)
    with use_executor(CpuExecutor(multiprocessors=multiprocessors)):
        found = launch(*given_, with_input_grad=with_input_grad)
    expected = oracle(*given_, with_input_grad=with_input_grad)
    for ours, right in zip(flat(found), flat(expected), strict=True):
        np.testing.assert_allclose(ours, right, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layers", [(64, 64, 10), (7, 3)])
def test_each_part_is_what_its_samples_give_and_lies_in_its_place(
    dtype: str, layers: tuple[int, ...]
) -> None:
    x, stages, labels = problem(45, *layers)
    x, stages = of_type(dtype, x, stages)
    executor = CpuExecutor()  # 4 multiprocessors: chunks of 12 or 16 samples
    with use_executor(executor):
        count, firsts, end = places_of(len(x), stages)
        parts = np.full(end + GAP, 7, dtype)
        head.dense_cross_entropy(x, stages, labels, parts, firsts, with_input_grad=False)
    (launched,) = executor.launches
    assert launched.grid == (count,)
    assert count in (3, 4)
    chunk = launched.arguments[1]
    untouched = np.ones(end + GAP, bool)
    for number, (stage, first) in enumerate(zip(stages, firsts, strict=True)):
        rows, units = room_of(stage)
        untouched[first : first + count * rows * units] = False
        for part in range(count):
            own = slice(part * chunk, (part + 1) * chunk)
            expected = oracle(*of_type("float64", x[own], stages), labels[own])[-1][number]
            start = first + part * rows * units
            found = parts[start : start + rows * units].reshape(rows, units)
            share = len(x[own]) / len(x)  # of the mean
            right = np.vstack([expected[0], expected[1][None]]) * share
            tolerance = 1e-5 if dtype == "float32" else 1e-13
            np.testing.assert_allclose(found, right, rtol=tolerance, atol=tolerance)
    assert (parts[untouched] == 7).all()
    assert untouched.sum() == GAP * (len(stages) + 1)


def scored(logits: list[float], labels: Any) -> list[Array]:
    """Return losses, probabilities and hits of one sample: its logits are a bias."""
    bias = np.array(logits, np.float32)
    stage = Stage(np.zeros((1, bias.size), np.float32), bias, None)
    with use_executor(CpuExecutor()):
        return launch(np.zeros((1, 1), np.float32), [stage], np.array(labels))[:3]


@pytest.mark.parametrize(
    ("logits", "labels", "hit"),
    [
        ([1, 3, 3, 0], [1], 1),  # of equals the first
        ([1, 3, 3, 0], [2], 0),
        ([NAN, 3, 1], [0], 1),  # all are NaN then
        ([1, NAN, 9], [1], 0),
        ([1, NAN, 9], [0], 1),
        ([-INF, 2, 1], [1], 1),
        ([0, 2], [[0.5, 0.5]], 0),
        ([2, 0], [[0.5, 0.5]], 1),
        ([0, 2, 0], [[NAN, 1, 0]], 0),
        ([0, 2, 0], [[0, NAN, NAN]], 1),
        ([0, 2, 0], [[-2, -1, -1]], 1),
        ([0, 2], [[2**24, 2**24 + 1]], 1),  # which float32 cannot tell apart
        ([5, 2], [[2**24, 2**24 + 1]], 0),
        ([0] * 40, [0], 1),
        ([0] * 39 + [1], [39], 1),  # in a lane's second turn
        ([1] + [0] * 31 + [1] + [0] * 7, [32], 0),
        ([0] * 7 + [1] + [0] * 24 + [1] + [0] * 7, [7], 1),
    ],
)
def test_hits_are_those_of_argmax(logits: list[float], labels: Any, hit: int) -> None:
    _, probabilities, hits = scored(logits, labels)
    right = labels if np.ndim(labels) == 1 else np.argmax(labels, -1)
    assert (probabilities.argmax(-1) == right).tolist() == [hit]
    assert hits.tolist() == [hit]


def test_cross_entropy_stays_finite_where_a_probability_is_0() -> None:
    for labels in ([0], [[1.0, 0, 0]]):
        losses, probabilities, hits = scored([0, 1e4, -INF], labels)
        assert losses.tolist() == [1e4]
        assert probabilities.tolist() == [[0, 1, 0]]
        assert hits.tolist() == [0]


def test_nan_stays_with_its_sample() -> None:
    x, stages, labels = problem(10, 6, 5, 4, form="int64", activation="tanh")
    x[3, 2] = NAN
    with use_executor(CpuExecutor()):
        losses, probabilities, _, input_grad, grads = launch(x, stages, labels)
    for array in (losses, probabilities, input_grad):
        rows = np.isnan(array.reshape(10, -1))
        assert rows[3].all()
        assert not np.delete(rows, 3, 0).any()
    assert np.isnan(grads[1][0]).all(), "the gradient of the mean"


@pytest.mark.parametrize("biases", ["bb", "--"])
def test_weights_of_no_size_give_nothing_to_samples_that_are_not_there(biases: str) -> None:
    """Infinite weights, by which zeros past the end of a batch would be NaN."""
    x, stages, labels = problem(5, 6, 5, 4, form="int64", biases=biases)
    x = np.abs(x)
    stages[0].kernel[:, 2] = -INF  # relu makes 0 of it
    stages[1].kernel[2] = 0
    with use_executor(CpuExecutor()):
        results = launch(x, stages, labels, with_input_grad=False)
    for ours, right in zip(
        flat(results), flat(oracle(x, stages, labels, with_input_grad=False)), strict=True
    ):
        assert np.isfinite(right).all()
        np.testing.assert_allclose(ours, right, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, -1, 3, 2], np.int8),
        np.array([1, 255, 3, 2], np.uint8),
        np.array([1, 2**32 - 1, 2**31, 2], np.uint32),
        np.array([1, 2**32 + 1, -(2**63), 2], np.int64),
        np.array([1, 2**64 - 1, 2**63 + 1, 2], np.uint64),
    ],
    ids=lambda labels: labels.dtype.name,
)
def test_a_class_that_does_not_exist_makes_its_sample_nan(labels: Array) -> None:
    x, stages, _ = problem(4, 5, 6, 3)
    with use_executor(CpuExecutor()):
        losses, probabilities, hits, input_grad, grads = launch(x, stages, labels)
    assert np.isnan(losses).tolist() == [False, True, True, False]
    assert np.isnan(input_grad).all(1).tolist() == [False, True, True, False]
    assert not np.isnan(input_grad[[0, 3]]).any()
    assert hits[1:3].tolist() == [0, 0]
    assert np.isnan(grads[1][0]).all()
    expected = oracle(x, stages, np.array([1, 0, 0, 2]))
    np.testing.assert_allclose(probabilities, expected[1], rtol=1e-12)
    np.testing.assert_allclose(losses[[0, 3]], expected[0][[0, 3]], rtol=1e-12)
    np.testing.assert_allclose(input_grad[[0, 3]], expected[3][[0, 3]], rtol=1e-12)


def zeros(*sizes: int, dtype: str = "float32") -> list[Stage]:
    """Return layers from each size to the next."""
    return [
        Stage(np.zeros(pair, dtype), np.zeros(pair[1], dtype), None) for pair in pairwise(sizes)
    ]


@pytest.mark.parametrize(
    ("dtype", "layers"),
    [
        ("float32", (150, 64, 10)),
        ("float32", (760, 7)),
        ("float32", (10, 800)),
        ("float64", (64, 64, 10)),
    ],
)
def test_what_just_fits_runs(dtype: str, layers: tuple[int, ...]) -> None:
    """Shared memory ends where the shim notices that a kernel writes past it."""
    x, stages, labels = problem(5, *layers)
    x, stages = of_type(dtype, x, stages)
    assert head.supports(layers[0], stages, labels.shape, dtype)
    with use_executor(CpuExecutor()):
        losses, *_ = launch(x, stages, labels)
    np.testing.assert_allclose(losses, oracle(x, stages, labels)[0], rtol=1e-4)
    larger = zeros(layers[0] * 5 // 4, *layers[1:], dtype=dtype)
    assert not head.supports(layers[0] * 5 // 4, larger, labels.shape, dtype)


def test_what_the_kernel_does_not_take() -> None:
    stages = zeros(6, 5, 4)
    assert head.supports(6, stages, (9,), "float32")
    assert head.supports(6, stages, (9, 4), np.float32)
    assert head.supports(5, stages[1:], (9,), np.dtype("float32"))
    hidden, last = stages
    for inputs, layers, labels_shape, dtype in (
        (7, stages, (9,), "float32"),
        (6, stages, (0,), "float32"),
        (6, stages, (9, 5), "float32"),
        (6, stages, (9, 4, 1), "float32"),
        (6, stages, (), "float32"),
        (6, stages, (9,), "float64"),
        (6, zeros(6, 5, 4, dtype="float16"), (9,), "float16"),
        (6, zeros(6, 5, 4, 3), (9,), "float32"),
        (6, zeros(6, 0, 4), (9,), "float32"),
        (6, [], (9,), "float32"),
        (6, [hidden, last._replace(activation="relu")], (9,), "float32"),
        (6, [hidden._replace(activation="gelu"), last], (9,), "float32"),
        (6, [hidden._replace(bias=np.zeros(4, "float32")), last], (9,), "float32"),
        (6, [hidden._replace(bias=np.zeros(5)), last], (9,), "float32"),
        (6, [hidden._replace(kernel=np.zeros((1, 1, 6, 5), "float32")), last], (9,), "float32"),
    ):
        assert not head.supports(inputs, layers, labels_shape, dtype), (layers, labels_shape, dtype)


@pytest.mark.parametrize(
    ("batch", "multiprocessors", "samples", "parts"),
    [(32, 132, 4, 8), (1024, 132, 8, 128), (1024, 4, 8, 4), (1, 132, 4, 1), (5000, 132, 8, 125)],
)
def test_how_a_batch_is_divided(batch: int, multiprocessors: int, samples: int, parts: int) -> None:
    """Never into more parts than there are multiprocessors."""
    stages = zeros(64, 64, 10)
    with use_executor(CpuExecutor(multiprocessors=multiprocessors)):
        assert head.parts_of(batch, stages) == parts
        assert head._division(batch, stages)[0] == samples


def test_arguments_that_do_not_fit() -> None:
    x, stages, labels = problem(9, 6, 5, 4)
    executor = CpuExecutor()

    def run(x: Array, stages: list[Stage], labels: Array, size: int, *firsts: int) -> None:
        head.dense_cross_entropy(x, stages, labels, np.zeros(size), firsts, with_input_grad=False)

    with use_executor(executor):
        with pytest.raises(
            ValueError, match=r"samples of shape \(5,\).*kernels of shapes \[\(6, 5\)"
        ):
            run(x[:, 1:], stages, labels, 999, 0, 300)
        with pytest.raises(ValueError, match=r"labels of shape \(9, 3\)"):
            run(x, stages, labels[:, 1:], 999, 0, 300)
        with pytest.raises(ValueError, match=r"received \(8, 4\)"):
            run(x, stages, labels[1:], 999, 0, 300)
        with pytest.raises(TypeError, match="class numbers to be integers, received float64"):
            run(x, stages, labels[:, 0], 999, 0, 300)
        with pytest.raises(ValueError, match=r"room for 3 parts .* \[105, 177\], .* of 176"):
            run(x, stages, labels, 176, 0, 105)
        with pytest.raises(ValueError, match=r"from elements \(-1, 105\)"):
            run(x, stages, labels, 999, -1, 105)
        with pytest.raises(TypeError, match="argument 'parts': expected an array of float32"):
            run(*of_type("float32", x, stages), labels, 999, 0, 300)
        assert not executor.launches


def test_images_and_views_are_taken() -> None:
    x, stages, labels = problem(8, 12, 5, 4, form="int64")
    views = [stage._replace(kernel=stage.kernel.T.copy().T) for stage in stages]
    with use_executor(CpuExecutor()):
        plain = flat(launch(x, stages, labels))
        found = flat(launch(x.reshape(8, 2, 3, 2), views, np.repeat(labels, 2)[::2]))
    assert found[3].shape == (8, 2, 3, 2)
    for ours, expected in zip(found, plain, strict=True):
        assert ours.tobytes() == expected.tobytes()


def test_bits_do_not_depend_on_the_device_where_the_division_does_not() -> None:
    given_ = problem(32, 64, 64, 10)
    runs = []
    for multiprocessors in (8, 132):
        with use_executor(CpuExecutor(multiprocessors=multiprocessors)):
            runs.append([array.tobytes() for array in flat(launch(*given_))])
    assert runs[0] == runs[1]
