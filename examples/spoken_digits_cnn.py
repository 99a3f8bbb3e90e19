"""Train a convolutional network to recognize spoken digits from their spectrograms.

python examples/spoken_digits_cnn.py
python examples/spoken_digits_cnn.py --epochs 40 --seed 1
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gpunet as keras

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples.spectrograms import train_and_test


def build_model(time_steps: int, bands: int) -> Any:
    layers = keras.layers
    sound = layers.Input((time_steps, bands))
    x = layers.Reshape((time_steps, bands, 1))(sound)
    for filters in (16, 32, 64):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    model = keras.Model(sound, layers.Dense(10, activation="softmax")(x))
    model.compile(
        keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def main() -> None:
    train_and_test(build_model, __doc__.splitlines()[0], epochs=8)


if __name__ == "__main__":
    main()
