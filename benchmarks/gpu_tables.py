"""The tables of a run on a GPU, each a list of lines of Markdown, from the records of its part."""

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

cuDNN's are those of PyTorch, in the faster of its two layouts. *Of peak*: of the float32 operations
that the GPU's multiprocessors can do at their highest clock. *Of cuDNN*: its time over gpunet's in
the same precision; below 100% gpunet is slower.

| convolution | | batch | precision | gpunet us (quartiles) | TFLOP/s | of peak | cuDNN us | \
of cuDNN |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_STEPS = """
## Training steps

The program of `examples/mnist_cnn.py` with Adam, on the same images, which are on the GPU, and from
the same weights; by turns, each in a process of its own. Wall time, median (quartiles). *Waited
for*: the host reads the loss after each step. *In a row*: many steps, and one wait at their end;
gpunet's are those of one `fit`, a few epochs with its check of the data. *gpunet* runs captured
steps, *gpunet, eager* is `compile(capture=False)`. In bfloat16 PyTorch runs under `autocast`, and
both libraries keep their weights in float32. *Peak*: what the library's memory pools have had from
the GPU after the warm-up, the images in it. *Ratio* is gpunet's time or memory over the other's:
above 1 gpunet is slower or larger. Each precision is compared with itself alone.

| batch | precision | | us waited for | ratio | us in a row | ratio | images/s | peak MiB | \
ratio | first loss |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""

_EPOCHS = """
## Epochs of MNIST, batch 32, float32

Images on the GPU; what is compiled is compiled before, and PyTorch's graphs are captured before.
gpunet does all epochs in one `fit`, in which it captures; the others one at a time by turns, fewer
where time was short. Accuracy on the test images after the last. *Ratio*: gpunet's seconds of an
epoch over the other's; above 1 gpunet is slower.

| | epochs | seconds in all | of an epoch | ratio | accuracy |
| --- | --- | --- | --- | --- | --- |
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
    """Return PyTorch's faster layout by kernel, label and precision."""
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
    """Return the sentence that says in how many comparisons gpunet is slower."""
    values = sorted(float(ratio) for ratio in ratios if ratio)
    if not values:
        return ["", "Nothing was compared."]
    slower = sum(value > 1 for value in values)
    return [
        "",
        f"gpunet is slower in {slower} of {len(values)} comparisons; "
        f"its time is from {values[0]:.2f} to {values[-1]:.2f} of the other's.",
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
            if "in_a_row" not in found:
                lines.append(f"| {' | '.join(cells)} | {cell(found['why'])} | | | | | | | |")
                continue
            compared = name != OURS and "in_a_row" in ours
            for kind in ("waited_for", "in_a_row"):
                cells.append(_time(found[kind], 1e6, 0))
                cells.append(_ratio(ours[kind], found[kind]) if compared else "")
                ratios.append(cells[-1])
            cells.append(f"{record['batch'] / found['in_a_row']['median']:,.0f}")
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
    """Return a precision as the tables have it."""
    return {"fp32": "float32", "tf32": "TF32", "bf16": "bfloat16"}[name]


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
