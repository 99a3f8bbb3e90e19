"""Compare the augmentation of gpunet with that of Keras on PyTorch, on this machine's CPU.

python -m benchmarks.augmentation
python -m benchmarks.augmentation --rounds 5 --only pipeline --only RandomFlip

Both take turns in one process, A B A B, on the same batch of images; times are medians, the ratio
that of the medians. A batch of 64 images of 224 x 224 x 3 is the aim: 5 times as fast.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["LAYERS", "main", "measure"]

# Names of layers and their arguments; a pipeline is several.
LAYERS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "pipeline": [
        ("RandomFlip", {}),
        ("RandomRotation", {"factor": 0.1}),
        ("RandomZoom", {"height_factor": 0.2}),
        ("RandomContrast", {"factor": 0.2}),
    ],
    "RandomFlip": [("RandomFlip", {})],
    "RandomRotation": [("RandomRotation", {"factor": 0.1})],
    "RandomZoom": [("RandomZoom", {"height_factor": 0.2})],
    "RandomTranslation": [("RandomTranslation", {"height_factor": 0.1, "width_factor": 0.1})],
    "RandomCrop": [("RandomCrop", {"height": 200, "width": 200})],
    "RandomContrast": [("RandomContrast", {"factor": 0.2})],
    "RandomBrightness": [("RandomBrightness", {"factor": 0.2})],
    "RandomColorJitter": [
        (
            "RandomColorJitter",
            {"brightness_factor": 0.2, "contrast_factor": 0.2, "saturation_factor": (0.4, 0.6)},
        )
    ],
    "RandomHue": [("RandomHue", {"factor": 0.2})],
    "RandomErasing": [("RandomErasing", {})],
    "RandomGrayscale": [("RandomGrayscale", {})],
    "MixUp": [("MixUp", {})],
    "CutMix": [("CutMix", {})],
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of times and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(LAYERS), help="repeatable")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each library")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args(arguments)
    shape = (options.images, options.size, options.size, 3)
    x = np.random.default_rng(0).integers(0, 256, shape).astype("float32")
    print(f"{shape}, float32, milliseconds: medians of {options.rounds} turns each")
    print(f"{'':18}{'gpunet':>10}{'Keras':>10}{'ratio':>8}")
    for name in options.only or LAYERS:
        ours, theirs = measure(name, x, options.rounds)
        print(f"{name:18}{ours * 1e3:10.1f}{theirs * 1e3:10.1f}{theirs / ours:8.1f}", flush=True)


def measure(name: str, x: np.ndarray, rounds: int) -> tuple[float, float]:
    """Return the seconds that gpunet and Keras take to augment images, turn by turn."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras_layers = __import__("keras").layers
    gpunet_layers = __import__("gpunet").layers
    calls = [_augmentation(module, name, x) for module in (gpunet_layers, keras_layers)]
    for call in calls:  # compiles, and fills caches
        call()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def _augmentation(module: Any, name: str, x: np.ndarray) -> Callable[[], Any]:
    """Return a function that augments images by the layers of a library."""
    layers = [getattr(module, layer)(**options) for layer, options in LAYERS[name]]
    pipeline = module.Pipeline(layers)
    return lambda: pipeline(x, training=True)


if __name__ == "__main__":
    main()
