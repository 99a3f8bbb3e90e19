"""The Numba twin of layers one after another, against the reference and the layers one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fast_arrays import Array, lay_out, layouts, numbers, seeds
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpunet.primitives import reference
from gpunet.primitives.stages import Stage, output_shape

fast = pytest.importorskip("gpunet.primitives.fast")

CHECKED = ("chain_forward",)

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
                draw(st.booleans()),
                **options,
            )
        )
        try:
            sample = output_shape(sample, stages[-1])
        except ValueError:  # the images have become too small
            assume(False)
    return lay_out(x, draw(layouts)), stages


@settings(max_examples=150)
@given(case=chains(whole=True))
def test_chain(case: tuple[Array, list[Stage]]) -> None:
    x, stages = case
    wide = [
        stage._replace(
            kernel=stage.kernel.astype(np.float64),
            bias=None if stage.bias is None else stage.bias.astype(np.float64),
        )
        for stage in stages
    ]
    found = fast.chain_forward(x, stages)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, reference.chain_forward(x.astype(np.float64), wide))


@settings(max_examples=100)
@given(case=chains(whole=False))
def test_bits_are_those_of_the_layers_one_by_one(case: tuple[Array, list[Stage]]) -> None:
    x, stages = case
    expected = x
    for kernel, bias, relu, strides, padding, dilation, pool_size in stages:
        activation = "relu" if relu else None
        if kernel.ndim == 2:
            rows = expected.reshape(len(x), -1)
            expected = fast.matmul(rows, kernel, bias, activation=activation)
        else:
            expected = fast.conv2d_max_pool_forward(
                expected, kernel, bias, strides=strides, padding=padding, dilation=dilation,
                activation=activation, pool_size=pool_size,
            )[0]  # fmt: skip
    np.testing.assert_array_equal(fast.chain_forward(x, stages), expected)


def test_no_images_and_float64() -> None:
    stage = Stage(np.ones((2, 2, 3, 4)), None, True)
    assert fast.chain_forward(np.ones((2, 5, 5, 3)), [stage]).dtype == np.float64
    single = stage._replace(kernel=stage.kernel.astype(np.float32))
    assert fast.chain_forward(np.ones((0, 5, 5, 3), np.float32), [single]).shape == (0, 4, 4, 4)
    with pytest.raises(ValueError, match="chain_forward: "):
        fast.chain_forward(np.ones((2, 1, 5, 3), np.float32), [single])
