"""Train with a custom activation and a custom reduction, each a CUDA kernel with its NumPy twin.

python examples/custom_kernel.py
python examples/custom_kernel.py --check

`snake` is an activation whose frequency is learned; `row_norms` is a reduction, a block of threads
for each row. On NumPy arrays the functions run as they stand, on CuPy arrays the kernels do.
`--check` compares the two on a GPU; it compares gradients with central differences anywhere.
"""

from __future__ import annotations

import argparse
import sys
import time
import unittest
from typing import Any

import numpy as np

import gpunet as keras
from gpunet import kernel
from gpunet.datasets import mnist


# x + sin(frequency x)^2 / frequency (Ziyin, Hartwig and Ueda, 2020), a frequency for each feature.
@kernel(r"""
#include "common.cuh"

extern "C" __global__ void snake(
    const int64 count, const int64 features, const T* x, const T* frequency, T* y
) {
    for (int64 i = thread_index(); i < count; i += thread_count()) {
        const A a = frequency[i % features];
        const A wave = sin(a * x[i]);
        y[i] = x[i] + wave * wave / a;
    }
}
""", sizes=lambda frequency: {"features": frequency.size})  # fmt: skip
def snake(x: Any, frequency: Any) -> Any:
    return x + np.sin(frequency * x) ** 2 / frequency


@snake.gradient
def snake_gradient(output_grad: Any, x: Any, frequency: Any) -> Any:
    """Return the gradients of both arguments; these array operations run on either device."""
    angle = 2 * frequency * x
    by_frequency = (x * np.sin(angle) - np.sin(angle / 2) ** 2 / frequency) / frequency
    rows = tuple(range(x.ndim - 1))
    return output_grad * (1 + np.sin(angle)), (output_grad * by_frequency).sum(axis=rows)


# The length of each row: a block adds up the squares of one row, in a fixed order.
@kernel(r"""
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(128) row_norms(
    const int64 columns, const T* x, T* y
) {
    SHARED(A, sums, 128);
    A sum = 0;
    for (int64 i = threadIdx.x; i < columns; i += 128) {
        const A value = x[blockIdx.x * columns + i];
        sum += value * value;
    }
    sums[threadIdx.x] = sum;
    for (int half = 64; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) y[blockIdx.x] = sqrt(sums[0]);
}
""",
    shape=lambda x: x.shape[:-1],
    grid=lambda x: x.size // x.shape[-1],
    block=128,
    sizes=lambda x: {"columns": x.shape[-1]},
)  # fmt: skip
def row_norms(x: Any) -> Any:
    return np.sqrt((x * x).sum(axis=-1))


@row_norms.gradient
def row_norms_gradient(output_grad: Any, x: Any, output: Any) -> Any:
    return (output_grad / np.maximum(output, 1e-12))[..., None] * x


rng = np.random.default_rng(0)
# For pytest: `pytest examples/custom_kernel.py` runs them, and skips the kernels without a GPU.
test_snake = snake.test(
    (rng.normal(size=(40, 33)).astype("float32"), rng.uniform(0.5, 2, 33).astype("float32")),
    (rng.normal(size=(7, 5, 3)), rng.uniform(0.5, 2, 3)),
)
test_row_norms = row_norms.test(
    rng.normal(size=(9, 1000)).astype("float32"), rng.normal(size=(3, 4, 7))
)


class Snake(keras.layers.Layer):
    """Apply `snake`, with a weight for the frequency of each feature."""

    def build(self, input_shape: Any) -> None:
        self.frequency = self.add_weight((input_shape[-1],), "ones", name="frequency")

    def call(self, x: Any) -> Any:
        return snake(x, self.frequency)


class Scale(keras.layers.Layer):
    """Divide rows by their length: `row_norms` within other operations."""

    def call(self, x: Any) -> Any:
        return x / (1e-6 + row_norms(x).reshape(-1, 1))


def build_model() -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten(), Scale(),
            layers.Dense(128), Snake(), layers.Dense(128), Snake(),
            layers.Dense(10, activation="softmax"),
        ]
    )  # fmt: skip


def main() -> None:
    args = parse_arguments()
    if args.check:
        check_all()
        return
    keras.random.seed(args.seed)
    try:
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"No data. {error}")
    model = build_model()
    optimizer = keras.optimizers.Adam(0.002)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    count = args.samples or len(x_train)
    model.fit(x_train[:count], y_train[:count], batch_size=128, epochs=args.epochs)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"Test accuracy: {accuracy:.4f}, after {seconds:.1f} s of training")


def check_all() -> None:
    """Compare both kernels with their functions, or say why that is not possible here."""
    for name, test in (("snake", test_snake), ("row_norms", test_row_norms)):
        try:
            test()
            print(f"{name}: the kernel and the NumPy function agree, and so does the gradient")
        except AssertionError as error:
            sys.exit(str(error))
        except unittest.SkipTest as error:  # there is no GPU
            print(f"{name}: the gradient is right. The kernel did not run: {error}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare the twins, and do not train")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--samples", type=int, help="images to train on; by default all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name in ("epochs", "samples"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, received {getattr(args, name)}")
    return args


if __name__ == "__main__":
    main()
