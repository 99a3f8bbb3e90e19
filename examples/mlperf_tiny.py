"""Build the four reference networks of MLPerf Tiny, train each for a few steps, and time it.

python examples/mlperf_tiny.py
python examples/mlperf_tiny.py --network ResNet-8 --steps 100

Banbury et al., "MLPerf Tiny benchmark", 2021. The pictures and sounds are random numbers of the
shapes that the benchmark names: what is shown is what a step costs, not what a network learns.
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import numpy as np

import gpunet


class Network(NamedTuple):
    """A network with the shapes of what it takes and gives, and the loss it is trained by."""

    build: Any
    input_shape: tuple[int, ...]
    classes: int | None  # None: it returns what it was given
    batch_size: int


def convolution(
    keras: Any, x: Any, filters: int, size: Any, strides: int = 1, **options: Any
) -> Any:
    """Apply a convolution, batch normalization and ReLU."""
    layers = keras.layers
    x = layers.Conv2D(filters, size, strides, "same", **options)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def resnet8(keras: Any = gpunet) -> Any:
    """Return the residual network that classifies pictures of 32x32 (CIFAR-10)."""
    layers = keras.layers
    options = {"kernel_initializer": "he_normal"}
    image = layers.Input((32, 32, 3))
    x = convolution(keras, image, 16, 3, **options)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = convolution(keras, x, filters, 3, strides, **options)
        y = layers.Conv2D(filters, 3, padding="same", **options)(y)
        y = layers.BatchNormalization()(y)
        if strides > 1:
            x = layers.Conv2D(filters, 1, strides, "same", **options)(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(image, layers.Dense(10, activation="softmax", **options)(x))


def ds_cnn(keras: Any = gpunet) -> Any:
    """Return the network of separable convolutions that spots words in spectrograms."""
    layers = keras.layers
    sound = layers.Input((49, 10, 1))
    x = convolution(keras, sound, 64, (10, 4), 2)
    x = layers.Dropout(0.2)(x)
    for _ in range(4):
        x = separable(keras, x, 64)
    x = layers.Dropout(0.4)(x)
    x = layers.Flatten()(layers.AveragePooling2D((25, 5))(x))
    return keras.Model(sound, layers.Dense(12, activation="softmax")(x))


def mobilenet(keras: Any = gpunet) -> Any:
    """Return MobileNet of a quarter of the width, which says whether a person is in a picture."""
    layers = keras.layers
    image = layers.Input((96, 96, 3))
    x = convolution(keras, image, 8, 3, 2, use_bias=False)
    for filters, strides in (
        (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1),
    ):  # fmt: skip
        x = separable(keras, x, filters, strides, use_bias=False)
    x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def separable(keras: Any, x: Any, filters: int, strides: int = 1, **options: Any) -> Any:
    """Convolve each channel by itself, then mix the channels; each with normalization and ReLU."""
    layers = keras.layers
    x = layers.DepthwiseConv2D(3, strides, "same", **options)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return convolution(keras, x, filters, 1, **options)


def autoencoder(keras: Any = gpunet) -> Any:
    """Return the network that finds faults of machines by sounds that it cannot reproduce."""
    layers = keras.layers
    x = sound = layers.Input((640,))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(units)(x)))
    return keras.Model(sound, layers.Dense(640)(x))


NETWORKS = {
    "ResNet-8": Network(resnet8, (32, 32, 3), 10, 32),
    "DS-CNN": Network(ds_cnn, (49, 10, 1), 12, 100),
    "MobileNet-0.25": Network(mobilenet, (96, 96, 3), 2, 32),
    "autoencoder": Network(autoencoder, (640,), None, 512),
}


def main() -> None:
    args = parse_arguments()
    gpunet.random.seed(0)
    for name in args.network or NETWORKS:
        network = NETWORKS[name]
        model = network.build()
        loss = "mse" if network.classes is None else "sparse_categorical_crossentropy"
        model.compile("adam", loss)
        rng = np.random.default_rng(0)
        x = rng.random((network.batch_size, *network.input_shape), "float32")
        y = x if network.classes is None else rng.integers(0, network.classes, len(x))
        first = model.train_on_batch(x, y)
        step = seconds(lambda: model.train_on_batch(x, y), args.steps)  # noqa: B023
        last = model.train_on_batch(x, y)
        one = seconds(lambda: model.predict_on_batch(x[:1]), args.steps)  # noqa: B023
        print(
            f"{name}: {model.count_params():,} weights, loss {first:.3f} to {last:.3f}, a step of "
            f"{len(x)} in {1e3 * step:.2f} ms, one sample in {1e3 * one:.2f} ms"
        )


def seconds(call: Any, count: int) -> float:
    """Return the time of a call, the median of several."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", choices=NETWORKS, help="repeatable")
    parser.add_argument("--steps", type=int, default=20, help="steps and predictions to time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
