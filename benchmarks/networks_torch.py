"""PyTorch as a contender on whole networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.cases import Case
from benchmarks.networks_keras import (
    BLOCKS,
    CHARACTERS,
    FEATURES,
    HEADS,
    LABELS,
    TIME,
    UNITS,
    WIDTH,
    data,
)
from benchmarks.workers import Variant

__all__ = ["Library", "network"]


class Library:
    """Cases of `benchmarks.networks`, each kind as a method.

    Arguments:
        threads: number of threads.
        layout: name of a `torch.memory_format`.
        compiled: whether by `torch.compile`.
    """

    def __init__(
        self, threads: int, layout: str = "contiguous_format", compiled: bool = False
    ) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.layout, self.compiled = getattr(torch, layout), compiled
        self.versions = {"PyTorch": torch.__version__}

    def training(self, case: Case) -> dict[str, Variant]:
        return {
            name: self._trained(case, fused) for name, fused in (("Adam", False), ("fused", True))
        }

    def _trained(self, case: Case, fused: bool) -> Variant:
        net, x, y = self._network(case)
        adam = torch.optim.Adam(net.parameters(), fused=fused)

        def step() -> float:
            adam.zero_grad()
            loss = functional.cross_entropy(net(x), y)
            loss.backward()
            adam.step()
            return loss.item()

        return Variant(step)

    def prediction(self, case: Case) -> dict[str, Variant]:
        net, x, _ = self._network(case)
        net.eval()

        def call() -> Any:
            with torch.inference_mode():
                return functional.softmax(net(x), 1).numpy()

        return {"": Variant(call)}

    def _network(self, case: Case) -> tuple[Any, Any, Any]:
        x, y = (torch.from_numpy(array) for array in data(case.label, case.batch))
        net = network(case.label)
        if x.ndim == 4:
            x = x.permute(0, 3, 1, 2).contiguous(memory_format=self.layout)
            net = net.to(memory_format=self.layout)
        return torch.compile(net) if self.compiled else net, x, y.reshape(y.shape)


def network(name: str) -> nn.Module:
    """Return a network in PyTorch; it gives logits, of text with the classes second."""
    kinds = {"ResNet-8": ResNet8, "DS-CNN": ds_cnn, "LSTM": LSTM, "transformer": Transformer}
    return kinds[name]()


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Residual(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1), _norm(filters), nn.ReLU(),
            nn.Conv2d(filters, filters, 3, 1, 1), _norm(filters),
        )  # fmt: skip
        self.around = nn.Conv2d(channels, filters, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Any) -> Any:
        return functional.relu(self.body(x) + self.around(x))


class ResNet8(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 16, 3, 1, 1), _norm(16), nn.ReLU(),
            Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2),
            nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip


def ds_cnn() -> nn.Module:
    parts: list[nn.Module] = [
        nn.ZeroPad2d((1, 1, 4, 5)), nn.Conv2d(1, 64, (10, 4), 2), _norm(64), nn.ReLU(),
        nn.Dropout(0.2),
    ]  # fmt: skip
    for _ in range(4):
        parts += [nn.Conv2d(64, 64, 3, 1, 1, groups=64), _norm(64), nn.ReLU()]
        parts += [nn.Conv2d(64, 64, 1), _norm(64), nn.ReLU()]
    parts += [nn.Dropout(0.4), nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(64, 12)]
    return nn.Sequential(*parts)


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, UNITS, 2, batch_first=True)
        self.head = nn.Linear(UNITS, LABELS)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0][:, -1])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH, eps=1e-3), nn.LayerNorm(WIDTH, eps=1e-3)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        batch = len(x)
        parts = self.qkv(self.first(x)).view(batch, TIME, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, TIME, WIDTH))
        return x + self.narrow(functional.gelu(self.wide(self.second(x))))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(CHARACTERS, WIDTH)
        self.positions = nn.Parameter(torch.randn(TIME, WIDTH) * 0.05)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH, eps=1e-3), nn.Linear(WIDTH, CHARACTERS)

    def forward(self, x: Any) -> Any:
        x = self.norm(self.blocks(self.embed(x) + self.positions))
        return self.head(x).transpose(1, 2)
