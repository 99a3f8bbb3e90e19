"""Train a small convolutional network to classify handwritten digits, on a GPU or a CPU.

python examples/mnist_cnn.py
python examples/mnist_cnn.py --data digits --epochs 5 --plot curves.png
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import gpunet
from gpunet.datasets import digits, mnist
from gpunet.layers import Conv2D, Dense, Flatten, MaxPooling2D
from gpunet.models import Sequential
from gpunet.utils import to_categorical

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def build_model() -> Sequential:
    model = Sequential()
    model.add(Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(MaxPooling2D((2, 2)))
    model.add(Conv2D(64, (3, 3), activation="relu"))
    model.add(MaxPooling2D((2, 2)))
    model.add(Conv2D(64, (3, 3), activation="relu"))
    model.add(MaxPooling2D((2, 2)))
    model.add(Flatten())
    model.add(Dense(64, activation="relu"))
    model.add(Dense(10, activation="softmax"))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    args = parse_arguments()
    if args.backend:
        gpunet.use_backend(args.backend)
    gpunet.random.seed(args.seed)

    try:
        (x_train, y_train), (x_test, y_test) = load_data(args.data)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"No data. {error}")
    print(f"Backend: {gpunet.backend.active_backend()}. {gpunet.backend.backend_reason()}")
    figure = open_figure(args.plot) if args.plot else None

    model = build_model()
    model.summary()
    history = model.fit(
        x_train,
        y_train,
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_data=(x_test, y_test),  # monitored only, not used to select a model
    )
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test accuracy: {accuracy:.4f}, loss: {loss:.4f}, on {len(x_test):,} images")

    if figure:
        draw_curves(figure, history.history)
        figure.savefig(args.plot)
        print(f"Curves of loss and accuracy: {args.plot}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        choices=["auto", "mnist", "digits"],
        default="auto",
        help="auto: MNIST if cached or downloadable, else scikit-learn's digits",
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--backend",
        choices=["auto", "numpy", "cupy"],
        help="where to compute; default: GPUNET_BACKEND, else auto",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the initial weights and the shuffling"
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="plot loss and accuracy to FILE, such as curves.png"
    )
    return parser.parse_args()


def load_data(name: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return training and test data: images (n, 28, 28, 1) from 0 to 1, one-hot labels (n, 10)."""
    why = ""
    if name != "auto":
        data = {"mnist": mnist, "digits": digits}[name].load_data()
    else:
        try:
            name, data = "mnist", mnist.load_data()
        except (ImportError, OSError) as error:
            name, data = "digits", digits.load_data()
            why = f" (MNIST is neither cached nor reachable)\n{error}"
    (x_train, y_train), (x_test, y_test) = data
    print(f"Data: {name}, {len(x_train):,} training images, {len(x_test):,} test images{why}")
    return as_arrays(x_train, y_train), as_arrays(x_test, y_test)


def as_arrays(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return images[..., None].astype("float32") / 255, to_categorical(labels, num_classes=10)


def open_figure(file: str) -> Figure:
    """Return an empty figure; save it once, so that a bad `file` fails before training."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit('--plot needs matplotlib, which is not installed: pip install "gpunet[plot]"')
    figure = Figure(figsize=(9, 3.8), dpi=150, layout="constrained")
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        sys.exit(f"--plot cannot write {file}: {error}")
    return figure


def draw_curves(figure: Figure, history: dict[str, list[float]]) -> None:
    labels = {"loss": "Cross-entropy loss", "accuracy": "Accuracy"}
    epochs = range(1, len(history["loss"]) + 1)
    for axes, (name, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        axes.plot(epochs, history[name], "o-", color="#0072b2", label="training")
        axes.plot(epochs, history[f"val_{name}"], "s--", color="#d55e00", label="validation")
        axes.set(xlabel="Epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)


if __name__ == "__main__":
    main()
