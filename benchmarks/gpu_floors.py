"""What gpunet sets out to reach on a GPU, beside what a run reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.cpu_floors import Floor, table
from benchmarks.gpu_peers import OURS, TORCH, TORCH_COMPILED, TORCH_EAGER, TORCH_GRAPH
from benchmarks.gpu_tables import cudnn, precision_of
from benchmarks.gpu_works import resnet_works

__all__ = ["floors", "section"]

Record = dict[str, Any]

_SECTION = """
## Set out for, and reached

Ratios are of times in a row, and of memory, in this run alone. PyTorch's faster form is the faster
of the compiled and the captured one.
"""

_FASTER = (TORCH_COMPILED, TORCH_GRAPH)
_EPOCHS = 10


def section(report: Record) -> list[str]:
    """Return the floors of a report as lines of Markdown."""
    return [*_SECTION.strip().splitlines(), "", *table(floors(report))]


def floors(report: Record) -> list[Floor]:
    """Return all floors, each with what the report says of it."""
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


def _steps(records: dict[tuple[int, str], Record], device: str) -> Iterator[Floor]:
    small = (32, "fp32")
    yield _against(records, small, 10.0, (TORCH_EAGER,))
    yield _against(records, small, 2.0, _FASTER)
    ours = _seconds(records.get(small), OURS) if "H200" in device else None
    yield Floor(
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
    must: float,
    names: tuple[str, ...],
) -> Floor:
    """Return the ratio to the fastest of some, if all were measured; which that is goes beside."""
    record, (size, precision) = records.get(case), case
    theirs = names[0] if len(names) == 1 else "PyTorch's faster form"
    what = f"training step, batch {size}, {precision_of(precision)}, {theirs} / gpunet"
    ours = _seconds(record, OURS)
    times = {name: found for name in names if (found := _seconds(record, name)) is not None}
    if ours is None or len(times) < len(names):
        return Floor(what, must, None)
    best = min(times, key=times.__getitem__)
    return Floor(what, must, times[best] / ours, beside=best if len(names) > 1 else "")


def _seconds(record: Record | None, name: str) -> float | None:
    """Return the time of a step in a row, or None if it was not measured."""
    found = record["results"][name].get("in_a_row") if record else None
    return found["median"] if found else None


def _epochs(records: list[Record]) -> Iterator[Floor]:
    ours: Record = next((r["results"][OURS] for r in records if "results" in r), {})
    whole = ours.get("epochs") == _EPOCHS
    yield Floor(
        f"{_EPOCHS} epochs of MNIST, batch 32, float32",
        1.2,
        ours["seconds"] if whole else None,
        " s",
        at_most=True,
    )
    yield Floor("test accuracy after them", 0.985, ours["accuracy"] if whole else None, "")


def _convolutions(records: list[Record]) -> Floor:
    """Return the lowest share of cuDNN's speed, if all were measured."""
    what = (
        "ResNet-50's 3x3 convolutions and gradients, batch 32, float32, the lowest, cuDNN / gpunet"
    )
    theirs, shares = cudnn(records), {}
    for record in records:
        if "median" in record and "by" not in record and record["precision"] == "fp32":
            key = (record["kernel"], record["label"], "fp32")
            if key in theirs:
                shares[key] = theirs[key]["median"] / record["median"]
    if any((work.primitive, work.label, "fp32") not in shares for work in resnet_works()):
        return Floor(what, 0.6, None)
    lowest = min(shares, key=shares.__getitem__)
    return Floor(what, 0.6, shares[lowest], beside=f"{lowest[0]}, {lowest[1]}")


def _memory(records: dict[tuple[int, str], Record]) -> Floor:
    """Return gpunet's peak over the lowest of PyTorch's."""
    results = records[1024, "fp32"]["results"] if (1024, "fp32") in records else {}
    peaks = {name: found["memory"] for name, found in results.items() if found.get("memory")}
    theirs = {name: peaks[name] for name in TORCH if name in peaks}
    what = "peak memory of a training step, batch 1024, float32, gpunet / PyTorch's lowest"
    if OURS not in peaks or not theirs:
        return Floor(what, 0.5, None, at_most=True)
    lowest = min(theirs, key=theirs.__getitem__)
    sizes = [f"{size / 2**20:,.0f} MiB" for size in (peaks[OURS], theirs[lowest])]
    images = f"{results[OURS]['image_bytes'] / 2**20:,.0f} MiB"
    return Floor(
        what,
        0.5,
        peaks[OURS] / theirs[lowest],
        at_most=True,
        beside=f"{sizes[0]} / {sizes[1]} of {lowest}; in both {images} of images",
    )
