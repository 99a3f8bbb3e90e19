"""The program that the benchmarks train, in gpunet and in PyTorch, on the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import gpunet
from gpunet.layers import Conv2D, Dense, Flatten, MaxPooling2D
from gpunet.models import Sequential

BATCH_SIZES = (32, 128, 1024)


def batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (size, 28, 28, 1) in [0, 1) and integer labels (size,)."""
    rng = np.random.default_rng(0)
    return rng.random((size, 28, 28, 1), dtype="float32"), rng.integers(0, 10, size)


def gpunet_model() -> Sequential:
    """Return the program, compiled."""
    gpunet.random.seed(0)
    model = Sequential(
        [
            Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)),
            MaxPooling2D((2, 2)),
            Conv2D(64, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Conv2D(64, (3, 3), activation="relu"),
            MaxPooling2D((2, 2)),
            Flatten(),
            Dense(64, activation="relu"),
            Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def gpunet_step(size: int) -> Callable[[], float]:
    """Return a function that does one training step and returns the loss."""
    model = gpunet_model()
    x, labels = batch(size)
    y = gpunet.utils.to_categorical(labels, 10)
    return lambda: model.train_on_batch(x, y, return_dict=True)["loss"]  # type: ignore[call-overload, index]


def torch_step(size: int) -> Callable[[], float]:
    """Return a function that does one training step in PyTorch and returns the loss."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters())
    images, labels = batch(size)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    y = torch.from_numpy(labels)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


STEPS = {"gpunet (NumPy)": gpunet_step, "PyTorch": torch_step}


def set_threads(count: int) -> None:
    """Let BLAS and PyTorch use this many threads."""
    import threadpoolctl

    threadpoolctl.threadpool_limits(count, user_api="blas")
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(count)
