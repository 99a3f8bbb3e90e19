"""Transfer what a network learned on the digits 0 to 4 to the digits 5 to 9, with few samples.

python examples/transfer.py
python examples/transfer.py --few 10

The convolutions are trained on the first five digits and then frozen; a new head learns the other
five. Beside it the same network learns them from scratch, by the same samples and steps.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

import gpunet as keras
from gpunet.datasets import mnist

Data = tuple[np.ndarray, np.ndarray]


def build_convolutions() -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
        ],
        name="convolutions",
    )


def with_head(convolutions: Any) -> Any:
    """Return a compiled model of the convolutions and a new head for five digits."""
    layers = keras.layers
    image = layers.Input((28, 28, 1))
    x = layers.Dense(64, activation="relu")(convolutions(image))
    model = keras.Model(image, layers.Dense(5, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    args = parse_arguments()
    keras.random.seed(args.seed)
    try:
        train, test = mnist.load_data()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"No data. {error}")
    start = time.perf_counter()
    first, second = digits(train, 0), digits(train, 5)
    few = choose(second, args.few, args.seed)
    print(f"Digits 0 to 4: {min(args.samples, len(first[0])):,} images to train on")
    convolutions = build_convolutions()
    model = with_head(convolutions)
    model.fit(*choose(first, args.samples // 5, args.seed), batch_size=64, epochs=args.epochs)

    convolutions.trainable = False
    transferred = with_head(convolutions)
    scratch = with_head(build_convolutions())
    print(f"Digits 5 to 9: {len(few[0])} images to train on, {args.few} of each")
    for model in (transferred, scratch):
        model.fit(*few, batch_size=10, epochs=30, verbose=0)
    (_, ours), (_, other) = (
        m.evaluate(*digits(test, 5), verbose=0) for m in (transferred, scratch)
    )
    print(f"Test accuracy: {ours:.4f} with frozen convolutions, {other:.4f} from scratch")
    print(f"Time: {time.perf_counter() - start:.1f} s")


def digits(data: Data, lowest: int) -> Data:
    """Return images from 0 to 1 of five digits, and labels from 0 to 4."""
    images, labels = data
    chosen = (labels >= lowest) & (labels < lowest + 5)
    return images[chosen, :, :, None].astype("float32") / 255, labels[chosen] - lowest


def choose(data: Data, of_each: int, seed: int) -> Data:
    """Return that many images of each label, in mixed order."""
    images, labels = data
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(labels == label))[:of_each] for label in range(5)]
    order = rng.permutation(np.concatenate(rows))
    return images[order], labels[order]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--few", type=int, default=10, help="samples of each of the digits 5 to 9")
    parser.add_argument("--samples", type=int, default=15_000, help="of the digits 0 to 4")
    parser.add_argument("--epochs", type=int, default=2, help="on the digits 0 to 4")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name, least in (("few", 1), ("samples", 5), ("epochs", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} must be at least {least}, received {getattr(args, name)}")
    return args


if __name__ == "__main__":
    main()
