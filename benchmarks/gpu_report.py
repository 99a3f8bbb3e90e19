"""Report of a run on a GPU, as Markdown: results, and why something was not measured."""

from __future__ import annotations

from typing import Any

from benchmarks import gpu_tables, gpu_targets
from benchmarks.gpu_peers import OURS, OURS_EAGER
from benchmarks.gpu_tables import cell
from benchmarks.gpu_timing import OUT_OF_TIME

__all__ = ["markdown", "one_line", "problems"]

Record = dict[str, Any]


def markdown(report: Record) -> str:
    """Return a report as Markdown."""
    lines = [f"# gpunet on {report['device']['name']}", "", *_machine(report), ""]
    lines += ["| part | | seconds |", "| --- | --- | --- |"]
    for name, entry in report["parts"].items():
        lines.append(f"| {name}: {entry['title']} | {one_line(entry)} | {_seconds(entry)} |")
    lines += ["", *gpu_targets.section(report)]
    rates = gpu_tables.ceilings_of(_records(report, "ceilings"))
    rates["peak"] = report["device"]["fp32_peak"]
    for name, section in (
        ("tests", _tests),
        ("sanitizer", _sanitizer),
        ("ceilings", gpu_tables.ceilings),
        ("steps", gpu_tables.steps),
        ("epochs", gpu_tables.epochs),
        ("convolutions", lambda records: gpu_tables.convolutions(records, rates)),
        ("kernels", lambda records: gpu_tables.kernels(records, rates)),
        ("profile", _profiles),
    ):
        if records := _records(report, name):
            lines += ["", *section(records), *_not_measured(records)]
    return "\n".join([*lines, "", "Written by `python -m benchmarks.gpu`.", ""])


def _records(report: Record, part: str) -> list[Record]:
    return report["parts"].get(part, {}).get("records", [])


def _seconds(entry: Record) -> str:
    return f"{entry['seconds']:.0f}" if "seconds" in entry else ""


def one_line(entry: Record) -> str:
    """Return the outcome of a part, in a few words."""
    records = entry["records"]
    words = [entry["state"]] if entry["state"] != "done" or not records else []
    for record in records:
        if "tests" in record:
            words.append(_counts(record))
        elif "check" in record and "found" in record:
            words.append(f"{record['check']}: {record['found']} found")
        elif "absent" in record:
            words.append(f"{record['absent']} absent")
    measured = sum(not {"median", "results", "table"}.isdisjoint(record) for record in records)
    words += [f"{measured} measured"] if measured else []
    for key, outcome in (("left_out", OUT_OF_TIME), ("error", "failed")):
        count = sum(key in record for record in records)
        words += [f"{count} {outcome}"] if count else []
    return cell(", ".join(dict.fromkeys(words)) or entry["state"])


def _counts(record: Record) -> str:
    done = record["passed"] + record["failed"] + record["skipped"]
    text = f"{record['passed']} passed, {record['failed']} failed, {record['skipped']} skipped"
    left = record["tests"] - done
    return text + (f", {left} not run (out of time, or their process ended)" if left else "")


def _is_cut_off(record: Record) -> bool:
    """Return whether some tests have no outcome."""
    return "passed" in record and " not run " in _counts(record)


def problems(report: Record) -> list[str]:
    """Return failures: failed tests, errors, aborted parts; but not what is absent."""
    found = []
    for name, entry in report["parts"].items():
        if entry["state"].startswith("aborted"):
            found.append(f"{name}: {entry['state']}")
        for record in entry["records"]:
            if record.get("failed") or record.get("found") or _is_cut_off(record):
                found.append(f"{name}: {one_line(entry)}")
            elif "error" in record:
                found.append(f"{name}: {record['error']}")
            for contender in (OURS, OURS_EAGER):
                why = record.get("results", {}).get(contender, {}).get("why", OUT_OF_TIME)
                if why != OUT_OF_TIME:
                    found.append(f"{name}: {contender}: {why}")
    return found


def _machine(report: Record) -> list[str]:
    device, versions, host = report["device"], report["versions"], report["host"]
    commit = report["commit"]
    at = "unknown commit" if commit is None else commit["hash"][:12]
    changed = ", with local changes" if commit and commit["changed"] else ""
    visible = device["visible_devices"]
    others = "" if device["CUDA_VISIBLE_DEVICES"] is None else (
        f" (CUDA_VISIBLE_DEVICES={device['CUDA_VISIBLE_DEVICES']})"
    )  # fmt: skip
    before = report["clocks"].get("before") or report["clocks"].get("after") or {}
    lines = [
        f"{report['date']}; gpunet {versions['gpunet']} at {at}{changed}.",
        "",
        "| | |",
        "| --- | --- |",
        f"| GPU | {device['name']}, compute capability {device['compute_capability']}, "
        f"{device['multiprocessors']} multiprocessors, {device['memory_bytes'] / 2**30:.0f} GiB, "
        f"L2 cache {device['l2_bytes'] / 2**20:.0f} MiB; {visible} visible{others} |",
        f"| float32 peak | {_peak(device)} |",
        f"| driver | {before.get('driver_version', 'unknown version')}, "
        f"CUDA {versions['cuda_driver']} at most |",
        f"| versions | CUDA runtime {versions['cuda_runtime']}, CuPy {versions['cupy']}, "
        f"PyTorch {versions['torch'] or 'absent'}, Triton {versions['triton'] or 'absent'}, "
        f"NumPy {versions['numpy']}, Python {versions['python']} |",
        f"| host | {cell(str(host['processor']))}, {host['cores']} cores |",
    ]
    for when in ("before", "after"):
        clocks = report["clocks"].get(when)
        if clocks:
            lines.append(
                f"| as found {when} | {clocks['clocks.sm']} of {clocks['clocks.max.sm']}, memory "
                f"{clocks['clocks.mem']} of {clocks['clocks.max.mem']}; "
                f"{clocks['temperature.gpu']} °C, {clocks['power.draw']} of "
                f"{clocks['power.limit']}; {clocks['utilization.gpu']} busy |"
            )
    return lines


def _peak(device: Record) -> str:
    if not device["fp32_peak"]:
        return "unknown clock"
    return f"{device['fp32_peak'] / 1e12:.1f} TFLOP/s at {device['clock_hz'] / 1e6:,.0f} MHz"


def _tests(records: list[Record]) -> list[str]:
    lines = ["## Tests", ""]
    for record in records:
        if "tests" in record:
            lines.append(f"{_counts(record)}; {record['processes']} processes at once.")
            lines += ["", *(f"- failed: `{test}`" for test in record["failures"])]
            lines += [f"- skipped, {n}: {why}" for why, n in record["reasons"].items()]
            lines += _block(record["messages"])
    return lines


def _sanitizer(records: list[Record]) -> list[str]:
    lines = ["## compute-sanitizer on a training step of 4 images", ""]
    for record in records:
        if "found" in record:
            kind = "hazards" if record["check"] == "racecheck" else "errors"
            lines.append(f"- {record['check']}: {record['found']} {kind}")
            lines += _block(record["messages"])
    return lines


def _profiles(records: list[Record]) -> list[str]:
    lines = ["## Where a training step of the program spends its time"]
    for record in records:
        if "table" in record:
            lines += ["", f"Batch {record['batch']}:", *_block(record["text"].splitlines())]
    return lines


def _not_measured(records: list[Record]) -> list[str]:
    """Return why measurements of a part are missing."""
    lines = []
    for record in records:
        if "absent" in record:
            lines.append(f"- absent: {record['absent']} ({cell(record['why'])})")
        elif "error" in record:
            what = " ".join(str(record[k]) for k in ("job", "check", "ceiling", "profile", "by",
                            "kernel", "label", "batch", "precision") if k in record)  # fmt: skip
            lines.append(f"- failed: {what}: {cell(record['error'])}".replace(" : ", " "))
    left = [record["left_out"] for record in records if "left_out" in record]
    if left:
        shown = "; ".join(left[:6]) + (f"; and {len(left) - 6} more" if len(left) > 6 else "")
        lines.append(f"- {OUT_OF_TIME}: {shown}")
    return ["", *lines] if lines else []


def _block(messages: list[str]) -> list[str]:
    return ["", "```text", *messages, "```"] if messages else []
