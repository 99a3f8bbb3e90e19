"""gpunet and Keras as contenders in the augmentation of images: the same layers of both."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.workers import Variant

__all__ = ["LAYERS", "Library"]

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


class Library:
    """Cases of `benchmarks.augmentation`.

    Arguments:
        threads: set by the environment, but for TensorFlow.
        library: module with Keras' names.
    """

    def __init__(self, threads: int, library: str) -> None:
        self.tensorflow: Any = None
        if library == "keras" and os.environ["KERAS_BACKEND"] == "tensorflow":
            self.tensorflow = importlib.import_module("tensorflow")
            self.tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
            self.tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
        self.keras: Any = importlib.import_module(library)
        self.versions = {library: self.keras.__version__}

    def augmentation(self, case: Case) -> dict[str, Variant]:
        shape = (case.batch, case.size, case.size, case.channels)
        x = np.random.default_rng(0).integers(0, 256, shape).astype("float32")
        layers = [getattr(self.keras.layers, name)(**args) for name, args in LAYERS[case.label]]
        pipeline = self.keras.layers.Pipeline(layers)

        if self.tensorflow is None:
            return {"": Variant(lambda: pipeline(x, training=True))}
        images = self.tensorflow.constant(x)
        compiled = self.tensorflow.function(lambda given: pipeline(given, training=True))
        return {
            "eager": _on(lambda given: pipeline(given, training=True), images),
            "tf.function": _on(compiled, images),
        }


def _on(augment: Callable[[Any], Any], images: Any) -> Variant:
    """Return a variant that augments images, and a few of them on trial."""
    few = images[:8]
    return Variant(lambda: augment(images), lambda: augment(few))
