"""Embedding: values, gradients, masks, and indices beyond the table."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from gpunet import Input, Sequential, Tensor, check_gradients, functions, layers, models

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(7, 4)).astype("float32")
INDICES = np.array([[0, 6, 6], [3, 1, 6]])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint64", "float32"])
def test_rows_are_chosen_by_numbers_of_any_type(dtype: str) -> None:
    layer = layers.Embedding(7, 4, weights=TABLE)
    np.testing.assert_array_equal(layer(INDICES.astype(dtype)).numpy(), TABLE[INDICES])


def test_the_gradient_of_a_row_is_the_sum_of_its_samples() -> None:
    layer = layers.Embedding(7, 4, weights=[TABLE])
    factors = rng.normal(size=(2, 3, 4)).astype("float32")
    (layer(INDICES) * factors).sum().backward()
    expected = np.zeros_like(TABLE)
    np.add.at(expected, INDICES, factors)
    np.testing.assert_array_equal(layer.embeddings.grad, expected)
    check_gradients(lambda table: functions.embedding(table, INDICES), TABLE.astype("float64"))


def test_floats_between_have_a_gradient_of_zero() -> None:
    x = Tensor(np.array([1.7, 2.0]), requires_grad=True)
    y = layers.Embedding(7, 4, weights=TABLE)(x)
    np.testing.assert_array_equal(y.numpy(), TABLE[[1, 2]])
    y.sum().backward()
    assert x.grad.tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [7, -1, 2**40])
def test_an_index_beyond_the_table_is_named_with_its_place_and_layer(wrong: int) -> None:
    indices = np.array([[0, 1], [wrong, 2]])
    message = rf"words.*indices from 0 to 6, received {wrong} at position \(1, 0\)"
    with pytest.raises(IndexError, match=message):
        layers.Embedding(7, 4, name="words")(indices)
    model = Sequential([layers.Embedding(7, 4, name="words", input_shape=(2,)), layers.Flatten()])
    with pytest.raises(IndexError, match=message):
        model.predict(indices, verbose=0)


def test_index_0_is_padding_by_choice() -> None:
    masked = layers.Embedding(7, 4, mask_zero=True)
    assert masked.compute_mask(Tensor(INDICES)).tolist() == [[False, True, True], [True] * 3]
    assert layers.Embedding(7, 4).compute_mask(Tensor(INDICES)) is None


def test_shapes_symbols_copies_and_configs() -> None:
    layer = layers.Embedding(7, 4, mask_zero=True, weights=TABLE)
    assert layer(Input((None,))).shape == (None, None, 4)
    assert layer.compute_output_shape((None, 5)) == (None, 5, 4)
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(same(INDICES).numpy(), TABLE[INDICES])
    again = layers.Embedding.from_config(layer.get_config())
    assert (again.input_dim, again.output_dim, again.mask_zero) == (7, 4, True)
    assert not again.built


def test_words_train() -> None:
    """A sum of word vectors learns which words are positive."""
    x = np.random.default_rng(1).integers(0, 20, (200, 6))
    y = (np.where(x < 10, 1, -1).sum(axis=1) > 0).astype("float32")[:, None]
    words = Input((6,), dtype="int64")
    summed = functions.sum(layers.Embedding(20, 8)(words), axis=1)
    model = models.Model(words, layers.Dense(1, activation="sigmoid")(summed))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.05
    history = model.fit(x, y, epochs=15, verbose=0).history
    assert history["accuracy"][-1] > 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_dim": 0}, "input_dim must be a positive integer, received 0"),
        ({"output_dim": 2.5}, "output_dim must be a positive integer, received 2.5"),
        ({"weights": np.zeros((3, 3))}, r"\(7, 4\)"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layers.Embedding(**{"input_dim": 7, "output_dim": 4} | arguments)


@pytest.mark.parametrize(
    "arguments", [{"lora_rank": 4}, {"lora_alpha": 2}, {"embeddings_constraint": "unit_norm"}]
)
def test_unsupported_arguments(arguments: dict[str, Any]) -> None:
    [(name, value)] = arguments.items()
    with pytest.raises(NotImplementedError, match=f"{name}={value!r} is not supported"):
        layers.Embedding(7, 4, **arguments)
