"""Attention layers: gradients, symbols, masks, configs, and what they refuse."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from gpunet import Input, Model, Tensor, check_gradients, functions, layers

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 5, 6))
MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], bool)

MADE: dict[str, Any] = {
    "heads": lambda **k: layers.MultiHeadAttention(2, 3, value_dim=4, **k),
    "groups": lambda **k: layers.GroupedQueryAttention(3, 4, 2, **k),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ({}, {"use_causal_mask": True}),
        ({"use_gate": True}, {"value_mask": MASK}),
        ({"dropout": 0.5}, {"attention_mask": MASK[:, None] & np.tri(4, 5, dtype=bool)}),
        ({"sliding_window": 2}, {"query_mask": np.tri(2, 4, 1, dtype=bool)}),
    ],
)
def test_gradients_of_heads(name: str, arguments: Any, call: Any) -> None:
    layer = MADE[name](dtype="float64", **arguments)
    check_gradients(lambda x, y: layer(x, y, **call), X, Y)
    weights = [w.value.copy() for w in layer.weights]

    def of_weights(*values: Any) -> Any:
        for sublayer, kind, value in zip(owners, kinds, values, strict=True):
            setattr(sublayer, kind, value)
        return layer(X, Y, **call)

    owners = [part for part in layer.sublayers if hasattr(part, "kernel") for _ in range(2)]
    kinds = ["kernel", "bias"] * (len(owners) // 2)
    check_gradients(of_weights, *weights)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Attention(use_scale=True, dtype="float64"),
        layers.Attention(use_scale=True, score_mode="concat", dtype="float64"),
        layers.AdditiveAttention(dtype="float64"),
    ],
)
@pytest.mark.parametrize("causal", [False, True])
def test_gradients_of_one_head(layer: Any, causal: bool) -> None:
    masks = [np.tri(2, 4, 1, dtype=bool), MASK]
    check_gradients(lambda x, y: layer([x, y], mask=masks, use_causal_mask=causal), X, Y)
    check_gradients(lambda x, y, z: layer([x, y, z]), X, rng.normal(size=(2, 5, 3)), Y)


@pytest.mark.parametrize("name", MADE)
def test_tiles_and_scores_give_the_same(name: str) -> None:
    layer = MADE[name]()
    for call in (
        {},
        {"use_causal_mask": True},
        {"attention_mask": rng.random((2, 4, 5)) < 2},
        {"attention_mask": MASK[:, None, None], "use_causal_mask": True},
        {"value_mask": MASK, "key_mask": MASK[::-1] | MASK},
    ):
        y, scores = layer(X, Y, return_attention_scores=True, **call)
        np.testing.assert_allclose(layer(X, Y, **call).numpy(), y.numpy(), atol=2e-6)
        assert scores.shape == (2, layer.heads, 4, 5)
        np.testing.assert_allclose(scores.numpy().sum(axis=-1), 1, rtol=1e-6)


def test_causal_attention_sees_nothing_later() -> None:
    for layer in (MADE["heads"](), MADE["groups"]()):
        y = layer(X, X, use_causal_mask=True).numpy()
        later = X.copy()
        later[:, 2:] += 1
        again = layer(later, later, use_causal_mask=True).numpy()
        np.testing.assert_array_equal(again[:, :2], y[:, :2])
        assert (again[:, 2:] != y[:, 2:]).any()


def test_padding_does_not_show() -> None:
    layer = MADE["heads"]()
    y = layer(X, Y, value_mask=MASK).numpy()
    other = np.where(MASK[..., None], Y, 100.0)
    np.testing.assert_array_equal(layer(X, other, value_mask=MASK).numpy(), y)


def test_dropout_is_for_training_and_repeats_by_its_seed() -> None:
    first, second = (MADE["heads"](dropout=0.5, seed=3) for _ in range(2))
    plain = first(X, Y).numpy()
    second(X, Y)
    second.set_weights(first.get_weights())
    dropped = first(X, Y, training=True).numpy()
    assert np.abs(dropped - plain).max() > 1e-3
    np.testing.assert_array_equal(second(X, Y, training=True).numpy(), dropped)
    np.testing.assert_array_equal(second(X, Y).numpy(), plain)


@pytest.mark.parametrize("name", MADE)
def test_symbols_models_and_copies(name: str) -> None:
    query, value = Input((None, 6)), Input((5, 6))
    layer = MADE[name]()
    y, scores = layer(query, value, return_attention_scores=True)
    assert (y.shape, scores.shape) == ((None, None, 6), (None, layer.heads, None, 5))
    model = Model([query, value], layer(query, value=value, use_causal_mask=True))
    expected = layer(X, Y, use_causal_mask=True).numpy()
    np.testing.assert_allclose(model.predict([X, Y], verbose=0), expected, atol=1e-6)
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(same(X, Y, use_causal_mask=True).numpy(), expected)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_masks_of_queries_go_on() -> None:
    masks = [np.ones((2, 4), bool), MASK]
    assert layers.Attention().compute_mask([X, Y], masks) is masks[0]
    assert layers.Attention().compute_mask([X, Y]) is None
    y = layers.Attention()([X, Y], mask=[np.tri(2, 4, 1, dtype=bool), None]).numpy()
    assert (y[0, 2:] == 0).all()
    assert (y[0, :2] != 0).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [*MADE, "one head"])
def test_masks_of_tensors_are_taken_and_go_on(name: str) -> None:
    words = np.array([[3, 1, 0, 0], [2, 0, 0, 0]])
    embedding = layers.Embedding(4, 6, mask_zero=True)
    embedding.build((None, 4))
    plain = layers.Embedding(4, 6, weights=embedding.get_weights())
    if name == "one head":
        layer = layers.Attention()
        y, by_hand = layer([embedding(words)] * 2), layer([plain(words)] * 2, mask=[words != 0] * 2)
    else:
        layer = MADE[name]()
        y, x = layer(embedding(words), embedding(words)), plain(words)
        by_hand = layer(x, x, query_mask=words != 0, value_mask=words != 0)
    np.testing.assert_array_equal(y.mask, words != 0)
    np.testing.assert_array_equal(y.numpy(), by_hand.numpy())
    assert (plain(words).mask, embedding(words).mask.tolist()) == (None, (words != 0).tolist())


def test_a_transformer_block_trains() -> None:
    """The block learns to copy the token before: by attention alone can it know that."""
    tokens = np.random.default_rng(2).integers(0, 8, (96, 12))
    places = np.eye(12, dtype="float32")[None].repeat(96, 0)
    words, positions = Input((12,), dtype="int64"), Input((12, 12))
    x = layers.Embedding(8, 16)(words) + layers.Dense(16)(positions)
    x = x + layers.MultiHeadAttention(2, 16)(x, x, use_causal_mask=True)
    x = x + layers.Dense(16)(layers.Dense(32, activation="relu")(x))
    model = Model([words, positions], layers.Dense(8)(x))
    targets = np.concatenate([tokens[:, :1], tokens[:, :-1]], axis=1)

    def loss(y_true: Any, y_pred: Any) -> Any:
        logits = functions.reshape(y_pred, (-1, 8))
        labels = (y_true.value if isinstance(y_true, Tensor) else y_true).reshape(-1)
        return functions.mean(functions.softmax_cross_entropy(logits, labels.astype("int64")))

    model.compile("adam", loss)
    model.optimizer.learning_rate = 0.01
    history = model.fit([tokens, places], targets, batch_size=32, epochs=40, verbose=0).history
    assert history["loss"][0] > 1.5
    assert history["loss"][-1] < 0.3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: layers.MultiHeadAttention(0, 4), ValueError, "num_heads must be a positive"),
        (lambda: layers.MultiHeadAttention(2, 0), ValueError, "key_dim must be a positive"),
        (lambda: layers.MultiHeadAttention(2, 4, value_dim=-1), ValueError, "value_dim must be"),
        (lambda: layers.MultiHeadAttention(2, 4, output_shape=0), ValueError, "output_shape must"),
        (lambda: layers.MultiHeadAttention(2, 4, dropout=1.5), ValueError, "rate must be"),
        (lambda: layers.MultiHeadAttention(2, 4, sliding_window=0), ValueError, "sliding_window"),
        (lambda: layers.MultiHeadAttention(2, 4, flash_attention=True), ValueError, "in tiles"),
        (
            lambda: layers.MultiHeadAttention(2, 4, kernel_constraint="max_norm"),
            NotImplementedError,
            "kernel_constraint='max_norm' is not supported",
        ),
        (
            lambda: layers.GroupedQueryAttention(4, 6, 4),
            ValueError,
            "num_query_heads must be a multiple of num_key_value_heads, received 6 and 4",
        ),
        (lambda: layers.GroupedQueryAttention(4, 4, 2)(X[0], X[0]), ValueError, "batch, time"),
        (lambda: layers.MultiHeadAttention(2, 4)(X), TypeError, r"layer\(x, x\)"),
        (lambda: layers.MultiHeadAttention(2, 4)(X, Y[0]), ValueError, "of one rank"),
        (lambda: layers.MultiHeadAttention(2, 4)(X, Y, X), ValueError, "as many steps"),
        (
            lambda: layers.MultiHeadAttention(2, 4, attention_axes=0)(X, Y),
            ValueError,
            "attention_axes must be different axes between",
        ),
        (
            lambda: layers.MultiHeadAttention(2, 4, name="heads")(X, Y, attention_mask=MASK[:, :4]),
            ValueError,
            r"heads.*attention_mask of shape \(batch, queries, keys\).*here \(2, 2, 4, 5\)",
        ),
        (
            lambda: layers.MultiHeadAttention(2, 4)(X, Y, value_mask=MASK[:, :4]),
            ValueError,
            r"value_mask of shape \(batch, keys\), here \(2, 5\), .* received \(2, 4\)",
        ),
        (
            lambda: layers.MultiHeadAttention(2, 4)(X, Y, query_mask=MASK),
            ValueError,
            r"query_mask of shape \(batch, queries\), here \(2, 4\)",
        ),
        (lambda: layers.Attention()(X), ValueError, r"a list, \[query, value\]"),
        (lambda: layers.Attention()([X]), ValueError, "received 1 inputs"),
        (lambda: layers.Attention()([X, Y[..., :4]]), ValueError, r"received shapes"),
        (lambda: layers.Attention()([X, Y, X]), ValueError, r"received shapes"),
        (lambda: layers.Attention(score_mode="sum"), ValueError, "score_mode must be one of"),
        (
            lambda: layers.Attention()([X, Y], mask=MASK),
            ValueError,
            "mask must be a list of 2 masks",
        ),
        (
            lambda: layers.Attention()([X, Y], mask=[None, MASK[:, 0]]),
            ValueError,
            r"mask of the value of shape \(2, 5\), one bool a step, received \(2,\)",
        ),
        (
            lambda: layers.AdditiveAttention()([X, Y], mask=[None, MASK[:, :4]]),
            ValueError,
            r"mask must have the first sizes of its input .*\(2, 5\).*received shape \(2, 4\)",
        ),
    ],
)
def test_bad_arguments_and_inputs(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
