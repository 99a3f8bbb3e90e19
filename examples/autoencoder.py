"""Train an autoencoder that keeps 32 numbers of each handwritten digit.

python examples/autoencoder.py
python examples/autoencoder.py --epochs 20 --plot digits.png
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
    model = keras.Sequential(
        [
            layers.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(CODE),
            layers.Dense(256, activation="relu"),
            layers.Dense(28 * 28, activation="sigmoid"),
            layers.Reshape((28, 28)),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), "mse")
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
    return images.astype("float32") / 255


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
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
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
