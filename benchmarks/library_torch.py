"""PyTorch as a contender, in its default layout or channels_last, with its faster Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.cases import Case
from benchmarks.programs import Images, batch, mnist, torch_network
from benchmarks.workers import Variant

ADAMS = {"default Adam": False, "fused Adam": True}


class Library:
    """The cases of `benchmarks.cases`, each as a method.

    Arguments:
        threads: number of threads.
        layout: name of a `torch.memory_format`.
    """

    def __init__(self, threads: int, layout: str = "contiguous_format") -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.layout = getattr(torch, layout)
        self.versions = {"PyTorch": torch.__version__}

    def _random(self, *shape: int) -> Any:
        values = np.random.default_rng(0).random(shape, np.float32) - np.float32(0.5)
        return torch.from_numpy(values).contiguous(memory_format=self.layout)

    def _with_gradient(
        self, function: Callable[..., Any], inputs: tuple[Any, ...], wanted: tuple[Any, ...]
    ) -> dict[str, Variant]:
        """Return an output and the gradients of the `wanted` tensors."""
        for tensor in wanted:
            tensor.requires_grad_()
        with torch.no_grad():
            grad = torch.ones_like(function(*inputs))

        def call() -> Any:
            y = function(*inputs)
            return y.detach(), torch.autograd.grad(y, wanted, grad)

        return {"": Variant(call)}

    def conv(self, case: Case) -> dict[str, Variant]:
        x = self._random(case.batch, case.channels, case.size, case.size)
        kernel = self._random(case.filters, case.channels, 3, 3)
        wanted = (x, kernel) if case.input_grad else (kernel,)
        return self._with_gradient(
            lambda a, b: functional.conv2d(a, b, padding=case.padding), (x, kernel), wanted
        )

    def pool(self, case: Case) -> dict[str, Variant]:
        x = self._random(case.batch, case.channels, case.size, case.size)
        return self._with_gradient(lambda a: functional.max_pool2d(a, 2), (x,), (x,))

    def activation(self, case: Case) -> dict[str, Variant]:
        x = self._random(case.batch, case.channels, case.size, case.size)
        return self._with_gradient(functional.relu, (x,), (x,))

    def _network(self) -> Any:
        return torch_network().to(memory_format=self.layout)

    def _tensors(self, images: Images) -> tuple[Any, Any]:
        x = torch.from_numpy(images[0]).permute(0, 3, 1, 2)
        return x.contiguous(memory_format=self.layout), torch.from_numpy(images[1])

    def _step(self, network: Any, fused: bool) -> Callable[[Any, Any], Any]:
        optimizer = torch.optim.Adam(network.parameters(), fused=fused)

        def step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    def train(self, case: Case) -> dict[str, Variant]:
        x, y = self._tensors(batch(case.batch))

        def variant(fused: bool) -> Variant:
            step = self._step(self._network(), fused)
            return Variant(lambda: step(x, y).item())

        return {name: variant(fused) for name, fused in ADAMS.items()}

    def inference(self, case: Case) -> dict[str, Variant]:
        network = self._network().eval()
        x, _ = self._tensors(batch(case.batch))

        def call() -> Any:
            with torch.inference_mode():
                return functional.softmax(network(x), 1).numpy()

        return {"": Variant(call)}

    def _pass(self, step: Callable[[Any, Any], Any], x: Any, y: Any, size: int) -> float:
        """Train for an epoch, shuffled; return the mean loss, read at the end."""
        order, total = torch.randperm(len(x)), torch.zeros(())
        rows = order.split(size)
        for batch_rows in rows:
            total += step(x[batch_rows], y[batch_rows])
        return total.item() / len(rows)

    def epoch(self, case: Case) -> dict[str, Variant]:
        x, y = self._tensors(mnist(case.samples, case.tests)[0])

        def variant(fused: bool) -> Variant:
            step, few = self._step(self._network(), fused), 20 * case.batch
            return Variant(
                lambda: self._pass(step, x, y, case.batch),
                lambda: self._pass(step, x[:few], y[:few], case.batch),
            )

        return {name: variant(fused) for name, fused in ADAMS.items()}

    def mnist(self, case: Case) -> dict[str, Variant]:
        train, test = (self._tensors(part) for part in mnist(case.samples, case.tests))

        def call() -> float:
            torch.manual_seed(0)
            network = self._network()
            step = self._step(network, fused=False)
            for _ in range(case.epochs):
                self._pass(step, *train, case.batch)
            with torch.inference_mode():
                found = torch.cat([network(x).argmax(1) for x in test[0].split(case.batch)])
            return (found == test[1]).float().mean().item()

        return {"": Variant(call)}
