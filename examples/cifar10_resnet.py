"""Train a residual network (ResNet-8) on the color images of CIFAR-10.

python examples/cifar10_resnet.py
python examples/cifar10_resnet.py --epochs 20 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import gpunet as keras
from gpunet.datasets import cifar10

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples.mlperf_tiny import resnet8

BATCH_SIZE = 64
PEAK_RATE = 4e-3  # of Adam
PADDING = 4  # pixels that an image is shifted by at most
SIZE = 32


def build_model(steps: int) -> Any:
    """Return a compiled ResNet-8 whose learning rate rises and falls within so many steps."""
    layers = keras.layers
    image = layers.Input((SIZE, SIZE, 3))
    model = keras.Model(image, resnet8()(layers.Rescaling(1 / 127.5, -1)(image)))
    model.compile(
        keras.optimizers.Adam(learning_rate_schedule(steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def learning_rate_schedule(steps: int) -> Any:
    """Return a rise over the first tenth of the steps, and a fall along half a cosine to 0."""
    warmup = max(1, steps // 10)
    return keras.optimizers.schedules.CosineDecay(
        PEAK_RATE / 10, max(1, steps - warmup), warmup_target=PEAK_RATE, warmup_steps=warmup
    )


def augmented_batches(
    images: np.ndarray, labels: np.ndarray, epochs: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of bytes in a new order each epoch, each image shifted and mirrored by chance.

    The images that are left over at the end of an epoch, fewer than a batch, are left out.
    """
    rng = np.random.default_rng(seed)
    padded = np.zeros((BATCH_SIZE, SIZE + 2 * PADDING, SIZE + 2 * PADDING, 3), np.uint8)
    windows = sliding_window_view(padded, (SIZE, SIZE), axis=(1, 2))  # (batch, y, x, 3, 32, 32)
    inside, each = slice(PADDING, PADDING + SIZE), np.arange(BATCH_SIZE)
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            mirror = rng.choice([False, True], BATCH_SIZE)
            chosen = images[rows]
            chosen[mirror] = chosen[mirror, :, ::-1]
            padded[:, inside, inside] = chosen
            top, left = rng.integers(0, 2 * PADDING + 1, (2, BATCH_SIZE))
            batch = windows[each, top, left].transpose(0, 2, 3, 1)
            yield np.ascontiguousarray(batch), labels[rows]


def main() -> None:
    args = parse_arguments()
    keras.random.seed(args.seed)
    try:
        (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"No data. {error}")
    if args.samples:
        x_train, y_train = x_train[: args.samples], y_train[: args.samples]
        x_test, y_test = x_test[: args.samples], y_test[: args.samples]
    steps = len(x_train) // BATCH_SIZE

    start = time.perf_counter()
    model = build_model(args.epochs * steps)
    model.fit(
        augmented_batches(x_train, y_train, args.epochs, args.seed),
        epochs=args.epochs,
        steps_per_epoch=steps,
    )
    seconds = time.perf_counter() - start
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=250, verbose=0)
    print(f"Test accuracy: {accuracy:.4f}, loss: {loss:.4f}, on {len(x_test):,} images")
    print(f"Training time: {seconds:.1f} s for {args.epochs} epochs of {steps} steps")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--samples", type=int, help="images to train and to test on; all of them")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error(f"--epochs must be at least 1, received {args.epochs}")
    if args.samples is not None and args.samples < BATCH_SIZE:
        parser.error(f"--samples must be at least {BATCH_SIZE}, a batch, received {args.samples}")
    return args


if __name__ == "__main__":
    main()
