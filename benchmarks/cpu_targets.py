"""Performance targets on the CPU, compared with the results of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.contenders import (
    KERAS_TENSORFLOW,
    NUMBA,
    NUMPY,
    TORCH_LAYOUTS,
    TORCH_PAGES_KEPT,
)
from benchmarks.cpu_measure import CACHED, NOT_CACHED
from benchmarks.cpu_tables import ratio

__all__ = ["Target", "table", "targets"]

Record = dict[str, Any]


class Target(NamedTuple):
    """A performance target.

    Attributes:
        name: the quantity.
        bound: the value to reach.
        reached: the measured value, or None.
        unit: of both; "x" for a ratio.
        at_most: whether `bound` is an upper bound.
        stretch: whether the target is ambitious rather than required.
        note: shown next to the measured value.
    """

    name: str
    bound: float
    reached: float | None
    unit: str = "x"
    at_most: bool = False
    stretch: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if it was not measured."""
        if self.reached is None:
            return None
        return self.reached <= self.bound if self.at_most else self.reached >= self.bound


def targets(parts: dict[str, list[Record]]) -> list[Target]:
    """Return all targets with the values reached in `parts`: records by part."""
    return [
        *_training(parts.get("train", [])),
        *_inference(parts.get("inference", [])),
        *_plain_numpy(parts.get("train", [])),
        *_convolution(parts.get("conv", [])),
        *_memory(parts.get("train", [])),
        *_starts(parts.get("start", [])),
        *_accuracy(parts.get("mnist", [])),
    ]


def _training(records: list[Record]) -> Iterator[Target]:
    for size in (32, 128, 1024):
        yield _against_torch(f"training step, batch {size}", 2.0, _of_batch(records, size))
    keras = [r for r in records if "median" in r["results"].get(KERAS_TENSORFLOW, {})]
    best = min(keras, key=lambda r: _per_sample(r, r["results"][KERAS_TENSORFLOW]), default=None)
    reached = ratio(_ours(best), best["results"][KERAS_TENSORFLOW]) if best else None
    yield Target(
        f"training step, {KERAS_TENSORFLOW} at its best batch size / gpunet",
        1.2,
        reached,
        note=best["case"]["label"] if best else "",
    )
    ours = [_per_sample(record, found) for record in records if (found := _ours(record))]
    yield Target(
        "training step, at gpunet's best batch size",
        100,
        min(ours, default=None),
        " us a sample",
        at_most=True,
        stretch=True,
    )


def _inference(records: list[Record]) -> Iterator[Target]:
    for size, bound in ((1, 1.5), (32, 1.5), (1024, 3.0)):
        yield _against_torch(f"inference, batch {size}", bound, _of_batch(records, size))


def _plain_numpy(records: list[Record]) -> Iterator[Target]:
    record = _of_batch(records, 1024)
    ours = record["results"].get(NUMPY) if record else None
    yield _against_torch("training step, batch 1024", 1.0, record, ours or {})


def _convolution(records: list[Record]) -> Iterator[Target]:
    found = next((r for r in records if r["case"]["label"].startswith("ResNet")), None)
    yield _against_torch("ResNet-like convolution", 0.8, found)


def _memory(records: list[Record]) -> Iterator[Target]:
    record = _of_batch(records, 1024)
    ours, reached = _ours(record), None
    peaks = _peaks(record, TORCH_LAYOUTS)
    if ours and ours["peak"] is not None and peaks:
        reached = ours["peak"] / min(peaks)
    yield Target(
        "peak memory of a training step, batch 1024, gpunet / PyTorch's lower layout",
        0.5,
        reached,
        at_most=True,
    )


def _starts(records: list[Record]) -> Iterator[Target]:
    results = records[0]["results"] if records else {}
    first, later, plain = (
        results.get(name, {}).get("median") for name in (NOT_CACHED, CACHED, NUMPY)
    )
    yield Target(
        "start of the first process after installation, until its first step is done",
        15,
        first,
        " s",
        at_most=True,
    )
    yield Target(
        "start of a later process, until its first step is done, beyond NumPy alone",
        1,
        later - plain if later is not None and plain is not None else None,
        " s",
        at_most=True,
    )


def _accuracy(records: list[Record]) -> Iterator[Target]:
    ours = _ours(records[0] if records else None)
    yield Target(
        "test accuracy after 10 epochs of MNIST",
        0.985,
        ours["result"] if ours else None,
        "",
        note=f"{ours['median']:,.0f} s" if ours else "",
    )


def _against_torch(
    name: str, bound: float, record: Record | None, ours: Record | None = None
) -> Target:
    """Return the ratio to PyTorch's better layout, with the ratio to "pages kept" as note."""
    by = "gpunet" if ours is None else NUMPY
    name = f"{name}, PyTorch's better layout / {by}"
    if record is None:
        return Target(name, bound, None)
    ours = _ours(record) if ours is None else ours
    ratios = [ratio(ours, record["results"].get(layout)) for layout in TORCH_LAYOUTS]
    kept = ratio(ours, record["results"].get(TORCH_PAGES_KEPT))
    note = f"{kept:.2f}x with pages kept" if kept is not None else ""
    reached = min((value for value in ratios if value is not None), default=None)
    return Target(name, bound, reached, note=note)


def _ours(record: Record | None) -> Record | None:
    """Return gpunet's result with Numba, or with NumPy alone if Numba was not measured."""
    results = record["results"] if record else {}
    return next((results[n] for n in (NUMBA, NUMPY) if "median" in results.get(n, {})), None)


def _of_batch(records: list[Record], size: int) -> Record | None:
    return next((record for record in records if record["case"]["batch"] == size), None)


def _per_sample(record: Record, found: Record) -> float:
    """Return microseconds per sample."""
    return found["median"] / record["case"]["batch"] * 1e6


def _peaks(record: Record | None, names: tuple[str, ...]) -> list[int]:
    results = record["results"] if record else {}
    peaks = [results.get(name, {}).get("peak") for name in names]
    return [peak for peak in peaks if peak is not None]


def table(found: list[Target]) -> list[str]:
    """Return the targets as lines of Markdown."""
    lines = ["| | target | reached | met |", "| --- | --- | --- | --- |"]
    for target in found:
        sign = "at most" if target.at_most else "at least"
        bound = f"{sign} {target.bound:g}{target.unit}{' (stretch)' if target.stretch else ''}"
        digits = 4 if not target.unit else 0 if target.bound >= 100 else 2
        reached = "" if target.reached is None else f"{target.reached:.{digits}f}{target.unit}"
        if target.note and reached:
            reached += f" ({target.note})"
        verdict = {None: "not measured", True: "yes", False: "**no**"}[target.met]
        lines.append(f"| {target.name} | {bound} | {reached} | {verdict} |")
    return lines
