"""Plot of a run on the CPU: a panel for each part, a bar for each library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cases import Case
from benchmarks.contenders import (
    CONTENDERS,
    CUPY,
    KERAS_JAX,
    KERAS_TENSORFLOW,
    NUMBA,
    NUMPY,
    TORCH_LAYOUTS,
    TORCH_PAGES_KEPT,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

Record = dict[str, Any]

# Okabe and Ito's colour-blind safe palette; gpunet is blue.
_COLOURS = {
    NUMBA: "#0072b2",
    NUMPY: "#56b4e9",
    CUPY: "#000000",
    TORCH_LAYOUTS[0]: "#d55e00",
    TORCH_LAYOUTS[1]: "#e69f00",
    TORCH_PAGES_KEPT: "#f0e442",
    KERAS_TENSORFLOW: "#009e73",
    KERAS_JAX: "#cc79a7",
}


def _per_sample(case: Case, seconds: float) -> float:
    return seconds / case.images * 1e6


def _milliseconds(case: Case, seconds: float) -> float:
    return seconds * 1e3


def _seconds(case: Case, seconds: float) -> float:
    return seconds


# Title, unit, conversion from seconds, scale: logarithmic where cases are far apart.
_PANELS: dict[str, tuple[str, str, Callable[[Case, float], float], str]] = {
    "train": ("Training step", "microseconds a sample", _per_sample, "linear"),
    "inference": ("Inference", "microseconds a sample (log scale)", _per_sample, "log"),
    "conv": (
        "3x3 convolution, forward and backward",
        "milliseconds (log scale)",
        _milliseconds,
        "log",
    ),
    "pool": ("2x2 max pooling, forward and backward", "milliseconds", _milliseconds, "linear"),
    "activation": ("ReLU, forward and backward", "milliseconds", _milliseconds, "linear"),
    "epoch": ("An epoch of MNIST", "seconds", _seconds, "linear"),
}


def draw(report: Record, file: Path) -> bool:
    """Draw a report's medians and quartiles to a file; return False if nothing was measured.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    measured = [name for name in _PANELS if _names(report["parts"].get(name))]
    if not measured:
        return False
    figure = Figure(figsize=(13, 4.4 * ((len(measured) + 1) // 2)), dpi=110, layout="constrained")
    axes = figure.subplots((len(measured) + 1) // 2, 2, squeeze=False).flat
    for name, panel in zip(measured, axes, strict=False):
        _draw_part(panel, report["parts"][name]["records"], name)
    if len(measured) % 2:
        list(axes)[-1].set_axis_off()
    names = [n for n in CONTENDERS if any(n in _names(report["parts"][p]) for p in measured)]
    figure.legend(
        handles=[Patch(color=_COLOURS[name], label=name) for name in names],
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    machine = report["machine"]
    dry = "DRY RUN, NOT A MEASUREMENT: " if report["quick"] else ""
    figure.suptitle(
        f"{dry}gpunet and its peers on the CPU: {machine['processor']}, {machine['cores']} cores\n"
        "medians, with quartiles as whiskers; lower is faster"
    )
    figure.savefig(file)
    return True


def _names(part: Record | None) -> set[str]:
    """Return the contenders with times in a part."""
    records = part["records"] if part else []
    return {name for r in records for name, found in r["results"].items() if "median" in found}


def _draw_part(panel: Axes, records: list[Record], part: str) -> None:
    title, unit, convert, scale = _PANELS[part]
    measured = _names({"records": records})
    names = [name for name in CONTENDERS if name in measured]
    width = 0.85 / len(names)
    for place, name in enumerate(names):
        for position, record in enumerate(records):
            found, case = record["results"].get(name, {}), Case(**record["case"])
            if "median" not in found:
                continue
            low, median, high = (
                convert(case, seconds)
                for seconds in (found["quartiles"][0], found["median"], found["quartiles"][1])
            )
            panel.bar(
                position + (place - (len(names) - 1) / 2) * width,
                median,
                width * 0.92,
                yerr=[[median - low], [high - median]],
                color=_COLOURS[name],
                error_kw={"elinewidth": 0.8, "ecolor": "0.3"},
            )
    labels = [_wrapped(Case(**record["case"]).label) for record in records]
    panel.set_xticks(range(len(records)), labels, fontsize="small")
    panel.set(title=title, ylabel=unit, yscale=scale)
    panel.grid(axis="y", color="0.9")
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _wrapped(label: str) -> str:
    """Return a label broken at commas, except in numbers such as 60,000."""
    return label.replace(", ", "\n")
