"""Networks whose captured steps are counted: ResNet-8, an LSTM and a small transformer."""

from __future__ import annotations

from typing import Any

from gpunet.layers import (
    LSTM,
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    Embedding,
    GlobalAveragePooling2D,
    Input,
    Layer,
    LayerNormalization,
    MultiHeadAttention,
)
from gpunet.models import Model, Sequential

__all__ = ["lstm", "resnet8", "transformer"]


def resnet8(size: int = 32, filters: int = 16, classes: int = 10) -> Model:
    """Return ResNet-8 as in MLPerf Tiny, for CIFAR-10."""
    image = Input((size, size, 3))
    x = _normalized(image, filters, 3, 1, "relu")
    for stack, strides in enumerate((1, 2, 2)):
        width = filters * 2**stack
        y = _normalized(x, width, 3, strides, "relu")
        y = _normalized(y, width, 3, 1, None)
        if strides != 1:
            x = Conv2D(width, 1, strides=strides, padding="same")(x)
        x = Activation("relu")(Add()([x, y]))
    x = GlobalAveragePooling2D()(x)
    return Model(image, Dense(classes, activation="softmax")(x))


def _normalized(x: Any, filters: int, kernel: int, strides: int, activation: str | None) -> Any:
    x = Conv2D(filters, kernel, strides=strides, padding="same")(x)
    x = BatchNormalization()(x)
    return x if activation is None else Activation(activation)(x)


def lstm(steps: int = 6, features: int = 4, units: int = 8, classes: int = 3) -> Sequential:
    """Return two LSTM layers and a classifier of sequences."""
    return Sequential(
        [
            Input((steps, features)),
            LSTM(units, return_sequences=True),
            LSTM(units),
            Dense(classes, activation="softmax"),
        ]
    )


class Positions(Layer):
    """Add a weight of its own for each position in time."""

    def build(self, input_shape: Any) -> None:
        self.weight = self.add_weight(input_shape[1:], "normal", name="weight")

    def call(self, x: Any) -> Any:
        return x + self.weight


def transformer(
    steps: int = 8, vocabulary: int = 12, width: int = 16, heads: int = 2, blocks: int = 2
) -> Model:
    """Return a transformer that predicts the character after each."""
    text = Input((steps,), dtype="int64")
    x = Positions()(Embedding(vocabulary, width)(text))
    for _ in range(blocks):
        y = LayerNormalization()(x)
        x = x + MultiHeadAttention(heads, width // heads)(y, y, use_causal_mask=True)
        x = x + Dense(width)(Dense(4 * width, activation="gelu")(LayerNormalization()(x)))
    return Model(text, Dense(vocabulary, activation="softmax")(LayerNormalization()(x)))
