"""Long short-term memory with convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpunet import Input, check_gradients, functions
from gpunet.layers import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, Dense, Flatten
from gpunet.models import Sequential

X = np.random.default_rng(0).standard_normal((2, 3, 5, 4, 2)).astype("float32")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_gradients_with_a_mask_and_dropout(data_format: str) -> None:
    x = X if data_format == "channels_last" else np.moveaxis(X, -1, 2)
    layer = ConvLSTM2D(
        2, 2, data_format=data_format, dtype="float64", return_sequences=True, return_state=True
    )
    mask = np.array([[1, 0, 1], [0, 1, 1]], bool)
    check_gradients(lambda x: functions.stack([layer(x, mask=mask)[i] for i in (1, 2)]), x)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_dropout_is_drawn_for_each_gate_and_kept_over_time(data_format: str) -> None:
    """A step of ones: equal gates without dropout, others with it, the same by one seed."""
    at = (2, 4, 6, 6, 3) if data_format == "channels_last" else (2, 4, 3, 6, 6)
    outputs = [
        ConvLSTM2D(
            2, 1, data_format=data_format, dropout=dropped, recurrent_dropout=dropped, seed=3,
            kernel_initializer="ones", recurrent_initializer="ones",
        )(np.ones(at, "float32"), training=training).numpy()
        for dropped, training in ((0.5, False), (0.5, True), (0.5, True), (0.0, True))
    ]  # fmt: skip
    np.testing.assert_array_equal(outputs[0], outputs[3])
    np.testing.assert_array_equal(outputs[1], outputs[2])
    assert len(np.unique(outputs[0].round(5))) < len(np.unique(outputs[1].round(5)))


def test_unroll_makes_no_difference_and_both_layouts_agree() -> None:
    plain, unrolled = ConvLSTM2D(3, 2, strides=2), ConvLSTM2D(3, 2, strides=2, unroll=True)
    first = ConvLSTM2D(3, 2, strides=2, data_format="channels_first")
    y = plain(X).numpy()
    for layer, x in ((unrolled, X), (first, np.moveaxis(X, -1, 2))):
        layer(x)
        layer.set_weights(plain.get_weights())
        other = layer(x).numpy()
        other = np.moveaxis(other, 1, -1) if layer is first else other
        np.testing.assert_allclose(other, y, atol=1e-6)


def test_training_and_paths_of_weights() -> None:
    model = Sequential(
        [Input((None, 5, 4, 2)), ConvLSTM2D(4, 3, padding="same"), Flatten(), Dense(1)]
    )
    assert model.output_shape == (None, 1)
    assert next(iter(model.weight_paths())).endswith("kernel")
    x = np.random.default_rng(1).standard_normal((32, 3, 5, 4, 2)).astype("float32")
    model.compile("adam", "mse")
    losses = model.fit(x, x.mean((1, 2, 3))[:, :1], epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def small(*shape: int) -> Any:
    return np.zeros(shape, "float32")


def built(layer: Any, *shape: int) -> Any:
    layer(small(*shape))
    return layer


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConvLSTM2D(0, 3), "units must be a positive integer|filters must be"),
        (lambda: ConvLSTM2D(2, (3,)), "ConvLSTMCell: kernel_size: .* two integers"),
        (lambda: ConvLSTM2D(2, 3, padding="causal"), "ConvLSTMCell: padding must be one of"),
        (lambda: ConvLSTM2D(2, 3, dropout=1.0), "ConvLSTMCell: dropout must be from 0 to below 1"),
        (lambda: ConvLSTM1D(2, 4)(small(1, 2, 3, 1)), "length: the window spans 4"),
        (lambda: ConvLSTM2D(2, 4)(small(1, 2, 4, 3, 1)), "width: the window spans 4"),
        (lambda: ConvLSTM3D(2, 4)(small(1, 2, 4, 3, 5, 1)), "height: the window spans 4"),
        (lambda: ConvLSTM2D(2, 2)(small(1, 4, 3, 1)), r"\(batch, time, height, width, channels"),
        (lambda: ConvLSTM2D(2, 2)(Input((3, None, 4, 1))), "known sizes"),
        (lambda: built(ConvLSTM2D(2, 2), 1, 2, 4, 4, 1)(small(1, 2, 5, 4, 1)), "was built for"),
        (
            lambda: ConvLSTM2D(2, 2)(X, initial_state=[small(3, 4, 3, 2), small(2, 4, 3, 2)]),
            r"2 states of shape \(2, 4, 3, 2\)",
        ),
        (lambda: ConvLSTM2D(2, 2)(X, mask=np.ones((2, 4), bool)), r"\(2, 4\)"),
    ],
)
def test_what_is_wrong_is_said(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_constraints_are_not_there() -> None:
    with pytest.raises(NotImplementedError, match="ConvLSTMCell: kernel_constraint='max_norm'"):
        ConvLSTM2D(2, 2, kernel_constraint="max_norm")
