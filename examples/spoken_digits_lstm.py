"""Train an LSTM to recognize spoken digits from their spectrograms.

python examples/spoken_digits_lstm.py
python examples/spoken_digits_lstm.py --epochs 40 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import gpunet as keras

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples.spectrograms import load_spectrograms


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
    args = parse_arguments()
    keras.random.seed(args.seed)
    (x_train, y_train), (x_test, y_test) = load_spectrograms(args.samples)
    print(f"Spectrograms: {len(x_train):,} to train on, {len(x_test):,} to test, {x_train.shape}")
    model = build_model(*x_train.shape[1:])
    start = time.perf_counter()
    model.fit(x_train, y_train, batch_size=32, epochs=args.epochs)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test accuracy: {accuracy:.4f}, after {seconds:.1f} s of training")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--samples", type=int, help="recordings to train and test on; all of them")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("epochs", "samples"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, received {getattr(args, name)}")
    return args


if __name__ == "__main__":
    main()
