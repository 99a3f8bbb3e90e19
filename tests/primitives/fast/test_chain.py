"""The Numba twin of layers one after another, against the reference and the layers one by one."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpunet.primitives.stages import Kept, Stage, chain_geometry
from tests.support.doors import Doors, reference
from tests.support.fast_arrays import Array, check_sums, lay_out, layouts, numbers, seeds
from tests.support.sums import OTHER_ROUNDINGS

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))

CHECKED = ("chain_backward", "chain_cross_entropy", "chain_forward")

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def chains(draw: st.DrawFn, *, whole: bool) -> tuple[Array, list[Stage]]:
    """Draw images and stages; with whole numbers, so few and small that all sums are exact."""
    seed = draw(seeds)
    shape = (draw(st.integers(1, 20)), *draw(st.tuples(*[st.integers(1, 12)] * 2)))
    x = numbers(seed, (*shape, draw(st.sampled_from([1, 3, 8]))), whole=whole)
    sample: tuple[int, ...] = x.shape[1:]
    stages: list[Stage] = []
    for number in range(draw(st.integers(1, 3))):
        dense = (number > 0 and draw(st.booleans())) or len(sample) == 1
        units = draw(st.sampled_from([1, 5, 8, 17, 40]))
        size = (int(np.prod(sample)),) if dense else (*draw(pairs), sample[-1])
        kernel = numbers(seed + 2 * number + 1, (*size, units), whole=whole)
        bias = numbers(seed + 2 * number + 2, (units,), whole=whole)
        options: dict[str, Any] = {}
        if not dense:
            options["strides"], options["dilation"] = draw(pairs), draw(pairs)
            options["padding"] = draw(st.sampled_from(["valid", "same", 1]))
            options["pool_size"] = draw(pairs)
        layout = draw(layouts)
        if whole:
            kernel = np.sign(kernel)
        stages.append(
            Stage(
                lay_out(kernel, layout),
                draw(st.sampled_from([None, lay_out(bias, layout)])),
                draw(st.sampled_from([None, "relu"])),
                **options,
            )
        )
        try:
            sample = chain_geometry((1, *sample), stages[-1:]).output_shape[1:]
        except ValueError:  # the images have become too small
            assume(False)
    return lay_out(x, draw(layouts)), stages


@settings(max_examples=150)
@given(case=chains(whole=True))
def test_chain(case: tuple[Array, list[Stage]]) -> None:
    x, stages = case
    found = fast.chain_forward(x, stages)[0]
    assert found.dtype == np.float32
    expected = reference.chain_forward(x.astype(np.float64), in_float64(stages))[0]
    np.testing.assert_array_equal(found, expected)


def in_float64(stages: list[Stage]) -> list[Stage]:
    return [
        stage._replace(
            kernel=stage.kernel.astype(np.float64),
            bias=None if stage.bias is None else stage.bias.astype(np.float64),
        )
        for stage in stages
    ]


@settings(max_examples=100)
@given(case=chains(whole=False))
def test_bits_are_those_of_the_layers_one_by_one(case: tuple[Array, list[Stage]]) -> None:
    x, stages = case
    expected = x
    for kernel, bias, activation, strides, padding, dilation, pool_size in stages:
        if kernel.ndim == 2:
            rows = expected.reshape(len(x), -1)
            expected = fast.matmul(rows, kernel, bias, activation=activation)
        else:
            expected = fast.conv2d_max_pool_forward(
                expected, kernel, bias, strides=strides, padding=padding, dilation=dilation,
                activation=activation, pool_size=pool_size,
            )[0]  # fmt: skip
    np.testing.assert_array_equal(fast.chain_forward(x, stages)[0], expected)


@settings(max_examples=100)
@given(case=chains(whole=False), with_input_grad=st.booleans())
def test_gradients(case: tuple[Array, list[Stage]], with_input_grad: bool) -> None:
    x, stages = case
    y, kept = fast.chain_forward(x, stages)
    output_grad = numbers(y.size, y.shape)
    input_grad, grads = fast.chain_backward(
        output_grad, x, stages, kept, with_input_grad=with_input_grad
    )
    # The oracle gets the same outputs and maxima: a rounding may not decide otherwise there.
    wide = [(output.astype(np.float64), indices) for output, indices in kept]
    expected_input_grad, expected = reference.chain_backward(
        output_grad.astype(np.float64), x.astype(np.float64), in_float64(stages), wide,
        with_input_grad=with_input_grad,
    )  # fmt: skip
    assert (input_grad is None) != with_input_grad
    found = [input_grad, *itertools.chain(*grads)]
    sizes = gradient_sizes(output_grad, x, stages, kept)
    if not with_input_grad:
        sizes[0] = None
    right = [expected_input_grad, *itertools.chain(*expected)]
    for one, other, size in zip(found, right, sizes, strict=True):
        assert (one is None) == (other is None) == (size is None)
        if one is not None and other is not None and size is not None:
            check_sums(one, other, roundings(x, stages, kept), size)


def gradient_sizes(
    output_grad: Array, x: Array, stages: list[Stage], kept: Kept
) -> list[Array | None]:
    """Return the gradients' sums of absolute terms: what absolute values of all arrays give.

    Relu passes on a gradient where its output is above 0, which stays as it is.
    """
    kept = [(np.abs(output.astype(np.float64)), indices) for output, indices in kept]
    absolute = [
        stage._replace(
            kernel=np.abs(stage.kernel),
            bias=None if stage.bias is None else np.abs(stage.bias),
        )
        for stage in in_float64(stages)
    ]
    arrays = [np.abs(array.astype(np.float64)) for array in (output_grad, x)]
    input_grad, grads = reference.chain_backward(*arrays, absolute, kept, with_input_grad=True)
    return [input_grad, *itertools.chain(*grads)]


def roundings(x: Array, stages: list[Stage], kept: Kept) -> int:
    """Return the most roundings of a term in a gradient: those of a sum in each stage.

    A gradient that is passed back sums over the taps and filters of a kernel; that of a kernel over
    the places that it was at, of which each pooled output counts one.
    """
    passed_back = sum(stage.kernel.size // stage.kernel.shape[-2] for stage in stages)
    places = max(output.size // output.shape[-1] for output, _ in kept)
    return passed_back + places + OTHER_ROUNDINGS * len(stages)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("with_input_grad", [False, True])
def test_cross_entropy(sparse: bool, with_input_grad: bool) -> None:
    x, stages = program()
    labels: Array = np.arange(len(x)) % 10
    if not sparse:
        labels = np.eye(10, dtype=np.float32)[labels]
    found = fast.chain_cross_entropy(x, stages, labels, with_input_grad=with_input_grad)
    logits = fast.chain_forward(x, stages)[0].astype(np.float64)
    losses, probabilities = reference.softmax_cross_entropy_forward(logits, labels)
    # An exponent of size s is off by s roundings, and so by that factor is its exponential.
    spread = float(np.ptp(logits, axis=1).max())
    terms = 10 + math.ceil(spread)
    check_sums(found.losses, losses, terms, np.full(len(x), 1 + spread))
    check_sums(found.probabilities, probabilities, terms, probabilities)
    hits = found.probabilities.argmax(-1) == np.arange(len(x)) % 10
    np.testing.assert_array_equal(found.hits, hits)
    # The way back is `chain_backward`, of the mean.
    _, kept = fast.chain_forward(x, stages)
    share = np.full(len(x), 1 / len(x), np.float32)
    grad = fast.softmax_cross_entropy_backward(share, found.probabilities, labels)
    input_grad, grads = fast.chain_backward(grad, x, stages, kept, with_input_grad=with_input_grad)
    assert (found.input_grad is None) == (not with_input_grad)
    if with_input_grad:
        np.testing.assert_array_equal(found.input_grad, input_grad)
    for one, other in zip(itertools.chain(*found.grads), itertools.chain(*grads), strict=True):
        np.testing.assert_array_equal(one, other)


def program() -> tuple[Array, list[Stage]]:
    """Return images and stages like those of a small network, of all kinds that kernels know."""
    shapes = [
        (3, 3, 1, 32),
        (3, 3, 32, 40),
        (1, 1, 40, 16),
        (3, 3, 16, 8),
        (72, 10),
    ]  # 24, 11, 5, 5, 3 pixels wide
    stages = [Stage(numbers(i, shape) / 8, numbers(i, shape[-1:]), "relu")
              for i, shape in enumerate(shapes)]  # fmt: skip
    stages[0] = stages[0]._replace(pool_size=(2, 2))
    stages[1] = stages[1]._replace(pool_size=(2, 2), padding="same")
    stages[3] = stages[3]._replace(padding=((0, 0), (0, 0)), pool_size=(1, 1), activation=None)
    return numbers(9, (37, 24, 24, 1)), stages


@pytest.mark.parametrize("count", [2, 3])
def test_the_number_of_threads_changes_no_bit(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpunet.primitives.fast import threads

    x, stages = program()

    def run(number: int) -> list[Array]:
        monkeypatch.setattr(threads, "_made", threads._Workers(number))
        y, kept = fast.chain_forward(x, stages)
        _, grads = fast.chain_backward(numbers(5, y.shape), x, stages, kept)
        return [y, *itertools.chain(*grads)]

    for one, other in zip(run(1), run(count), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_images_and_float64() -> None:
    stage = Stage(np.ones((2, 2, 3, 4)), None, "relu")
    assert fast.chain_forward(np.ones((2, 5, 5, 3)), [stage])[0].dtype == np.float64
    single = stage._replace(kernel=stage.kernel.astype(np.float32))
    assert fast.chain_forward(np.ones((0, 5, 5, 3), np.float32), [single])[0].shape == (0, 4, 4, 4)
    with pytest.raises(ValueError, match="chain_forward: "):
        fast.chain_forward(np.ones((2, 1, 5, 3), np.float32), [single])
