"""Train an LSTM to recognize spoken digits from their spectrograms.

python examples/spoken_digits_lstm.py
python examples/spoken_digits_lstm.py --epochs 40 --seed 1
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
    model = keras.Sequential(
        [
            layers.Input((time_steps, bands)),
            layers.Bidirectional(layers.LSTM(64, return_sequences=True)),
            layers.Dropout(0.3),
            layers.LSTM(64, return_sequences=True),
            layers.GlobalAveragePooling1D(),
            layers.Dropout(0.3),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def main() -> None:
    train_and_test(build_model, __doc__.splitlines()[0], epochs=12)


if __name__ == "__main__":
    main()
