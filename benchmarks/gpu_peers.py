"""A process that trains the program on a GPU with one library, on command.

python -m benchmarks.gpu_peers "PyTorch eager"

Each command is a line of JSON, and so is each answer; `gpu_steps` sends the commands. All libraries
start from the same weights, have the same images on the GPU, and train with Adam.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

import gpunet
from benchmarks.gpu_kernels import allow_tf32
from benchmarks.programs import batch, torch_network
from examples.mnist_cnn import as_arrays, build_model
from gpunet.datasets import mnist

__all__ = [
    "CONTENDERS", "OURS", "OURS_EAGER", "TORCH", "TORCH_COMPILED", "TORCH_EAGER", "TORCH_GRAPH",
    "GpunetProgram", "Program", "TorchProgram", "answer",
]  # fmt: skip

OURS, OURS_EAGER = "gpunet", "gpunet, eager"
TORCH = TORCH_EAGER, TORCH_COMPILED, TORCH_GRAPH = (
    "PyTorch eager", "PyTorch compiled", "PyTorch, CUDA graph",
)  # fmt: skip
CONTENDERS = (OURS, OURS_EAGER, *TORCH)

# `train_on_batch` alternates between two slots: the first step of each is eager, the second is
# captured.
_WARM_UP_STEPS = 4

Data = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]  # images (n, 28, 28, 1), labels (n,)


class Program(Protocol):
    """The program in one library."""

    def prepare(self, data: Data, size: int, precision: str) -> float:
        """Reset weights, set data and batch size; return the loss before any step."""

    def step(self, number: int) -> float:
        """Train on one batch; return its loss, which the host waits for."""

    def run(self, steps: int) -> None:
        """Train for `steps` on the data in order; wait for the last step.

        Arguments:
            steps: a multiple of the steps of one pass.
        """

    def epochs(self, count: int) -> None:
        """Train for `count` epochs on shuffled data; wait for the last step."""

    def accuracy(self, data: Data) -> float:
        """Return the share of images that are classified correctly."""

    def reset_memory(self) -> None:
        """Free unused memory, and reset the peak."""

    def peak_memory(self) -> int:
        """Return the peak size of the library's memory pools, in bytes."""


class GpunetProgram:
    """gpunet's program, with `fit` and `train_on_batch`.

    Arguments:
        xp: array library of the data: CuPy.
        capture: as in `compile`.
    """

    def __init__(self, xp: Any, capture: bool | str = True) -> None:
        self.xp, self.capture = xp, capture
        gpunet.use_backend("numpy" if xp is np else "cupy")

    def prepare(self, data: Data, size: int, precision: str) -> float:
        gpunet.random.seed(0)
        self.model, self.size = build_model(), size
        self.model.compile(
            "adam", "categorical_crossentropy", ["accuracy"],
            capture=self.capture, precision=precision,
        )  # fmt: skip
        self.x = self.xp.asarray(data[0])
        self.y = self.xp.asarray(gpunet.utils.to_categorical(data[1], 10))
        return self._scores(self.x[:size], self.y[:size])["loss"]

    def _scores(self, x: Any, y: Any) -> dict[str, float]:
        return self.model.evaluate(x, y, 1000, verbose=0, return_dict=True)  # type: ignore[return-value]

    def step(self, number: int) -> float:
        rows = _rows(number, self.size, len(self.x))
        scores = self.model.train_on_batch(self.x[rows], self.y[rows], return_dict=True)
        self._wait()
        return scores["loss"]  # type: ignore[call-overload, index]

    def run(self, steps: int) -> None:
        epochs = steps // (len(self.x) // self.size)
        self.model.fit(self.x, self.y, self.size, epochs, shuffle=False, verbose=0)
        self._wait()

    def epochs(self, count: int) -> None:
        self.model.fit(self.x, self.y, self.size, count, verbose=0)
        self._wait()

    def accuracy(self, data: Data) -> float:
        y = self.xp.asarray(gpunet.utils.to_categorical(data[1], 10))
        return self._scores(self.xp.asarray(data[0]), y)["accuracy"]

    def _wait(self) -> None:
        if self.xp is not np:
            self.xp.cuda.Device().synchronize()

    def reset_memory(self) -> None:
        gc.collect()  # the previous model, with its graphs
        if self.xp is not np:
            self._wait()
            self.xp.get_default_memory_pool().free_all_blocks()

    def peak_memory(self) -> int:
        steps = self.model._device_steps()
        if steps is None:
            return 0
        # Pools never shrink; graphs have their own.
        return sum(p.total_bytes() for p in (self.xp.get_default_memory_pool(), steps.pool))


class TorchProgram:
    """PyTorch's program, in its default layout, with its fused Adam.

    Arguments:
        torch: the module.
        kind: one of `TORCH`: eager; model and loss through
            ``torch.compile(mode="reduce-overhead")``; or the step captured in a CUDA graph.
        device: where it runs.
    """

    def __init__(self, torch: Any, kind: str, device: str = "cuda") -> None:
        self.torch, self.kind, self.device = torch, kind, device
        torch.backends.cudnn.benchmark = True  # picks the fastest algorithm

    def prepare(self, data: Data, size: int, precision: str) -> float:
        torch = self.torch
        allow_tf32(torch, precision == "tf32")
        self.size, self.precision = size, precision
        self.x, self.y = self._on_device(data)
        self.network = self._network()
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=1e-3, eps=1e-7, fused=True,
            capturable=self.kind == TORCH_GRAPH,
        )  # fmt: skip
        with torch.no_grad():
            loss = self._loss(self.x[:size], self.y[:size]).item()
        makers = (self._eager, self._compiled, self._captured)
        self._step = dict(zip(TORCH, makers, strict=True))[self.kind]()
        return loss

    def _on_device(self, data: Data) -> tuple[Any, Any]:
        images = self.torch.from_numpy(data[0]).to(self.device)
        labels = self.torch.from_numpy(data[1].astype(np.int64)).to(self.device)
        return images.permute(0, 3, 1, 2).contiguous(), labels

    def _network(self) -> Any:
        """Return the network, initialized with gpunet's weights."""
        network = torch_network()
        with gpunet.use_backend("numpy"):
            gpunet.random.seed(0)
            weights = build_model().get_weights()
        with self.torch.no_grad():
            for ours, theirs in zip(weights, network.parameters(), strict=True):
                # (height, width, in, out) to (out, in, height, width); (in, out) to (out, in)
                axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[ours.ndim]
                theirs.copy_(self.torch.from_numpy(ours.transpose(axes).copy()))
        return network.to(self.device)

    def _loss(self, x: Any, y: Any) -> Any:
        cross_entropy = self.torch.nn.functional.cross_entropy
        if self.precision != "bf16":
            return cross_entropy(self.network(x), y)
        # No cache of converted weights: each is used once a step.
        with self.torch.autocast(self.device, self.torch.bfloat16, cache_enabled=False):
            return cross_entropy(self.network(x), y)

    def _train(self, loss: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
        self.optimizer.zero_grad(set_to_none=True)
        value = loss(x, y)
        value.backward()
        self.optimizer.step()
        return value.detach()

    def _eager(self) -> Callable[[Any, Any], Any]:
        return lambda x, y: self._train(self._loss, x, y)

    def _compiled(self) -> Callable[[Any, Any], Any]:
        self.torch.compiler.reset()  # forget other sizes: the number of recompilations is limited
        compiled = self.torch.compile(self._loss, mode="reduce-overhead", dynamic=False)

        def step(x: Any, y: Any) -> Any:
            self.torch.compiler.cudagraph_mark_step_begin()
            return self._train(compiled, x, y).clone()  # the next step overwrites it

        with self._unchanged():
            for _ in range(4):  # compiles, warms up, captures graphs
                step(self.x[: self.size], self.y[: self.size])
        return step

    def _captured(self) -> Callable[[Any, Any], Any]:
        cuda, stream = self.torch.cuda, self.torch.cuda.Stream()
        x, y = self.x[: self.size].clone(), self.y[: self.size].clone()
        graph = cuda.CUDAGraph()
        with self._unchanged():
            stream.wait_stream(cuda.current_stream())
            with cuda.stream(stream):
                for _ in range(4):  # on a separate stream, as capture requires
                    self._train(self._loss, x, y)
            cuda.current_stream().wait_stream(stream)
            self.optimizer.zero_grad(set_to_none=True)
            with cuda.graph(graph):
                loss = self._train(self._loss, x, y)

        def step(new_x: Any, new_y: Any) -> Any:
            x.copy_(new_x)
            y.copy_(new_y)
            graph.replay()
            return loss

        return step

    @contextlib.contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Restore weights and optimizer, in place, when the block ends."""
        before = [parameter.detach().clone() for parameter in self.network.parameters()]
        yield
        with self.torch.no_grad():
            for parameter, value in zip(self.network.parameters(), before, strict=True):
                parameter.copy_(value)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def step(self, number: int) -> float:
        rows = _rows(number, self.size, len(self.x))
        return self._step(self.x[rows], self.y[rows]).item()

    def run(self, steps: int) -> None:
        for number in range(steps):
            rows = _rows(number, self.size, len(self.x))
            self._step(self.x[rows], self.y[rows])
        self._wait()

    def epochs(self, count: int) -> None:
        for _ in range(count):
            order = self.torch.randperm(len(self.x), device=self.device)
            total = self.torch.zeros((), device=self.device)
            for start in range(0, len(self.x) - self.size + 1, self.size):
                rows = order[start : start + self.size]
                total += self._step(self.x[rows], self.y[rows])
            total.item()

    def accuracy(self, data: Data) -> float:
        x, y = self._on_device(data)
        with self.torch.no_grad():
            found = self.torch.cat([self.network(part).argmax(1) for part in x.split(1000)])
        return (found == y).float().mean().item()

    def _wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def reset_memory(self) -> None:
        gc.collect()
        if self.device == "cuda":
            self._wait()
            self.torch.cuda.empty_cache()
            self.torch.cuda.reset_peak_memory_stats()

    def peak_memory(self) -> int:
        return self.torch.cuda.max_memory_reserved() if self.device == "cuda" else 0


def _rows(number: int, size: int, count: int) -> slice:
    """Return the samples of a step: batch after batch, cyclically."""
    start = number % max(1, count // size) * size
    return slice(start, start + size)


def mnist_data(count: int | None = None) -> tuple[Data, Data]:
    """Return MNIST's training and test data: float32 images and labels."""
    train, test = mnist.load_data()
    parts = [(as_arrays(images, labels)[0], labels) for images, labels in (train, test)]
    return tuple((x[:count], y[:count]) for x, y in parts)  # type: ignore[return-value]


def answer(program: Program, command: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Run a command; return the answer.

    Arguments:
        program: the library's program.
        command: ``do`` names the command; the rest are its arguments.
        state: values that commands share.
    """
    if command["do"] == "prepare":  # random images, to time steps
        data = batch(command["size"] * command["batches"])
        loss = program.prepare(data, command["size"], command["precision"])
        for _ in range(2):  # compile and capture, then once as when timed
            program.run(command["batches"])
        for number in range(_WARM_UP_STEPS):
            program.step(number)
        program.reset_memory()
        return {"loss": loss, "image_bytes": data[0].nbytes}
    if command["do"] == "prepare mnist":
        data, state["test"] = mnist_data(command.get("count"))
        program.prepare((data[0][:4096], data[1][:4096]), command["size"], command["precision"])
        program.epochs(1)  # compiles
        program.accuracy(state["test"])
        return {"loss": program.prepare(data, command["size"], command["precision"])}
    if command["do"] == "accuracy":
        return {"accuracy": program.accuracy(state["test"])}
    times = []
    for number in range(command.get("steps", 1) if command["do"] == "step" else 1):
        start = time.perf_counter()
        if command["do"] == "step":
            program.step(number)
        elif command["do"] == "run":
            program.run(command["steps"])
        else:
            program.epochs(command["count"])
        times.append(time.perf_counter() - start)
    return {"times": times, "memory": program.peak_memory()}


def make(contender: str) -> Program:
    """Return a contender's program, on the GPU."""
    if contender not in TORCH:
        gpunet.use_backend("cupy")
        return GpunetProgram(sys.modules["cupy"], capture=contender == OURS)
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"PyTorch {torch.__version__} sees no GPU")
    return TorchProgram(torch, contender)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def main() -> None:
    """Answer commands until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contender", choices=CONTENDERS)
    contender = parser.parse_args().contender
    state: dict[str, Any] = {}
    try:
        program = make(contender)
    except Exception as error:
        print(json.dumps({"error": _one_line(error)}), flush=True)
        return
    print(json.dumps({"ready": contender}), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(program, json.loads(line), state)
        except Exception as error:
            traceback.print_exc()
            reply = {"error": _one_line(error)}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
