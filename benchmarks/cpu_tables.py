"""Tables of a run on the CPU: lines of Markdown, made from records."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Case
from benchmarks.contenders import NUMBA, NUMPY

__all__ = ["accuracies", "name_of", "operations", "ratio", "starts"]

Record = dict[str, Any]


def ratio(ours: Record | None, theirs: Record | None) -> float | None:
    """Return their time divided by ours; None if one was not measured."""
    if not ours or not theirs or "median" not in ours or "median" not in theirs:
        return None
    return theirs["median"] / ours["median"]


def name_of(name: str, found: Record) -> str:
    """Return a contender's name, with its variant if it had several."""
    return f"{name}: {found['variant']}" if found.get("variant") else name


def operations(records: list[Record]) -> list[str]:
    """Return the table of a part: a row for each contender in each case."""
    with_rate = any(record["flop"] for record in records)
    with_samples = any(record["case"]["part"] in ("train", "inference") for record in records)
    heads = ["", "ms (quartiles)", *(["us a sample"] if with_samples else [])]
    heads += [f"to {NUMBA}", f"to {NUMPY}", *(["GFLOP/s", "of sgemm"] if with_rate else [])]
    heads += ["peak MiB", "process MiB"]
    lines: list[str] = []
    for record in records:
        case = Case(**record["case"])
        label = case.label[:1].upper() + case.label[1:]
        if "sgemm_gflops" in record:
            label += f" (sgemm: {record['sgemm_gflops']:.0f} GFLOP/s)"
        lines += ["", f"**{label}**", "", *_head(heads)]
        for name, found in record["results"].items():
            lines.append(_operation(record, case, name, found, with_rate, with_samples, len(heads)))
    return lines


def _operation(
    record: Record,
    case: Case,
    name: str,
    found: Record,
    with_rate: bool,
    with_samples: bool,
    width: int,
) -> str:
    if "median" not in found:
        return _row([name, *_nothing(found, width - 1)])
    cells = [name_of(name, found), _time(found, 1e3, 2 if found["median"] < 1 else 0)]
    if with_samples:
        cells.append(f"{found['median'] / case.images * 1e6:,.1f}")
    for ours in (NUMBA, NUMPY):
        value = ratio(record["results"].get(ours), found)
        cells.append("" if value is None or name == ours else f"{value:.2f}")
    if with_rate:
        reached, ceiling = record["flop"] / found["median"] / 1e9, record.get("sgemm_gflops")
        cells += [f"{reached:,.0f}", f"{reached / ceiling:.0%}" if ceiling else ""]
    for held in (found["peak"], found["process_peak"]):
        cells.append("" if held is None else f"{held / 2**20:,.0f}")
    return _row(cells)


def starts(records: list[Record]) -> list[str]:
    """Return the table of times until a process has done its first step."""
    heads = ["", "s until the first step is done (quartiles)", "of which the step, s", "processes"]
    lines = ["", *_head(heads)]
    for name, found in records[0]["results"].items():
        if "median" not in found:
            lines.append(_row([name, *_nothing(found, 3)]))
            continue
        cells = [name, _time(found, 1, 2), f"{found['first_step']:.2f}", str(found["count"])]
        lines.append(_row(cells))
    return lines


def accuracies(records: list[Record]) -> list[str]:
    """Return the table of the full program."""
    heads = ["", "test accuracy", "wall time, s", f"to {NUMBA}", f"to {NUMPY}", "us a sample"]
    lines = ["", *_head(heads)]
    for record in records:
        case, results = Case(**record["case"]), record["results"]
        for name, found in results.items():
            if "median" not in found:
                lines.append(_row([name, *_nothing(found, 5)]))
                continue
            cells = [name, f"{found['result']:.4f}", f"{found['median']:,.1f}"]
            for ours in (NUMBA, NUMPY):
                value = ratio(results.get(ours), found)
                cells.append("" if value is None or name == ours else f"{value:.2f}")
            lines.append(_row([*cells, f"{found['median'] / case.images * 1e6:,.0f}"]))
    return lines


def _time(found: Record, unit: float, digits: int) -> str:
    """Return a median and quartiles, times `unit`."""
    low, high = (f"{value * unit:,.{digits}f}" for value in found["quartiles"])
    return f"{found['median'] * unit:,.{digits}f} ({low} to {high})"


def _nothing(found: Record, cells: int) -> list[str]:
    """Return the cells of a row with only the reason why nothing was measured."""
    return [" ".join(found["why"].replace("|", "/").split()), *[""] * (cells - 1)]


def _head(cells: list[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
