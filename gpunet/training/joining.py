"""Choose how many samples an evaluation or a prediction runs at a time."""

from __future__ import annotations

import math
from typing import Any

from gpunet import fusion
from gpunet.autograd import no_grad
from gpunet.layers.layer import Layer
from gpunet.symbolic import Graph

__all__ = ["samples_at_once"]

_MOST_BYTES = 1 << 24  # of the values that are in memory at one time
_MOST_SAMPLES = 1 << 10  # beyond which more at a time are no faster


def samples_at_once(graph: Graph, fuse: bool = True) -> int:
    """Return how many samples are best run at a time; 0 where that is not known.

    Only layers of gpunet are known: others may need much memory, or mix the samples of a batch.
    """
    if not all(_is_of_gpunet(operation) for operation in graph.operations):
        return 0
    if any(_is_stateful(operation) for operation in graph.operations):
        return 0
    alive = {slot: _size(symbol.shape) for slot, symbol in enumerate(graph.inputs)}
    largest = 0.0
    with no_grad():
        steps = fusion.steps(graph, fuse=fuse)
    for step in steps:
        for slot, shape in zip(step.outputs, step.nodes[-1].shapes, strict=True):
            alive[slot] = _size(shape)
        largest = max(largest, sum(alive[slot] for slot in {*step.inputs, *step.outputs}))
    itemsize = 8 if any(part.compute_dtype.itemsize == 8 for part in graph.operations) else 4
    if not math.isfinite(largest) or not largest:
        return 0
    return min(_MOST_SAMPLES, _MOST_BYTES // (int(largest) * itemsize))


def _size(shape: tuple[int | None, ...]) -> float:
    sample = shape[1:]
    return math.inf if None in sample else math.prod(size for size in sample if size is not None)


def _is_of_gpunet(operation: Any) -> bool:
    module = type(operation).__module__ if isinstance(operation, Layer) else ""
    in_layers = module.startswith(("gpunet.layers.", "gpunet.models."))
    return in_layers and "call" not in vars(operation)


def _is_stateful(operation: Any) -> bool:
    """Return whether what a layer returns depends on how samples are divided into batches."""
    return any(getattr(part, "stateful", False) for part in operation.with_sublayers())
