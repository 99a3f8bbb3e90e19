"""Depthwise convolution by Numba kernels: the values of the reference in float64, fixed bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.doors import Doors, reference
from tests.support.fast_arrays import EPSILON, Array, numbers, seeds

fast = Doors(pytest.importorskip("gpunet.primitives.fast"))
threads = pytest.importorskip("gpunet.primitives.fast.threads")

pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
CASES = {
    "batch": st.integers(1, 20),
    "sizes": st.tuples(st.integers(5, 9), st.integers(5, 9)),
    "channels": st.integers(2, 19),
    "multiplier": st.integers(1, 3),
    "window": pairs,
    "strides": pairs,
    "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
    "padding": st.sampled_from(["valid", "same", 2, ((1, 0), (0, 2))]),
}


def close(found: Array, expected: Array, terms: int, sizes: float) -> None:
    """Assert that sums of so many terms, each below `sizes`, differ by their roundings alone."""
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=terms * terms * sizes * EPSILON)


@given(seed=seeds, case=st.fixed_dictionaries(CASES), activation=st.sampled_from([None, "relu"]))
def test_all_three_passes(seed: int, case: dict[str, Any], activation: str | None) -> None:
    channels, filters = case["channels"], case["channels"] * case["multiplier"]
    x = numbers(seed, (case["batch"], *case["sizes"], channels))
    kernel, bias = numbers(seed + 1, (*case["window"], 1, filters)), numbers(seed + 2, (filters,))
    options = {name: case[name] for name in ("strides", "dilation", "padding")}
    options |= {"groups": channels, "activation": activation}

    wide = [array.astype("float64") for array in (x, kernel, bias)]
    y = fast.conv2d_forward(x, kernel, bias, **options)
    taps, largest = kernel.shape[0] * kernel.shape[1], float(np.abs(x).max() * 4)
    close(y, reference.conv2d_forward(*wide, **options), taps + 1, largest)

    grad = numbers(seed + 3, y.shape)
    output = None if activation is None else y
    options["output"] = output
    found = fast.conv2d_backward_input(grad, kernel, x.shape, **options)
    options["output"] = None if output is None else output.astype("float64")
    wide_grad = grad.astype("float64")
    expected = reference.conv2d_backward_input(wide_grad, wide[1], x.shape, **options)
    close(found, expected, taps * case["multiplier"], 16)

    expected = reference.conv2d_backward_weight(
        wide_grad, wide[0], kernel.shape, **options, with_bias=True
    )
    options["output"] = output
    grads = fast.conv2d_backward_weight(grad, x, kernel.shape, **options, with_bias=True)
    for one, other in zip(grads, expected, strict=True):
        assert one.shape == other.shape
        # Roundings of a sum over pixels partly cancel: they grow less than their number.
        close(one, other, 1, y.size / filters * 16)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel = numbers(0, (9, 20, 20, 24)), numbers(1, (3, 3, 1, 24))
    grad = numbers(2, (9, 20, 20, 24))

    def passes() -> list[bytes]:
        options = {"padding": "same", "groups": 24}
        weight_grad, _ = fast.conv2d_backward_weight(grad, x, kernel.shape, **options)
        return [
            fast.conv2d_forward(x, kernel, **options).tobytes(),
            fast.conv2d_backward_input(grad, kernel, x.shape, **options).tobytes(),
            weight_grad.tobytes(),
        ]

    several = passes()
    monkeypatch.setattr(threads, "_busy", True)  # the workers are taken: this thread does all
    assert passes() == several
