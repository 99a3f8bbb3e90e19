"""Train a convolutional autoencoder that keeps 32 numbers of each handwritten digit.

python examples/autoencoder.py
python examples/autoencoder.py --epochs 10 --plot digits.png
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

import gpunet as keras
from gpunet.datasets import mnist

CODE = 32  # numbers of an image


def build_model() -> Any:
    layers = keras.layers
    image = layers.Input((28, 28, 1))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    code = layers.Dense(CODE)(layers.Flatten()(x))
    x = layers.Dense(7 * 7 * 32, activation="relu")(code)
    x = layers.Reshape((7, 7, 32))(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(1, 3, strides=2, padding="same", activation="sigmoid")(x)
    model = keras.Model(image, x)
    model.compile(keras.optimizers.Adam(2e-3), "mse")
    return model


def main() -> None:
    args = parse_arguments()
    keras.random.seed(args.seed)
    try:
        (x_train, _), (x_test, _) = mnist.load_data()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"No data. {error}")
    x_train, x_test = (as_floats(images[: args.samples]) for images in (x_train, x_test))
    figure = open_figure(args.plot) if args.plot else None

    model = build_model()
    start = time.perf_counter()
    model.fit(x_train, x_train, batch_size=128, epochs=args.epochs)
    seconds = time.perf_counter() - start
    loss = model.evaluate(x_test, x_test, verbose=0)
    mean_image = float(((x_test - x_train.mean(axis=0)) ** 2).mean())
    print(f"Mean squared error: {loss:.4f}, of the mean image: {mean_image:.4f}")
    print(f"Training time: {seconds:.1f} s")
    if figure:
        draw(figure, x_test[:10], model.predict(x_test[:10], verbose=0))
        figure.savefig(args.plot)
        print(f"Originals and reconstructions: {args.plot}")


def as_floats(images: np.ndarray) -> np.ndarray:
    return images[..., None].astype("float32") / 255


def open_figure(file: str) -> Any:
    """Return an empty figure; save it once, so that a bad `file` fails before training."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit('--plot needs matplotlib, which is not installed: pip install "gpunet[plot]"')
    figure = Figure(figsize=(10, 2.2), dpi=100, layout="constrained")
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        sys.exit(f"--plot cannot write {file}: {error}")
    return figure


def draw(figure: Any, originals: np.ndarray, reconstructions: np.ndarray) -> None:
    rows = {"original": originals, "reconstruction": reconstructions}
    grid = figure.subplots(2, len(originals))
    for axes, (name, images) in zip(grid, rows.items(), strict=True):
        axes[0].set_ylabel(name)
        for axis, image in zip(axes, images, strict=True):
            axis.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--samples", type=int, help="images to train and to test on; all of them")
    parser.add_argument("--plot", metavar="FILE", help="draw digits to FILE, such as digits.png")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("epochs", "samples"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, received {getattr(args, name)}")
    return args


if __name__ == "__main__":
    main()
