"""Attention by the definition, and arguments that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import primitives

rng = np.random.default_rng(0)
Q, K, V = (rng.normal(size=(2, time, heads, 3)) for time, heads in ((4, 4), (5, 2), (5, 2)))


def one_by_one(mask: Any, causal: bool, scale: float) -> np.ndarray:
    """Return attention of each query by itself, as it is defined."""
    y = np.zeros((2, 4, 4, 3))
    for sample, query, head in np.ndindex(2, 4, 4):
        seen = [
            key
            for key in range(5)
            if (not causal or key <= query) and (mask is None or mask[sample, head, query, key])
        ]
        keys, values = K[sample, :, head // 2], V[sample, :, head // 2]
        if not seen:
            y[sample, query, head] = values.mean(axis=0)
            continue
        shares = np.exp(scale * keys[seen] @ Q[sample, query, head])
        y[sample, query, head] = shares @ values[seen] / shares.sum()
    return y


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_values_are_those_of_the_definition(causal: bool, masked: bool) -> None:
    mask = rng.random((2, 4, 4, 5)) < 0.3 if masked else None
    y, _ = primitives.attention_forward(Q, K, V, mask, causal=causal, scale=0.8)
    np.testing.assert_allclose(y, one_by_one(mask, causal, 0.8), rtol=1e-12)
    if mask is not None:
        assert (~mask.any(axis=-1)).any(), "some query sees no key"
    default, _ = primitives.attention_forward(Q, K, V)
    np.testing.assert_allclose(default, one_by_one(None, False, 3**-0.5), rtol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_differences(causal: bool) -> None:
    mask, factors = rng.random((2, 1, 4, 5)) < 0.4, rng.normal(size=(2, 4, 4, 3))
    options: dict[str, Any] = {"mask": mask, "causal": causal, "scale": 0.8}
    y, log_sums = primitives.attention_forward(Q, K, V, **options)
    grads = primitives.attention_backward(factors, Q, K, V, y, log_sums, **options)
    for position in range(3):
        steps = [np.zeros_like(x) for x in (Q, K, V)]
        steps[position] = rng.normal(size=steps[position].shape)
        ends = [
            primitives.attention_forward(
                *(x + sign * 1e-5 * step for x, step in zip((Q, K, V), steps, strict=True)),
                **options,
            )[0]
            for sign in (1, -1)
        ]
        slope = ((ends[0] - ends[1]) * factors).sum() / 2e-5
        np.testing.assert_allclose((grads[position] * steps[position]).sum(), slope, rtol=1e-7)


@pytest.mark.parametrize(
    ("arrays", "options", "error", "message"),
    [
        ((Q[0], K, V), {}, ValueError, r"shape \(batch, time, heads, depth\)"),
        ((Q, K[:, :, :, :2], V), {}, ValueError, "of one batch and depth"),
        ((Q, K, V[:, :4]), {}, ValueError, "as many values as keys"),
        ((Q, K[:, :0], V[:, :0]), {}, ValueError, "at least one"),
        ((Q[:, :, :3], K, V), {}, ValueError, "heads .* divide, received 3 and 2"),
        ((Q, K, V.astype("f4")), {}, TypeError, "arrays of one type"),
        ((Q, K, V, np.ones((2, 1, 4, 5))), {}, TypeError, "mask of bool, received float64"),
        ((Q, K, V, np.ones((2, 4, 5), bool)), {}, ValueError, r"here \(2, 4, 4, 5\)"),
        ((Q, K, V, np.ones((2, 1, 5, 4), bool)), {}, ValueError, r"received \(2, 1, 5, 4\)"),
        ((Q, K, V), {"scale": np.inf}, ValueError, "scale as one finite number"),
    ],
)
def test_arguments_that_do_not_fit(
    arrays: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        primitives.attention_forward(*arrays, **options)


def test_gradients_that_do_not_fit() -> None:
    y, log_sums = primitives.attention_forward(Q, K, V)
    with pytest.raises(ValueError, match="output_grad of shape"):
        primitives.attention_backward(y[:, :3], Q, K, V, y, log_sums)
    with pytest.raises(ValueError, match=r"log_sums of shape \(2, 4, 4\)"):
        primitives.attention_backward(y, Q, K, V, y, log_sums[:1])
