"""The tables of a run on a GPU, each a list of lines of Markdown, from the records of its part."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.gpu_peers import CONTENDERS, OURS

__all__ = ["ceilings", "ceilings_of", "cell", "convolutions", "epochs", "kernels", "steps"]

Record = dict[str, Any]
Rates = dict[str, float]

_CEILINGS = """
## Ceilings

What this GPU reached in this run: a copy within its memory, bytes read and written both counted,
and a large product of square matrices.

| | by | ms (quartiles) | rate |
| --- | --- | --- | --- |
"""

_KERNELS = """
## The program's kernels, float32

Times are of the GPU alone, by events. The arrays change from call to call, so that none is found in
the cache (as far as 32 sets of them reach). Bytes are the fewest possible, each array once. *x
floor* is the time over the larger of two: the bytes at the copy's rate, and the FLOP at that of the
fastest float32 product. A star marks calls for which the GPU had to wait for the host.

| kernel | | batch | us (quartiles) | GB/s | of copy | TFLOP/s | of product | x floor |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_CONVOLUTIONS = """
## ResNet-50's 3x3 convolutions

PyTorch's are cuDNN's, the faster of its two layouts, measured after gpunet's. *Ratio* is gpunet's
time over PyTorch's, both in float32: above 1 gpunet is slower. gpunet has no TF32 yet.

| convolution | | batch | gpunet us (quartiles) | TFLOP/s | of product | PyTorch us | ratio | \
PyTorch TF32 us |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_STEPS = """
## Training steps

The program of `examples/mnist_cnn.py` with Adam, on the same images, which are on the GPU, and from
the same weights; by turns, each in a process of its own. Wall time, median (quartiles). *Waited
for*: the host reads the loss after each step. *In a row*: many steps, and one wait at their end;
gpunet's are those of `fit`, with its check of the data. *Ratio* is gpunet's time over the other's:
above 1 gpunet is slower. TF32 is compared with TF32 alone.

| batch | precision | | us waited for | ratio | us in a row | ratio | images/s | pool MiB | \
first loss |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_EPOCHS = """
## Epochs of MNIST, batch 32, float32

By turns, images on the GPU; what is compiled is compiled before. Accuracy on the test images after
the last. *Ratio*: gpunet's median over the other's; above 1 gpunet is slower.

| | seconds of each epoch | ratio | accuracy |
| --- | --- | --- | --- |
"""


def ceilings_of(records: list[Record]) -> Rates:
    """Return the highest rates that were measured: bytes per second, and FLOP by precision."""
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
            what = f"product, {record['size']}, {_precision(record)}"
            rate = f"{record['flop'] / record['median'] / 1e12:.1f} TFLOP/s"
        lines.append(f"| {what} | {record['by']} | {_time(record, 1e3, 3)} | {rate} |")
    lines.append(f"| product, TF32 | {OURS} | not there yet | |")
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
    """Return the cells of what a kernel reached, against the ceilings that were measured."""
    seconds, copy, product = record["median"], rates.get("copy"), rates.get("fp32")
    moved, done = record["bytes"] / seconds, record["flop"] / seconds
    cells = [f"{moved / 1e9:,.0f}", f"{moved / copy:.0%}" if copy else ""]
    cells.append(f"{done / 1e12:.2f}" if done else "")
    cells.append(f"{done / product:.0%}" if done and product else "")
    known = copy and (product or not done)
    floor = max(record["bytes"] / copy, record["flop"] / product if done else 0) if known else 0
    return [*cells, f"{seconds / floor:.1f}" if floor else ""]


def convolutions(records: list[Record], rates: Rates) -> list[str]:
    lines = _lines(_CONVOLUTIONS)
    ratios: list[str] = []
    peers: dict[tuple[str, str, str], Record] = {}
    for record in records:
        if record.get("by") == "PyTorch" and "median" in record:
            key = (record["kernel"], record["label"], record["precision"])
            if key not in peers or record["median"] < peers[key]["median"]:
                peers[key] = record
    ours = [record for record in records if "kernel" in record and "by" not in record]
    for record in (record for record in ours if "median" in record):
        fp32, tf32 = (
            peers.get((record["kernel"], record["label"], precision))
            for precision in ("fp32", "tf32")
        )
        reached = _reached(record, rates)
        lines.append(
            f"| {record['kernel']} | {record['label']} | {record['batch']} | "
            f"{_time(record, 1e6, 0)}{_star(record)} | {reached[2]} | {reached[3]} | "
            f"{_time(fp32, 1e6, 0)} | {_ratio(record, fp32)} | {_time(tf32, 1e6, 0)} |"
        )
        ratios.append(_ratio(record, fp32))
    return lines + _verdict(ratios)


def _ratio(ours: Record, theirs: Record | None) -> str:
    return f"{ours['median'] / theirs['median']:.2f}" if theirs else ""


def _verdict(ratios: list[str]) -> list[str]:
    """Return the sentence that says in how many comparisons gpunet is slower."""
    values = sorted(float(ratio) for ratio in ratios if ratio)
    if not values:
        return ["", "Nothing was compared."]
    slower = sum(value > 1 for value in values)
    return [
        "",
        f"gpunet is slower in {slower} of {len(values)} comparisons; "
        f"ratios from {values[0]:.2f} to {values[-1]:.2f}.",
    ]


def steps(records: list[Record]) -> list[str]:
    lines, ratios = _lines(_STEPS), list[str]()
    for record in records:
        if "results" not in record:
            continue
        ours = record["results"][OURS]
        for name in CONTENDERS:
            found = record["results"][name]
            cells = [str(record["batch"]), _precision(record), name]
            if "in_a_row" not in found:
                lines.append(f"| {' | '.join(cells)} | {cell(found['why'])} | | | | | | |")
                continue
            for kind in ("waited_for", "in_a_row"):
                cells.append(_time(found[kind], 1e6, 0))
                compared = name != OURS and kind in ours
                cells.append(_ratio(ours[kind], found[kind]) if compared else "")
                ratios.append(cells[-1])
            cells.append(f"{record['batch'] / found['in_a_row']['median']:,.0f}")
            cells.append(f"{found['memory'] / 2**20:,.0f}")
            cells.append(f"{found['loss']:.5f}")
            lines.append(f"| {' | '.join(cells)} |")
    return lines + _verdict(ratios)


def epochs(records: list[Record]) -> list[str]:
    lines, ratios = _lines(_EPOCHS), list[str]()
    for record in records:
        if "results" not in record:
            continue
        ours = record["results"][OURS].get("seconds")
        for name in CONTENDERS:
            found = record["results"][name]
            if "seconds" not in found:
                lines.append(f"| {name} | {cell(found['why'])} | | |")
                continue
            shown = ", ".join(f"{seconds:.2f}" for seconds in found["seconds"])
            ratio = ""
            if name != OURS and ours:
                ratio = f"{statistics.median(ours) / statistics.median(found['seconds']):.2f}"
            ratios.append(ratio)
            lines.append(f"| {name} | {shown} | {ratio} | {found['accuracy']:.4f} |")
    return lines + _verdict(ratios)


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def _precision(record: Record) -> str:
    return {"fp32": "float32", "tf32": "TF32"}[record["precision"]]


def _star(record: Record) -> str:
    return " *" if record.get("host_bound") else ""


def _time(record: Record | None, unit: float, digits: int) -> str:
    """Return a median and its quartiles in a unit of which a second has so many."""
    if record is None:
        return ""
    low, high = (f"{value * unit:,.{digits}f}" for value in record["quartiles"])
    return f"{record['median'] * unit:,.{digits}f} ({low} to {high})"


def cell(text: str) -> str:
    """Return a text that fits into a cell of a table."""
    return " ".join(text.replace("|", "/").split())
