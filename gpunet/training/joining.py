"""Choose how many samples an evaluation or a prediction runs at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from gpunet.fusion import Chain

__all__ = ["samples_at_once"]

_MOST_BYTES = 1 << 24  # of the input and the output of a step
_MOST_SAMPLES = 1 << 10  # beyond which more at a time are no faster


def samples_at_once(layers: Sequence[Any], steps: Iterable[Any]) -> int:
    """Return how many samples are best run at a time; 0 where that is not known.

    Only layers of gpunet are known: others may need much memory, or mix the samples of a batch.

    Arguments:
        layers: built ones, of a `Sequential`.
        steps: each is a `Chain` or a layer; they run in turn.
    """
    if not all(_is_of_gpunet(layer) for layer in layers):
        return 0
    firsts = [step.layers[0] if isinstance(step, Chain) else step for step in steps]
    shapes = [layer.input_shape for layer in firsts]
    shapes.append(layers[-1].compute_output_shape(layers[-1].input_shape))
    samples = [shape[1:] for shape in shapes]
    if any(None in sample for sample in samples):
        return 0
    sizes = [math.prod(sample) for sample in samples]
    largest = max(before + after for before, after in pairwise(sizes))
    return min(_MOST_SAMPLES, _MOST_BYTES // (largest * layers[0].compute_dtype.itemsize))


def _is_of_gpunet(layer: Any) -> bool:
    return type(layer).__module__.startswith("gpunet.layers.") and "call" not in vars(layer)
