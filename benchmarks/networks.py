"""Compare gpunet with PyTorch, Keras and ONNX Runtime on whole networks; write networks.*.

python -m benchmarks.networks
python -m benchmarks.networks --only ResNet-8 --keras-python ~/keras-tf/bin/python
python -m benchmarks.networks --quick --output /tmp/dry-run

The ratio is that to the best of PyTorch's default, channels_last and `torch.compile`; the report
says how times and memory are measured.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import gpu_machine
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

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results"
Record = dict[str, Any]

_TORCH, _KERAS = "benchmarks.networks_torch", "benchmarks.networks_keras"
TORCH = {
    "PyTorch": {},
    "PyTorch, channels_last": {"layout": "channels_last"},
    "PyTorch, compiled": {"compiled": True},
}
ONNX = "ONNX Runtime"

_LIMIT = 8.0  # seconds of timed calls: enough for all rounds, unless a call is many steps

_ABOUT = f"""
Libraries take turns within one run (A B A B), each in its own process, with the same number of
threads and the same data. Times are medians (quartiles) of a training step, the loss read after
each, or of a prediction. A library is measured until its calls took {_LIMIT:g} s, or in all rounds.

- *To gpunet*: the row's time divided by gpunet's; above 1, gpunet is faster.
- *Timed*: how many steps or predictions were timed. Keras with TensorFlow runs 32 steps in one
  execution (`steps_per_execution`), whose time is divided by 32.
- *Peak MiB*: the highest resident memory of the process during the calls, beyond that before the
  first of them, when network and data exist: activations, gradients, the optimizer's state and
  working memory. Earlier, the process ran the same network on a batch of 1, so that the library's
  code is loaded, gpunet's compiled kernels like those of the others; it freed that network, and
  returned unused memory to the system (`malloc_trim`). Memory that a library keeps from then for
  reuse is not counted. Source: `VmHWM` of Linux, reset by `/proc/self/clear_refs`; empty elsewhere.
"""


class Target(NamedTuple):
    """A ratio that gpunet sets out for.

    Attributes:
        case: what is measured.
        ratio: their time divided by ours, at least.
        peers: the fastest of these counts.
    """

    case: Case
    ratio: float
    peers: tuple[str, ...] = tuple(TORCH)


TARGETS = (
    Target(Case("training", "ResNet-8", 32, calls=4, loading_batch=1), 1.5),
    Target(Case("training", "LSTM", 32, calls=4, loading_batch=1), 1.5),
    Target(Case("training", "transformer", 16, calls=2, loading_batch=1), 1.2),
    Target(Case("prediction", "DS-CNN", 1, calls=40, loading_batch=1), 1.0, (ONNX,)),
)


def contenders(pythons: Sequence[str]) -> dict[str, Contender | str]:
    """Return the libraries by name; in place of one that cannot run here, the reason."""
    ours, keras = CONTENDERS[NUMBA], CONTENDERS[KERAS_TENSORFLOW]
    wanted = {
        NUMBA: Contender(
            _KERAS, ours.needs, {"library": "gpunet"}, ours.environment, ours.compiles
        ),
        **{name: Contender(_TORCH, ("numpy", "torch"), options) for name, options in TORCH.items()},
        KERAS_TENSORFLOW: Contender(
            _KERAS, keras.needs, {"library": "keras"}, keras.environment, elsewhere=True
        ),
        ONNX: Contender("benchmarks.networks_onnx", ("numpy", "torch", "onnx", "onnxruntime")),
    }
    found = {name: locate(contender, pythons) for name, contender in wanted.items()}
    return {name: contender or why for name, (contender, why) in found.items()}


def measure(targets: Sequence[Target], found: dict[str, Contender | str], settings: Settings) -> (
    Iterator[Record]
):  # fmt: skip
    for target in targets:
        settings.log(str(target.case))
        case = replace(target.case.quick(), batch=1) if settings.quick else target.case
        part = {
            name: contender
            for name, contender in found.items()
            if name != ONNX or name in target.peers
        }
        rounds = 1 if settings.quick else settings.rounds
        yield measure_case(case, part, rounds, settings) | {
            "target": target.ratio,
            "peers": target.peers,
            "date": datetime.date.today().isoformat(),
            "commit": gpu_machine.commit(),
            "threads": settings.threads,
        }


def table(records: Sequence[Record]) -> list[str]:
    """Return the results as lines of Markdown."""
    lines = []
    for record in records:
        case, results = Case(**record["case"]), record["results"]
        ours = results[NUMBA].get("median")
        peers = [results[p]["median"] for p in record["peers"] if "median" in results.get(p, {})]
        reached = f"{min(peers) / ours:.2f}" if ours and peers else "not measured"
        commit = record["commit"]["hash"][:9] if record["commit"] else "no commit"
        lines += [
            f"**{case.label}, {case.part}, batch {case.batch}**: {reached} of {record['target']:g} "
            f"times, against the best of {', '.join(record['peers'])} ({record['date']}, "
            f"{commit}, {record['threads']} threads)",
            "", "| | ms (quartiles) | to gpunet | timed | peak MiB |",
            "| --- | --- | --- | --- | --- |",
        ]  # fmt: skip
        for name, found in results.items():
            if "median" not in found:
                lines.append(f"| {name} | {' '.join(found['why'].split())} | | | |")
                continue
            low, high = (f"{1e3 * t:.2f}" for t in found["quartiles"])
            to_ours = f"{found['median'] / ours:.2f}" if ours else ""
            timed = found["count"] * found.get("repeats", 1)
            peak = f"{found['peak'] / 2**20:.1f}" if found["peak"] is not None else ""
            lines.append(
                f"| {name} | {1e3 * found['median']:.2f} ({low} to {high}) | {to_ours} | {timed} "
                f"| {peak} |"
            )
        lines.append("")
    return lines


def save(records: Sequence[Record], folder: Path) -> Path:
    """Write the results beside those of other networks; return the report."""
    new = {f"{r['case']['label']}, {r['case']['part']}": r for r in records}
    lines = table(save_beside(new, folder / "networks.json"))
    report = folder / "networks.md"
    report.write_text("\n".join(["# Whole networks on a CPU", _ABOUT, *lines]))
    return report


def main(
    arguments: Sequence[str] | None = None,
    find: Callable[[Sequence[str]], dict[str, Contender | str]] = contenders,
) -> int:
    """Measure the selected networks; return the exit code.

    Arguments:
        arguments: of the command line.
        find: returns the libraries for interpreters that may have Keras; replaced by tests.
    """
    names = [target.case.label for target in TARGETS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=names, help="repeatable")
    parser.add_argument("--keras-python", action="append", default=[], metavar="PATH")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=10, help="turns of each library")
    parser.add_argument("--quick", action="store_true", help="dry run; needs a separate --output")
    parser.add_argument("--output", type=Path, help=f"output folder; default {RESULTS}")
    options = parser.parse_args(arguments)
    if options.quick and options.output is None:
        parser.error("--quick is a dry run, its numbers mean nothing: name a folder with --output")
    settings = Settings(
        options.threads,
        options.quick,
        options.rounds,
        lambda line: print(line, file=sys.stderr, flush=True),
        _LIMIT,
    )
    targets = [t for t in TARGETS if not options.only or t.case.label in options.only]
    found = find(keras_pythons(options.keras_python))
    for record in measure(targets, found, settings):
        report = save([record], options.output or RESULTS)
    print(report.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
