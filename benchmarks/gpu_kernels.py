"""Jobs that measure single kernels and the GPU's ceilings; each runs in its own process.

A job yields a record for each measurement. It checks its deadline before each; a measurement that
no longer fits is yielded by name, as left out.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

import gpunet
from benchmarks import gpu_workloads
from benchmarks.gpu_timing import CupyStream, Deadline, DeviceTimer, TorchStream
from benchmarks.gpu_workloads import Workload, bytes_of
from benchmarks.programs import BATCH_SIZES, batch, one_hot
from examples.mnist_cnn import build_model
from gpunet import primitives

__all__ = ["JOBS", "Record", "Sizes"]

Record = dict[str, Any]

_MOST_SETS = 32


class Sizes:
    """Problem sizes; tests use small ones.

    Arguments:
        copy_bytes: size of the copies that give the bandwidth ceiling.
        product: size of the square matrices that give the arithmetic ceiling.
        batches: batch sizes of the program.
        resnet: batch size of ResNet-50's convolutions.
        rounds: repetitions of each measurement.
    """

    def __init__(
        self,
        copy_bytes: int = 1 << 28,
        product: int = 8192,
        batches: tuple[int, ...] = BATCH_SIZES,
        resnet: int = 32,
        rounds: int = 15,
    ) -> None:
        self.copy_bytes, self.product, self.batches = copy_bytes, product, batches
        self.resnet, self.rounds = resnet, rounds


def ceilings(deadline: Deadline, sizes: Sizes, precision: str = "fp32") -> Iterator[Record]:
    """Yield the GPU's ceilings: matrix products by cuBLAS and gpunet; for "fp32" also a copy.

    Arguments:
        deadline: when to stop.
        sizes: problem sizes.
        precision: of the products, ``"fp32"`` or ``"tf32"``.
    """
    if precision == "tf32":
        os.environ["CUPY_TF32"] = "1"  # CuPy reads it at the first product
    cupy = importlib.import_module("cupy")
    timer = DeviceTimer(CupyStream(cupy, sizes.copy_bytes), sizes.rounds)
    if precision == "fp32":
        copy_bytes = timer.measure(lambda number: timer.stream.copy())
        yield {"ceiling": "copy", "by": "CuPy", "bytes": 2 * sizes.copy_bytes} | copy_bytes
    n = sizes.product
    rng = np.random.default_rng(0)
    a, b = (cupy.asarray(rng.random((n, n), np.float32) - np.float32(0.5)) for _ in range(2))
    out = cupy.empty((n, n), np.float32)
    product = {"ceiling": "product", "precision": precision, "flop": 2 * n**3, "size": n}
    if deadline.passed():
        yield {"left_out": f"products, {precision}"}
        return
    yield from _or_error(
        product | {"by": "cuBLAS (CuPy)"},
        lambda: timer.measure(lambda number: cupy.matmul(a, b, out=out)),
    )
    with gpunet.set_precision(precision):
        yield from _or_error(
            product | {"by": "gpunet"},
            lambda: timer.measure(lambda number: primitives.matmul(a, b)),
        )


def torch_ceilings(deadline: Deadline, sizes: Sizes) -> Iterator[Record]:
    """Yield PyTorch's matrix products, in float32 and with TF32 allowed."""
    torch, why = _torch()
    if torch is None:
        yield {"absent": "PyTorch", "why": why}
        return
    timer = DeviceTimer(TorchStream(torch, sizes.copy_bytes), sizes.rounds)
    n = sizes.product
    a, b = (torch.rand(n, n, device="cuda") - 0.5 for _ in range(2))
    out = torch.empty_like(a)
    for precision in ("fp32", "tf32"):
        if deadline.passed():
            yield {"left_out": f"PyTorch's products, {precision}"}
            continue
        allow_tf32(torch, precision == "tf32")
        record = {"ceiling": "product", "by": "PyTorch", "precision": precision}
        yield from _or_error(
            record | {"flop": 2 * n**3, "size": n},
            lambda: timer.measure(lambda number: torch.matmul(a, b, out=out)),
        )


def kernels(deadline: Deadline, sizes: Sizes) -> Iterator[Record]:
    """Yield the time of each kernel at the program's shapes."""
    workloads = [work for batch in sizes.batches for work in gpu_workloads.program_workloads(batch)]
    yield from _measure(deadline, sizes, [*gpu_workloads.updates(), *workloads])


def convolutions(deadline: Deadline, sizes: Sizes, precision: str = "fp32") -> Iterator[Record]:
    """Yield the times of ResNet-50's 3x3 convolutions and their gradients."""
    with gpunet.set_precision(precision):
        yield from _measure(
            deadline, sizes, gpu_workloads.resnet_workloads(sizes.resnet), precision
        )


def profiles(deadline: Deadline, sizes: Sizes) -> Iterator[Record]:
    """Yield `gpunet.profile` of a training step of the program, by batch size."""
    cupy = importlib.import_module("cupy")
    for size in sizes.batches:
        if deadline.passed():
            yield {"left_out": f"profile, batch {size}"}
        else:
            images, labels = batch(size)
            x, y = cupy.asarray(images), cupy.asarray(one_hot(labels))
            yield from _or_error(
                {"profile": "training step", "batch": size}, partial(_profile, x, y)
            )


def _profile(x: Any, y: Any) -> Record:
    found = gpunet.profile(build_model(), x, y)
    return {"table": found.to_dict(), "text": str(found)}


def _measure(
    deadline: Deadline, sizes: Sizes, workloads: Iterable[Workload], precision: str = "fp32"
) -> Iterator[Record]:
    cupy = importlib.import_module("cupy")
    timer = DeviceTimer(CupyStream(cupy, sizes.copy_bytes), sizes.rounds)
    cache = cupy.cuda.Device().attributes.get("L2CacheSize", 0)
    rng = np.random.default_rng(0)
    for work in workloads:
        if deadline.passed():
            yield {"left_out": str(work)}
        elif not hasattr(primitives.cuda, work.primitive):
            yield {"absent": str(work), "why": "gpunet has no CUDA kernel for it yet"}
        else:
            record = {"kernel": work.primitive, "label": work.label, "batch": work.batch}
            record |= {"precision": precision}
            yield from _or_error(record, lambda work=work: _timed(cupy, timer, work, rng, cache))


def _timed(
    cupy: Any, timer: DeviceTimer, work: Workload, rng: np.random.Generator, cache: int
) -> Record:
    """Measure a call, with other arrays each time, so that none is in the cache."""
    first = [cupy.asarray(array) for array in work.arrays(rng)]
    size = sum(array.nbytes for array in first)
    count = max(1, min(_MOST_SETS, math.ceil(2 * cache / size)))
    sets = [first, *([array.copy() for array in first] for _ in range(count - 1))]
    moved = bytes_of(work, first, work.call(*first))
    found = timer.measure(lambda number: work.call(*sets[number % count]), warm_up=max(3, count))
    return {"bytes": moved, "flop": work.flop, "sets": count} | found


def torch_convolutions(deadline: Deadline, sizes: Sizes) -> Iterator[Record]:
    """Yield the times of the same convolutions in PyTorch, which calls cuDNN."""
    torch, why = _torch()
    if torch is None:
        yield {"absent": "PyTorch", "why": why}
        return
    torch.backends.cudnn.benchmark = True  # picks the fastest algorithm
    timer = DeviceTimer(TorchStream(torch, sizes.copy_bytes), sizes.rounds)
    for precision in ("fp32", "tf32"):
        allow_tf32(torch, precision == "tf32")
        for work in gpu_workloads.resnet_workloads(sizes.resnet):
            for layout in ("contiguous_format", "channels_last"):
                record = {"kernel": work.primitive, "label": work.label, "batch": work.batch}
                record |= {"by": "PyTorch", "precision": precision, "layout": layout}
                if deadline.passed():
                    yield {"left_out": f"PyTorch, {precision}, {layout}: {work}"}
                    continue
                call = torch_convolution(torch, work, layout, "cuda")
                yield from _or_error(record, lambda call=call: timer.measure(call))


def torch_convolution(torch: Any, work: Workload, layout: str, device: str) -> Callable[[int], Any]:
    """Return a function that computes the same in PyTorch."""
    sizes, form = work.sizes, getattr(torch, layout)
    n, channels, filters = work.batch, sizes["channels"], sizes["filters"]
    out = (sizes["size"] - 1) // sizes["stride"] + 1  # a kernel of 3 with padding 1

    def made(*shape: int) -> Any:
        return torch.rand(shape, device=device).sub_(0.5).to(memory_format=form)

    x = made(n, channels, sizes["size"], sizes["size"])
    weight, grad = made(filters, channels, 3, 3), made(n, filters, out, out)
    stride = [sizes["stride"]] * 2
    if work.primitive == "conv2d_forward":
        return lambda number: torch.nn.functional.conv2d(x, weight, None, stride, 1)
    mask = [work.primitive == "conv2d_backward_input", work.primitive != "conv2d_backward_input"]
    return lambda number: torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, [1, 1], [1, 1], False, [0, 0], 1, [*mask, False]
    )


def allow_tf32(torch: Any, allowed: bool) -> None:
    """Allow or forbid TF32 in PyTorch's float32 products and convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _torch() -> tuple[Any, str]:
    """Return PyTorch, or None and the reason."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return None, f"it cannot be imported: {error}"
    if not torch.cuda.is_available():
        return None, f"PyTorch {torch.__version__} sees no GPU"
    return torch, ""


def _or_error(record: Record, measure: Callable[[], Record]) -> Iterator[Record]:
    """Yield the record with the measurement, or with the error."""
    try:
        yield record | measure()
    except Exception as error:
        yield record | {"error": f"{type(error).__name__}: {error}"[:500]}


JOBS: dict[str, Callable[[Deadline, Sizes], Iterator[Record]]] = {
    "ceilings": ceilings,
    "ceilings-tf32": lambda deadline, sizes: ceilings(deadline, sizes, "tf32"),
    "ceilings-torch": torch_ceilings,
    "kernels": kernels,
    "convolutions": convolutions,
    "convolutions-tf32": lambda deadline, sizes: convolutions(deadline, sizes, "tf32"),
    "convolutions-torch": torch_convolutions,
    "profile": profiles,
}
