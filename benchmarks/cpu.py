"""Compare gpunet with PyTorch and Keras on this machine's CPU; write benchmarks/results/cpu.*.

python -m benchmarks.cpu
python -m benchmarks.cpu --mnist --keras-python ~/keras-tf/bin/python
python -m benchmarks.cpu --only train --only inference
python -m benchmarks.cpu --quick --output /tmp/dry-run

Each library runs in its own process with the same number of threads, and they take turns. The
report says why a library is missing. Keras may live in separate virtual environments, since its
backends pin other packages: name their interpreters with --keras-python or, separated as in PATH,
GPUNET_KERAS_PYTHON. MNIST is read from GPUNET_HOME. A full run takes about half an hour; parts that
a run does not measure stay in cpu.json as they are.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import cpu_measure, cpu_plot, cpu_report, gpu_machine
from benchmarks.cases import PARTS
from benchmarks.contenders import CONTENDERS, Contender, keras_pythons, locate
from benchmarks.cpu_measure import Settings

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results"
NAMES = (*PARTS, "start")

Record = dict[str, Any]
Contenders = dict[str, Contender | str]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", choices=NAMES, help="measure this part; repeatable"
    )
    parser.add_argument(
        "--mnist",
        action="store_true",
        help="also train the full program for 10 epochs; some minutes a library",
    )
    parser.add_argument(
        "--keras-python",
        action="append",
        default=[],
        metavar="PATH",
        help="interpreter with Keras and TensorFlow or JAX; repeatable",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each library")
    parser.add_argument("--quick", action="store_true", help="dry run; needs a separate --output")
    parser.add_argument("--output", type=Path, help=f"output folder; default {RESULTS}")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads: expected at least 1")
    output = options.output or RESULTS
    if options.quick and (options.output is None or output.resolve() == RESULTS.resolve()):
        parser.error(
            "--quick is a dry run, its numbers mean nothing: name another folder with --output"
        )
    options.output = output
    return options


def available_contenders(pythons: Sequence[str]) -> Contenders:
    """Return all contenders; in place of one that cannot run here, the reason."""
    found = {name: locate(contender, pythons) for name, contender in CONTENDERS.items()}
    return {name: contender or why for name, (contender, why) in found.items()}


def measure(name: str, contenders: Contenders, settings: Settings) -> Iterator[Record]:
    if name == "start":
        return cpu_measure.measure_start(contenders, settings)
    return cpu_measure.measure_part(name, contenders, settings)


def measure_into(report: Record, name: str, contenders: Contenders, settings: Settings) -> None:
    """Measure a part, and add it to the report once it is complete."""
    start = time.monotonic()
    records = list(measure(name, contenders, settings))
    report["parts"][name] = {
        "date": datetime.date.today().isoformat(),
        "commit": gpu_machine.commit(),
        "threads": settings.threads,
        "seconds": round(time.monotonic() - start),
        "records": records,
    }


def save(report: Record, folder: Path) -> list[Path]:
    """Write the report and its plot; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    plot = folder / "cpu.png"
    report.pop("plot", None)
    try:
        if cpu_plot.draw(report, plot):
            report["plot"] = plot.name
    except ImportError:
        print('No plot: it needs matplotlib: pip install "gpunet[plot]"', file=sys.stderr)
    return [*cpu_report.write(report, folder), *([plot] if "plot" in report else [])]


def main(
    arguments: Sequence[str] | None = None,
    find: Callable[[Sequence[str]], Contenders] = available_contenders,
) -> int:
    """Measure the selected parts; return the exit code.

    Arguments:
        arguments: command line.
        find: returns the contenders, given interpreters that may have Keras.
    """
    options = parse(arguments)
    try:
        report = cpu_report.load(options.output, gpu_machine.host(), options.quick)
    except cpu_report.MachineError as error:
        print(error, file=sys.stderr)
        return 2
    names = options.only or [name for name in NAMES if name != "mnist"]
    names = [*names, *["mnist"] * options.mnist]
    contenders = find(keras_pythons(options.keras_python))
    settings = Settings(
        options.threads,
        options.quick,
        options.rounds,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    files: list[Path] = []
    for name in dict.fromkeys(names):
        measure_into(report, name, contenders, settings)
        files = save(report, options.output)
    print((options.output / "cpu.md").read_text())
    print("Written:", *files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
