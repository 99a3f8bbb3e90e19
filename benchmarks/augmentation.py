"""Compare the augmentation of gpunet with Keras' on this machine's CPU; write augmentation.*.

python -m benchmarks.augmentation
python -m benchmarks.augmentation --only pipeline --keras-python ~/keras-tf/bin/python
python -m benchmarks.augmentation --quick --output /tmp/dry-run
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import gpu_machine
from benchmarks.augmentation_layers import LAYERS
from benchmarks.cases import Case
from benchmarks.contenders import (
    CONTENDERS,
    KERAS_TENSORFLOW,
    NUMBA,
    Contender,
    keras_pythons,
    locate,
)
from benchmarks.cpu_measure import Settings, measure_case, save_beside

__all__ = ["contenders", "main"]

RESULTS = Path(__file__).parent / "results"
Record = dict[str, Any]

KERAS_TORCH = "Keras + PyTorch"
_MODULE = "benchmarks.augmentation_layers"
_LIMIT = 8.0  # seconds of timed calls of a library
_TARGET = 5.0  # times as fast as Keras: the pipeline

_ABOUT = f"""
Layers in training on a batch of float32 images, and a pipeline of four. Libraries take turns
within one run (A B A B), each in its own process, with the same number of threads and the same
images, in all rounds or until a library's calls took {_LIMIT:g} s. Times are medians (quartiles) in
milliseconds; a ratio is Keras' median divided by gpunet's. With TensorFlow, the faster of the eager
call and `tf.function` counts. Target: the pipeline at least {_TARGET:g} times as fast as Keras'.
"""


def contenders(pythons: Sequence[str]) -> dict[str, Contender | str]:
    """Return the libraries by name; in place of one that cannot run here, the reason."""
    ours, tensorflow = CONTENDERS[NUMBA], CONTENDERS[KERAS_TENSORFLOW]
    keras = {"library": "keras"}
    on_torch = {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    wanted = {
        NUMBA: Contender(
            _MODULE, ours.needs, {"library": "gpunet"}, ours.environment, ours.compiles
        ),
        KERAS_TORCH: Contender(_MODULE, ("numpy", "keras", "torch"), keras, on_torch),
        KERAS_TENSORFLOW: Contender(
            _MODULE, tensorflow.needs, keras, tensorflow.environment, elsewhere=True
        ),
    }
    found = {name: locate(contender, pythons) for name, contender in wanted.items()}
    return {name: contender or why for name, (contender, why) in found.items()}


def table(records: Sequence[Record]) -> list[str]:
    """Return the results as lines of Markdown."""
    names = list(records[0]["results"])
    lines = []
    for name in names:
        reasons = {r["results"][name]["why"] for r in records if "why" in r["results"][name]}
        lines += [f"{name}: {' '.join(reason.split())}" + "\n" for reason in sorted(reasons)]
    heads = [f"{name} | ratio" if name != NUMBA else name for name in names]
    lines += [f"| | images | {' | '.join(heads)} |", "| --- " * (2 * len(names) + 1) + "|"]
    for record in records:
        case, results = Case(**record["case"]), record["results"]
        ours = results[NUMBA].get("median")
        cells = [case.label, f"{case.batch} of {case.size}x{case.size}x{case.channels}"]
        for name in names:
            median = results[name].get("median")
            low, high = (f"{1e3 * t:.1f}" for t in results[name].get("quartiles", (0, 0)))
            cells.append(f"{1e3 * median:.1f} ({low} to {high})" if median else "")
            if name != NUMBA:
                cells.append(f"{median / ours:.1f}" if median and ours else "")
        lines.append(f"| {' | '.join(cells)} |")
    last = records[-1]
    commit = last["commit"]["hash"][:9] if last["commit"] else "no commit"
    lines += ["", f"{last['threads']} threads; {last['date']}; commit {commit}; {last['host']}."]
    return lines


def save(records: Sequence[Record], folder: Path) -> Path:
    """Write the results beside those of other layers; return the report."""
    new = {record["case"]["label"]: record for record in records}
    lines = table(save_beside(new, folder / "augmentation.json"))
    report = folder / "augmentation.md"
    report.write_text("\n".join(["# Augmentation of images on a CPU", _ABOUT, *lines, ""]))
    return report


def main(
    arguments: Sequence[str] | None = None,
    find: Callable[[Sequence[str]], dict[str, Contender | str]] = contenders,
) -> int:
    """Measure the selected layers; return the exit code.

    Arguments:
        arguments: of the command line.
        find: returns the libraries for interpreters that may have Keras; replaced by tests.
    """
    options = parse(arguments)
    settings = Settings(
        options.threads,
        options.quick,
        options.rounds,
        lambda line: print(line, file=sys.stderr, flush=True),
        _LIMIT,
    )
    found, host = find(keras_pythons(options.keras_python)), gpu_machine.host()
    images, size, rounds = (2, 8, 1) if options.quick else (64, 224, options.rounds)
    for name in options.only or LAYERS:
        case = Case("augmentation", name, images, 2, size, 3, loading_batch=1)
        settings.log(str(case))
        record = measure_case(case, found, rounds, settings) | {
            "date": datetime.date.today().isoformat(),
            "commit": gpu_machine.commit(),
            "threads": settings.threads,
            "host": host.get("processor", "unknown processor"),
        }
        report = save([record], options.output or RESULTS)
    print(report.read_text())
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(LAYERS), help="repeatable")
    parser.add_argument("--keras-python", action="append", default=[], metavar="PATH")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each library")
    parser.add_argument("--quick", action="store_true", help="dry run; needs a separate --output")
    parser.add_argument("--output", type=Path, help=f"output folder; default {RESULTS}")
    options = parser.parse_args(arguments)
    if options.quick and options.output is None:
        parser.error("--quick is a dry run, its numbers mean nothing: name a folder with --output")
    return options


if __name__ == "__main__":
    sys.exit(main())
