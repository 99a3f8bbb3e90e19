"""Tables of a run on a GPU: lines of Markdown, made from the records of a part."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu_peers import CONTENDERS, OURS

__all__ = [
    "ceilings", "ceilings_of", "cell", "convolutions", "cudnn", "epochs", "kernels", "precision_of",
    "steps",
]  # fmt: skip

Record = dict[str, Any]
Rates = dict[str, float]

_CEILINGS = """
## Ceilings

Reached by this GPU in this run: a copy in device memory, counting bytes read and bytes written, and
a large product of square matrices.

| | by | ms (quartiles) | rate |
| --- | --- | --- | --- |
"""

_KERNELS = """
## The program's kernels, float32

GPU time, measured by events. Arrays change from call to call, so that none is in the cache (up to
32 sets of arrays). Bytes are the minimum: each array once. *x floor* is the time divided by the
larger of two bounds: bytes at the copy's rate, FLOP at the rate of the fastest float32 product. A
star marks calls during which the GPU waited for the host.

| kernel | | batch | us (quartiles) | GB/s | of copy | TFLOP/s | of product | x floor |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_CONVOLUTIONS = """
## ResNet-50's 3x3 convolutions

cuDNN is called through PyTorch, in the faster of its two layouts. *Of peak*: share of the GPU's
peak float32 rate at its highest clock. *Of cuDNN*: cuDNN's time divided by gpunet's in the same
precision; below 100%, gpunet is slower.

| convolution | | batch | precision | gpunet us (quartiles) | TFLOP/s | of peak | cuDNN us | \
of cuDNN |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_STEPS = """
## Training steps

The program of `examples/mnist_cnn.py` with Adam, from the same weights, on the same images in GPU
memory. Libraries take turns, each in its own process. Wall time, median (quartiles).

- *Synchronized*: the host reads the loss after each step. *Pipelined*: many steps, one wait at the
  end; for gpunet one `fit` of a few epochs, including its check of the data.
- *gpunet* runs captured steps; *gpunet, eager* is `compile(capture=False)`. In bfloat16, PyTorch
  runs under `autocast`; both libraries keep float32 weights.
- *Peak*: size of the library's memory pools after the warm-up, images included.
- *Ratio*: gpunet's time or memory divided by the other's, in the same precision; above 1, gpunet is
  slower or larger.

| batch | precision | | us synchronized | ratio | us pipelined | ratio | images/s | peak MiB | \
ratio | first loss |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_EPOCHS = """
## Epochs of MNIST, batch 32, float32

Images in GPU memory. Compilation, and the capture of PyTorch's graphs, are not timed. gpunet trains
all epochs in one `fit`, including its capture; the others take turns, an epoch at a time, and do
fewer when time is short. Accuracy on the test images after the last epoch. *Ratio*: gpunet's
seconds per epoch divided by the other's; above 1, gpunet is slower.

| | epochs | seconds in total | per epoch | ratio | accuracy |
| --- | --- | --- | --- | --- | --- |
"""


def ceilings_of(records: list[Record]) -> Rates:
    """Return the highest rates measured: bytes per second, and FLOP per second by precision."""
    rates: Rates = {}
    for record in records:
        if "median" in record:
            kind = "copy" if record["ceiling"] == "copy" else record["precision"]
            work = record["bytes"] if kind == "copy" else record["flop"]
            rates[kind] = max(rates.get(kind, 0.0), work / record["median"])
    return rates


def ceilings(records: list[Record]) -> list[str]:
    lines = _lines(_CEILINGS)
    for record in records:
        if "median" not in record:
            continue
        if record["ceiling"] == "copy":
            what = f"copy, {record['bytes'] // 2 / 2**20:.0f} MiB"
            rate = f"{record['bytes'] / record['median'] / 1e9:,.0f} GB/s"
        else:
            what = f"product, {record['size']}, {precision_of(record['precision'])}"
            rate = f"{record['flop'] / record['median'] / 1e12:.1f} TFLOP/s"
        lines.append(f"| {what} | {record['by']} | {_time(record, 1e3, 3)} | {rate} |")
    return lines


def kernels(records: list[Record], rates: Rates) -> list[str]:
    lines = _lines(_KERNELS)
    for record in records:
        if "median" in record:
            batch = record["batch"] or ""
            lines.append(
                f"| {record['kernel']} | {record['label']} | {batch} | {_time(record, 1e6, 1)}"
                f"{_star(record)} | {' | '.join(_reached(record, rates))} |"
            )
    return lines


def _reached(record: Record, rates: Rates) -> list[str]:
    """Return a kernel's rates, as cells, and their share of the measured ceilings."""
    seconds, copy, product = record["median"], rates.get("copy"), rates.get("fp32")
    moved, done = record["bytes"] / seconds, record["flop"] / seconds
    cells = [f"{moved / 1e9:,.0f}", f"{moved / copy:.0%}" if copy else ""]
    cells.append(f"{done / 1e12:.2f}" if done else "")
    cells.append(f"{done / product:.0%}" if done and product else "")
    known = copy and (product or not done)
    floor = max(record["bytes"] / copy, record["flop"] / product if done else 0) if known else 0
    return [*cells, f"{seconds / floor:.1f}" if floor else ""]


def convolutions(records: list[Record], rates: Rates) -> list[str]:
    lines, ratios = _lines(_CONVOLUTIONS), list[str]()
    theirs, peak = cudnn(records), rates.get("peak")
    for record in records:
        if "median" not in record or "by" in record:
            continue
        other = theirs.get((record["kernel"], record["label"], record["precision"]))
        done = record["flop"] / record["median"]
        of_peak = f"{done / peak:.0%}" if peak and record["precision"] == "fp32" else ""
        lines.append(
            f"| {record['kernel']} | {record['label']} | {record['batch']} | "
            f"{precision_of(record['precision'])} | {_time(record, 1e6, 0)}{_star(record)} | "
            f"{done / 1e12:.2f} | {of_peak} | {_time(other, 1e6, 0)} | "
            f"{_share(other, record)} |"
        )
        ratios.append(_ratio(record, other))
    return lines + _verdict(ratios)


def cudnn(records: list[Record]) -> dict[tuple[str, str, str], Record]:
    """Return the record of PyTorch's faster layout by kernel, label and precision."""
    found: dict[tuple[str, str, str], Record] = {}
    for record in records:
        if record.get("by") == "PyTorch" and "median" in record:
            key = (record["kernel"], record["label"], record["precision"])
            if key not in found or record["median"] < found[key]["median"]:
                found[key] = record
    return found


def _ratio(ours: Record, theirs: Record | None) -> str:
    return f"{ours['median'] / theirs['median']:.2f}" if theirs else ""


def _share(theirs: Record | None, ours: Record) -> str:
    return f"{theirs['median'] / ours['median']:.0%}" if theirs else ""


def _verdict(ratios: list[str]) -> list[str]:
    """Return a sentence on how many comparisons gpunet loses."""
    values = sorted(float(ratio) for ratio in ratios if ratio)
    if not values:
        return ["", "Nothing was compared."]
    slower = sum(value > 1 for value in values)
    return [
        "",
        f"gpunet is slower in {slower} of {len(values)} comparisons; "
        f"its time is {values[0]:.2f} to {values[-1]:.2f} of the other's.",
    ]


def steps(records: list[Record]) -> list[str]:
    lines, ratios = _lines(_STEPS), list[str]()
    for record in records:
        if "results" not in record:
            continue
        ours = record["results"][OURS]
        for name in CONTENDERS:
            found = record["results"][name]
            cells = [str(record["batch"]), precision_of(record["precision"]), name]
            if "pipelined" not in found:
                lines.append(f"| {' | '.join(cells)} | {cell(found['why'])} | | | | | | | |")
                continue
            compared = name != OURS and "pipelined" in ours
            for kind in ("synchronized", "pipelined"):
                cells.append(_time(found[kind], 1e6, 0))
                cells.append(_ratio(ours[kind], found[kind]) if compared else "")
                ratios.append(cells[-1])
            cells.append(f"{record['batch'] / found['pipelined']['median']:,.0f}")
            cells.append(f"{found['memory'] / 2**20:,.0f}")
            known = compared and found["memory"]
            cells.append(f"{ours['memory'] / found['memory']:.2f}" if known else "")
            cells.append(f"{found['loss']:.5f}")
            lines.append(f"| {' | '.join(cells)} |")
    return lines + _verdict(ratios)


def epochs(records: list[Record]) -> list[str]:
    lines, ratios = _lines(_EPOCHS), list[str]()
    for record in records:
        if "results" not in record:
            continue
        ours = record["results"][OURS]
        for name in CONTENDERS:
            found = record["results"][name]
            if "seconds" not in found:
                lines.append(f"| {name} | {cell(found['why'])} | | | | |")
                continue
            ratio = ""
            if name != OURS and "seconds" in ours:
                ratio = f"{_of_an_epoch(ours) / _of_an_epoch(found):.2f}"
            ratios.append(ratio)
            lines.append(
                f"| {name} | {found['epochs']} | {found['seconds']:.2f} | "
                f"{_of_an_epoch(found):.3f} | {ratio} | {found['accuracy']:.4f} |"
            )
    return lines + _verdict(ratios)


def _of_an_epoch(found: Record) -> float:
    return found["seconds"] / found["epochs"]


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def precision_of(name: str) -> str:
    """Return the name of a precision in the tables."""
    return {"fp32": "float32", "tf32": "TF32", "bf16": "bfloat16"}[name]


def _star(record: Record) -> str:
    return " *" if record.get("host_bound") else ""


def _time(record: Record | None, unit: float, digits: int) -> str:
    """Return a median and quartiles, times `unit`."""
    if record is None:
        return ""
    low, high = (f"{value * unit:,.{digits}f}" for value in record["quartiles"])
    return f"{record['median'] * unit:,.{digits}f} ({low} to {high})"


def cell(text: str) -> str:
    """Return text that fits in a table cell."""
    return " ".join(text.replace("|", "/").split())
