"""The program that the benchmarks train in each library: its network and its data.

Imports NumPy only: interpreters without gpunet import this module too.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BATCH_SIZES = (32, 128, 1024)

Images = tuple[np.ndarray, np.ndarray]  # images (n, 28, 28, 1) in [0, 1], labels (n,)


class Conv(NamedTuple):
    """A 3x3 convolution of the program, on square images without padding."""

    size: int
    channels: int
    filters: int


# The layers of examples/mnist_cnn.py: 2x2 max pooling follows each convolution.
CONVOLUTIONS = (Conv(28, 1, 32), Conv(13, 32, 64), Conv(5, 64, 64))
DENSE = ((64, 64), (64, 10))  # inputs, outputs


def batch(size: int) -> Images:
    """Return images (size, 28, 28, 1) in [0, 1) and integer labels (size,)."""
    rng = np.random.default_rng(0)
    return rng.random((size, 28, 28, 1), dtype="float32"), rng.integers(0, 10, size)


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Return labels (n,) as (n, 10), float32."""
    return np.eye(10, dtype="float32")[labels]


def mnist_file() -> Path:
    """Return the path of MNIST.

    Raises:
        FileNotFoundError: it is missing; the message says why.
    """
    home = os.environ.get("GPUNET_HOME")
    if not home:
        raise FileNotFoundError("GPUNET_HOME is not set: expected the folder of mnist.npz")
    if not (file := Path(home) / "mnist.npz").is_file():
        raise FileNotFoundError(f"there is no mnist.npz in GPUNET_HOME={home}")
    return file


@functools.cache
def mnist(count: int, test_count: int) -> tuple[Images, Images]:
    """Return the first `count` training and `test_count` test images of MNIST."""
    with np.load(mnist_file(), allow_pickle=False) as file:
        return tuple(  # type: ignore[return-value]
            (file[f"x_{part}"][:n, ..., None] / np.float32(255), file[f"y_{part}"][:n].astype(int))
            for part, n in (("train", count), ("test", test_count))
        )


def torch_network() -> Any:
    """Return the program's network in PyTorch; it outputs logits."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def keras_network() -> Any:
    """Return the program's network in Keras, not compiled."""
    from keras import Input, Sequential
    from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D

    return Sequential([
        Input((28, 28, 1)),
        Conv2D(32, 3, activation="relu"), MaxPooling2D(2),
        Conv2D(64, 3, activation="relu"), MaxPooling2D(2),
        Conv2D(64, 3, activation="relu"), MaxPooling2D(2),
        Flatten(), Dense(64, activation="relu"), Dense(10, activation="softmax"),
    ])  # fmt: skip
