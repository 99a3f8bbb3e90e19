"""Performance targets on a GPU, compared with the results of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.cpu_targets import Target, table
from benchmarks.gpu_peers import OURS, TORCH, TORCH_COMPILED, TORCH_EAGER, TORCH_GRAPH
from benchmarks.gpu_tables import cudnn, precision_of
from benchmarks.gpu_workloads import resnet_workloads

__all__ = ["section", "targets"]

Record = dict[str, Any]

_SECTION = """
## Targets

Ratios are of pipelined times, and of memory, within this run. *PyTorch's faster form* is the faster
of PyTorch compiled and PyTorch with a CUDA graph.
"""

_FASTER = (TORCH_COMPILED, TORCH_GRAPH)
_EPOCHS = 10


def section(report: Record) -> list[str]:
    """Return the targets of a report as lines of Markdown."""
    return [*_SECTION.strip().splitlines(), "", *table(targets(report))]


def targets(report: Record) -> list[Target]:
    """Return all targets with the values reached in a report."""
    parts = {name: entry["records"] for name, entry in report["parts"].items()}
    steps = {
        (record["batch"], record["precision"]): record
        for record in parts.get("steps", [])
        if "results" in record
    }
    return [
        *_steps(steps, report["device"]["name"]),
        *_epochs(parts.get("epochs", [])),
        _convolutions(parts.get("convolutions", [])),
        _memory(steps),
    ]


def _steps(records: dict[tuple[int, str], Record], device: str) -> Iterator[Target]:
    small = (32, "fp32")
    yield _against(records, small, 10.0, (TORCH_EAGER,))
    yield _against(records, small, 2.0, _FASTER)
    ours = _seconds(records.get(small), OURS) if "H200" in device else None
    yield Target(
        "training step, batch 32, float32, on an H200",
        50,
        None if ours is None else ours * 1e6,
        " us",
        at_most=True,
    )
    for precision in ("fp32", "tf32"):
        yield _against(records, (1024, precision), 2.0, (TORCH_EAGER,))
        yield _against(records, (1024, precision), 1.3, _FASTER)


def _against(
    records: dict[tuple[int, str], Record],
    case: tuple[int, str],
    bound: float,
    names: tuple[str, ...],
) -> Target:
    """Return the ratio to the fastest of `names`, if all were measured, with its name as note."""
    record, (size, precision) = records.get(case), case
    theirs = names[0] if len(names) == 1 else "PyTorch's faster form"
    label = f"training step, batch {size}, {precision_of(precision)}, {theirs} / gpunet"
    ours = _seconds(record, OURS)
    times = {name: found for name in names if (found := _seconds(record, name)) is not None}
    if ours is None or len(times) < len(names):
        return Target(label, bound, None)
    best = min(times, key=times.__getitem__)
    return Target(label, bound, times[best] / ours, note=best if len(names) > 1 else "")


def _seconds(record: Record | None, name: str) -> float | None:
    """Return the pipelined time of a step, or None if it was not measured."""
    found = record["results"][name].get("pipelined") if record else None
    return found["median"] if found else None


def _epochs(records: list[Record]) -> Iterator[Target]:
    ours: Record = next((r["results"][OURS] for r in records if "results" in r), {})
    complete = ours.get("epochs") == _EPOCHS
    yield Target(
        f"{_EPOCHS} epochs of MNIST, batch 32, float32",
        1.2,
        ours["seconds"] if complete else None,
        " s",
        at_most=True,
    )
    yield Target("test accuracy after 10 epochs", 0.985, ours["accuracy"] if complete else None, "")


def _convolutions(records: list[Record]) -> Target:
    """Return the lowest ratio to cuDNN's speed, if all were measured."""
    label = (
        "ResNet-50's 3x3 convolutions and gradients, batch 32, float32, lowest ratio, "
        "cuDNN / gpunet"
    )
    theirs, shares = cudnn(records), {}
    for record in records:
        if "median" in record and "by" not in record and record["precision"] == "fp32":
            key = (record["kernel"], record["label"], "fp32")
            if key in theirs:
                shares[key] = theirs[key]["median"] / record["median"]
    if any((work.primitive, work.label, "fp32") not in shares for work in resnet_workloads()):
        return Target(label, 0.6, None)
    lowest = min(shares, key=shares.__getitem__)
    return Target(label, 0.6, shares[lowest], note=f"{lowest[0]}, {lowest[1]}")


def _memory(records: dict[tuple[int, str], Record]) -> Target:
    """Return the ratio of gpunet's peak memory to PyTorch's lowest."""
    results = records[1024, "fp32"]["results"] if (1024, "fp32") in records else {}
    peaks = {name: found["memory"] for name, found in results.items() if found.get("memory")}
    theirs = {name: peaks[name] for name in TORCH if name in peaks}
    label = "peak memory of a training step, batch 1024, float32, gpunet / PyTorch's lowest"
    if OURS not in peaks or not theirs:
        return Target(label, 0.5, None, at_most=True)
    lowest = min(theirs, key=theirs.__getitem__)
    sizes = [f"{size / 2**20:,.0f} MiB" for size in (peaks[OURS], theirs[lowest])]
    images = f"{results[OURS]['image_bytes'] / 2**20:,.0f} MiB"
    return Target(
        label,
        0.5,
        peaks[OURS] / theirs[lowest],
        at_most=True,
        note=f"{sizes[0]} / {sizes[1]} of {lowest}; both include {images} of images",
    )
