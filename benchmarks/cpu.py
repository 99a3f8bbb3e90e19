"""Compare gpunet with PyTorch and Keras on this machine's CPU; write benchmarks/results/cpu.*.

python -m benchmarks.cpu
python -m benchmarks.cpu --mnist --keras-python ~/keras-tf/bin/python
python -m benchmarks.cpu --only train --only inference
python -m benchmarks.cpu --quick --output /tmp/dry-run

Each library has a process of its own and the same number of threads, and they take turns; one that
is not installed is left out, and the report says why. Keras, which changes much that is installed
beside it, may be in virtual environments of its own, named by --keras-python or, with the separator
of PATH, by GPUNET_KERAS_PYTHON. MNIST is read from GPUNET_HOME. A whole run takes about half an
hour; parts that a run does not measure are kept as they are in cpu.json.
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
        help="also the real program for 10 epochs, some minutes each",
    )
    parser.add_argument(
        "--keras-python",
        action="append",
        default=[],
        metavar="PATH",
        help="an interpreter with Keras and TensorFlow or JAX; repeatable",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each contender")
    parser.add_argument("--quick", action="store_true", help="a dry run, to a folder of its own")
    parser.add_argument("--output", type=Path, help=f"folder to write to; by default {RESULTS}")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads have to be at least 1")
    output = options.output or RESULTS
    if options.quick and (options.output is None or output.resolve() == RESULTS.resolve()):
        parser.error("--quick measures nothing: give it a folder of its own with --output")
    options.output = output
    return options


def contenders_here(pythons: Sequence[str]) -> Contenders:
    """Return all contenders, and the reason in place of each that cannot run here."""
    found = {name: locate(contender, pythons) for name, contender in CONTENDERS.items()}
    return {name: contender or why for name, (contender, why) in found.items()}


def measure(name: str, contenders: Contenders, settings: Settings) -> Iterator[Record]:
    if name == "start":
        return cpu_measure.measure_start(contenders, settings)
    return cpu_measure.measure_part(name, contenders, settings)


def measure_into(report: Record, name: str, contenders: Contenders, settings: Settings) -> None:
    """Measure a part, and put it into the report when it is complete."""
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
    find: Callable[[Sequence[str]], Contenders] = contenders_here,
) -> int:
    """Measure what is asked for; return the exit code.

    Arguments:
        arguments: of the command line.
        find: tells the contenders, given the interpreters that Keras may be in.
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
