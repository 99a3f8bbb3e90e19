"""Train ResNet-8 on CIFAR-10 in gpunet and PyTorch; compare accuracies and times; write cifar10.*.

python -m benchmarks.cifar10 --epochs 10
python -m benchmarks.cifar10 --quick --output /tmp/dry-run

Both start from the same weights, drawn by gpunet, and take the same batches in the same order, with
the same augmentation, learning rates and Adam. PyTorch runs in channels_last. For each seed, each
library runs in its own process with the same number of threads; the time is that of the training
steps with the making of their batches, after a step that is not timed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gpu_machine
from benchmarks.contenders import CONTENDERS, NUMBA, thread_settings
from examples.cifar10_resnet import BATCH_SIZE, augmented_batches, build_model
from gpunet import random
from gpunet.datasets import cifar10

__all__ = ["main"]

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
LIBRARIES = {"gpunet": "gpunet", "torch": "PyTorch, channels_last"}
QUICK_SAMPLES = 2 * BATCH_SIZE
Record = dict[str, Any]


def train(library: str, seed: int, epochs: int, samples: int | None) -> Record:
    """Train in this process; return the accuracy on the test images and the seconds it took."""
    (x_train, y_train), (x_test, y_test) = (
        (x[:samples], y[:samples, 0].astype("int64")) for x, y in cifar10.load_data()
    )
    steps = len(x_train) // BATCH_SIZE * epochs
    make = {"gpunet": Gpunet, "torch": torch_network}[library]
    spare, network = make(seed, steps), make(seed, steps)
    spare.step(*next(augmented_batches(x_train, y_train, 1, seed)))
    start = time.perf_counter()
    losses = [network.step(*batch) for batch in augmented_batches(x_train, y_train, epochs, seed)]
    seconds = time.perf_counter() - start
    parts = [network.predict(x_test[i : i + 250]) for i in range(0, len(x_test), 250)]
    accuracy = float((np.concatenate(parts).argmax(axis=1) == y_test).mean())
    return {
        "library": library, "seed": seed, "accuracy": accuracy, "seconds": seconds, "steps": steps,
        "first_loss": losses[0], "last_loss": float(np.mean(losses[-100:])),
        "version": network.version,
    }  # fmt: skip


class Gpunet:
    """The network of the example."""

    def __init__(self, seed: int, steps: int) -> None:
        random.seed(seed)
        self.model = build_model(steps)
        self.version = importlib.import_module("gpunet").__version__

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        return float(self.model.train_on_batch(x, y)[0])

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict_on_batch(x)


def torch_network(seed: int, steps: int) -> Any:
    return importlib.import_module("benchmarks.cifar10_torch").Torch(seed, steps)


def measure(options: argparse.Namespace) -> list[Record]:
    """Return what each library reaches for each seed; they take turns."""
    records = []
    for seed in options.seeds:
        for library in LIBRARIES:
            record = run_worker(library, seed, options)
            print(f"{LIBRARIES[library]}, seed {seed}: {summary(record)}", file=sys.stderr)
            records.append(record)
    return records


def run_worker(library: str, seed: int, options: argparse.Namespace) -> Record:
    command = [sys.executable, "-m", "benchmarks.cifar10", "--worker", library]
    command += ["--seeds", str(seed), "--epochs", str(options.epochs)]
    command += ["--quick", "--output", "."] if options.quick else []
    settings = thread_settings(options.threads) | CONTENDERS[NUMBA].environment
    environment = {name: value for name, value in (os.environ | settings).items() if value}
    child = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if child.returncode:
        sys.exit(f"{LIBRARIES[library]}, seed {seed}, failed: see its error above.")
    return json.loads(child.stdout.splitlines()[-1])


def summary(record: Record) -> str:
    return f"accuracy {100 * record['accuracy']:.2f} %, {record['seconds']:.1f} s"


def table(result: Record) -> list[str]:
    """Return the results as lines of Markdown."""
    records = result["records"]
    commit = (result["commit"] or {}).get("hash", "unknown")[:12]
    lines = [
        "# ResNet-8 on CIFAR-10", "",
        f"Epochs: {result['epochs']}, of {records[0]['steps'] // result['epochs']} steps of "
        f"{BATCH_SIZE} images; {result['threads']} threads; {result['date']}; commit {commit}; "
        f"{result['host'].get('processor', 'unknown processor')}. The images are those of "
        "`cifar10-jpeg.npz`, or of the original where that is there. Both libraries start from the "
        "same weights and take the same batches.", "",
        "| | seed | test accuracy | last loss | seconds |", "| --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for record in records:
        name = f"{LIBRARIES[record['library']]} {record['version']}"
        lines.append(
            f"| {name} | {record['seed']} | {100 * record['accuracy']:.2f} % | "
            f"{record['last_loss']:.3f} | {record['seconds']:.1f} |"
        )
    means = {
        (library, what): statistics.mean(r[what] for r in records if r["library"] == library)
        for library in LIBRARIES
        for what in ("accuracy", "seconds")
    }
    lines.append("")
    for library, name in LIBRARIES.items():
        lines.append(
            f"Mean of {name}: {100 * means[library, 'accuracy']:.2f} %, "
            f"{means[library, 'seconds']:.1f} s."
        )
    ratio = means["torch", "seconds"] / means["gpunet", "seconds"]
    return [*lines, f"PyTorch's time is {ratio:.2f} times gpunet's.", ""]


def save(result: Record, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cifar10.json").write_text(json.dumps(result, indent=1) + "\n")
    report = folder / "cifar10.md"
    report.write_text("\n".join(table(result)))
    return report


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="dry run; needs a separate --output")
    parser.add_argument("--output", type=Path, help=f"output folder; default {RESULTS}")
    parser.add_argument("--worker", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, received {options.epochs}")
    if options.quick and options.output is None:
        parser.error("--quick is a dry run, its numbers mean nothing: name a folder with --output")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Train with both libraries; return the exit code."""
    options = parse(arguments)
    if options.worker:
        samples = QUICK_SAMPLES if options.quick else None
        print(json.dumps(train(options.worker, options.seeds[0], options.epochs, samples)))
        return 0
    try:
        cifar10.load_data()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"No data. {error}")
    records = measure(options)
    result = {
        "epochs": options.epochs, "threads": options.threads, "quick": options.quick,
        "date": datetime.date.today().isoformat(), "commit": gpu_machine.commit(),
        "host": gpu_machine.host(), "records": records,
    }  # fmt: skip
    print(save(result, options.output or RESULTS).read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
