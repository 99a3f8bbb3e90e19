"""The program that the benchmarks train, in gpunet and in PyTorch, on the same numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import gpunet
from examples.mnist_cnn import build_model

BATCH_SIZES = (32, 128, 1024)


def batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (size, 28, 28, 1) in [0, 1) and integer labels (size,)."""
    rng = np.random.default_rng(0)
    return rng.random((size, 28, 28, 1), dtype="float32"), rng.integers(0, 10, size)


def gpunet_step(size: int) -> Callable[[], float]:
    """Return a function that does one training step and returns the loss."""
    gpunet.random.seed(0)
    model = build_model()
    x, labels = batch(size)
    y = gpunet.utils.to_categorical(labels, 10)
    return lambda: model.train_on_batch(x, y, return_dict=True)["loss"]  # type: ignore[call-overload, index]


def torch_network() -> Any:
    """Return the program's network in PyTorch; its last layer gives logits."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def torch_step(size: int) -> Callable[[], float]:
    """Return a function that does one training step in PyTorch and returns the loss."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = torch_network()
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


# What the C library's `malloc` reads when a process starts, so that it keeps freed pages instead of
# giving them back: fresh ones cost much on some systems, virtual machines above all. gpunet reuses
# its large arrays itself.
KEEP_PAGES = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 31),
    "MALLOC_TOP_PAD_": str(1 << 27),
}


class Contender(NamedTuple):
    """A library as it takes part: what makes its step, and its process' environment."""

    make_step: Callable[[int], Callable[[], float]]
    environment: dict[str, str]


CONTENDERS = {
    "gpunet (NumPy)": Contender(gpunet_step, {}),
    "PyTorch": Contender(torch_step, {}),
    "PyTorch, pages kept": Contender(torch_step, KEEP_PAGES),
}


def set_threads(count: int) -> None:
    """Let BLAS, and PyTorch if this process uses it, have this many threads."""
    import threadpoolctl

    threadpoolctl.threadpool_limits(count, user_api="blas")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
