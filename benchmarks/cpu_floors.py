"""What gpunet sets out to reach on the CPU, beside what a run reached."""

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

__all__ = ["Floor", "floors", "table"]

Record = dict[str, Any]


class Floor(NamedTuple):
    """Something to be reached.

    Attributes:
        what: in words.
        must: the bound.
        reached: what was measured, or None.
        unit: of both; "x" for a ratio.
        at_most: whether the bound is one from above.
        stretch: whether it is a hope rather than a floor.
        beside: what is told with it.
    """

    what: str
    must: float
    reached: float | None
    unit: str = "x"
    at_most: bool = False
    stretch: bool = False
    beside: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is reached; None if that was not measured."""
        if self.reached is None:
            return None
        return self.reached <= self.must if self.at_most else self.reached >= self.must


def floors(parts: dict[str, list[Record]]) -> list[Floor]:
    """Return all floors, each with what these records, by part, say of it."""
    return [
        *_training(parts.get("train", [])),
        *_inference(parts.get("inference", [])),
        *_plain_numpy(parts.get("train", [])),
        *_convolution(parts.get("conv", [])),
        *_memory(parts.get("train", [])),
        *_starts(parts.get("start", [])),
        *_accuracy(parts.get("mnist", [])),
    ]


def _training(records: list[Record]) -> Iterator[Floor]:
    for size in (32, 128, 1024):
        yield _against_torch(f"training step, batch {size}", 2.0, _of_batch(records, size))
    keras = [r for r in records if "median" in r["results"].get(KERAS_TENSORFLOW, {})]
    best = min(keras, key=lambda r: _per_sample(r, r["results"][KERAS_TENSORFLOW]), default=None)
    reached = ratio(_ours(best), best["results"][KERAS_TENSORFLOW]) if best else None
    yield Floor(
        f"training step, {KERAS_TENSORFLOW} at its best batch size / gpunet",
        1.2,
        reached,
        beside=best["case"]["label"] if best else "",
    )
    ours = [_per_sample(record, found) for record in records if (found := _ours(record))]
    yield Floor(
        "training step, at gpunet's best batch size",
        100,
        min(ours, default=None),
        " us a sample",
        at_most=True,
        stretch=True,
    )


def _inference(records: list[Record]) -> Iterator[Floor]:
    for size, must in ((1, 1.5), (32, 1.5), (1024, 3.0)):
        yield _against_torch(f"inference, batch {size}", must, _of_batch(records, size))


def _plain_numpy(records: list[Record]) -> Iterator[Floor]:
    record = _of_batch(records, 1024)
    ours = record["results"].get(NUMPY) if record else None
    yield _against_torch("training step, batch 1024", 1.0, record, ours or {})


def _convolution(records: list[Record]) -> Iterator[Floor]:
    found = next((r for r in records if r["case"]["label"].startswith("ResNet")), None)
    yield _against_torch("ResNet-like convolution", 0.8, found)


def _memory(records: list[Record]) -> Iterator[Floor]:
    record = _of_batch(records, 1024)
    ours, reached = _ours(record), None
    peaks = _peaks(record, TORCH_LAYOUTS)
    if ours and ours["peak"] is not None and peaks:
        reached = ours["peak"] / min(peaks)
    yield Floor(
        "peak memory of a training step, batch 1024, gpunet / PyTorch's lower layout",
        0.5,
        reached,
        at_most=True,
    )


def _starts(records: list[Record]) -> Iterator[Floor]:
    results = records[0]["results"] if records else {}
    first, later, plain = (
        results.get(name, {}).get("median") for name in (NOT_CACHED, CACHED, NUMPY)
    )
    yield Floor(
        "from the start of the first process after installation to its first step done",
        15,
        first,
        " s",
        at_most=True,
    )
    yield Floor(
        "what a later process takes more than with NumPy alone, to its first step done",
        1,
        later - plain if later is not None and plain is not None else None,
        " s",
        at_most=True,
    )


def _accuracy(records: list[Record]) -> Iterator[Floor]:
    ours = _ours(records[0] if records else None)
    yield Floor(
        "test accuracy after 10 epochs of MNIST",
        0.985,
        ours["result"] if ours else None,
        "",
        beside=f"{ours['median']:,.0f} s" if ours else "",
    )


def _against_torch(
    what: str, must: float, record: Record | None, ours: Record | None = None
) -> Floor:
    """Return the ratio to PyTorch's better layout; that to PyTorch with pages kept goes beside."""
    by = "gpunet" if ours is None else NUMPY
    what = f"{what}, PyTorch's better layout / {by}"
    if record is None:
        return Floor(what, must, None)
    ours = _ours(record) if ours is None else ours
    ratios = [ratio(ours, record["results"].get(name)) for name in TORCH_LAYOUTS]
    kept = ratio(ours, record["results"].get(TORCH_PAGES_KEPT))
    beside = f"{kept:.2f}x with pages kept" if kept is not None else ""
    reached = min((value for value in ratios if value is not None), default=None)
    return Floor(what, must, reached, beside=beside)


def _ours(record: Record | None) -> Record | None:
    """Return gpunet's result as users with Numba have it, or without where there is no Numba."""
    results = record["results"] if record else {}
    return next((results[n] for n in (NUMBA, NUMPY) if "median" in results.get(n, {})), None)


def _of_batch(records: list[Record], size: int) -> Record | None:
    return next((record for record in records if record["case"]["batch"] == size), None)


def _per_sample(record: Record, found: Record) -> float:
    """Return the microseconds of a sample."""
    return found["median"] / record["case"]["batch"] * 1e6


def _peaks(record: Record | None, names: tuple[str, ...]) -> list[int]:
    results = record["results"] if record else {}
    peaks = [results.get(name, {}).get("peak") for name in names]
    return [peak for peak in peaks if peak is not None]


def table(found: list[Floor]) -> list[str]:
    """Return the floors as lines of Markdown."""
    lines = ["| | set out for | reached | |", "| --- | --- | --- | --- |"]
    for floor in found:
        sign = "at most" if floor.at_most else "at least"
        must = f"{sign} {floor.must:g}{floor.unit}{' (stretch)' if floor.stretch else ''}"
        digits = 4 if not floor.unit else 0 if floor.must >= 100 else 2
        reached = "" if floor.reached is None else f"{floor.reached:.{digits}f}{floor.unit}"
        if floor.beside and reached:
            reached += f" ({floor.beside})"
        verdict = {None: "not measured", True: "yes", False: "**no**"}[floor.met]
        lines.append(f"| {floor.what} | {must} | {reached} | {verdict} |")
    return lines
