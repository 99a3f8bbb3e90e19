"""Attention beside Keras and PyTorch: values, gradients, masks, and order and shapes of weights."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from gpunet import Input, Model, Tensor, functions, layers

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

# Sums of at most some 100 products of numbers of about 1, several one after another.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
BATCH, QUERIES, KEYS = 3, 5, 6


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def mask_of(seed: int, *shape: int) -> np.ndarray:
    """Return bools of which each row has a True."""
    mask = np.random.default_rng(seed).random(shape) < 0.6
    mask[..., 0] = True
    return mask


QUERY, VALUE, KEY = draw(0, BATCH, QUERIES, 8), draw(1, BATCH, KEYS, 7), draw(2, BATCH, KEYS, 9)
MASK = mask_of(3, BATCH, QUERIES, KEYS)

# Arguments of the layer, of its call; whether a key of its own is given.
HEADS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("MultiHeadAttention", {}, {}, False),
    ("MultiHeadAttention", {"value_dim": 3, "output_shape": 10}, {"attention_mask": MASK}, True),
    ("MultiHeadAttention", {"use_bias": False}, {"use_causal_mask": True}, True),
    ("MultiHeadAttention", {}, {"use_causal_mask": True, "attention_mask": MASK}, False),
    ("MultiHeadAttention", {"output_shape": (2, 3)}, {"return_attention_scores": True}, False),
    ("MultiHeadAttention", {"dropout": 0.5}, {"attention_mask": MASK}, False),
    (
        "MultiHeadAttention",
        {"value_dim": 6},
        {
            "return_attention_scores": True,
            "attention_mask": MASK[:, None] & mask_of(4, 3, 2, 5, 6),
            "use_causal_mask": True,
        },
        True,
    ),
    ("MultiHeadAttention", {"use_gate": True, "value_dim": 3}, {}, True),
    ("MultiHeadAttention", {"sliding_window": 2}, {"use_causal_mask": True}, False),
    ("MultiHeadAttention", {}, {"value_mask": mask_of(5, BATCH, KEYS)}, False),
    ("GroupedQueryAttention", {}, {}, False),
    ("GroupedQueryAttention", {}, {"attention_mask": MASK}, True),
    ("GroupedQueryAttention", {"use_gate": True}, {"use_causal_mask": True}, True),
    ("GroupedQueryAttention", {"use_bias": False}, {"return_attention_scores": True}, False),
    ("GroupedQueryAttention", {"dropout": 0.3}, {"attention_mask": MASK}, False),
    ("GroupedQueryAttention", {"sliding_window": 3}, {}, False),
]


def made(name: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    sizes = (2, 4) if name == "MultiHeadAttention" else (4, 6, 2)
    options = {"bias_initializer": "normal"} | arguments
    public = name.replace("Grouped", "Group")
    return tuple(getattr(package, public)(*sizes, **options) for package in (keras.layers, layers))


def compare(theirs: Any, ours: Any, arrays: list[Any], call: dict[str, Any], as_list: bool) -> None:
    """Assert equal weights' shapes, values, scores and gradients."""
    wide = [torch.tensor(x, requires_grad=True) for x in arrays]
    tensors = [Tensor(x, requires_grad=True) for x in arrays]
    expected = theirs(wide, **call) if as_list else theirs(*wide, **call)
    ours(tensors, **call) if as_list else ours(*tensors, **call)
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    ours.set_weights(theirs.get_weights())
    found = ours(tensors, **call) if as_list else ours(*tensors, **call)
    if call.get("return_attention_scores"):
        scores, expected, found = (found[1], expected[1]), expected[0], found[0]
        assert scores[0].shape == tuple(scores[1].shape)
        np.testing.assert_allclose(scores[0].numpy(), scores[1].detach().numpy(), **TOLERANCE)
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), **TOLERANCE)
    factors = draw(9, *found.shape)
    (expected * torch.tensor(factors)).sum().backward()
    (found * factors).sum().backward()
    for tensor, other in zip(tensors, wide, strict=True):
        np.testing.assert_allclose(tensor.grad, other.grad.numpy(), **TOLERANCE)
    for mine, other in zip(ours.weights, theirs.trainable_weights, strict=True):
        np.testing.assert_allclose(mine.grad, other.value.grad.numpy(), **TOLERANCE)


@pytest.mark.parametrize(("name", "arguments", "call", "with_key"), HEADS)
def test_heads(name: str, arguments: Any, call: dict[str, Any], with_key: bool) -> None:
    theirs, ours = made(name, arguments)
    compare(theirs, ours, [QUERY, VALUE, KEY][: 2 + with_key], call, as_list=False)


@pytest.mark.parametrize("name", ["MultiHeadAttention", "GroupedQueryAttention"])
def test_activity_regularizers_are_those_of_the_projections(name: str) -> None:
    """Keras 3.15 documents it as that of the dense layers; its grouped layer adds its own."""
    theirs, ours = made(name, {"activity_regularizer": "l2"})
    output = theirs(QUERY, VALUE).detach().numpy()
    ours(QUERY, VALUE)
    ours.set_weights(theirs.get_weights())
    expected = float(sum(theirs.losses).detach())
    if name == "GroupedQueryAttention":
        expected -= 0.01 * (output**2).sum() / BATCH
    x, y = Input(QUERY.shape[1:]), Input(VALUE.shape[1:])
    model = Model([x, y], ours(x, y))
    model.compile("sgd", lambda y_true, y_pred: functions.sum(y_pred * 0))
    found = model.evaluate([QUERY, VALUE], QUERY, batch_size=BATCH, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("axes", [None, 2, (1,), (1, 2), (-2,)])
def test_heads_over_several_axes(axes: Any) -> None:
    arguments = {"attention_axes": axes, "dropout": 0.1}  # with dropout Keras takes any rank
    theirs, ours = made("MultiHeadAttention", arguments)
    x = draw(6, 2, 3, 4, 5)
    call = {"return_attention_scores": True}
    # Keras counts negative axes of a projection, which has one axis more.
    compare(theirs, ours, [x, x[:, :, ::-1].copy()], call, as_list=False)
    if axes != (-2,):
        assert ours.get_config()["attention_axes"] == axes


ATTENTION: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("Attention", {}, {}, False),
    ("Attention", {"use_scale": True}, {"use_causal_mask": True}, True),
    ("Attention", {"dropout": 0.4}, {"return_attention_scores": True}, True),
    ("Attention", {"score_mode": "concat", "use_scale": True}, {}, True),
    ("Attention", {"score_mode": "concat"}, {"use_causal_mask": True}, False),
    ("AdditiveAttention", {}, {"return_attention_scores": True}, True),
    ("AdditiveAttention", {"use_scale": False, "dropout": 0.1}, {"use_causal_mask": True}, False),
]


@pytest.mark.parametrize(("name", "arguments", "call", "with_key"), ATTENTION)
@pytest.mark.parametrize("masked", [False, True])
def test_attention(
    name: str, arguments: Any, call: dict[str, Any], with_key: bool, masked: bool
) -> None:
    theirs, ours = (getattr(package, name)(**arguments) for package in (keras.layers, layers))
    arrays = [draw(0, 3, 5, 4), draw(1, 3, 6, 7 if with_key else 4), draw(2, 3, 6, 4)]
    if masked:
        call = call | {"mask": [mask_of(7, 3, 5), mask_of(8, 3, 6)]}
    compare(theirs, ours, arrays[: 2 + with_key], call, as_list=True)


def test_a_fully_masked_row_depends_on_the_layer() -> None:
    """Keras 3.15: the mean of all values, or with scores or dropout the output's bias alone."""
    hidden = np.zeros((BATCH, QUERIES, KEYS), bool)
    hidden[:, 2] = True
    for arguments, call in (
        ({}, {}),
        ({}, {"use_causal_mask": True}),
        ({}, {"return_attention_scores": True}),
        ({"dropout": 0.5}, {}),
    ):
        theirs, ours = made("MultiHeadAttention", arguments)
        expected = theirs(QUERY, VALUE, attention_mask=hidden, **call)
        ours(QUERY, VALUE)
        ours.set_weights(theirs.get_weights())
        found = ours(QUERY, VALUE, attention_mask=hidden, **call)
        if call.get("return_attention_scores"):
            expected, found = expected[0], found[0]
        np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), **TOLERANCE)
        bias = ours.output_dense.bias.numpy()
        is_bias = np.abs(found.numpy()[:, 0] - bias).max() < 1e-6
        assert is_bias == bool(arguments or call.get("return_attention_scores"))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_scaled_dot_product_attention_of_pytorch(
    causal: bool, masked: bool, key_heads: int
) -> None:
    if causal and masked:
        pytest.skip("PyTorch takes one of the two")
    arrays = [draw(0, 2, 70, 4, 16), draw(1, 2, 80, key_heads, 16), draw(2, 2, 80, key_heads, 9)]
    mask = mask_of(3, 2, 1, 70, 80) if masked else None
    wide = [torch.tensor(x, requires_grad=True) for x in arrays]
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in wide),
        attn_mask=None if mask is None else torch.tensor(mask),
        is_causal=causal,
        scale=0.2,
        enable_gqa=True,
    ).transpose(1, 2)
    tensors = [Tensor(x, requires_grad=True) for x in arrays]
    found = functions.dot_product_attention(*tensors, mask, scale=0.2, is_causal=causal)
    np.testing.assert_allclose(found.numpy(), expected.detach().numpy(), **TOLERANCE)
    factors = draw(9, *found.shape)
    (expected * torch.tensor(factors)).sum().backward()
    (found * factors).sum().backward()
    for tensor, other in zip(tensors, wide, strict=True):
        np.testing.assert_allclose(tensor.grad, other.grad.numpy(), **TOLERANCE)
