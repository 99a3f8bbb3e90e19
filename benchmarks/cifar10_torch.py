"""ResNet-8 in PyTorch for `benchmarks.cifar10`: gpunet's network, weights and learning rates."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from examples.cifar10_resnet import build_model, learning_rate_schedule
from gpunet import random

__all__ = ["ResNet8", "Torch"]


class Torch:
    """The network with Adam, as `benchmarks.cifar10` trains it."""

    def __init__(self, seed: int, steps: int) -> None:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
        random.seed(seed)
        self.network = ResNet8()
        copy_weights(build_model(steps).get_weights(), self.network)
        self.network = self.network.to(memory_format=torch.channels_last)
        self.adam = torch.optim.Adam(self.network.parameters(), eps=1e-7, fused=True)
        self.schedule, self.done = learning_rate_schedule(steps), 0
        self.version = torch.__version__

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        self.adam.param_groups[0]["lr"] = float(self.schedule(self.done))
        self.done += 1
        self.network.train()
        self.adam.zero_grad()
        loss = functional.cross_entropy(self.network(as_images(x)), torch.from_numpy(y))
        loss.backward()
        self.adam.step()
        return loss.item()

    def predict(self, x: np.ndarray) -> np.ndarray:
        self.network.eval()
        with torch.inference_mode():
            return functional.softmax(self.network(as_images(x)), 1).numpy()


def as_images(x: np.ndarray) -> torch.Tensor:
    """Return images of bytes (n, 32, 32, 3) as numbers from -1 to 1, channels_last."""
    return torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1


class SameConv(nn.Conv2d):
    """A convolution that pads as Keras' "same" does: at stride 2 at the end alone."""

    def __init__(self, channels: int, filters: int, size: int, stride: int = 1) -> None:
        at_end = size > 1 and stride > 1
        super().__init__(channels, filters, size, stride, 0 if at_end else size // 2)
        self.at_end = at_end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.pad(x, (0, 1, 0, 1)) if self.at_end else x)


def normalized(channels: int, filters: int, stride: int = 1) -> list[nn.Module]:
    norm = nn.BatchNorm2d(filters, eps=1e-3, momentum=0.01)
    return [SameConv(channels, filters, 3, stride), norm]


class Residual(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *normalized(channels, filters, stride), nn.ReLU(), *normalized(filters, filters)
        )
        self.around = SameConv(channels, filters, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Any) -> Any:
        return functional.relu(self.body(x) + self.around(x))


class ResNet8(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            *normalized(3, 16), nn.ReLU(),
            Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2),
            nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip


def copy_weights(weights: list[np.ndarray], network: nn.Module) -> None:
    """Copy kernels from gpunet, each to the next layer of its shape; the rest starts alike."""
    kernels = [weight for weight in weights if weight.ndim > 1]
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            shape = tuple(module.weight.permute(*keras_axes(module.weight.ndim)).shape)
            index = next(i for i, kernel in enumerate(kernels) if kernel.shape == shape)
            kernel = torch.from_numpy(np.ascontiguousarray(to_torch(kernels.pop(index))))
            with torch.no_grad():
                module.weight.copy_(kernel)
                module.bias.zero_()
    assert not kernels


def keras_axes(ndim: int) -> tuple[int, ...]:
    """Return the axes of a kernel here in Keras' order: (height, width, in, out), or (in, out)."""
    return (2, 3, 1, 0) if ndim == 4 else (1, 0)


def to_torch(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
